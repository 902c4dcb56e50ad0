"""The training loop: forward, backward, update, log, checkpoint."""

import json
import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.artifact import Run
from pipeline.errors import Failed
from pipeline.seeds import derive_seed
from train.checkpoint import save_checkpoint
from train.config import TrainConfig
from train.corpus import IGNORED, Example
from train.data import Dataset, collate, deal, micro_batches, step_examples
from train.loss import Objective
from train.model import is_compiled
from train.optimizer import Weights, count_steps, rate_factor
from train.processes import World
from train.tracking import Tracker


class Trainer:
    """Everything that one run's steps share."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        weights: Weights,
        dataset: Dataset,
        pad_id: int,
        world: World,
    ) -> None:
        self.config, self.objective, self.weights = config, objective, weights
        self.dataset, self.pad_id, self.world = dataset, pad_id, world
        self.num_steps = count_steps(config, len(dataset.train))
        self.packs = objective.keeps_apart if config.packing is None else config.packing
        self.is_compiled = is_compiled(config, objective, world.device)

    def run(self, run: Run, first_step: int, tracker: Tracker) -> None:
        """Steps `first_step` to `num_steps`, each logged to metrics.jsonl, with a checkpoint now and then."""
        self.objective.train()
        is_first = self.world.is_first
        with (
            run.path("metrics.jsonl").open("a", encoding="utf-8") if is_first else nullcontext() as log,
            tqdm(
                total=self.num_steps,
                initial=first_step,
                desc="train",
                unit="step",
                mininterval=2,
                disable=not is_first,
            ) as progress,
        ):
            for step in range(first_step, self.num_steps):
                row = self.step(step)
                if log is not None:
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                    tracker.log(row)
                progress.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                progress.update()
                if (step + 1) % self.config.checkpoint_every == 0 or step + 1 == self.num_steps:
                    if log is not None:
                        os.fsync(log.fileno())
                    save_checkpoint(run.directory, self.weights, step + 1, self.config.keep_checkpoints, is_first)
                    if is_first:
                        run.note_time()

    def step(self, step: int) -> dict[str, Any]:
        """One optimizer step; the loss is the mean over all labelled tokens of the step, however it is split."""
        config = self.config
        examples = step_examples(self.dataset.train, step, config.batch_size, config.seed if config.shuffle else None)
        # dropout of a step is a function of seed, step and process, so that an interrupted run need not remember it
        torch.manual_seed(derive_seed(config.seed, "dropout", step, self.world.rank))
        losses, targets = self.passes(examples, learn=True)
        mean = sum(losses) / sum(targets)
        if not math.isfinite(mean):
            raise Failed(f"the loss is {mean} at step {step + 1}; lower lr or use precision=float32")
        lr = config.lr * rate_factor(config, step, self.num_steps)
        norm = self.weights.step(lr, config.max_grad_norm)
        row: dict[str, Any] = {
            "step": step + 1,
            "epoch": round((step + 1) * config.batch_size / len(self.dataset.train), 4),
            "loss": mean,
            "lr": lr,
            "grad_norm": norm,
            "tokens": sum(len(example.tokens) for example in examples),
        }
        if len(losses) > 1:
            row |= {"source_loss": losses, "source_targets": targets}
        return row

    def passes(self, examples: Sequence[Example], learn: bool) -> tuple[list[float], list[float]]:
        """All forward (and backward) passes over some examples, spread over the processes.

        Returns:
            Loss in nats and number of labelled tokens, both summed by source.
        """
        num_sources, device = len(self.dataset.sources), self.world.device
        losses = torch.zeros(num_sources, dtype=torch.float64, device=device)
        targets = torch.zeros(num_sources, dtype=torch.float64)
        num_targets = sum(example.num_targets for example in examples)
        for group in self._groups(examples):
            batch = collate(group, self.pad_id, self.packs, self._width())
            sources = batch.sources[:, 1:][batch.labels[:, 1:] != IGNORED]
            targets += torch.bincount(sources, minlength=num_sources)
            with nullcontext() if learn else torch.no_grad():
                loss, terms = self.objective(batch.tokens, batch.labels, batch.positions, batch.bounds)
            if learn:
                self.weights.backward(loss / num_targets)
            # nothing here waits for an accelerator, which can then be given the next pass before it is through with this
            losses.index_add_(0, sources.to(device, non_blocking=True), terms.to(losses))
        told, counted = self.world.sum(torch.stack([losses, targets.to(device)])).tolist()
        return told, counted

    def _groups(self, examples: Sequence[Example]) -> list[list[Example]]:
        """This process's micro-batches; as many as any other process has, where the processes go through layers together."""
        hands = [
            micro_batches(hand, self.config.micro_batch_tokens, self.packs) for hand in deal(examples, self.world.size)
        ]
        mine = hands[self.world.rank]
        if self.config.parallel == "ddp":
            return mine
        nothing = Example("nothing", examples[0].tokens[:2], [IGNORED] * 2)
        return mine + [[nothing]] * (max(map(len, hands)) - len(mine))

    def _width(self) -> int | None:
        """Rows of one length where layers are compiled, since each new length would be compiled anew."""
        return self.config.micro_batch_tokens if self.is_compiled and self.packs else None

    def heldout_loss(self) -> float | None:
        """Mean loss in nats per token on the held-out examples; None where none were held out."""
        if not self.dataset.heldout:
            return None
        self.objective.eval()
        losses, targets = self.passes(list(self.dataset.heldout), learn=False)
        self.objective.train()
        return sum(losses) / sum(targets)

    def probe(self) -> Tensor:
        """Tokens of one example, on which training has to show an effect."""
        example = (self.dataset.heldout or self.dataset.train)[0]
        return torch.tensor([example.tokens], device=self.world.device)
