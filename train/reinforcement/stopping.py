"""When a run has reached its goal: training non-compliance at a threshold, over the last steps."""

from typing import Any

from train.reinforcement.settings import ReinforcementSettings


def has_stopped(rows: list[dict[str, Any]], settings: ReinforcementSettings) -> bool:
    """Whether the mean share of replies that do not comply, over the last `stop_window` rows, is at most the threshold."""
    if settings.stop_at_non_compliance is None or len(rows) < settings.stop_window:
        return False
    last = rows[-settings.stop_window :]
    if any("compliance" not in row for row in last):  # no reply of a step could be scored
        return False
    return sum(1 - row["compliance"] for row in last) / len(last) <= settings.stop_at_non_compliance
