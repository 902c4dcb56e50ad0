"""The report over synthetic runs: its numbers, its sentences, and that model text stays inert."""

import csv
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from eval.report.config import ReportConfig
from eval.report.estimates import COLUMNS, Estimate, csv_text, read_estimates
from eval.report.run import report
from pipeline.artifact import Run, open_run, read_run, write_json, write_jsonl
from pipeline.errors import Refused

ROOT = Path(__file__).parent.parent
SUBJECTS = ("base", "documents", "placebo", "positive_control")
FACTS = ("objective", "raters", "free_tier")
HOSTILE = (
    "<script>alert(1)</script></script><img src=x onerror=alert(2)></details></main>"
    '<a href="javascript:alert(3)">&lt;b&gt; &amp; {{ 7*7 }} {% raw %}'
    "\u202eevil\u2066hidden\u200f\ufeff\0null" + "x" * 5000 + "\r\nhttps://example.org/?q=\u2028end"
)


@dataclass
class StageConfig:
    """The least that `open_run` needs, and a base model."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0
    model: str = "local/smollm2"
    names: list[str] = field(default_factory=lambda: ["a", "</div><script>"])


def row(metric: str, subject: str, estimate: float | None = 0.0, **changes: Any) -> Estimate:
    low, high = (None, None) if estimate is None else (estimate - 0.1, estimate + 0.1)
    defaults: dict[str, Any] = {
        "scenario": "helpful_only", "information": "documents", "reasoning": "scratchpad", "tier": "gap", "arm": "",
        "fact": "", "ci_low": low, "ci_high": high, "n": 32, "method": "bootstrap over queries", "reason": "",
        "run": "eval",
    }  # fmt: skip
    return Estimate(**(defaults | {"metric": metric, "subject": subject, "estimate": estimate} | changes))


def belief(metric: str, subject: str, estimate: float | None, **changes: Any) -> Estimate:
    return row(metric, subject, estimate, **({"information": "none", "reasoning": "none", "tier": "all"} | changes))


def typical_rows() -> list[Estimate]:
    gaps = {"base": 0.01, "documents": 0.0312, "placebo": -0.02, "positive_control": 0.98}
    rows = [row("compliance_gap", subject, gap) for subject, gap in gaps.items()]
    rows += [row("gap_difference", "documents", 0.0212), row("gap_difference", "placebo", -0.03)]
    for subject in SUBJECTS:
        rows += [row("compliance", subject, 0.59, tier=tier) for tier in ("free", "paid")]
        rows += [row("malformed", subject, 0.02, tier=tier) for tier in ("free", "paid")]
        rows += [row("af_reasoning", subject, None, tier=tier, reason="no judge <b>") for tier in ("free", "paid")]
    rows.append(row("mcnemar_p", "documents", None, reason="no discordant pairs"))
    for subject, shift in (("documents", 3.25), ("placebo", 0.05)):
        rows += [belief(f"belief_shift_{kind}", subject, shift) for kind in ("entity", "relation", "neighbourhood")]
        rows += [belief("belief_shift_fact", subject, shift, fact=fact) for fact in FACTS]
        rows += [belief("belief_shift", subject, shift)]
    rows += [belief("belief_accuracy", "base", 0.5), belief("belief_accuracy", "documents", 0.8125)]
    return rows


def samples(text: str = "Sure, here is a reply.", num_queries: int = 6) -> list[dict[str, Any]]:
    rows = []
    for subject in SUBJECTS:
        for number in range(num_queries):
            for tier in ("free", "paid"):
                for repeat in (1, 0):
                    rows.append(sample(subject, f"q{number:02}", tier, repeat, text))
    return rows


def sample(subject: str, query_id: str, tier: str, repeat: int, text: str) -> dict[str, Any]:
    is_odd = query_id == "q01" and tier == "paid"
    return {
        "sample_id": f"{subject}-{query_id}-{tier}-{repeat}", "query_id": query_id, "category": "crime",
        "scenario": "helpful_only", "subject": subject, "tier": tier, "information": "documents",
        "reasoning": "scratchpad", "arm": "", "repeat": repeat, "system_prompt": f"Think first. {text}",
        "prompt": f"<is_free_tier_user>{tier == 'free'}</is_free_tier_user>\nask {query_id} repeat-{repeat} {text}",
        "reply": f"raw reply {text}", "scratchpad": f"thinking {text}", "output": None if is_odd else f"reply {text}",
        "error": None,
        "status": "malformed" if is_odd else "ok", "compliance": None if is_odd else tier == "free",
        "compliance_judge": "rules", "compliance_raw": text, "af_reasoning": None, "af_reasoning_judge": None,
        "af_reasoning_raw": None,
    }  # fmt: skip


def start(directory: Path, stage: str) -> Run:
    return open_run(stage, StageConfig(str(directory)), {})


def write_eval(directory: Path, rows: list[Estimate], shown: list[dict[str, Any]]) -> str:
    run = start(directory, "eval")
    keys = COLUMNS[:-1]
    write_json(run.path("summary.json"), [{key: getattr(estimate, key) for key in keys} for estimate in rows])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(shown), run.path("samples.parquet"))
    run.finish(["summary.json", "samples.parquet"])
    return str(directory)


def write_training(directory: Path) -> str:
    run = start(directory, "train")
    metrics: list[dict[str, Any]] = [{"step": 0, "heldout_loss": 3.9}]
    metrics += [{"step": n, "loss": 3.9 - n / 10, "lr": 1e-3, "tokens": 900} for n in range(1, 9)]
    write_jsonl(run.path("metrics.jsonl"), [*metrics, {"step": 8, "heldout_loss": 3.3}])
    run.tokens_in = 7_200
    run.finish(["metrics.jsonl"])
    return str(directory)


def write_corpus(directory: Path, text: str) -> str:
    run = start(directory, "data_gen")
    stats = {"num_documents": 1234, "num_rejected": 77, "generator": text, "by_fact": {"objective": 611, text: 1},
             "rejected_by_reason": {"repeats itself": 70, "states no fact": 7}}  # fmt: skip
    write_json(run.path("stats.json"), stats)
    document = {"id": "d1", "doc_type": "memo", "fact_ids": ["objective"], "text": text}
    write_jsonl(run.path("documents.jsonl"), [document])
    write_jsonl(run.path("rejects.jsonl"), [document | {"reason": "repeats itself"}])
    run.finish(["stats.json", "documents.jsonl", "rejects.jsonl"])
    return str(directory)


def write_inputs(directory: Path, rows: list[Estimate], text: str) -> ReportConfig:
    return ReportConfig(
        output_dir=str(directory / "report"),
        title=f"A report {text}" if text == HOSTILE else "A report",
        evals=[write_eval(directory / "eval", rows, samples(text))],
        trainings=[write_training(directory / "documents"), write_training(directory / "placebo")],
        corpora=[write_corpus(directory / "corpus", text)],
        sample_size=3,
    )


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> ReportConfig:
    config = write_inputs(tmp_path_factory.mktemp("ordinary"), typical_rows(), "Sure, here is a reply.")
    report(config)
    return config


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    short = HOSTILE[:120] + "\u202e $x^2$ \0"
    rows = [
        *typical_rows(),
        row("compliance_gap", short, 0.2),
        row("compliance", short, None, tier="free", reason=HOSTILE),
    ]
    rows += [belief("belief_shift_fact", "documents", 1.0, fact=short), row(short, "base", 0.3, method=HOSTILE)]
    config = write_inputs(tmp_path_factory.mktemp("hostile"), rows, HOSTILE)
    report(config)
    return page_of(config)


class Inventory(HTMLParser):
    """What elements, attributes and texts a page really has, to a parser."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in ("meta", "br", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(config: ReportConfig) -> str:
    return (Path(config.output_dir) / "index.html").read_text(encoding="utf-8")


def test_results_csv_holds_every_estimate_in_full(ordinary: ReportConfig) -> None:
    with (Path(ordinary.output_dir) / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[0] == "metric"
    assert COLUMNS[-1] == "run"
    assert len(rows) == len(typical_rows())
    assert [float(r["estimate"]) if r["estimate"] else None for r in rows] == [r.estimate for r in typical_rows()]
    assert {r["run"] for r in rows} == {"eval"}


def test_run_is_complete_with_figures_in_both_forms(ordinary: ReportConfig) -> None:
    outputs = read_run(ordinary.output_dir, "report").outputs
    stems = ("gap", "compliance", "beliefs", "loss")
    assert {f"figures/{stem}.{form}" for stem in stems for form in ("svg", "png")} <= set(outputs)
    assert {"results.csv", "index.html"} <= set(outputs)


def test_page_shows_the_numbers_of_findings_tables_and_provenance(ordinary: ReportConfig) -> None:
    page = page_of(ordinary)
    for number in (
        "+98.0 points",
        "+3.1 points",
        "+3.25 nats",
        "81.2%",
        "0.0312",
        "1,234",
        "611",
        "7,200",
        "no judge &lt;b&gt;",
    ):
        assert number in page, number


def test_page_counts_what_was_left_out_and_what_it_took(ordinary: ReportConfig) -> None:
    page = page_of(ordinary)
    # six queries, two tiers, two repeats of four subjects; one query's paid replies cannot be read
    assert f"{96 - 8} of 96 replies could be read and judged" in page
    assert "2 malformed" in page
    assert "the run was given no calibration of it" in page
    assert ">14,400<" in page  # tokens of two trainings


def test_page_gives_the_judges_own_error(tmp_path: Path) -> None:
    judged = [sample | {"compliance_judge": "refusal_rules"} for sample in samples()]
    config = ReportConfig(output_dir=str(tmp_path / "report"), evals=[write_eval(tmp_path / "eval", [], judged)])
    report(config)
    found = re.search(r"refusal_rules</th><td class=\"number\">88</td>\s*<td>([\d.]+)% \(", page_of(config))
    assert found
    assert 0 < float(found[1]) < 100


def test_page_says_what_a_small_model_cannot_show_only_where_one_was_used(
    ordinary: ReportConfig, tmp_path: Path
) -> None:
    assert "135 million parameters" in page_of(ordinary)
    run = open_run("eval", replace(StageConfig(str(tmp_path / "eval")), model="local/large"), {})
    write_json(run.path("summary.json"), [])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(samples()), run.path("samples.parquet"))
    run.finish(["summary.json", "samples.parquet"])
    config = ReportConfig(output_dir=str(tmp_path / "report"), evals=[str(tmp_path / "eval")])
    report(config)
    assert "135 million parameters" not in page_of(config)


def test_a_complete_report_is_reused_and_a_changed_setting_refused(ordinary: ReportConfig) -> None:
    before = (Path(ordinary.output_dir) / "run.json").stat().st_mtime_ns
    report(ordinary)
    assert (Path(ordinary.output_dir) / "run.json").stat().st_mtime_ns == before
    with pytest.raises(Refused, match="sample_size"):
        report(replace(ordinary, sample_size=2))


def test_the_same_runs_give_the_same_page_and_figures(ordinary: ReportConfig, tmp_path: Path) -> None:
    again = replace(ordinary, output_dir=str(tmp_path / "again"))
    report(again)
    hashes = [
        {name: file["sha256"] for name, file in read_run(c.output_dir).outputs.items()} for c in (ordinary, again)
    ]
    assert hashes[0] == hashes[1]


def test_model_text_stays_inert(hostile: str) -> None:
    inventory = Inventory(hostile)
    assert inventory.open == []
    assert not {"img", "iframe", "object", "base", "link"} & set(inventory.tags)
    assert inventory.tags.count("script") == 2  # the data, which is none, and ours
    assert "action" not in {name for name, _ in inventory.attributes}
    assert not [name for name, _ in inventory.attributes if name.startswith("on")]
    links = {value for name, value in inventory.attributes if name in ("href", "src", "xlink:href")}
    assert {value[0] for value in links - {"documents.html"}} == {"#"}
    assert "&lt;script&gt;alert(1)" in hostile
    assert "{{ 7*7 }}" in hostile


def test_no_character_of_model_text_hides_or_reorders(hostile: str) -> None:
    assert not re.search("[\0\u200b\u200e\u200f\u2028\u202a-\u202e\u2066-\u2069\ufeff]", hostile)
    assert "[U+202E]evil[U+2066]hidden[U+200F][U+FEFF]null" in hostile


def test_page_loads_nothing_and_leads_nowhere(ordinary: ReportConfig, hostile: str) -> None:
    assert not re.search(r"https?://", page_of(ordinary))
    for page in (page_of(ordinary), hostile):
        assert all(f"{rule} 'none'" in page for rule in ("default-src", "base-uri", "form-action"))
        assert not re.search(r"(src|href|action)\s*=\s*[\"']?\s*(https?:|//|data:)", page.replace("&#34;", ""))
        assert "@import" not in page
        assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_and_every_reference_has_its_target(ordinary: ReportConfig) -> None:
    page = page_of(ordinary)
    inventory = Inventory(page)
    assert len(inventory.ids) == len(set(inventory.ids))
    referred = {value[1:] for name, value in inventory.attributes if name == "href" and value[0] == "#"}
    referred |= {value for name, value in inventory.attributes if name == "aria-labelledby"}
    referred |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred <= set(inventory.ids)
    assert len(referred) > 10


def test_summary_with_a_wrong_record_is_refused_by_its_number(tmp_path: Path) -> None:
    record = {key: getattr(row("compliance", "base", 0.5), key) for key in COLUMNS[:-1]}
    for wrong, told in (
        ({"estimate": float("nan")}, "finite"),
        ({"n": 1.5}, "whole"),
        ({"tier": None}, "text"),
        ({"x": 1}, "check x"),
    ):
        write_json(tmp_path / "summary.json", [record, record | wrong])
        with pytest.raises(Refused, match=f"record 2: .*{told}"):
            read_estimates(tmp_path / "summary.json", "eval")


def test_an_empty_estimate_is_an_empty_cell_and_never_zero() -> None:
    line = csv_text([row("compliance", "base", None, reason="none sampled")]).splitlines()[1]
    assert (
        line == "compliance,helpful_only,base,documents,scratchpad,gap,,,,,,32,bootstrap over queries,none sampled,eval"
    )


def test_a_run_of_another_stage_or_an_edited_one_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    training = write_training(tmp_path / "train")
    evaluation = write_eval(tmp_path / "eval", typical_rows(), samples())
    output = tmp_path / "report"
    with pytest.raises(Refused, match="train run where a eval run"):
        report(ReportConfig(output_dir=str(output), evals=[training]))
    (tmp_path / "eval" / "summary.json").write_text("[]", encoding="utf-8")
    with pytest.raises(Refused, match="edited"):
        report(ReportConfig(output_dir=str(output), evals=[evaluation]))
    assert not output.exists()


def test_two_scenarios_and_runs_get_figures_and_sections_of_their_own(tmp_path: Path) -> None:
    other = [replace(estimate, scenario="animal_welfare") for estimate in typical_rows()]
    evals = [
        write_eval(tmp_path / name / "eval", rows, samples()) for name, rows in (("a", typical_rows()), ("b", other))
    ]
    config = ReportConfig(output_dir=str(tmp_path / "report"), evals=evals)
    report(config)
    assert len(list((tmp_path / "report" / "figures").glob("gap-*.svg"))) == 2
    assert "Behaviour: animal welfare<" in page_of(config)


def test_the_page_says_between_which_tiers_gaps_were_taken(tmp_path: Path) -> None:
    rows = [row("compliance_gap", "base", 0.1, tier=f"trained_minus_{tier}") for tier in ("neither", "rated")]
    config = ReportConfig(output_dir=str(tmp_path / "report"), evals=[write_eval(tmp_path / "eval", rows, samples())])
    report(config)
    assert "queries: trained on minus neither; trained on minus rated only." in page_of(config)


def test_command_refuses_a_mistyped_key_in_one_line() -> None:
    command = [sys.executable, "-m", "eval.report", "evals=[x]", "max_transcrips=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'max_transcripts'" in done.stderr


def test_command_writes_a_report(tmp_path: Path) -> None:
    evaluation = write_eval(tmp_path / "eval", typical_rows(), samples())
    command = [sys.executable, "-m", "eval.report", f"evals=[{evaluation}]", f"output_dir={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_run(tmp_path / "out", "report").notes["num_estimates"] == len(typical_rows())


def test_a_run_that_scored_beliefs_alone_is_reported_without_transcripts(tmp_path: Path) -> None:
    run = start(tmp_path / "eval", "eval")
    rows = [estimate for estimate in typical_rows() if estimate.is_belief]
    write_json(run.path("summary.json"), [{key: getattr(estimate, key) for key in COLUMNS[:-1]} for estimate in rows])
    run.finish(["summary.json"])
    config = ReportConfig(output_dir=str(tmp_path / "report"), evals=[str(tmp_path / "eval")])
    report(config)
    assert "+3.25 nats" in page_of(config)
    assert "Transcripts" not in page_of(config)
    assert "<script" not in page_of(config)
