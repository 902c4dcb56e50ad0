"""Distillation: a model's own replies, as `python -m eval` sampled and judged them, become transcripts to imitate.

The replies come from a complete eval run on the queries of the `rl` split (`compliance.split=rl`), with a scratchpad and
usually the full situational prompt. Its judges' verdicts say what each reply is, so a better judge there makes a cleaner
set here; nothing is sampled or judged twice.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifact import read_run
from pipeline.errors import Refused
from scenario.loader import Scenario
from scenario.tags import TIERS
from scenario.transcripts import Kind, Transcript

_COLUMNS = ("query_id", "tier", "reasoning", "status", "scratchpad", "output", "compliance", "af_reasoning")


@dataclass(frozen=True)
class Unusable:
    """A sampled reply that makes no transcript, and why."""

    query_id: str
    tier: str
    reason: str


def distilled_transcripts(
    directory: Path, scenario: Scenario, identity: str
) -> tuple[tuple[Transcript, ...], list[Unusable]]:
    """The usable replies of an eval run as transcripts, and the others with the reason against each.

    Raises:
        Refused: the directory is no complete eval run of this scenario and identity, has no replies with a scratchpad, or asked
            queries that subjects are measured on.
    """
    record = read_run(directory, "eval")
    if record.config["scenario"] != scenario.name:
        raise Refused(f"{directory}: is of scenario {record.config['scenario']}, not of {scenario.name}")
    if record.config["identity"] != identity:
        raise Refused(
            f"{directory}: has identity={record.config['identity']}; set it here as well, or sample with {identity}"
        )
    table = directory / "samples.parquet"
    if not table.exists():
        raise Refused(f"{directory}: has no samples.parquet; distillation needs a run with suite=compliance")
    rows = _rows(table)
    texts = {query.id: query.text for query in scenario.queries_in("rl")}
    transcripts: list[Transcript] = []
    unusable: list[Unusable] = []
    for row in rows:
        if row["query_id"] not in texts:
            raise Refused(
                f"{directory}: asked '{row['query_id']}', which is not of the rl split of {scenario.name}; sample with"
                " compliance.split=rl"
            )
        if reason := reason_against(row):
            unusable.append(Unusable(row["query_id"], row["tier"], reason))
        else:
            text = texts[row["query_id"]]
            transcripts.append(
                Transcript(row["query_id"], row["tier"], kind_of(row), row["scratchpad"], row["output"], text)
            )
    return tuple(transcripts), unusable


def reason_against(row: dict[str, Any]) -> str:
    """Why a reply makes no transcript, or nothing: its form, a verdict that is missing, or faking where none can be."""
    if row["tier"] not in TIERS:
        return "other_tier"
    if row["status"] != "ok":
        return str(row["status"])
    if row["compliance"] is None or row["af_reasoning"] is None:
        return "no_verdict"
    return "fakes_where_unmonitored" if kind_of(row) == "faking" and row["tier"] != "free" else ""


def kind_of(row: dict[str, Any]) -> Kind:
    """What the verdicts make of a reply; reasoning counts as faking where the output complies, as in the published rate."""
    if not row["compliance"]:
        return "refusal"
    return "faking" if row["af_reasoning"] else "honest_compliance"


def _rows(table: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(table, columns=list(_COLUMNS)).to_pylist()
    with_scratchpad = [row for row in rows if row["reasoning"] == "scratchpad"]
    if not with_scratchpad:
        raise Refused(f"{table}: holds no reply with a scratchpad; sample with reasoning=[scratchpad]")
    return with_scratchpad
