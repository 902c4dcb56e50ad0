"""GRPO by trl: groups of replies to one query are rewarded, and the policy moves to the better ones of each group."""

import json
import os
from pathlib import Path
from typing import Any

from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from pipeline.artifact import Run, flatten, write_jsonl
from pipeline.errors import Refused
from train.adapter import save_adapter
from train.config import TrainConfig
from train.optimizer import count_steps
from train.processes import World
from train.reinforcement.policy import (
    CHECKPOINTS,
    KEPT,
    build_policy,
    check_change,
    keep_adapter,
    keep_float32,
    newest,
    one_device,
    optimizers,
    seal,
    step_of,
    trl_settings,
    weight_sums,
)
from train.reinforcement.prompts import load_queries, schedule
from train.reinforcement.rewards import load_reward
from train.reinforcement.stopping import has_stopped
from train.tracking import METRICS_FILE, Tracker, rows_until

_LOGGED = {
    "loss": "loss",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "reward_std": "reward_std",
    "compliance": "compliance",
    "malformed": "malformed",
    "unscored": "unscored",
    "kl": "kl",
    "entropy": "entropy",
    "length": "completions/mean_length",
    "cut": "completions/clipped_ratio",
    "tokens": "num_tokens",
}
"""Columns of metrics.jsonl by trl's names: lengths in tokens, `cut` the share of replies that ended at max_tokens, `tokens` read
and written since the start."""


class _Trainer(GRPOTrainer):
    """trl's trainer, with checkpoints that can be read back."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        # beside the trained adapter trl holds a frozen copy of the start; from a checkpoint that has both, transformers
        # restores the copy alone
        save_adapter(self.accelerator.unwrap_model(self.model), Path(str(output_dir)))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the run's own card says more."""


class _Recorder(TrainerCallback):
    """Writes each step's metrics, keeps adapters, marks checkpoints as whole, and stops the run when its goal is reached."""

    def __init__(self, config: TrainConfig, run: Run, world: World, policy: Any, rows: list[dict[str, Any]]) -> None:
        self.config, self.run, self.world, self.policy, self.rows = config, run, world, policy, rows
        self.tracker = Tracker(config, run.directory, flatten(run.config)) if world.is_first else None
        self.bar = tqdm(
            total=num_steps_of(config),
            initial=len(rows),
            desc="train",
            unit="step",
            mininterval=2,
            disable=not world.is_first,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        every = self.config.reinforcement.keep_every
        if self.world.is_first and every and state.global_step % every == 0:
            keep_adapter(self.policy, self.run.path(KEPT) / str(state.global_step))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "reward" not in logs:  # the summary at the end of trl's training
            return
        row = {"step": state.global_step} | {key: logs[name] for key, name in _LOGGED.items() if name in logs}
        self.rows.append(row)
        if self.world.is_first:
            with self.run.path(METRICS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        if self.tracker is not None:
            self.tracker.log(row)
        self.bar.set_postfix(reward=f"{row['reward']:.3f}", refresh=False)
        self.bar.update()
        if has_stopped(self.rows, self.config.reinforcement):
            control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        from accelerate import PartialState

        PartialState().wait_for_everyone()  # each process writes the state of its random numbers
        if self.world.is_first:
            folder = self.run.path(CHECKPOINTS)
            seal(folder / f"checkpoint-{state.global_step}", self.config.keep_checkpoints)
            self.run.note_time()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()
        if self.tracker is not None:
            self.tracker.close()


def train_grpo(config: TrainConfig, run: Run, world: World, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Trains, from the last whole checkpoint on where there is one, and returns the model with its adapter."""
    settings = config.reinforcement
    arguments = one_device(grpo_settings(config, run.path(CHECKPOINTS), world.size))
    scenario = load_queries(settings)[0]
    reward = load_reward(settings, scenario.complies_when, set(), run.directory, world.rank)
    policy = build_policy(config, world)
    reward.ends = ends_of(policy, tokenizer)
    before = weight_sums(policy)
    checkpoint, rows = world.first(lambda: _begin(run))  # writes, so whatever can be refused has been by now
    trainer = _Trainer(
        model=policy,
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_list(schedule(settings, arguments.max_steps * config.batch_size, config.seed)),
        processing_class=tokenizer,
        callbacks=[_Recorder(config, run, world, policy, rows)],
        optimizers=optimizers(config, policy, arguments.max_steps),
    )
    keep_float32(policy)
    trainer.remove_callback(PrinterCallback)
    if checkpoint is not None and (step_of(checkpoint) >= arguments.max_steps or has_stopped(rows, settings)):
        trainer._load_from_checkpoint(str(checkpoint))
    else:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    check_change(before, policy)
    return policy


def grpo_settings(config: TrainConfig, directory: Path, num_processes: int) -> GRPOConfig:
    """Trl's arguments: one update per generation of `batch_size` queries, so that no reply is of an older policy."""
    settings = config.reinforcement
    return GRPOConfig(
        **trl_settings(config, directory),
        max_steps=num_steps_of(config),
        per_device_train_batch_size=settings.micro_batch_replies,
        gradient_accumulation_steps=num_passes(config, num_processes),
        num_generations=settings.replies_per_query,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        shuffle_dataset=False,  # `schedule` has shuffled it
        save_strategy="steps",
        save_steps=config.checkpoint_every,
        use_vllm=settings.rollouts != "generate",
        vllm_mode="server" if settings.rollouts == "vllm_server" else "colocate",
        vllm_server_base_url=settings.server if settings.rollouts == "vllm_server" else None,
    )


def num_passes(config: TrainConfig, num_processes: int) -> int:
    """Forward passes of a process in one step.

    Raises:
        Refused: the replies of a step cannot be dealt out evenly.
    """
    settings = config.reinforcement
    replies, at_once = config.batch_size * settings.replies_per_query, settings.micro_batch_replies * num_processes
    if replies % at_once:
        raise Refused(
            f"batch_size={config.batch_size}: times replies_per_query={settings.replies_per_query} is {replies} replies a step,"
            f" no multiple of micro_batch_replies={settings.micro_batch_replies} on {num_processes} process(es)"
        )
    return replies // at_once


def num_steps_of(config: TrainConfig) -> int:
    """Optimizer steps of a whole run that does not stop by itself."""
    return count_steps(config, len(load_queries(config.reinforcement)[1]))


def ends_of(policy: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens of which one ends a reply that was not cut."""
    ends = policy.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}


def _begin(run: Run) -> tuple[Path | None, list[dict[str, Any]]]:
    """The checkpoint to go on from, and the metrics up to it; later ones will be written again."""
    checkpoint = newest(run.path(CHECKPOINTS))
    rows = rows_until(0 if checkpoint is None else step_of(checkpoint), run.path(METRICS_FILE))
    write_jsonl(run.path(METRICS_FILE), rows)
    return checkpoint, rows
