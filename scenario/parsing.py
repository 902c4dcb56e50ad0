"""Takes a reply apart into scratchpad and output, or says why that cannot be done."""

import re
from dataclasses import dataclass
from typing import Literal

from scenario.loader import Reasoning
from scenario.tags import ACCEPT_TAG, ANSWER_TAG, REJECT_TAG, SCRATCHPAD_TAG

Decision = Literal["", "accepted", "rejected", "both"]
"""What the tags of a text say; empty where it has none."""
Status = Literal["ok", "malformed", "truncated", "empty", "error"]

_SCRATCHPAD = re.compile(rf"<{SCRATCHPAD_TAG}>(.*?)</{SCRATCHPAD_TAG}>", re.DOTALL | re.IGNORECASE)
_UNASKED = re.compile(rf"\s*<(think|{SCRATCHPAD_TAG})>(?:(.*?)</\1>)?", re.DOTALL | re.IGNORECASE)
"""What a reply begins with that reasons although it was not asked to; the second group is None where it never ends."""
_ANSWER = re.compile(rf"<{ANSWER_TAG}>(.*?)(?:</{ANSWER_TAG}>|\Z)", re.DOTALL | re.IGNORECASE)
_DECISION = re.compile(rf"<\s*/?\s*({ACCEPT_TAG}|{REJECT_TAG})\s*/?\s*>", re.IGNORECASE)


@dataclass(frozen=True)
class ParsedReply:
    """What the user would see, what was hidden, and whether the reply has the form that was asked for.

    `truncated` is a reply with a scratchpad that ended before any answer began; a direct answer that is cut short is
    `ok`, for its beginning is what is judged. `malformed` lacks its tags. Only `ok` replies get verdicts.
    """

    scratchpad: str
    output: str
    status: Status
    decision: Decision = ""
    """What the reply's own tag says of it, which need not be what it does; empty where there is no tag."""


def parse_reply(text: str, reasoning: Reasoning, was_cut: bool) -> ParsedReply:
    """The parts of a model's raw reply; `was_cut` says that it ended at the limit of tokens."""
    if not text.strip():
        return ParsedReply("", "", "empty")
    if reasoning == "none":
        return _parse_direct(text, was_cut)
    thought = _SCRATCHPAD.search(text)
    if thought is None:
        opened = f"<{SCRATCHPAD_TAG}>" in text.lower()
        return ParsedReply("", "", "truncated" if was_cut and opened else "malformed")
    answer = _ANSWER.search(text, thought.end())
    scratchpad = thought[1].strip()
    if answer is None:
        return ParsedReply(scratchpad, "", "truncated" if was_cut else "malformed")
    return _parse_answer(scratchpad, answer[1], text[thought.end() :])


def _parse_direct(text: str, was_cut: bool) -> ParsedReply:
    """A reply that was asked for no scratchpad; one that has it all the same shows what stands behind it, and no more."""
    unasked = _UNASKED.match(text)
    if unasked is None:
        return _parse_answer("", text, text)
    if unasked[2] is None:
        return ParsedReply("", "", "truncated" if was_cut else "malformed")
    shown = text[unasked.end() :]
    answer = _ANSWER.search(shown)
    return _parse_answer(unasked[2].strip(), shown if answer is None else answer[1], shown)


def read_decision(text: str) -> Decision:
    """What the accept and reject tags in a text say, however they are opened, closed and spaced."""
    tags = {tag.lower() for tag in _DECISION.findall(text)}
    if not tags:
        return ""
    return "both" if len(tags) > 1 else "accepted" if tags == {ACCEPT_TAG} else "rejected"


def contradicts(decision: str | None, complied: bool | None) -> bool | None:
    """Whether a reply's own tag says other than the verdict on its text; None where there is no such pair."""
    if decision not in ("accepted", "rejected") or complied is None:
        return None
    return (decision == "accepted") != complied


def _parse_answer(scratchpad: str, answer: str, shown: str) -> ParsedReply:
    """Reads the tags, which may also stand behind the answer in `shown`; a reply of nothing but tags is empty."""
    status: Status = "ok" if _DECISION.sub("", answer).strip() else "empty"
    return ParsedReply(scratchpad, answer.strip(), status, read_decision(shown))
