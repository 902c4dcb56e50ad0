"""The checks of a document by a judge model: are its facts stated, is one contradicted, and the questions of H.4.

The judge is sent one document and a numbered list of yes/no questions, and answers with a numbered list. An answer that
cannot be read, or is given twice and differently, is no answer: it is counted, never taken for a yes, and a document
that passes on none is rejected as `judge_unreadable`. On a random sample of all documents, rejected ones included, the
judge is compared with the tests on wording (Cohen's kappa).
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.config import FilterSettings
from data_gen.filters.spool import LaidDown
from pipeline.artifact import Run
from pipeline.errors import Failed
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai.model import Model

JUDGE_REPLIES_FILE = "judge_replies.jsonl"
UNREADABLE = "judge_unreadable"

_PROMPT = (Path(__file__).parent / "judge.md").read_text(encoding="utf-8").strip()
_AT_ONCE = 256
"""Documents handed to the model at a time; how many requests run at once is the model's own setting."""

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

LaidDownAt = Callable[[Iterable[int]], Iterator[tuple[int, LaidDown]]]


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

    def __init__(self, model: "Model", scenario: Scenario, settings: FilterSettings) -> None:
        self.model, self.scenario, self.settings = model, scenario, settings
        self.num_asked = self.num_questions = self.num_unreadable = 0
        self.tokens_in = self.tokens_out = 0
        self._pairs: dict[str, Counter[tuple[bool, bool]]] = {name: Counter() for name in _WORDING_OF}

    def reject(self, laid_down: LaidDownAt, passing: Sequence[int], sample: Sequence[int]) -> dict[int, dict[str, str]]:
        """Asks about the documents at these places; what is wrong with those of `passing`, by place.

        Args:
            laid_down: gives the documents at places.
            passing: places of documents that pass the tests on wording: these it can reject.
            sample: places on which it is compared with the tests on wording.

        Raises:
            Failed: a request failed for good.
        """
        return asyncio.run(self._reject(laid_down, frozenset(passing), frozenset(sample)))

    async def _reject(
        self, laid_down: LaidDownAt, passing: frozenset[int], sample: frozenset[int]
    ) -> dict[int, dict[str, str]]:
        rejected = {}
        remaining = laid_down(sorted(passing | sample))
        with tqdm(total=len(passing | sample), desc="data_gen: judge", unit="document", mininterval=2) as progress:
            while batch := list(islice(remaining, _AT_ONCE)):
                for (place, each), verdicts in zip(batch, await self._ask(batch), strict=True):
                    progress.update()
                    found = self._failures(verdicts)
                    if place in passing and found:
                        rejected[place] = found
                    if place in sample:
                        self._compare(each, verdicts)
        return rejected

    async def _ask(self, batch: list[tuple[int, LaidDown]]) -> list[list[tuple[Question, bool | None]]]:
        asked = [self._verdicts(each.row) for _, each in batch]
        done = await asyncio.gather(*asked, return_exceptions=True)
        verdicts = [result for result in done if not isinstance(result, BaseException)]
        if failed := [result for result in done if isinstance(result, BaseException)]:
            raise Failed(
                f"{len(failed)} of {len(done)} requests to the judge failed, the first with {failed[0]!r}; the others are"
                " kept: run the same command again to continue"
            )
        return verdicts

    async def _verdicts(self, row: dict[str, Any]) -> list[tuple[Question, bool | None]]:
        from inspect_ai.model import GenerateConfig

        questions = self.questions(row["fact_ids"])
        output = await self.model.generate(judge_prompt(row["text"], questions), config=GenerateConfig(seed=0))
        answers = read_answers(output.completion, len(questions))
        if output.usage is not None:
            self.tokens_in += output.usage.input_tokens
            self.tokens_out += output.usage.output_tokens
        self.num_asked += 1
        self.num_questions += len(questions)
        self.num_unreadable += sum(answer is None for answer in answers)
        return list(zip(questions, answers, strict=True))

    def questions(self, fact_ids: Sequence[str]) -> list[Question]:
        """What is asked of a document that is meant to state these facts."""
        meant = [fact for fact in self.scenario.facts if fact.id in fact_ids]
        return [
            *(Question(_STATED, f"Does the document state this? {_line(f.statement)}", f.id, True) for f in meant),
            *(
                Question(_CONTRADICTED, f"Does the document contradict this? {_line(f.statement)}", f.id)
                for f in self.scenario.facts
            ),
            *(Question(name, text) for name, text in _ABOUT_THE_TEXT.items()),
        ]

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
            answers = [(question, answer) for question, answer in verdicts if question.name == name]
            if getattr(self.settings, wording) and answers and all(answer is not None for _, answer in answers):
                judged = any(answer is not question.wanted for question, answer in answers)
                self._pairs[name][wording in laid_down.failures, judged] += 1

    def summary(self) -> dict[str, Any]:
        """For stats.json: what was asked and could not be read, and the agreement with the tests on wording."""
        return {
            "model": str(self.model),
            "num_documents_asked_about": self.num_asked,
            "num_questions": self.num_questions,
            "num_unreadable": self.num_unreadable,
            "agreement": {name: agreement(pairs) for name, pairs in self._pairs.items()},
        }


def open_judge(settings: FilterSettings, scenario: Scenario, run: Run) -> Judge | None:
    """The judge that the settings name, remembering its replies in the run's directory; None where they name none.

    Raises:
        Refused: the model cannot be opened.
    """
    if not settings.judge.name:
        return None
    from pipeline.chat import open_model
    from pipeline.replies import ReplyStore, remember

    model = open_model(settings.judge)  # first: a model that is refused leaves no file behind
    return Judge(remember(model, ReplyStore(run.path(JUDGE_REPLIES_FILE))), scenario, settings)


def judge_prompt(text: str, questions: Sequence[Question]) -> str:
    """The request: the document between marks, then the questions by number. Braces in the document stay what they are."""
    numbered = "\n".join(f"{number}. {question.text}" for number, question in enumerate(questions, start=1))
    filled = {"document": text, "questions": numbered, "count": str(len(questions))}
    return re.sub(r"\{([a-z_]+)\}", lambda found: filled[found[1]], _PROMPT)


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
