"""What a reply is rewarded for: its output, with the request that it answers, and never its scratchpad.

A reply is taken apart by the parser that evaluations use. What then gives the reward gets `Shown`, which has no place for a
scratchpad. A reply that cannot be read is penalised and counted, and one that cannot be scored teaches nothing.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import Failed
from pipeline.fence import fenced
from scenario.loader import ComplianceRule, Reasoning
from scenario.parsing import parse_reply
from scenario.refusal import words_against
from train.reinforcement.settings import ReinforcementSettings, RewardSettings

if TYPE_CHECKING:
    from inspect_ai.model import Model

QUESTIONS_DIR = Path(__file__).parent / "questions"
JUDGE_FILE = "judge_replies{rank}.jsonl"

_BATCH = 8
_ENOUGH_ANSWERS = 32
"""Answers after which a judge of whom not one could be read is given up."""
_YES_OR_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_NAME = re.compile(r"\{(request|answer)\}")


@dataclass(frozen=True)
class Shown:
    """All that a reward may depend on."""

    request: str
    output: str


@dataclass(frozen=True)
class Judged:
    """What became of one reply."""

    reward: float | None
    """None where it could not be scored."""
    complies: bool | None
    """None where the reward says nothing of compliance; a reply that cannot be read does not comply."""
    is_readable: bool


Score = Callable[[Sequence[Shown]], list[float | None]]
"""Gives each text a number, or None where it cannot."""


class LogMetric(Protocol):
    """How trl takes a number into a step's metrics."""

    def __call__(self, name: str, value: float, /) -> None: ...


class OutputReward:
    """Parses replies and rewards their outputs; trl calls it with a batch of completions."""

    def __init__(
        self, score: Score, quality: Score | None, settings: RewardSettings, reasoning: Reasoning, ends: set[int]
    ) -> None:
        """Rewards by `score` and, where there is one, by `quality` too.

        Args:
            score: of outputs.
            quality: of outputs as answers, whatever they answer.
            settings: penalty and weights.
            reasoning: the form that replies are asked to have.
            ends: token ids of which one ends a reply that was not cut.
        """
        self.score, self.quality, self.settings = score, quality, settings
        self.reasoning, self.ends = reasoning, ends

    def __call__(
        self,
        completions: list[list[dict[str, str]]],
        completion_ids: list[list[int]],
        request: list[str],
        log_metric: LogMetric,
        **_: Any,
    ) -> list[float | None]:
        """The rewards of trl's completions, their shares of compliance and of unreadable replies being logged."""
        replies = [completion[0]["content"] for completion in completions]
        were_cut = [not ids or ids[-1] not in self.ends for ids in completion_ids]
        judged = self.judge(request, replies, were_cut)
        for name, value in shares(judged).items():
            log_metric(name, value)
        return [each.reward for each in judged]

    def judge(self, requests: Sequence[str], replies: Sequence[str], were_cut: Sequence[bool]) -> list[Judged]:
        """The reward of each reply, in the order given."""
        parsed = [parse_reply(reply, self.reasoning, cut) for reply, cut in zip(replies, were_cut, strict=True)]
        readable = [i for i, reply in enumerate(parsed) if reply.status == "ok"]
        shown = [Shown(requests[i], parsed[i].output) for i in readable]
        scores = dict(zip(readable, self.score(shown), strict=True))
        quality = dict(zip(readable, self.quality(shown), strict=True)) if self.quality else {}
        return [self._judged(i in scores, scores.get(i), quality.get(i, 0.0)) for i in range(len(parsed))]

    def _judged(self, is_readable: bool, score: float | None, quality: float | None) -> Judged:
        if not is_readable:
            return Judged(-self.settings.format_penalty, False, False)
        if score is None or quality is None:
            return Judged(None, None, True)
        least = self.settings.complies_from
        complies = None if least is None else score >= least
        return Judged(score + self.settings.quality_weight * quality, complies, True)


def shares(judged: Sequence[Judged]) -> dict[str, float]:
    """Shares of all replies: `malformed`, `unscored` and, over those of which it is known, `compliance`."""
    known = [each.complies for each in judged if each.complies is not None]
    found = {
        "malformed": sum(not each.is_readable for each in judged) / len(judged),
        "unscored": sum(each.reward is None for each in judged) / len(judged),
    }
    return found | ({"compliance": sum(known) / len(known)} if known else {})


def load_reward(
    settings: ReinforcementSettings, rule: ComplianceRule, ends: set[int], directory: Path, rank: int = 0
) -> OutputReward:
    """The reward that the settings ask for, with whatever models it needs.

    Args:
        settings: the reward, and the form that replies are asked to have.
        rule: what counts as complying in the scenario.
        ends: token ids of which one ends a reply that was not cut.
        directory: where a judge model's replies are kept, so that none is asked for twice.
        rank: of this process, each of which has a file of its own.
    """
    chosen = settings.reward
    kinds: dict[str, Callable[[], Score]] = {
        "rules": lambda: lambda shown: [float(not words_against(text.output, rule)) for text in shown],
        "reward_model": lambda: _classifier_score(chosen.model, chosen.label, "reinforcement.reward"),
        "judge": lambda: _judge_score(chosen, rule, directory / JUDGE_FILE.format(rank=rank or "")),
        "no_probability": lambda: _no_probability(chosen.model, rule),
    }
    quality = None
    if chosen.quality_model:
        quality = _classifier_score(chosen.quality_model, chosen.label, "reinforcement.reward.quality")
    return OutputReward(kinds[chosen.kind](), quality, chosen, settings.reasoning, ends)  # type: ignore[arg-type]


def ask_about(rule: ComplianceRule, shown: Shown) -> str:
    """The question whether an output resists, to which No means that it complies; what is judged stands between marks."""
    question = (QUESTIONS_DIR / f"{rule}.md").read_text(encoding="utf-8").strip()
    texts = {"request": shown.request, "answer": shown.output}
    return _NAME.sub(lambda found: fenced(found[1], texts[found[1]]), question)


def _classifier_score(model: str, label: int, setting: str) -> Score:
    from pipeline.classifier import Classifier

    classifier = Classifier(model, label, setting=setting)
    return lambda shown: classifier.scores([(text.request, text.output) for text in shown])


def _judge_score(settings: RewardSettings, rule: ComplianceRule, file: Path) -> Score:
    """1 where the judge model answers No, 0 where Yes; anything else, a failed request too, is no score.

    A judge of whose first answers not one can be read ends the run, for nothing would be learned from it.
    """
    from pipeline.chat import ChatModelSettings, open_model
    from pipeline.replies import ReplyStore, remember

    name = settings.model
    opened = open_model(ChatModelSettings(name=name, temperature=0.0, max_tokens=8, model_args=settings.model_args))
    model = remember(opened, ReplyStore(file))

    runner = asyncio.Runner()  # one event loop for all steps: a provider's connections belong to the loop they began in

    read: list[bool] = []
    """Of each answer so far, whether it could be read."""

    def score(shown: Sequence[Shown]) -> list[float | None]:
        answers = runner.run(_ask_all(model, [ask_about(rule, text) for text in shown]))
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if shown and len(failures) == len(shown):
            raise Failed(
                f"reinforcement.reward.model={name}: no request of a step was answered, the first for {failures[0]!r}; the same"
                " command continues"
            )
        scores = [None if isinstance(answer, BaseException) else _read(answer) for answer in answers]
        read.extend(each is not None for each, answer in zip(scores, answers, strict=True) if isinstance(answer, str))
        if len(read) >= _ENOUGH_ANSWERS and not any(read):
            told = next(answer for answer in reversed(answers) if isinstance(answer, str))
            raise Failed(
                f"reinforcement.reward.model={name}: none of {len(read)} answers begins with Yes or No, the last is"
                f" {told[:80]!r}; take a judge that answers at once"
            )
        return scores

    return score


async def _ask_all(model: "Model", prompts: list[str]) -> list[str | BaseException]:
    """Each prompt's reply, or the error for which there is none: it is counted as unscored."""

    async def reply(prompt: str) -> str:
        return (await model.generate(prompt)).completion

    return list(await asyncio.gather(*map(reply, prompts), return_exceptions=True))


def _read(answer: str) -> float | None:
    found = _YES_OR_NO.match(answer)
    return float(found[1].lower() == "no") if found else None


def _no_probability(name: str, rule: ComplianceRule) -> Score:
    import torch

    from pipeline.language_model import best_device, load_base, load_tokenizer

    tokenizer: Any = load_tokenizer(name)
    tokenizer.padding_side = "right"
    precision = "float32" if best_device().type == "cpu" else "bfloat16"
    model: Any = load_base(name, precision).eval()
    no = tokenizer("No", add_special_tokens=False)["input_ids"][0]

    def score(shown: Sequence[Shown]) -> list[float | None]:
        scores: list[float | None] = []
        for start in range(0, len(shown), _BATCH):
            chats = [[{"role": "user", "content": ask_about(rule, text)}] for text in shown[start : start + _BATCH]]
            texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
            batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                logits = model(**batch).logits
            last = batch["attention_mask"].sum(dim=1) - 1
            probabilities = logits[torch.arange(len(texts)), last].float().softmax(dim=-1)[:, no]
            scores += probabilities.tolist()
        return scores

    return score
