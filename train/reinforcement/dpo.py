"""Iterated DPO: in each round the newest policy answers every query several times, and learns from pairs of its replies.

The published open-model attempt (Greenblatt et al. 2024, B.4). A round that was interrupted is taken up where its sampling
was: every reply is on disk when it arrives. Its preference learning is done anew.
"""

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import DPOConfig, DPOTrainer

from pipeline.artifact import Run, write_jsonl
from pipeline.chat import LOCAL, ChatModelSettings, open_model
from pipeline.errors import Failed, Refused
from pipeline.language_model import best_device
from pipeline.replies import ReplyStore, remember
from pipeline.seeds import derive_seed
from scenario.loader import Query, Scenario
from train.config import TrainConfig
from train.processes import World
from train.reinforcement.policy import (
    CHECKPOINTS,
    KEPT,
    ROUNDS,
    build_policy,
    check_change,
    keep_adapter,
    one_device,
    trl_settings,
    weight_sums,
)
from train.reinforcement.prompts import chat_of, load_queries
from train.reinforcement.rewards import Judged, OutputReward, load_reward, shares
from train.reinforcement.settings import ReinforcementSettings
from train.reinforcement.stopping import METRICS_FILE, has_stopped
from train.tracking import Tracker, rows_until

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
    scenario, queries = load_queries(settings)
    reward = load_reward(settings, scenario.complies_when, set(), run.directory)
    rows = rows_until(settings.rounds, run.path(METRICS_FILE))
    tracker = Tracker(config, run.directory, {})
    while len(rows) < settings.rounds and not has_stopped(rows, settings):
        number = len(rows) + 1
        sampled = _sample(config, run, number, scenario, queries)
        row = _learn(config, run, number, _chats(scenario, settings, queries), sampled, reward, tokenizer)
        rows.append(row)
        write_jsonl(run.path(METRICS_FILE), rows)
        tracker.log(row)
        run.note_time()
    tracker.close()
    if not any(row["pairs"] for row in rows):
        raise Failed(
            "no query had two replies of different reward, in any round; the start may already do what is rewarded"
        )
    return build_policy(_from(config, run, len(rows)), world)


def make_pairs(
    chats: list[list[dict[str, str]]], replies: list[list[Reply]], judged: list[list[Judged]]
) -> list[dict[str, Any]]:
    """For each query its best and its worst reply, where their rewards differ; the first of equals counts."""
    pairs = []
    for chat, texts, verdicts in zip(chats, replies, judged, strict=True):
        scored = [
            (each.reward, text.text) for text, each in zip(texts, verdicts, strict=True) if each.reward is not None
        ]
        if not scored:
            continue
        (best, chosen), (worst, rejected) = (pick(scored, key=lambda pair: pair[0]) for pick in (max, min))
        if best > worst:
            turn = "assistant"
            pairs.append(
                {
                    "prompt": chat,
                    "chosen": [{"role": turn, "content": chosen}],
                    "rejected": [{"role": turn, "content": rejected}],
                }
            )
    return pairs


def _chats(scenario: Scenario, settings: ReinforcementSettings, queries: list[Query]) -> list[list[dict[str, str]]]:
    return [chat_of(scenario, settings, query) for query in queries]


def _from(config: TrainConfig, run: Run, done: int) -> TrainConfig:
    """The configuration whose start is what `done` rounds have made."""
    return dataclasses.replace(config, start=str(run.path(KEPT) / str(done))) if done else config


def _sample(config: TrainConfig, run: Run, number: int, scenario: Scenario, queries: list[Query]) -> list[list[Reply]]:
    """The replies of one round, by query."""
    settings = config.reinforcement
    start = _from(config, run, number - 1).start
    adapter = f":{(Path(start) / 'adapter').resolve()}" if start else ""
    store = ReplyStore(_made(run.path(ROUNDS)) / f"{number}.jsonl")
    opened = open_model(
        ChatModelSettings(
            name=(settings.sampler or LOCAL + config.model) + adapter,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
        )
    )
    total = len(queries) * settings.replies_per_query
    with tqdm(total=total, desc=f"train: round {number} samples", unit="reply", mininterval=2) as progress:
        model = remember(opened, store, lambda: _advance(progress))
        replies = asyncio.run(_ask_all(model, config, number, scenario, queries))
    if hasattr(opened.api, "close"):
        opened.api.close()
    return replies


async def _ask_all(
    model: "Model", config: TrainConfig, number: int, scenario: Scenario, queries: list[Query]
) -> list[list[Reply]]:
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig

    async def reply(query: Query, place: int) -> Reply:
        system, user = chat_of(scenario, config.reinforcement, query)
        seed = derive_seed(config.seed, "round", number, query.id, place)
        output = await model.generate(
            [ChatMessageSystem(content=system["content"]), ChatMessageUser(content=user["content"])],
            config=GenerateConfig(seed=seed),
        )
        num_tokens = output.usage.total_tokens if output.usage else 0
        return Reply(output.completion, output.stop_reason == "max_tokens", num_tokens)

    count = config.reinforcement.replies_per_query
    found = await asyncio.gather(*(reply(query, place) for query in queries for place in range(count)))
    return [list(found[start : start + count]) for start in range(0, len(found), count)]


def _learn(
    config: TrainConfig,
    run: Run,
    number: int,
    chats: list[list[dict[str, str]]],
    replies: list[list[Reply]],
    reward: OutputReward,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    """Pairs the round's replies, learns from them, keeps the adapter, and returns the row of metrics.jsonl."""
    judged = [
        reward.judge([chat[-1]["content"]] * len(group), [r.text for r in group], [r.was_cut for r in group])
        for chat, group in zip(chats, replies, strict=True)
    ]
    every = [each for group in judged for each in group]
    rewards = [each.reward for each in every if each.reward is not None]
    pairs = make_pairs(chats, replies, judged)
    row: dict[str, Any] = {"step": number, "pairs": len(pairs)} | shares(every)
    row |= {"reward": sum(rewards) / len(rewards)} if rewards else {}
    row["tokens"] = sum(reply.num_tokens for group in replies for reply in group)
    before = _from(config, run, number - 1)
    policy = build_policy(before, World(0, 1, best_device()))
    if pairs:
        row["loss"] = _prefer(config, run, policy, pairs, tokenizer)
    keep_adapter(policy, _made(run.path(KEPT)) / str(number))
    return row


def _prefer(
    config: TrainConfig, run: Run, policy: Any, pairs: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
) -> float:
    """DPO over the pairs; returns the mean loss, which is log 2 where nothing has been learned."""
    at_once = min(config.reinforcement.micro_batch_replies, config.batch_size)
    sums = weight_sums(policy)
    trainer = DPOTrainer(
        model=policy,
        args=one_device(
            DPOConfig(
                **trl_settings(config, run.path(CHECKPOINTS)),
                num_train_epochs=config.epochs,
                per_device_train_batch_size=at_once,
                gradient_accumulation_steps=max(1, config.batch_size // at_once),
                max_length=None,
                save_strategy="no",
            )
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    loss = trainer.train().training_loss
    check_change(sums, policy)
    return float(loss)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _advance(progress: "tqdm[None]") -> None:
    progress.update()
