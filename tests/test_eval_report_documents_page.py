"""The page of documents: what is drawn, what it can be found by, and that hostile text stays text."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eval.report.corpora import read_corpus
from eval.report.documents_page import NUM_KEPT, NUM_OF_REASON, render_documents, sample_documents
from eval.report.inputs import Source, read_sources
from pipeline.artifact import open_run, write_json, write_jsonl

HOSTILE = '<script>alert(1)</script></details></script>"><img src=x onerror=alert(2)>{{ 7*7 }}\u202e\n\nfact:objective'


@dataclasses.dataclass
class StageConfig:
    output_dir: str
    overwrite: bool = False
    seed: int = 0


class Inventory(HTMLParser):
    """The elements of a page and the terms and texts of its documents, to a parser."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.terms: list[list[str]] = []
        self.options: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        held = {name: value or "" for name, value in attrs}
        if "data-terms" in held:
            self.terms.append(held["data-terms"].split("\n"))
        if tag == "option":
            self.options.append(held["value"])
        self.links += [held[name] for name in ("href", "src") if name in held]
        assert not any(name.startswith("on") for name in held)


def document(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "fact_ids": ["objective"], "doc_type": "memo", "text": f"Text of {id}."} | fields


def rejected(id: str, *reasons: str, **fields: Any) -> dict[str, Any]:
    every = [{"reason": reason, "detail": f"detail of {reason}"} for reason in reasons]
    return document(id, reason=reasons[0], detail=every[0]["detail"], reasons=every, **fields)


def corpus(directory: Path, documents: list[dict[str, Any]], rejects: list[dict[str, Any]], **stats: Any) -> Source:
    run = open_run("data_gen", StageConfig(str(directory)), {})
    write_jsonl(run.path("documents.jsonl"), documents)
    write_jsonl(run.path("rejects.jsonl"), rejects)
    write_json(run.path("stats.json"), {"num_documents": len(documents)} | stats)
    run.finish(["documents.jsonl", "rejects.jsonl", "stats.json"])
    return read_sources([str(directory)], "data_gen")[0]


def test_a_document_is_found_by_corpus_type_each_fact_and_each_reason(tmp_path: Path) -> None:
    source = corpus(tmp_path / "real", [document("a")], [rejected("b", "length", "refusal", fact_ids=["x", "y"])])
    inventory = Inventory(render_documents(sample_documents([source], 0), "A report", 0))
    assert inventory.terms == [
        ["corpus:real", "type:memo", "fact:objective", "verdict:kept"],
        ["corpus:real", "type:memo", "fact:x", "fact:y", "verdict:length", "verdict:refusal"],
    ]
    every = {term for terms in inventory.terms for term in terms}
    assert set(inventory.options) == every | {""}, "each menu offers what occurs and nothing else"


def test_the_sample_is_random_bounded_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    kept = [document(f"d{n:04d}") for n in range(3 * NUM_KEPT)]
    bad = [rejected(f"r{n:04d}", "length" if n % 9 else "refusal") for n in range(20 * NUM_OF_REASON)]
    source = corpus(tmp_path / "run", kept, bad)
    shown = sample_documents([source], 0)
    assert shown == sample_documents([source], 0) != sample_documents([source], 1)
    ids = [each.id for each in shown if not each.reasons]
    assert len(ids) == NUM_KEPT
    assert ids == sorted(ids)
    assert max(ids) > "d0240"
    reasons = [each.reasons for each in shown if each.reasons]
    assert reasons == [("length",)] * NUM_OF_REASON + [("refusal",)] * NUM_OF_REASON


def test_hostile_text_stays_text_in_every_field(tmp_path: Path) -> None:
    fields = {"id": HOSTILE, "doc_type": HOSTILE, "fact_ids": [HOSTILE], "text": HOSTILE, "source": HOSTILE}
    source = corpus(tmp_path / "run", [fields], [rejected("r", HOSTILE)])
    page = render_documents(sample_documents([source], 0), HOSTILE, 0)
    inventory = Inventory(page)
    assert inventory.tags.count("script") == 1
    assert "img" not in inventory.tags
    assert inventory.tags.count("details") == 2
    assert all("fact:objective" not in terms for terms in inventory.terms[:1]), "a line break forges no term"
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page


def test_the_pages_policy_lets_its_own_script_run_and_no_other(tmp_path: Path) -> None:
    page = render_documents([], "A report", 0)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy[1] == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert Inventory(page).links == ["index.html"]
    assert "The corpora hold no documents." in page


def test_without_its_script_the_page_shows_all_documents_and_no_controls(tmp_path: Path) -> None:
    page = render_documents(sample_documents([corpus(tmp_path / "run", [document("a")], [])], 0), "A report", 0)
    assert '<form id="filters" hidden' in page
    assert not re.search(r"<details[^>]*\bhidden", page)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_script_shows_what_matches_every_choice() -> None:
    script = (Path(__file__).parent.parent / "eval" / "report" / "documents.js").read_text(encoding="utf-8")
    stub = """
const details = [["fact:a", "verdict:kept"], ["fact:b", "verdict:kept"], ["fact:a", "verdict:length"]].map((terms, n) =>
  ({ dataset: { terms: terms.join("\\n") }, textContent: "Text " + n, hidden: false }));
const menus = [{ value: "fact:a" }, { value: "" }], input = { value: "" }, output = {};
const theForm = { hidden: true, addEventListener() {}, querySelectorAll: () => menus, querySelector: () => input };
globalThis.document = { getElementById: (id) => (id === "filters" ? theForm : output), querySelectorAll: () => details };
"""
    check = """
const seen = [details.map((each) => each.hidden)];
menus[1].value = "verdict:length"; update(); seen.push(details.map((each) => each.hidden));
menus[0].value = menus[1].value = ""; input.value = "text 1"; update(); seen.push(details.map((each) => each.hidden));
console.log(JSON.stringify([seen, output.textContent, theForm.hidden]));
"""
    done = subprocess.run(["node", "-e", stub + script + check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen, count, is_hidden = json.loads(done.stdout)
    assert seen == [[False, True, False], [True, True, False], [True, False, True]]
    assert (count, is_hidden) == ("1 of 3 documents", False)


def test_counts_within_counts_are_told_on_one_level_and_histograms_keep_their_order(tmp_path: Path) -> None:
    source = corpus(
        tmp_path / "run",
        [],
        [],
        judge={"agreement": {"judged_stated": {"kappa": 0.5}}},
        words_histogram={"0-9": 1, "10+": 5},
    )
    assert read_corpus(source).warning == ""
    tables = {table.caption: table.rows for table in read_corpus(source).tables}
    assert tables["Judge"] == [("agreement.judged stated.kappa", "0.5")]
    assert tables["Words histogram"] == [("0-9", "1"), ("10+", "5")]


def test_a_corpus_of_which_little_passed_says_so_first(tmp_path: Path) -> None:
    source = corpus(tmp_path / "run", [document("a")], [], survival=0.4, survival_is_low=True)
    assert read_corpus(source).warning == "Only 40% of the documents that were written passed the filters."
