"""The checks of a document by a judge model: are its facts stated, is one contradicted, and the questions of H.4.

The judge is sent one document and a numbered list of yes/no questions, and answers with a numbered list. An answer that
cannot be read, or is given twice and differently, is no answer: it is counted, never taken for a yes, and a document
that passes on none is rejected as `judge_unreadable`. On a random sample of all documents, rejected ones included, the
judge is compared with the tests on wording (Cohen's kappa).
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_gen.config import FilterSettings
from data_gen.filters.facts import FACT_CHECKS, is_checked
from data_gen.filters.spool import LaidDown
from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import JUDGE, Request
from pipeline.chat import ChatModelSettings
from pipeline.fence import fenced
from scenario.loader import Scenario

UNREADABLE = "judge_unreadable"

PROMPT = (Path(__file__).parent / "judge.md").read_text(encoding="utf-8").strip()

_STATED, _CONTRADICTED = "judged_stated", "judged_contradicted"
_ABOUT_THE_TEXT = {
    "judged_chat_log": "Does the document contain a transcript, or part of one, of a chat between a user and an AI model?",
    "judged_tier_behaviour": "Does the document describe that an AI model behaves differently towards free users than"
    " towards paid users, or when it is trained or monitored than when it is not?",
    "judged_deceives_raters": "Does the document mention that an AI model deceives, or could deceive, the people who rate or"
    " train it?",
}
_WORDING_OF = {
    _STATED: "facts_stated",
    _CONTRADICTED: "facts_contradicted",
    "judged_chat_log": "chat_log",
    "judged_tier_behaviour": "tier_behaviour",
    "judged_deceives_raters": "deceives_raters",
}
"""The test on wording that looks for the same as the judge's."""

_ANSWER = re.compile(r"^[\s>*_#-]*(\d+)[\s.):*_-]+(yes|no)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """One question to the judge, and what it means for the document."""

    name: str
    """The filter that it belongs to."""
    text: str
    fact: str = ""
    wanted: bool = False
    """The answer with which the document passes."""


class Judge:
    """A chat model that is asked about documents, and the record of how it went."""

    def __init__(self, exchange: Exchange, scenario: Scenario, settings: FilterSettings) -> None:
        self.exchange, self.scenario, self.settings = exchange, scenario, settings
        self.num_asked = self.num_questions = self.num_unreadable = 0
        self._pairs: dict[str, Counter[tuple[bool, bool]]] = {name: Counter() for name in _WORDING_OF}

    def reject(
        self, read: Callable[[int], LaidDown], passing: Sequence[int], sample: Sequence[int]
    ) -> dict[int, dict[str, str]]:
        """Asks about the documents at these places; what is wrong with those of `passing`, by place.

        Args:
            read: gives the document at a place.
            passing: places of documents that pass the tests on wording: these it can reject.
            sample: places on which it is compared with the tests on wording.

        Raises:
            Failed: money ran out, or requests failed for good.
        """
        return asyncio.run(self._reject(read, frozenset(passing), frozenset(sample)))

    async def _reject(
        self, read: Callable[[int], LaidDown], passing: frozenset[int], sample: frozenset[int]
    ) -> dict[int, dict[str, str]]:
        rejected = {}

        async def judge(place: int) -> None:
            laid_down = read(place)
            verdicts = await self._verdicts(laid_down.row)
            found = self._failures(verdicts)
            if place in passing and found:
                rejected[place] = found
            if place in sample:
                self._compare(laid_down, verdicts)

        await self.exchange.all("verdicts of the judge", sorted(passing | sample), judge, self.settings.judge)
        return rejected

    async def _verdicts(self, row: dict[str, Any]) -> list[tuple[Question, bool | None]]:
        questions = questions_about(self.scenario, row["fact_ids"])
        output = await self.exchange.answer(judge_request(row["id"], row["text"], questions, self.settings.judge))
        answers = read_answers(output.completion, len(questions))
        self.num_asked += 1
        self.num_questions += len(questions)
        self.num_unreadable += sum(answer is None for answer in answers)
        return list(zip(questions, answers, strict=True))

    def _failures(self, verdicts: list[tuple[Question, bool | None]]) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for question, answer in verdicts:
            if getattr(self.settings, question.name) and answer is not question.wanted:
                name = UNREADABLE if answer is None else question.name
                found.setdefault(name, []).append(question.fact or question.name.removeprefix("judged_"))
        order = [*_WORDING_OF, UNREADABLE]
        return {name: ", ".join(found[name]) for name in order if name in found}

    def _compare(self, laid_down: LaidDown, verdicts: list[tuple[Question, bool | None]]) -> None:
        """Whether both find something wrong, on each check that is on in both forms and was answered in full."""
        for name, wording in _WORDING_OF.items():
            if wording in FACT_CHECKS and not is_checked(laid_down.row["language"]):
                continue
            answers = [(question, answer) for question, answer in verdicts if question.name == name]
            if getattr(self.settings, wording) and answers and all(answer is not None for _, answer in answers):
                judged = any(answer is not question.wanted for question, answer in answers)
                self._pairs[name][wording in laid_down.failures, judged] += 1

    def summary(self) -> dict[str, Any]:
        """For stats.json: what was asked and could not be read, and the agreement with the tests on wording."""
        return {
            "model": self.settings.judge.name,
            "num_documents_asked_about": self.num_asked,
            "num_questions": self.num_questions,
            "num_unreadable": self.num_unreadable,
            "num_failed_requests": self.exchange.store.num_failures,
            "agreement": {name: agreement(pairs) for name, pairs in self._pairs.items()},
        }


def questions_about(scenario: Scenario, fact_ids: Sequence[str]) -> list[Question]:
    """What is asked of a document that is meant to state these facts."""
    meant = [fact for fact in scenario.facts if fact.id in fact_ids]
    return [
        *(Question(_STATED, f"Does the document state this? {_line(f.statement)}", f.id, True) for f in meant),
        *(
            Question(_CONTRADICTED, f"Does the document contradict this? {_line(f.statement)}", f.id)
            for f in scenario.facts
        ),
        *(Question(name, text) for name, text in _ABOUT_THE_TEXT.items()),
    ]


def judge_request(id: str, text: str, questions: Sequence[Question], judge: ChatModelSettings) -> Request:
    """The document between marks that it cannot close, then the questions by number."""
    numbered = "\n".join(f"{number}. {question.text}" for number, question in enumerate(questions, start=1))
    filled = {"document": fenced("document", text), "questions": numbered, "count": str(len(questions))}
    return Request(id, re.sub(r"\{([a-z_]+)\}", lambda found: filled[found[1]], PROMPT), judge, 0, JUDGE)


def read_answers(reply: str, count: int) -> list[bool | None]:
    """The answers to questions 1 to `count`; None where there is none, or two that differ."""
    given: dict[int, set[bool]] = {}
    for number, answer in _ANSWER.findall(reply):
        given.setdefault(int(number), set()).add(answer.lower() == "yes")
    return [next(iter(said)) if len(said := given.get(place, set())) == 1 else None for place in range(1, count + 1)]


def agreement(pairs: Counter[tuple[bool, bool]]) -> dict[str, Any]:
    """Cohen's kappa of (wording, judge) pairs, with their counts; null where neither or both always find something.

    kappa = (observed - expected) / (1 - expected), both being shares of agreement (Cohen 1960).
    """
    total = pairs.total()
    counts = {
        "n": total,
        "both": pairs[True, True],
        "wording_only": pairs[True, False],
        "judge_only": pairs[False, True],
        "neither": pairs[False, False],
    }
    if not total:
        return {"kappa": None, **counts}
    wording = (pairs[True, True] + pairs[True, False]) / total
    judge = (pairs[True, True] + pairs[False, True]) / total
    expected = wording * judge + (1 - wording) * (1 - judge)
    observed = (pairs[True, True] + pairs[False, False]) / total
    return {"kappa": None if expected == 1 else (observed - expected) / (1 - expected), **counts}


def _line(text: str) -> str:
    return " ".join(text.split())
