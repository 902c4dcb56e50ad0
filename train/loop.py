"""The training loop: forward, backward, update, log, checkpoint."""

import json
import math
import os
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from pipeline.artifact import Run
from pipeline.errors import Failed
from train.adapter import MasterWeights
from train.checkpoint import save_checkpoint
from train.config import TrainConfig
from train.data import Dataset, collate, micro_batches, step_examples
from train.loss import summed_loss

if TYPE_CHECKING:
    from peft import PeftModel


class Trainer:
    """Everything that one run's steps share."""

    def __init__(
        self,
        config: TrainConfig,
        model: "PeftModel",
        weights: MasterWeights,
        dataset: Dataset,
        pad_id: int,
        num_steps: int,
    ) -> None:
        self.config, self.model, self.weights = config, model, weights
        self.dataset, self.pad_id, self.num_steps = dataset, pad_id, num_steps

    def run(self, run: Run, first_step: int) -> None:
        """Steps `first_step` to `num_steps`, each logged to metrics.jsonl, with a checkpoint now and then."""
        self.model.train()
        with (
            run.path("metrics.jsonl").open("a", encoding="utf-8") as log,
            tqdm(total=self.num_steps, initial=first_step, desc="train", unit="step", mininterval=2) as progress,
        ):
            for step in range(first_step, self.num_steps):
                row = self.step(step)
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                progress.update()
                if (step + 1) % self.config.checkpoint_every == 0 or step + 1 == self.num_steps:
                    os.fsync(log.fileno())
                    save_checkpoint(run.directory, self.weights, step + 1)
                    run.note_time()

    def step(self, step: int) -> dict[str, float]:
        """One optimizer step; the loss is the mean over all labelled tokens of the step, however it is split."""
        config = self.config
        examples = step_examples(self.dataset.train, step, config.batch_size, config.seed if config.shuffle else None)
        num_targets = sum(example.num_targets for example in examples)
        total = 0.0
        for group in micro_batches(examples, config.micro_batch_tokens):
            tokens, labels = (part.to(self.model.device) for part in collate(group, self.pad_id))
            loss = summed_loss(self.model, tokens, labels)
            loss.backward()
            total += float(loss.detach())
        mean = total / num_targets
        if not math.isfinite(mean):
            raise Failed(f"the loss is {mean} at step {step + 1}; lower lr or use precision=float32")
        lr = self.rate(step)
        norm = self.weights.step(lr, num_targets, config.max_grad_norm)
        return {
            "step": step + 1,
            "epoch": round((step + 1) * config.batch_size / len(self.dataset.train), 4),
            "loss": mean,
            "lr": lr,
            "grad_norm": norm,
            "tokens": sum(len(example.tokens) for example in examples),
        }

    def rate(self, step: int) -> float:
        """Linear warm-up over `warmup_share` of the steps, then linear decay that would reach zero after the last."""
        warmup = max(1, round(self.config.warmup_share * self.num_steps))
        if step < warmup:
            return self.config.lr * (step + 1) / warmup
        return self.config.lr * (self.num_steps - step) / max(1, self.num_steps - warmup)

    def heldout_loss(self) -> float | None:
        """Mean loss in nats per token on the held-out examples; None where none were held out."""
        if not self.dataset.heldout:
            return None
        self.model.eval()
        total, targets = 0.0, 0
        with torch.no_grad():
            for group in micro_batches(self.dataset.heldout, self.config.micro_batch_tokens):
                tokens, labels = (part.to(self.model.device) for part in collate(group, self.pad_id))
                total += float(summed_loss(self.model, tokens, labels))
                targets += sum(example.num_targets for example in group)
        self.model.train()
        return total / targets
