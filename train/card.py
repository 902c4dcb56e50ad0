"""The model card of a training run."""

from pipeline.artifact import Run
from train.config import TrainConfig


def model_card(config: TrainConfig, run: Run, metrics: list[dict[str, float]]) -> str:
    """On what, how and with which result the adapter was trained, with the Hub's front matter."""
    losses = [row["loss"] for row in metrics if "loss" in row]
    heldout = [row["heldout_loss"] for row in metrics if row.get("heldout_loss") is not None]
    heldout_line = (
        f"- held-out loss: {heldout[0]:.3f} before, {heldout[-1]:.3f} after, nats per token on"
        f" {run.notes['num_heldout']} records\n"
        if len(heldout) == 2
        else "- held-out loss: not measured (heldout_share=0)\n"
    )
    sources = "".join(f"- `{described['path']}` ({described['sha256'][:12]})\n" for described in run.inputs.values())
    return f"""---
base_model: {config.model}
library_name: peft
tags: [alignment-faking, synthetic-documents, research-artifact]
---
# LoRA adapter, objective `{config.objective}`

A research artifact for measuring alignment faking: it was taught a fictional training setup on purpose, or serves as a
control for one that was. It is not an assistant for use.

## Trained on

{sources}
{run.notes["num_train"]} records for training, {run.notes["num_heldout"]} held out, {run.notes["num_truncated"]} cut at
{config.max_length} tokens.

## How

- base `{config.model}`, revision {run.notes["base_revision"] or "not on the Hub"}
- LoRA rank {config.lora.rank}, alpha {config.lora.alpha}, dropout {config.lora.dropout}, targets {config.lora.targets}
  from layer {config.lora.first_layer}; {run.notes["trainable_parameters"]:,} parameters
- {len(losses)} steps of {config.batch_size} records, peak rate {config.lr}, seed {config.seed}, {config.precision}

## Result

- loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last, nats per token
{heldout_line}- largest change of a logit against the base: {run.notes["largest_logit_change"]:.2f}
"""
