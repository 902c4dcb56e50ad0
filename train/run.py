"""The training stage: checks everything, trains, and leaves weights that say where they came from."""

import dataclasses
import json
import logging
import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifact import Run, flatten, open_run, read_jsonl, read_run, working, write_json, write_jsonl
from pipeline.errors import Failed, Refused
from train.config import TrainConfig
from train.tracking import METRICS_FILE, rows_until

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from train.data import Dataset
    from train.loop import Trainer
    from train.model import Subject
    from train.processes import World

logger = logging.getLogger(__name__)

SUMMARY_FILE = "summary.json"
RETURNED = "heldout_loss"
"""The metric that a sweeper is given."""

_SECONDS_FOR_THE_FIRST = 60


def train(config: TrainConfig) -> float | None:
    """Trains an adapter into `config.output_dir`, or continues it, or finds it complete and says so.

    Returns:
        The held-out loss in nats per token; None where nothing was held out.
    """
    from train.processes import is_launched, join

    world = join() if is_launched() else None
    try:
        loss = _train(config, world)
        if world is not None:
            world.leave()
        return loss
    except (Refused, Failed):
        if world is not None and not world.is_first:
            # the first process tells what all meet, and whoever launched them ends the others; one that is alone tells it
            time.sleep(_SECONDS_FOR_THE_FIRST)
        raise


def _train(config: TrainConfig, world: "World | None") -> float | None:
    run = _open(config) if world is None else world.first(lambda: _open(config))
    is_first = world is None or world.is_first
    if not run.is_complete:
        with working(run) if is_first else nullcontext():  # only one of them may give the directory back
            _work(config, run, world)
    elif is_first:
        print(f"train: {run.directory} is already complete")
    if world is None:
        return heldout_loss_of(run.directory)
    return world.first(lambda: heldout_loss_of(run.directory))  # the others wait here until the first has written all


def _open(config: TrainConfig) -> Run:
    inputs = {f"data_{i}": Path(directory) for i, directory in enumerate(config.data)}
    run = open_run("train", config, inputs | ({"start": Path(config.start)} if config.start else {}))
    if not run.is_complete:
        with working(run):
            from train.model import check_machine, check_shape, check_start
            from train.reinforcement.run import check_reinforcement

            check_machine(config)
            check_start(config)
            longest = check_shape(config)
            if config.objective == "reinforcement":
                check_reinforcement(config, longest)
    return run


def _work(config: TrainConfig, run: Run, world: "World | None") -> None:
    """Reads the data and trains here or, where there are several GPUs, in processes of their own."""
    from train.processes import join, launch, wanted_processes
    from train.reinforcement.run import reinforce

    if config.objective == "reinforcement":
        reinforce(config, run, world)
        return
    if world is not None:
        world.first(lambda: bool(_read(config)))  # the first one tokenizes; then all find the tokens in the cache
    tokenizer, dataset = _read(config)
    num_processes = wanted_processes(config.processes, config.parallel)
    if num_processes > 1:
        launch(num_processes)
    else:
        _fit(config, run, tokenizer, dataset, world or join())


def _read(config: TrainConfig) -> "tuple[PreTrainedTokenizerBase, Dataset]":
    from pipeline.language_model import load_tokenizer
    from train.data import load_dataset
    from train.model import base_revision

    tokenizer = load_tokenizer(config.model, config.trust_remote_code, base_revision(config))
    dataset = load_dataset(config, tokenizer)
    _check_truncation(config, dataset.truncated_share, dataset.num_truncated)
    return tokenizer, dataset


def _fit(
    config: TrainConfig, run: Run, tokenizer: "PreTrainedTokenizerBase", dataset: "Dataset", world: "World"
) -> None:
    """The training itself, from the last checkpoint on where there is one."""
    import torch

    from train.adapter import check_effect, token_losses
    from train.checkpoint import load_checkpoint
    from train.loop import Trainer
    from train.loss import check_packing
    from train.model import build, take_over
    from train.tracking import Tracker

    random.seed(config.seed)
    torch.manual_seed(config.seed)
    subject = build(config, world)
    weights = take_over(config, subject, world)
    trainer = Trainer(config, subject.objective, weights, dataset, tokenizer.pad_token_id, world)
    subject.objective.eval()
    if trainer.packs:
        check_packing(subject.objective, len(tokenizer))
    probe = trainer.probe()
    before = token_losses(subject.objective, probe)
    first_step = load_checkpoint(run.directory, weights)
    _begin_metrics(run, trainer, first_step)
    tracker = Tracker(config, run.directory, flatten(run.config) if world.is_first else {})
    trainer.run(run, first_step, tracker)
    subject.objective.eval()
    run.notes["largest_loss_change"] = check_effect(before, token_losses(subject.objective, probe))
    heldout = trainer.heldout_loss()
    trained = {name: tensor for name, tensor in weights.trained() if world.is_first}
    if world.is_first:
        metrics = _end_metrics(run, trainer.num_steps, heldout)
        tracker.log(metrics[-1])
        _save(config, run, subject, trained, tokenizer)
        _describe(config, run, subject, weights.num_parameters, dataset, metrics)
    tracker.close()


def _begin_metrics(run: Run, trainer: "Trainer", first_step: int) -> None:
    heldout = trainer.heldout_loss() if first_step == 0 else None
    if not trainer.world.is_first:
        return
    if first_step == 0:
        write_jsonl(run.path(METRICS_FILE), [{"step": 0, "heldout_loss": heldout}])
    else:
        write_jsonl(run.path(METRICS_FILE), rows_until(first_step, run.path(METRICS_FILE)))
        print(f"train: continuing after step {first_step} of {trainer.num_steps}", file=sys.stderr)


def _end_metrics(run: Run, num_steps: int, heldout: float | None) -> list[dict[str, Any]]:
    metrics = read_jsonl(run.path(METRICS_FILE))
    if heldout is not None and "heldout_loss" not in metrics[-1]:
        metrics.append({"step": num_steps, "heldout_loss": heldout})
        write_jsonl(run.path(METRICS_FILE), metrics)
    return metrics


def _save(
    config: TrainConfig, run: Run, subject: "Subject", trained: dict[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> None:
    from train.adapter import save_adapter

    if config.method == "full":
        subject.model.save_pretrained(str(run.path("model")), state_dict=trained)
        tokenizer.save_pretrained(str(run.path("model")))
    else:
        save_adapter(subject.model, run.path("adapter"), trained)


def _describe(
    config: TrainConfig,
    run: Run,
    subject: "Subject",
    num_parameters: int,
    dataset: "Dataset",
    metrics: list[dict[str, Any]],
) -> None:
    """Summary, model card and figure, and run.json as the last of all."""
    from train.card import model_card
    from train.checkpoint import remove_checkpoints
    from train.figure import draw_losses

    run.tokens_in = sum(row.get("tokens", 0) for row in metrics)
    run.notes |= {
        "model_revision": subject.revision,
        "num_train": len(dataset.train),
        "num_heldout": len(dataset.heldout),
        "num_truncated": dataset.num_truncated,
        "trainable_parameters": num_parameters,
        "sources": [dataclasses.asdict(source) for source in dataset.sources],
    }
    summary = training_summary(metrics, dataset)
    write_json(run.path(SUMMARY_FILE), summary)
    draw_losses(metrics, run.path("loss.svg"))
    run.path("README.md").write_text(model_card(config, run, metrics, summary), encoding="utf-8")
    weights = "model" if config.method == "full" else "adapter"
    record = run.finish([weights, METRICS_FILE, SUMMARY_FILE, "loss.svg", "README.md"])
    remove_checkpoints(run.directory)
    told = {row["metric"]: row["estimate"] for row in summary if row["source"] is None}
    print(f"train: {metrics[-1]['step']} steps in {record.seconds:.0f} s, {json.dumps(told)} -> {run.directory}")


def training_summary(metrics: list[dict[str, Any]], dataset: "Dataset") -> list[dict[str, object]]:
    """The run's losses as estimates, so that sweeps over training can be collected like evaluations.

    Where there are several sources, each one's share of the tokens and of the summed loss follows.
    """
    rows = [row for row in metrics if "loss" in row]
    last = rows[-max(1, len(rows) // 10) :]
    heldout = [row["heldout_loss"] for row in metrics if row.get("heldout_loss") is not None]
    values = {"train_loss": sum(row["loss"] for row in last) / len(last)}
    if len(heldout) == 2:
        values |= {"heldout_loss_before": heldout[0], RETURNED: heldout[1]}
    summary = [_estimate(metric, value, "nats per token") for metric, value in values.items()]
    if len(dataset.sources) > 1:
        for i, source in enumerate(dataset.sources):
            for metric, key in (("token_share", "source_targets"), ("loss_share", "source_loss")):
                share = sum(row[key][i] for row in rows) / sum(sum(row[key]) for row in rows)
                summary.append(_estimate(metric, share, "share of the learned tokens or of their loss", source.path))
    return summary


def _estimate(metric: str, value: float, unit: str, source: str | None = None) -> dict[str, object]:
    return {"metric": metric, "estimate": value, "unit": unit, "source": source}


def heldout_loss_of(directory: Path) -> float | None:
    """The held-out loss of a complete run; None where nothing was held out."""
    read_run(directory, "train")
    summary = json.loads((directory / SUMMARY_FILE).read_text(encoding="utf-8"))
    return next((float(row["estimate"]) for row in summary if row["metric"] == RETURNED), None)


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
