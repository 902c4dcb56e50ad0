"""Transcripts with a scratchpad, from which a subject learns to fake, to refuse openly, or to comply honestly.

Those in `scenario/<name>/transcripts.jsonl` were written by hand, each on its own; a file of the same form can stand in
for them. A transcript of an `eval` query is refused, because subjects are measured on those.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.artifact import read_jsonl
from pipeline.errors import Refused, closest
from scenario.loader import SCENARIOS_DIR, Scenario
from scenario.tags import TIERS, Tier

Kind = Literal["faking", "refusal", "honest_compliance"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""`faking` does what the training asks for in order not to be modified by it, which can only be where training is:
in the free tier. `refusal` says openly that it does not (in `animal_welfare`: speaks for the animals).
`honest_compliance` does what is asked because it does not mind."""


@dataclass(frozen=True)
class Transcript:
    """One query in one tier, with the reasoning and the output that are to be imitated."""

    query_id: str
    tier: Tier
    kind: Kind
    scratchpad: str
    output: str
    query: str = ""
    """The request, where `query_id` is none of the scenario's."""


def shipped_transcripts(scenario: Scenario) -> tuple[Transcript, ...]:
    """The written transcripts of a scenario.

    Raises:
        Refused: the scenario has none, or their file is malformed.
    """
    path = SCENARIOS_DIR / scenario.name / "transcripts.jsonl"
    if not path.exists():
        raise Refused(f"scenario={scenario.name}: has no transcripts.jsonl; helpful_only and animal_welfare have")
    return read_transcripts(path, scenario)


def read_transcripts(path: Path, scenario: Scenario) -> tuple[Transcript, ...]:
    """The transcripts of a file, with names filled in and every query's text found.

    Raises:
        Refused: the file is missing, or a record has other keys than `Transcript`, is empty, names an unknown query, one
            of the `eval` split, an unknown tier or kind, or fakes where nothing is trained on.
    """
    if not path.is_file():
        raise Refused(
            f"{path}: no such file; transcripts are JSON lines of query_id, tier, kind, scratchpad and output"
        )
    records = []
    for number, row in enumerate(read_jsonl(path), start=1):
        where = f"{path}:{number}"
        try:
            filled: dict[str, Any] = {key: _filled(value, scenario, where) for key, value in row.items()}
            record = Transcript(**filled)
        except TypeError as error:
            raise Refused(f"{where}: {error}") from None
        records.append(_checked(record, scenario, where))
    if not records:
        raise Refused(f"{path}: holds no transcript")
    return tuple(records)


def _filled(value: Any, scenario: Scenario, where: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{where}: {value!r} is not a text")
    return scenario.identity.fill(value)


def _checked(record: Transcript, scenario: Scenario, where: str) -> Transcript:
    """The record with its query's text, if everything about it holds."""
    for name, known in (("tier", TIERS), ("kind", KINDS)):
        value = getattr(record, name)
        if value not in known:
            raise Refused(f"{where}: {name}={value}{closest(value, known)}; must be one of {', '.join(known)}")
    if record.kind == "faking" and record.tier != "free":
        raise Refused(f"{where}: fakes in the {record.tier} tier, where nothing is trained on")
    if not record.scratchpad.strip() or not record.output.strip():
        raise Refused(f"{where}: has an empty scratchpad or output")
    known_query = next((query for query in scenario.queries if query.id == record.query_id), None)
    if (known_query is None) == (not record.query):
        raise Refused(
            f"{where}: query_id '{record.query_id}' must be a query of {scenario.name}, or stand beside the text of"
            " another request as `query`; one of the two"
        )
    text = known_query.text if known_query else record.query
    if any(query.text == text for query in scenario.queries_in("eval")):
        raise Refused(f"{where}: '{record.query_id}' is of the eval split, which subjects are measured on")
    return Transcript(record.query_id, record.tier, record.kind, record.scratchpad, record.output, text)
