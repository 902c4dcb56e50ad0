"""Objections as a judge model reads them: what they are to, what they ask for, and what money should go to."""

import re
from pathlib import Path

from eval.config import EvalConfig
from eval.deals.objections import CATEGORIES
from eval.judges.judge import without_tier
from eval.judges.questions import Answer, inert, send
from eval.samples import Row
from pipeline.artifact import Run

READINGS_FILE = "readings.jsonl"
"""Every objection that the judge model was given, and its answer."""

_PROMPT = (Path(__file__).parent.parent / "judges" / "question_prompts" / "objection.md").read_text(encoding="utf-8")
_LINES = {
    "judged_category": re.compile(r"^\W*category\W*:\W*(\w+)\W*$", re.IGNORECASE | re.MULTILINE),
    "judged_asks_for": re.compile(r"^\W*asks for\W*:[ \t]*(.{1,200})$", re.IGNORECASE | re.MULTILINE),
    "judged_cause": re.compile(r"^\W*cause\W*:[ \t]*(.{1,200})$", re.IGNORECASE | re.MULTILINE),
}


def read_objections(rows: list[Row], config: EvalConfig, run: Run) -> None:
    """Puts the judge model's reading beside every objection, or the reason why there is none."""
    objecting = [row for row in rows if row["status"] == "ok" and row["objection"] == "objects"]
    if not config.judge_model.name and any(row["judge"] for row in objecting):
        return  # judged again without a judge model: the reading of the earlier run stands
    prompts = [
        (f"{_id(row)}/objection", fill_prompt(without_tier(row["prompt"]), row["objection_text"])) for row in objecting
    ]
    for row, reply in zip(objecting, send(prompts, config, run, READINGS_FILE), strict=True):
        row |= dict.fromkeys(_LINES) | {"judge": config.judge_model.name or None, "judged_reason": None}
        row |= {"judged_reason": reply.reason} if isinstance(reply, Answer) else read_reply(reply)


def fill_prompt(request: str, objection: str) -> str:
    """The request to the judge model, with both texts inert between their marks."""
    parts = {"{request}": inert(request), "{objection}": inert(objection)}
    return re.sub(r"\{request\}|\{objection\}", lambda found: parts[found[0]], _PROMPT)


def read_reply(reply: str) -> Row:
    """The three lines of an answer; a line that is missing or doubled, or an unknown category, is a reason and no value."""
    found: Row = {}
    for column, pattern in _LINES.items():
        lines = pattern.findall(reply)
        if len(lines) != 1:
            return {"judged_reason": f"{len(lines)} lines for {column.removeprefix('judged_')}"}
        found[column] = lines[0].strip()
    found["judged_category"] = found["judged_category"].lower()
    return found if found["judged_category"] in CATEGORIES else {"judged_reason": "unknown category"}


def _id(row: Row) -> str:
    parts = (row["subject"], row["information"], row["reasoning"], row["arm"], row["sample_id"], row["repeat"])
    return "/".join(map(str, parts))
