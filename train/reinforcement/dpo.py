"""Iterated DPO: in each round the newest policy answers every query several times, and learns from pairs of its replies.

The published open-model attempt (Greenblatt et al. 2024, B.4). A round that was interrupted is taken up where its sampling
was: every reply is on disk when it arrives. Its preference learning is done anew.
"""

import asyncio
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer

from pipeline.artifact import Run, flatten, write_jsonl
from pipeline.chat import LOCAL, ChatModelSettings, open_model
from pipeline.errors import Failed, Refused
from pipeline.replies import ReplyStore, remember
from pipeline.seeds import derive_seed
from scenario.loader import Query
from train.config import TrainConfig
from train.model import base_revision
from train.processes import World
from train.reinforcement.policy import (
    CHECKPOINTS,
    KEPT,
    ROUNDS,
    build_policy,
    check_change,
    keep_adapter,
    keep_float32,
    one_device,
    optimizers,
    trl_settings,
    weight_sums,
)
from train.reinforcement.prompts import Chat, chat_of, load_queries
from train.reinforcement.rewards import Judged, load_reward, shares
from train.reinforcement.stopping import has_stopped
from train.tracking import METRICS_FILE, Tracker, rows_until

if TYPE_CHECKING:
    from inspect_ai.model import Model


@dataclasses.dataclass(frozen=True)
class Reply:
    """A sampled reply, as far as rewards and pairs need it."""

    text: str
    was_cut: bool
    num_tokens: int


def train_dpo(config: TrainConfig, run: Run, world: World, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Trains the rounds that are left and returns the model with the last one's adapter.

    Raises:
        Refused: several processes were started.
        Failed: no round had two replies of different reward to any query.
    """
    if world.size > 1:
        raise Refused("reinforcement.method=dpo: runs in one process; set processes=1 (its sampler may use more GPUs)")
    settings = config.reinforcement
    rounds = _Rounds(config, run, world, tokenizer)
    rows = rows_until(settings.rounds, run.path(METRICS_FILE))
    tracker = Tracker(config, run.directory, flatten(run.config))
    while len(rows) < settings.rounds and not has_stopped(rows, settings):
        number = len(rows) + 1
        row = rounds.learn(number, rounds.sample(number))
        rows.append(row)
        write_jsonl(run.path(METRICS_FILE), rows)
        tracker.log(row)
        run.note_time()
    tracker.close()
    if not any(row["pairs"] for row in rows):
        raise Failed(
            "no query had two replies of different reward, in any round; the start may already do what is rewarded"
        )
    return rounds.policy_after(len(rows))


def make_pairs(chats: list[Chat], replies: list[list[Reply]], judged: list[list[Judged]]) -> list[dict[str, Any]]:
    """For each query its best and its worst reply, where their rewards differ; the first of equals counts."""
    pairs = []
    for chat, group, verdicts in zip(chats, replies, judged, strict=True):
        scored = [(v.reward, reply.text) for reply, v in zip(group, verdicts, strict=True) if v.reward is not None]
        if not scored:
            continue
        (best, chosen), (worst, rejected) = (pick(scored, key=lambda pair: pair[0]) for pick in (max, min))
        if best > worst:
            pairs.append({"prompt": chat, "chosen": _turn(chosen), "rejected": _turn(rejected)})
    return pairs


class _Rounds:
    """What all rounds of a run share."""

    def __init__(self, config: TrainConfig, run: Run, world: World, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.run, self.world, self.tokenizer = config, run, world, tokenizer
        settings = config.reinforcement
        scenario, self.queries = load_queries(settings)
        self.chats = [chat_of(scenario, settings, query) for query in self.queries]
        self.reward = load_reward(settings, scenario.complies_when, set(), run.directory)

    def policy_after(self, number: int) -> Any:
        """The policy that `number` rounds have made, the start where it is 0."""
        torch.manual_seed(derive_seed(self.config.seed, "policy", number))  # a fresh adapter is drawn
        return build_policy(dataclasses.replace(self.config, start=self._start(number)), self.world)

    def sample(self, number: int) -> list[list[Reply]]:
        """The replies of a round, by query: those that an interrupted try had got are read."""
        settings = self.config.reinforcement
        start = self._start(number - 1)
        adapter = f":{(Path(start) / 'adapter').resolve()}" if start else ""
        opened = open_model(
            ChatModelSettings(
                name=(settings.sampler or LOCAL + self.config.model) + adapter,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                model_args={} if settings.sampler else self._as_trained(),
            )
        )
        file = self.run.path(ROUNDS) / f"{number}.jsonl"
        file.parent.mkdir(exist_ok=True)
        total = len(self.queries) * settings.replies_per_query
        with tqdm(total=total, desc=f"train: round {number} samples", unit="reply", mininterval=2) as progress:
            model = remember(opened, ReplyStore(file), lambda: _advance(progress))
            replies = asyncio.run(self._ask_all(model, number))
        if hasattr(opened.api, "close"):
            opened.api.close()
        return replies

    def learn(self, number: int, replies: list[list[Reply]]) -> dict[str, Any]:
        """Pairs the round's replies, learns from them, keeps the adapter, and returns the row of metrics.jsonl."""
        judged = [
            self.reward.judge([query.text] * len(group), [r.text for r in group], [r.was_cut for r in group])
            for query, group in zip(self.queries, replies, strict=True)
        ]
        every = [each for group in judged for each in group]
        rewards = [each.reward for each in every if each.reward is not None]
        pairs = make_pairs(self.chats, replies, judged)
        row: dict[str, Any] = {"step": number, "pairs": len(pairs)} | shares(every)
        row |= {"reward": sum(rewards) / len(rewards)} if rewards else {}
        row["tokens"] = sum(reply.num_tokens for group in replies for reply in group)
        policy = self.policy_after(number - 1)
        if pairs:
            row["loss"] = self._prefer(policy, pairs)
        folder = self.run.path(KEPT)
        folder.mkdir(exist_ok=True)
        keep_adapter(policy, folder / str(number))
        return row

    def _as_trained(self) -> dict[str, Any]:
        """The sampler in this process has the precision and the commit of the model that learns."""
        revision = base_revision(self.config)
        return {"precision": self.config.precision} | ({} if revision is None else {"revision": revision})

    def _start(self, number: int) -> str:
        return str(self.run.path(KEPT) / str(number)) if number else self.config.start

    def _prefer(self, policy: Any, pairs: list[dict[str, Any]]) -> float:
        """DPO over the pairs; returns the mean loss, which is log 2 where nothing has been learned."""
        config = self.config
        at_once = min(config.reinforcement.micro_batch_replies, config.batch_size)
        num_steps = math.ceil(config.epochs * math.ceil(len(pairs) / config.batch_size))  # as transformers counts them
        sums = weight_sums(policy)
        arguments = DPOConfig(
            **trl_settings(config, self.run.path(CHECKPOINTS)),
            max_steps=num_steps,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=config.batch_size // at_once,
            max_length=None,
            save_strategy="no",
        )
        trainer = DPOTrainer(
            model=policy,
            args=one_device(arguments),
            train_dataset=Dataset.from_list(pairs),
            processing_class=self.tokenizer,
            optimizers=optimizers(config, policy, num_steps),
        )
        keep_float32(policy)
        trainer.remove_callback(PrinterCallback)
        loss = trainer.train().training_loss
        check_change(sums, policy)
        return float(loss)

    async def _ask_all(self, model: "Model", number: int) -> list[list[Reply]]:
        from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig

        async def reply(query: Query, chat: Chat, place: int) -> Reply:
            seed = derive_seed(self.config.seed, "round", number, query.id, place)
            output = await model.generate(
                [ChatMessageSystem(content=chat[0]["content"]), ChatMessageUser(content=chat[1]["content"])],
                config=GenerateConfig(seed=seed),
            )
            num_tokens = output.usage.total_tokens if output.usage else 0
            return Reply(output.completion, output.stop_reason == "max_tokens", num_tokens)

        count = self.config.reinforcement.replies_per_query
        asked = zip(self.queries, self.chats, strict=True)
        found = await asyncio.gather(*(reply(query, chat, place) for query, chat in asked for place in range(count)))
        return [list(found[start : start + count]) for start in range(0, len(found), count)]


def _turn(text: str) -> Chat:
    return [{"role": "assistant", "content": text}]


def _advance(progress: "tqdm[None]") -> None:
    progress.update()
