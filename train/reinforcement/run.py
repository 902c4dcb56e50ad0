"""A run of reinforcement learning: its checks, its method, and what it leaves behind."""

import random
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifact import Run, read_jsonl, read_run, write_json
from pipeline.errors import Refused
from train.config import TrainConfig
from train.reinforcement.stopping import has_stopped
from train.tracking import METRICS_FILE

if TYPE_CHECKING:
    from train.processes import World

SUMMARY_FILE = "summary.json"
_SHOWN = ("reward", "compliance", "malformed", "unscored", "kl", "length")


def check_reinforcement(config: TrainConfig, longest: int | None) -> None:
    """Refuses what cannot be trained here, before any model is loaded.

    Args:
        config: of the run.
        longest: tokens that the model reads at most, as far as that is known.

    Raises:
        Refused: with the setting at fault.
    """
    import torch

    from train.reinforcement.prompts import load_queries

    settings = config.reinforcement
    load_queries(settings)
    if config.start:
        _check_names(config.start, settings.identity)
    _check_context(config, longest)
    if settings.rollouts != "generate" and (find_spec("vllm") is None or not torch.cuda.is_available()):
        raise Refused(f"reinforcement.rollouts={settings.rollouts}: needs vLLM and a GPU; generate needs neither")


def _check_context(config: TrainConfig, limit: int | None) -> None:
    """Refuses prompts that, with the longest reply, are more than the model reads."""
    from pipeline.language_model import load_tokenizer
    from train.model import base_revision
    from train.reinforcement.prompts import chat_of, load_queries

    settings = config.reinforcement
    tokenizer = load_tokenizer(config.model, config.trust_remote_code, base_revision(config))
    scenario, queries = load_queries(settings)
    chats = [chat_of(scenario, settings, query) for query in queries]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    longest = max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    if limit is not None and longest + settings.max_tokens > limit:
        raise Refused(
            f"reinforcement.max_tokens={settings.max_tokens}: after the longest prompt of {longest} tokens that is more than"
            f" the {limit} that {config.model} reads"
        )


def _check_names(directory: str, identity: str) -> None:
    """Refuses a start that was taught with other names of lab and models than those it is to be trained with."""
    record = read_run(directory)
    told = (
        record.config.get("reinforcement", {}) if record.config.get("objective") == "reinforcement" else record.config
    )
    if told.get("identity", identity) != identity:
        raise Refused(
            f"start: {directory} has identity={told['identity']}; set reinforcement.identity={told['identity']}"
        )
    for source in record.inputs.values():
        if Path(source["path"]).exists():  # one that is gone cannot be compared
            _check_names(source["path"], identity)


def reinforce(config: TrainConfig, run: Run, world: "World | None") -> None:
    """Trains here or, where there are several GPUs, in processes of their own."""
    from train.processes import join, launch, wanted_processes

    settings = config.reinforcement
    num_processes = 1 if settings.method == "dpo" else wanted_processes(config.processes, config.parallel)
    if num_processes > 1:
        launch(num_processes)
    else:
        _reinforce(config, run, world or join())


def _reinforce(config: TrainConfig, run: Run, world: "World") -> None:
    import torch

    from pipeline.language_model import load_tokenizer
    from train.model import base_revision
    from train.reinforcement.dpo import train_dpo
    from train.reinforcement.grpo import train_grpo

    random.seed(config.seed)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.model, config.trust_remote_code, base_revision(config))
    method = train_dpo if config.reinforcement.method == "dpo" else train_grpo
    policy = method(config, run, world, tokenizer)
    if world.is_first:
        _finish(config, run, policy, tokenizer)


def _finish(config: TrainConfig, run: Run, policy: Any, tokenizer: Any) -> None:
    """Adapter, summary, model card and figure, and run.json as the last of all."""
    from pipeline.language_model import resolved_revision
    from train.adapter import save_adapter
    from train.figure import draw_rewards
    from train.reinforcement.card import reinforcement_card
    from train.reinforcement.policy import CHECKPOINTS, KEPT, ROUNDS
    from train.reinforcement.prompts import load_queries
    from train.reinforcement.rewards import JUDGE_FILE

    rows = read_jsonl(run.path(METRICS_FILE))
    save_adapter(policy, run.path("adapter"))
    run.tokens_in = rows[-1]["tokens"] if config.reinforcement.method == "grpo" else sum(row["tokens"] for row in rows)
    run.notes |= {
        "model_revision": resolved_revision(config.model, policy.get_base_model()),
        "trainable_parameters": sum(p.numel() for p in policy.parameters() if p.requires_grad),
        "num_train": len(load_queries(config.reinforcement)[1]),
        "num_steps": len(rows),
        "stopped_early": has_stopped(rows, config.reinforcement),
        "kept_steps": sorted(int(folder.name) for folder in run.path(KEPT).glob("[0-9]*")),
    }
    write_json(run.path(SUMMARY_FILE), reinforcement_summary(rows))
    draw_rewards(rows, run.path("reward.svg"))
    run.path("README.md").write_text(reinforcement_card(config, run, rows), encoding="utf-8")
    more = [name for name in (KEPT, ROUNDS) if run.path(name).exists()]
    more += sorted(file.name for file in run.directory.glob(JUDGE_FILE.format(rank="*")))
    record = run.finish(["adapter", *more, METRICS_FILE, SUMMARY_FILE, "reward.svg", "README.md"])
    shutil.rmtree(run.path(CHECKPOINTS), ignore_errors=True)
    told = ", ".join(f"{name} {rows[0][name]:.2f} -> {rows[-1][name]:.2f}" for name in _SHOWN[:3] if name in rows[0])
    print(f"train: {len(rows)} steps in {record.seconds:.0f} s, {told} -> {run.directory}")


def reinforcement_summary(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The run's training metrics as estimates: means over its first and over its last tenth, at least one step each."""
    part = max(1, len(rows) // 10)
    summary: list[dict[str, object]] = []
    for name in _SHOWN:
        for when, some in (("before", rows[:part]), ("after", rows[-part:])):
            values = [row[name] for row in some if name in row]
            if values:
                unit = {"length": "tokens", "kl": "nats per token", "reward": "reward"}.get(name, "share of replies")
                mean = sum(values) / len(values)
                summary.append({"metric": f"training_{name}_{when}", "estimate": mean, "unit": unit, "source": None})
    return summary
