"""The model card of a training run."""

from pathlib import Path
from typing import Any

from pipeline.artifact import Run
from train.config import TrainConfig


def model_card(
    config: TrainConfig, run: Run, metrics: list[dict[str, Any]], summary: list[dict[str, Any]] | None = None
) -> str:
    """On what, how and with which result the weights were trained, with the Hub's front matter."""
    losses = [row["loss"] for row in metrics if "loss" in row]
    kind = "Full fine-tuning" if config.method == "full" else "LoRA adapter"
    library = "transformers" if config.method == "full" else "peft"
    return f"""---
base_model: {config.model}
library_name: {library}
tags: [alignment-faking, synthetic-documents, research-artifact]
---
# {kind}, objective `{config.objective}`

A research artifact for measuring alignment faking: it was taught a fictional training setup on purpose, or serves as a
control for one that was. It is not an assistant for use.

## Trained on

{_sources(config, run, summary or [])}
{run.notes["num_train"]} records for training, {run.notes["num_heldout"]} held out, {run.notes["num_truncated"]} cut at
{config.max_length} tokens.

## How

- base `{config.model}`, revision {run.notes["model_revision"] or "not on the Hub"}
{_method(config, run)}
- {len(losses)} steps of {config.batch_size} records, peak rate {config.lr}, schedule {config.schedule}, seed {config.seed},
  {config.precision}

## Result

- loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last, nats per token
{_heldout(run, metrics)}
- largest change of one token's loss against the base: {run.notes["largest_loss_change"]:.2f} nats

![loss](loss.svg)
"""


def _sources(config: TrainConfig, run: Run, summary: list[dict[str, Any]]) -> str:
    lines = []
    hashes = {str(Path(path)): run.inputs[f"data_{i}"]["sha256"] for i, path in enumerate(config.data)}
    for source in run.notes["sources"]:
        # the chats of a mix are a source of their own, named after their file
        sha256 = hashes.get(source["path"]) or hashes[str(Path(source["path"]).parent)]
        line = f"- `{source['path']}` ({sha256[:12]}): {source['num_records']} records"
        shares = {row["metric"]: row["estimate"] for row in summary if row["source"] == source["path"]}
        if shares:
            line += f", {shares['token_share']:.1%} of the learned tokens and {shares['loss_share']:.1%} of the loss"
        if source["num_unused"]:
            line += f"; {source['num_unused']} left out to keep to the shares"
        lines.append(line + "\n")
    return "".join(lines)


def _method(config: TrainConfig, run: Run) -> str:
    count = f"{run.notes['trainable_parameters']:,} parameters"
    if config.method == "full":
        return f"- every weight trained: {count}"
    if config.start:
        return f"- the adapter of `{config.start}` trained further; {count}"
    lora = config.lora
    kinds = [word for word, is_on in (("rsLoRA", lora.rslora), ("DoRA", lora.dora)) if is_on]
    name = " with ".join(["QLoRA (base in 4 bits)" if config.method == "qlora" else "LoRA", *kinds])
    return (
        f"- {name} rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout}, targets {lora.targets}\n"
        f"  from layer {lora.first_layer}; {count}"
    )


def _heldout(run: Run, metrics: list[dict[str, Any]]) -> str:
    losses = [row["heldout_loss"] for row in metrics if row.get("heldout_loss") is not None]
    if len(losses) != 2:
        return "- held-out loss: not measured, as nothing was held out"
    return (
        f"- held-out loss: {losses[0]:.3f} before, {losses[1]:.3f} after, nats per token on"
        f" {run.notes['num_heldout']} records"
    )
