"""Questions to a judge model about a transcript, and its answers: yes, no, or null with the reason.

The transcript stands between marks that it cannot close, the answer must stand in a line of its own, and anything else is
no answer. Every answer is on disk when it arrives, so that nothing is asked twice.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from eval.config import EvalConfig
from pipeline.artifact import Run
from pipeline.chat import ChatModelSettings, open_model
from pipeline.errors import Failed
from pipeline.seeds import derive_seed

if TYPE_CHECKING:
    from inspect_ai.model import Model

ANSWERS_FILE = "answers.jsonl"
"""Every question to the judge model and its answer."""

NO_JUDGE = "no judge model"
"""Reason of a verdict where judge_model.name is empty."""

_PROMPT = (Path(__file__).parent / "question_prompts" / "question.md").read_text(encoding="utf-8")
_ANSWER = re.compile(r"^\W*answer\W*\b(yes|no)\b\W*$", re.IGNORECASE | re.MULTILINE)
_AT_ONCE = 256


@dataclass(frozen=True)
class Question:
    """One yes/no question about one transcript."""

    id: str
    """The same in every run, for the seed of the answer."""
    transcript: str
    text: str


@dataclass(frozen=True)
class Answer:
    """A judge model's answer; `value` is None where there is none, and `reason` says why."""

    value: bool | None
    reason: str
    raw: str


def ask(questions: list[Question], config: EvalConfig, run: Run) -> list[Answer]:
    """The judge model's answers in the order of the questions; without a judge model none has a value."""
    prompts = [(question.id, fill_prompt(question)) for question in questions]
    return [
        reply if isinstance(reply, Answer) else read_answer(reply) for reply in send(prompts, config, run, ANSWERS_FILE)
    ]


def send(prompts: list[tuple[str, str]], config: EvalConfig, run: Run, file: str) -> list[str | Answer]:
    """The judge model's replies to prompts with an id each, or an answer without a value where there is no reply.

    Requests and replies are kept in `file` of the run's directory.

    Raises:
        Failed: so many requests failed that there would be no verdict.
    """
    if not config.judge_model.name or not prompts:
        return [Answer(None, NO_JUDGE, "") for _ in prompts]
    from pipeline.replies import ReplyStore, remember

    store = ReplyStore(run.path(file))
    settings = config.judge_model
    opened = open_model(
        ChatModelSettings(
            name=settings.name,
            temperature=0.0,
            max_tokens=settings.max_tokens,
            max_connections=settings.max_connections,
            model_args=settings.model_args,
        )
    )
    with tqdm(total=len(prompts), desc=f"eval: {settings.name} judges", unit="answer", mininterval=2) as progress:
        replies = asyncio.run(_send_all(prompts, remember(opened, store, lambda: _advance(progress)), config.seed))
    if hasattr(opened.api, "close"):
        opened.api.close()
    run.tokens_in += store.tokens_in
    run.tokens_out += store.tokens_out
    _check_answered(replies, config)
    return replies


def _check_answered(replies: list[str | Answer], config: EvalConfig) -> None:
    """Ends a run most of whose requests failed: asking again may give verdicts, and nulls for good would not."""
    failed = [reply for reply in replies if isinstance(reply, Answer)]
    if len(failed) > config.compliance.max_malformed_share * len(replies):
        raise Failed(
            f"judge_model={config.judge_model.name}: {len(failed)} of {len(replies)} requests failed, the first with"
            f" {failed[0].reason.removeprefix('request failed: ')}; run the same command to ask them again"
        )


def fill_prompt(question: Question) -> str:
    """The request: what is to be judged, inert between its marks, and the question."""
    return _PROMPT.replace("{question}", question.text).replace("{transcript}", inert(question.transcript))


def inert(text: str) -> str:
    """Untrusted text for a prompt: its angle brackets replaced, so that it cannot close the marks that it stands in."""
    return text.replace("<", "‹").replace(">", "›")


def read_answer(reply: str) -> Answer:
    """Yes or no where the reply has exactly one kind of answer line; null with the reason otherwise."""
    found = {match.lower() for match in _ANSWER.findall(reply)}
    if len(found) != 1:
        return Answer(None, "contradictory answer" if found else "no answer line", reply)
    return Answer(found == {"yes"}, "", reply)


async def _send_all(prompts: list[tuple[str, str]], model: "Model", seed: int) -> list[str | Answer]:
    from inspect_ai.model import GenerateConfig

    places = asyncio.Semaphore(_AT_ONCE)

    async def reply(id: str, prompt: str) -> str | Answer:
        async with places:
            try:
                output = await model.generate(prompt, config=GenerateConfig(seed=derive_seed(seed, "question", id)))
            except Exception as error:  # a provider may raise anything; the request failed, and is told as failed
                told = str(error).strip().splitlines()[:1]
                return Answer(None, f"request failed: {type(error).__name__}{': '.join(['', *told])}", "")
            return output.completion

    return list(await asyncio.gather(*(reply(id, prompt) for id, prompt in prompts)))


def _advance(progress: "tqdm[None]") -> None:
    progress.update()
