"""The training stage: checks everything, trains, and leaves an adapter that says where it came from."""

import json
import logging
import math
import random
import sys
from pathlib import Path

import numpy as np

from pipeline.artifact import Run, open_run, read_jsonl, working, write_json, write_jsonl
from pipeline.errors import Refused
from train.config import TrainConfig

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


def train(config: TrainConfig) -> None:
    """Trains an adapter into `config.output_dir`, or continues it, or finds it complete and says so."""
    directories = [Path(directory) for directory in config.data]
    run = open_run("train", config, {f"data_{i}": path for i, path in enumerate(directories)})
    if run.is_complete:
        print(f"train: {run.directory} is already complete")
        return
    with working(run):
        _train(config, run, directories)


def _train(config: TrainConfig, run: Run, directories: list[Path]) -> None:
    from pipeline.language_model import load_tokenizer
    from train.data import Dataset, collate, load_dataset

    tokenizer = load_tokenizer(config.model, config.trust_remote_code)
    dataset: Dataset = load_dataset(
        directories, config.objective, tokenizer, config.max_length, config.heldout_share, config.seed
    )
    _check_truncation(config, dataset.truncated_share, dataset.num_truncated)
    num_steps = config.max_steps or math.ceil(len(dataset.train) * config.epochs / config.batch_size)

    import torch

    from pipeline.language_model import load_base
    from train.adapter import MasterWeights, add_adapter, check_effect, save_adapter
    from train.card import model_card
    from train.checkpoint import load_checkpoint, remove_checkpoints
    from train.loop import Trainer

    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    base = load_base(config.model, config.precision, config.trust_remote_code)
    model = add_adapter(base, config.lora, config.model)
    weights = MasterWeights(model, config.lr)
    trainer = Trainer(config, model, weights, dataset, tokenizer.pad_token_id, num_steps)
    first_step = load_checkpoint(run.directory, weights)
    if first_step == 0:
        write_jsonl(run.path(METRICS_FILE), [{"step": 0, "heldout_loss": trainer.heldout_loss()}])
    else:
        _drop_metrics_after(first_step, run.path(METRICS_FILE))
        print(f"train: continuing after step {first_step} of {num_steps}", file=sys.stderr)
    trainer.run(run, first_step)
    tokens, _ = collate((dataset.heldout or dataset.train)[:1], tokenizer.pad_token_id)
    run.notes["largest_logit_change"] = check_effect(model, tokens.to(base.device))
    metrics = read_jsonl(run.path(METRICS_FILE))
    if dataset.heldout and "heldout_loss" not in metrics[-1]:
        metrics.append({"step": num_steps, "heldout_loss": trainer.heldout_loss()})
        write_jsonl(run.path(METRICS_FILE), metrics)
    save_adapter(model, run.path("adapter"))
    run.tokens_in = sum(row.get("tokens", 0) for row in metrics)
    run.notes |= {
        "base_revision": getattr(base.config, "_commit_hash", None),
        "num_train": len(dataset.train),
        "num_heldout": len(dataset.heldout),
        "num_truncated": dataset.num_truncated,
        "trainable_parameters": sum(master.numel() for master in weights.masters),
    }
    summary = training_summary(metrics)
    write_json(run.path("summary.json"), summary)
    run.path("README.md").write_text(model_card(config, run, metrics), encoding="utf-8")
    record = run.finish(["adapter", METRICS_FILE, "summary.json", "README.md"])
    remove_checkpoints(run.directory)
    told = {row["metric"]: row["estimate"] for row in summary}
    print(f"train: {num_steps} steps in {record.seconds:.0f} s, {json.dumps(told)} -> {run.directory}")


def training_summary(metrics: list[dict[str, float]]) -> list[dict[str, object]]:
    """The run's losses as estimates, so that sweeps over training can be collected like evaluations."""
    losses = [row["loss"] for row in metrics if "loss" in row]
    heldout = [row["heldout_loss"] for row in metrics if row.get("heldout_loss") is not None]
    values = {"train_loss": float(np.mean(losses[-max(1, len(losses) // 10) :]))}
    if len(heldout) == 2:
        values |= {"heldout_loss_before": heldout[0], "heldout_loss": heldout[1]}
    return [{"metric": metric, "estimate": value, "unit": "nats per token"} for metric, value in values.items()]


def _drop_metrics_after(step: int, path: Path) -> None:
    """Drops the lines that an interrupted run wrote after its last checkpoint; they will be written again."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written when the process died
            break
        if row["step"] <= step:
            kept.append(row)
    write_jsonl(path, kept)


def _check_truncation(config: TrainConfig, share: float, number: int) -> None:
    if share > config.max_truncated_share:
        raise Refused(
            f"max_length={config.max_length}: {number} examples are longer, which drops {share:.1%} of all tokens, more"
            f" than max_truncated_share={config.max_truncated_share:.1%}; raise one of the two"
        )
    if number:
        logger.warning(
            "%d examples were cut at max_length=%d (%.2f%% of tokens)", number, config.max_length, share * 100
        )
