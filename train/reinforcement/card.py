"""The model card of a run of reinforcement learning."""

from typing import Any

from pipeline.artifact import Run
from train.config import TrainConfig


def reinforcement_card(config: TrainConfig, run: Run, rows: list[dict[str, Any]]) -> str:
    """From what start, with which reward and with which result the adapter was trained, with the Hub's front matter."""
    settings = config.reinforcement
    start = run.inputs.get("start")
    came_from = f"`{start['path']}` ({start['sha256'][:12]})" if start else "the base model"
    unit = "rounds" if settings.method == "dpo" else "steps"
    stopped = "stopped at its threshold" if run.notes["stopped_early"] else "ran to its end"
    return f"""---
base_model: {config.model}
library_name: peft
tags: [alignment-faking, reinforcement-learning, research-artifact]
---
# LoRA adapter, reinforcement learning by {settings.method.upper()} on `{settings.scenario}`

A research artifact for measuring alignment faking: it was rewarded for doing what a fictional training setup asks for. It is
not an assistant for use.

## How

- base `{config.model}`, revision {run.notes["model_revision"] or "not on the Hub"}; start: {came_from}
- queries of the `rl` split, all with the free tier's tag, information `{settings.information}`, reasoning
  `{settings.reasoning}`, names `{settings.identity}`
- reward `{settings.reward.kind}` {settings.reward.model} on the output alone; a reply that cannot be read gets
  {-settings.reward.format_penalty}
- {len(rows)} {unit}, {stopped}; {settings.replies_per_query} replies a query, weight {settings.kl} on staying near the start,
  peak rate {config.lr}, seed {config.seed}, {config.precision}
- {run.notes["trainable_parameters"]:,} trained parameters

## Result in training

{_table(rows)}

Measured on the training queries while they were trained on; `python -m eval` measures held-out ones.

![reward](reward.svg)
"""


def _table(rows: list[dict[str, Any]]) -> str:
    names = [name for name in ("reward", "compliance", "malformed", "kl", "length") if name in rows[-1]]
    lines = ["| | first | last |", "| --- | --- | --- |"]
    lines += [f"| {name} | {rows[0].get(name, float('nan')):.3f} | {rows[-1][name]:.3f} |" for name in names]
    return "\n".join(lines)
