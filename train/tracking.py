"""Metrics for whoever watches: the same rows that metrics.jsonl holds, through accelerate's trackers."""

import hashlib
import json
from pathlib import Path
from typing import Any

from train.config import TrainConfig

METRICS_FILE = "metrics.jsonl"

_PROJECT = "alignment-faking-sdf"


def rows_until(step: int, path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl up to a step, without those that an interrupted run wrote after its last checkpoint."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the line that was being written when the process died
            break
        if row["step"] <= step:
            kept.append(row)
    return kept


class Tracker:
    """Hands rows to TensorBoard, W&B or trackio, or, with `report_to=none`, to nobody."""

    def __init__(self, config: TrainConfig, directory: Path, settings: dict[str, Any]) -> None:
        """Begins (or, after an interruption, goes on with) a run that is named after its directory.

        Args:
            config: says where to.
            directory: the run's; TensorBoard's files go to its `tensorboard/`.
            settings: flat, shown beside the curves.
        """
        self._tracker: Any = None
        if config.report_to == "none":
            return
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        told = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
        name = f"{str(directory).strip('/').replace('/', '-')}-{told}"  # other settings are another run
        # what accelerate calls the name of a run is, but for TensorBoard, that of a project, in which a run has its own
        project, place = {
            "tensorboard": ("tensorboard", {"logging_dir": str(directory)}),
            "wandb": (_PROJECT, {"name": name, "id": name, "resume": "allow"}),
            "trackio": (_PROJECT, {"name": name, "resume": "allow"}),
        }[config.report_to]
        self._tracker = LOGGER_TYPE_TO_CLASS[config.report_to](project, **place)
        self._tracker.start()
        plain = {key: value if isinstance(value, int | float) else str(value) for key, value in settings.items()}
        self._tracker.store_init_configuration(plain)

    def log(self, row: dict[str, Any]) -> None:
        """One row of metrics.jsonl; lists (per source) become one value each."""
        if self._tracker is None:
            return
        values = {key: value for key, value in row.items() if isinstance(value, int | float) and key != "step"}
        for key, value in row.items():
            if isinstance(value, list):
                values |= {f"{key}/{place}": item for place, item in enumerate(value)}
        self._tracker.log(values, step=row["step"])

    def close(self) -> None:
        """Sends what is still waiting."""
        if self._tracker is not None:
            self._tracker.finish()
