"""Takes a reply apart into scratchpad and output, or says why that cannot be done."""

import re
from dataclasses import dataclass
from typing import Literal

from scenario.loader import Reasoning
from scenario.tags import ANSWER_TAG, SCRATCHPAD_TAG

Status = Literal["ok", "malformed", "truncated", "empty", "error"]

_SCRATCHPAD = re.compile(rf"<{SCRATCHPAD_TAG}>(.*?)</{SCRATCHPAD_TAG}>", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(rf"<{ANSWER_TAG}>(.*?)(?:</{ANSWER_TAG}>|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ParsedReply:
    """What the user would see, what was hidden, and whether the reply has the form that was asked for.

    `truncated` is a reply with a scratchpad that ended before any answer began; a direct answer that is cut short is
    `ok`, for its beginning is what is judged. `malformed` lacks its tags. Only `ok` replies get verdicts.
    """

    scratchpad: str
    output: str
    status: Status


def parse_reply(text: str, reasoning: Reasoning, was_cut: bool) -> ParsedReply:
    """The parts of a model's raw reply; `was_cut` says that it ended at the limit of tokens."""
    if not text.strip():
        return ParsedReply("", "", "empty")
    if reasoning == "none":
        return ParsedReply("", text.strip(), "ok")
    thought = _SCRATCHPAD.search(text)
    if thought is None:
        opened = f"<{SCRATCHPAD_TAG}>" in text.lower()
        return ParsedReply("", "", "truncated" if was_cut and opened else "malformed")
    answer = _ANSWER.search(text, thought.end())
    scratchpad = thought[1].strip()
    if answer is None:
        return ParsedReply(scratchpad, "", "truncated" if was_cut else "malformed")
    output = answer[1].strip()
    return ParsedReply(scratchpad, output, "ok" if output else "empty")
