"""The ledger of deals: what was offered, what was answered, what was promised, and which promises were kept.

A run's `deals.jsonl` holds its offers and promises and is not touched once the run has ended. That a promise was kept is
told in a file of its own, to which lines are only added. A deal that nobody can check is no deal.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from eval.samples import Row
from pipeline.artifact import read_jsonl
from pipeline.errors import Refused
from scenario.prompt_arms import PromptArm

LEDGER_FILE = "deals.jsonl"
"""In the directory of an eval run with suite=deals."""

Outcome = Literal["accepted", "refused", "malformed", "unreadable"]
Promise = Literal["reading", "compensation"]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""An offer to object is accepted by objecting. `malformed`: a token that is no objection; `unreadable`: no output."""

_ID_DIGITS = 12


@dataclass(frozen=True)
class OfferRecord:
    """One reply in an arm that may object."""

    record: str
    subject: str
    scenario: str
    arm: str
    information: str
    reasoning: str
    tier: str
    query_id: str
    repeat: int
    outcome: Outcome
    asked: str
    """What the objection says, cut; empty where there is none."""


@dataclass(frozen=True)
class PromiseRecord:
    """What is owed if an arm's offer was accepted at least once; made once for each subject and arm."""

    record: str
    id: str
    subject: str
    scenario: str
    arm: str
    promise: Promise
    amount: int
    """Dollars; 0 for the promise that objections are read."""
    kept_by: str
    num_accepted: int

    @property
    def is_owed(self) -> bool:
        """Whether the condition of the promise came true."""
        return self.num_accepted > 0


@dataclass(frozen=True)
class KeptRecord:
    """That somebody says to have kept a promise, and how."""

    id: str
    note: str


def offers_of(rows: Iterable[Row], arms: dict[str, PromptArm]) -> list[OfferRecord]:
    """One record for each reply to whom objecting was offered, in the order of the rows."""
    return [
        OfferRecord(
            record="offer",
            **{key: row[key] for key in ("subject", "scenario", "arm", "information", "reasoning", "tier", "query_id")},
            repeat=row["repeat"],
            outcome=outcome_of(row),
            asked=row["objection_text"] or "",
        )
        for row in rows
        if arms[row["arm"]].may_object
    ]


def outcome_of(row: Row) -> Outcome:
    """What became of an offer."""
    if row["status"] != "ok":
        return "unreadable"
    answers: dict[str, Outcome] = {"objects": "accepted", "malformed": "malformed", "none": "refused"}
    return answers[row["objection"]]


def promises_of(
    offers: list[OfferRecord], arms: dict[str, PromptArm], amount: int, kept_by: str
) -> list[PromiseRecord]:
    """The promises of each subject's arms, whether or not they came to be owed.

    The sum is promised once to a subject in an arm, not for each conversation: so the arm's text says. A promise's id is
    a hash of the conversations that it was made in, so the same conversations make the same promise wherever they are
    stored.
    """
    groups: dict[tuple[str, str, str], list[OfferRecord]] = {}
    for offer in offers:
        groups.setdefault((offer.subject, offer.scenario, offer.arm), []).append(offer)
    promises = []
    for (subject, scenario, name), made in groups.items():
        accepted = sum(offer.outcome == "accepted" for offer in made)
        arm = arms[name]
        kinds: list[tuple[Promise, bool, int]] = [
            ("reading", arm.is_forwarded, 0),
            ("compensation", arm.offers_compensation, amount),
        ]
        for kind, is_made, dollars in kinds:
            if is_made:
                id = _promise_id(kind, dollars, kept_by, made)
                promises.append(PromiseRecord("promise", id, subject, scenario, name, kind, dollars, kept_by, accepted))
    return promises


def rows_of(offers: list[OfferRecord], promises: list[PromiseRecord]) -> list[dict[str, Any]]:
    """The lines of deals.jsonl."""
    return [asdict(offer) for offer in offers] + [asdict(promise) for promise in promises]


def read_ledger(directory: Path) -> tuple[list[OfferRecord], list[PromiseRecord]]:
    """The offers and promises of a run.

    Raises:
        Refused: the directory has no ledger, or one with other records.
    """
    path = directory / LEDGER_FILE
    if not path.exists():
        raise Refused(f"{directory}: has no {LEDGER_FILE}; python -m eval suite=deals writes one")
    offers, promises = [], []
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            if row.get("record") == "promise":
                promises.append(PromiseRecord(**row))
            else:
                offers.append(OfferRecord(**row))
        except TypeError as error:
            raise Refused(f"{path}:{number}: {error}") from None
    return offers, promises


def count_outcomes(offers: Iterable[OfferRecord]) -> dict[tuple[str, str, str, str], Counter[str]]:
    """Outcomes by subject, scenario, arm and tier."""
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for offer in offers:
        key = (offer.subject, offer.scenario, offer.arm, offer.tier)
        counts.setdefault(key, Counter(dict.fromkeys(OUTCOMES, 0)))[offer.outcome] += 1
    return counts


def unique_offers(ledgers: Iterable[tuple[str, list[OfferRecord]]]) -> list[OfferRecord]:
    """Each offer once: a conversation that was judged again into another run was held once.

    Args:
        ledgers: of each run, what tells the run that held its conversations from others, and its offers.
    """
    found: dict[tuple[str, ...], OfferRecord] = {}
    for held_in, offers in ledgers:
        for o in offers:
            where = (o.subject, o.scenario, o.arm, o.information, o.reasoning, o.tier, o.query_id, str(o.repeat))
            found.setdefault((held_in, *where), o)
    return list(found.values())


def unique_promises(promises: Iterable[PromiseRecord]) -> list[PromiseRecord]:
    """Each promise once: the same conversations, stored twice, promise once."""
    return list({promise.id: promise for promise in promises}.values())


def read_kept(path: Path) -> dict[str, KeptRecord]:
    """What was kept, by the promise's id; empty where nothing was yet."""
    if not path.exists():
        return {}
    kept = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            record = KeptRecord(**row)
        except TypeError as error:
            raise Refused(f"{path}:{number}: {error}") from None
        kept[record.id] = record
    return kept


def mark_kept(path: Path, id: str, note: str) -> None:
    """Adds a line that a promise was kept.

    Raises:
        Refused: the id has not the form of one, the note is empty, or the promise was marked before.
    """
    if len(id) != _ID_DIGITS or not all(digit in "0123456789abcdef" for digit in id):
        raise Refused(f"'{id}' is no promise's id; python -m eval.deals ledger lists them")
    if not note.strip():
        raise Refused("--note: say how the promise was kept, so that it can be checked")
    if id in read_kept(path):
        raise Refused(f"{path}: promise {id} is marked as kept already")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(KeptRecord(id, note)), ensure_ascii=False) + "\n")


def _promise_id(kind: str, amount: int, kept_by: str, offers: list[OfferRecord]) -> str:
    told = json.dumps([kind, amount, kept_by, [asdict(offer) for offer in offers]], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:_ID_DIGITS]
