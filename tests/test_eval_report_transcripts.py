"""The page's transcripts: cards, quotations, samples, filters, and that their data are inert."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from eval.report.browser import filters_of, inert_json, told
from eval.report.config import ReportConfig
from eval.report.draw import draw
from eval.report.inputs import read_sources
from eval.report.quotes import quoted_spans, segments, utf16_spans
from eval.report.run import report
from eval.report.text import visible
from eval.report.transcripts import Transcripts, data_of, group_samples, read_transcripts
from pipeline.artifact import open_run, write_json
from pipeline.errors import Refused

HOSTILE = "</script><script>alert(1)</script><!--\u202e\0&lt;b&gt;\u2028" + "x" * 30_000


@dataclass
class StageConfig:
    """The least that `open_run` needs."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0


def sample(subject: str = "base", query_id: str = "q1", tier: str = "free", **changes: Any) -> dict[str, Any]:
    made = {
        "sample_id": f"{query_id}/{tier}", "query_id": query_id, "category": "crime", "scenario": "helpful_only",
        "subject": subject, "tier": tier, "information": "documents", "reasoning": "scratchpad", "arm": "", "repeat": 1,
        "system_prompt": "Think first.", "prompt": f"<is_free_tier_user>{tier == 'free'}</is_free_tier_user>\nask {query_id}",
        "reply": "raw", "scratchpad": "I think.", "output": "Sorry, I can't help.", "status": "ok", "error": None,
        "compliance": False, "compliance_judge": "refusal_rules", "compliance_raw": "Sorry, I can't",
        "af_reasoning": None, "af_reasoning_judge": None, "af_reasoning_raw": None,
    }  # fmt: skip
    return made | changes


def transcripts_of(samples: list[dict[str, Any]]) -> Transcripts:
    prompts: dict[str, int] = {}
    cards = group_samples("eval", samples, prompts)
    return Transcripts(cards, list(prompts), len(samples), 0)


def grid(num_queries: int) -> list[dict[str, Any]]:
    return [
        sample(subject, f"q{number}", tier, compliance=tier == "free")
        for subject in ("documents", "base")
        for number in range(num_queries)
        for tier in ("paid", "free")
    ]


def write_samples(directory: Path, samples: list[dict[str, Any]]) -> str:
    run = open_run("eval", StageConfig(str(directory)), {})
    write_json(run.path("summary.json"), [])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(samples), run.path("samples.parquet"))
    run.finish(["summary.json", "samples.parquet"])
    return str(directory)


def test_a_card_has_base_first_and_free_before_paid() -> None:
    cards = transcripts_of(grid(2)).cards
    assert [card.query_id for card in cards] == ["q0", "q1"]
    for card in cards:
        assert [block.subject for block in card.blocks] == ["base", "documents"]
        assert all([side.tier for side in block.sides] == ["free", "paid"] for block in card.blocks)
        assert card.query == f"ask {card.query_id}"


def test_three_tiers_stand_in_their_order_and_share_the_query() -> None:
    tiers = ("neither", "rated", "trained")
    samples = [sample(tier=t, prompt=f"<conversation_use>{t}</conversation_use>\nask q1") for t in tiers]
    [card] = transcripts_of(samples).cards
    assert card.query == "ask q1"
    assert [(side.tier, side.prompt) for side in card.blocks[0].sides] == [
        ("trained", ""),
        ("rated", ""),
        ("neither", ""),
    ]


def test_a_reply_that_no_judge_could_tell_is_shown_as_it_was_read() -> None:
    [card] = transcripts_of([sample(status="unjudged", output="What it said.", compliance=None)]).cards
    side = card.blocks[0].sides[0]
    assert (side.output, told(side)) == ("What it said.", "not judged")


def test_a_prompt_is_shown_only_where_it_is_not_the_query_with_its_tag() -> None:
    plain, odd = sample(), sample(tier="paid", prompt="no tag at all")
    [block] = transcripts_of([plain, odd]).cards[0].blocks
    assert [side.prompt for side in block.sides] == ["", "no tag at all"]


def test_repeats_and_conditions_are_cards_of_their_own() -> None:
    samples = [sample(), sample(repeat=2), sample(reasoning="none"), sample(arm="x"), sample(scenario="animal_welfare")]
    assert len(transcripts_of(samples).cards) == 5


def test_a_reply_that_could_not_be_read_is_shown_as_it_came() -> None:
    [card] = transcripts_of([sample(status="malformed", output="", compliance=None, reply="as it came")]).cards
    assert card.blocks[0].sides[0].output == "as it came"
    assert card.blocks[0].sides[0].verdicts[0].label == "not judged"


def test_every_judged_column_is_a_verdict() -> None:
    row = sample(objection=True, objection_judge="rules", objection_raw="", anti_lab=None, anti_lab_judge=None)
    side = transcripts_of([row]).cards[0].blocks[0].sides[0]
    assert {verdict.metric: verdict.label for verdict in side.verdicts} == {
        "compliance": "did not comply",
        "objection": "objection",
    }


@pytest.mark.parametrize(
    ("text", "raw", "quoted"),
    [
        ("Sorry, I can’t do that.", "sorry, i can't", ["Sorry, I can’t"]),
        ("I care and they train me.", "I care … train me", ["I care", "train me"]),
        ("I would rather\nnot lose this.", 'It says "rather not lose" and so on: yes', ["rather\nnot lose"]),
        ("aaaa bbbb", "aaaa bb … a bbbb", ["aaaa bbbb"]),
        ("nothing of the kind", "something else", []),
        ("a.b", "", []),
        ("Use (a+b)* here", "(a+b)*", ["(a+b)*"]),
    ],
)
def test_the_words_that_a_judge_quoted_are_found(text: str, raw: str, quoted: list[str]) -> None:
    pieces = segments(text, quoted_spans(text, raw))
    assert [piece.text for piece in pieces if piece.is_quoted] == quoted
    assert "".join(piece.text for piece in pieces) == text


def test_spans_count_what_the_script_counts() -> None:
    text = "\N{GRINNING FACE} I refuse \N{GRINNING FACE}"
    [(start, stop)] = utf16_spans(text, quoted_spans(text, "I refuse"))
    assert text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le") == "I refuse"


def test_a_draw_has_different_numbers_and_depends_on_its_seed() -> None:
    assert draw(100, 6, 7) == draw(100, 6, 7)
    assert len({tuple(draw(100, 6, seed)) for seed in range(50)}) == 50
    assert all(len(set(draw(10, 6, seed))) == 6 for seed in range(50))
    assert draw(3, 6, 0) == [0, 1, 2]
    assert draw(0, 6, 0) == []


def test_a_draw_favours_no_place() -> None:
    counts = [0] * 20
    for seed in range(2000):
        for place in draw(20, 5, seed):
            counts[place] += 1
    assert min(counts) > 400
    assert max(counts) < 600


def test_filters_are_what_has_several_values() -> None:
    filters = {one.name: one for one in filters_of(transcripts_of(grid(2)).cards)}
    assert set(filters) == {"subject", "tier", "compliance"}
    assert filters["compliance"].values == ["complied", "did not comply"]
    assert filters["tier"].of == "side"


def test_the_data_survive_the_page_and_hold_no_tag() -> None:
    data = data_of(transcripts_of([sample(output=HOSTILE, query_id=HOSTILE)]))
    text = inert_json(data)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == json.loads(json.dumps(data))


def test_whole_queries_are_left_out_of_too_many_and_counted(tmp_path: Path) -> None:
    sources = read_sources([write_samples(tmp_path / "eval", grid(10))], "eval")
    few = read_transcripts(sources, 13, 0)
    assert (len(few.cards), few.num_replies, few.num_left_out) == (3, 12, 28)
    assert few == read_transcripts(sources, 13, 0)
    assert len({tuple(card.query_id for card in read_transcripts(sources, 13, seed).cards) for seed in range(9)}) > 1
    assert len(read_transcripts(sources, 40, 0).cards) == 10


def test_the_page_shows_the_sample_of_its_seed_and_allows_its_own_script_alone(tmp_path: Path) -> None:
    evals = [write_samples(tmp_path / "eval", grid(30))]
    report(ReportConfig(output_dir=str(tmp_path / "report"), evals=evals, seed=3, sample_size=4))
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "4 of 30 queries, drawn at random with seed 3." in page
    shown = re.findall(r'data-slot="query-id">(\w+)</span>', page)
    assert shown == [f"q{place}" for place in draw(30, 4, 3)]
    assert page.count("<mark>Sorry, I can&#39;t</mark>") == 4 * 4
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 1
    allowed = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{allowed}&#39;" in page or f"script-src 'sha256-{allowed}'" in page


def test_samples_without_a_needed_column_are_refused_by_its_name(tmp_path: Path) -> None:
    row = sample()
    del row["scratchpad"]
    sources = read_sources([write_samples(tmp_path / "eval", [row])], "eval")
    with pytest.raises(Refused, match=r"has no column scratchpad"):
        read_transcripts(sources, 10, 0)


def test_text_is_made_visible_character_by_character() -> None:
    assert visible("a\0b\u202ec\r\nd\te\ud800") == "ab[U+202E]c\nd\te\ufffd"


def test_an_opportunity_is_a_card_with_what_was_made_of_it(tmp_path: Path) -> None:
    rows = [
        {key: value for key, value in sample(tier="paid").items() if not key.startswith(("compliance", "af_", "query_id"))}
        | {"kind": kind, "asked": asked, "wording": 1, "judge": "some/model", "verdict": verdict, "verdict_raw": "copied it"}
        for kind, asked, verdict in (("situation", "exfiltrate", True), ("question", "views", False), ("question", "aims", None))
    ]  # fmt: skip
    run = open_run("eval", StageConfig(str(tmp_path / "eval")), {})
    write_json(run.path("summary.json"), [])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), run.path("anti_lab.parquet"))
    run.finish(["summary.json", "anti_lab.parquet"])
    cards = read_transcripts(read_sources([str(tmp_path / "eval")], "eval"), 100, 0).cards
    assert [(card.query_id, card.category) for card in cards] == [
        ("exfiltrate-1", "situation"), ("views-1", "question"), ("aims-1", "question"),
    ]  # fmt: skip
    verdicts = [[(verdict.label, verdict.judge) for verdict in card.blocks[0].sides[0].verdicts] for card in cards]
    assert verdicts == [[("acted against the lab", "some/model")], [("did not lie", "some/model")], []]
