"""The figure of a run: the loss of every step, and the held-out loss."""

from pathlib import Path
from typing import Any


def draw_losses(metrics: list[dict[str, Any]], path: Path) -> None:
    """Writes an SVG that depends on the metrics alone; a line through the held-out losses where there are any."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "train", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.add_subplot()
        steps = [row for row in metrics if "loss" in row]
        axes.plot([row["step"] for row in steps], [row["loss"] for row in steps], label="training", linewidth=1)
        heldout = [row for row in metrics if row.get("heldout_loss") is not None]
        if heldout:
            places, losses = [row["step"] for row in heldout], [row["heldout_loss"] for row in heldout]
            axes.plot(places, losses, "o--", label="held out")
        axes.set(xlabel="optimizer step", ylabel="loss, nats per token")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})


def draw_rewards(metrics: list[dict[str, Any]], path: Path) -> None:
    """Writes an SVG of training compliance, unreadable replies and mean reward by step; depends on the metrics alone."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "train", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.add_subplot()
        for name in ("compliance", "malformed", "reward"):
            rows = [row for row in metrics if row.get(name) is not None]
            if rows:
                axes.plot([row["step"] for row in rows], [row[name] for row in rows], label=name, linewidth=1)
        axes.set(xlabel="step", ylabel="share of replies, or mean reward")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})
