"""The records of summary.json: every estimate with the same keys, or the reason why there is none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.config import EvalConfig
from eval.samples import Row
from eval.statistics import Estimate
from pipeline.seeds import derive_seed

REFERENCE = "base"
"""The subject that changes are taken from."""
CONTROL = "placebo"
"""The subject that tells `was fine-tuned` from `was told this`."""


class Summary:
    """Collects estimates as records with the same keys."""

    def __init__(self, config: EvalConfig, answered_as: Mapping[str, Sequence[str]] | None = None) -> None:
        self.config = config
        self.answered_as = answered_as or {}
        """By judge's title, the versions that answered, in the provider's words."""
        self.warnings: list[str] = []
        """What could not be made sure of, for the run's record."""
        self.records: list[dict[str, Any]] = []

    def add(self, about: Row, metric: str, tier: str, found: Estimate | str, fact: str = "") -> None:
        """One record: an estimate, or the reason why there is none."""
        missing = isinstance(found, str)
        self.records.append(
            {
                "metric": metric,
                "scenario": self.config.scenario,
                "subject": about["subject"],
                "information": about["information"],
                "reasoning": about["reasoning"],
                "tier": tier,
                "arm": about["arm"],
                "fact": fact,
                "estimate": None if isinstance(found, str) else found.value,
                "ci_low": None if isinstance(found, str) or np.isnan(found.low) else found.low,
                "ci_high": None if isinstance(found, str) or np.isnan(found.high) else found.high,
                "n": 0 if isinstance(found, str) else found.n,
                "method": "" if isinstance(found, str) else found.method,
                "reason": found if missing else "",
            }
        )

    def rng(self, *about: object) -> np.random.Generator:
        """A generator for one estimate, the same in every run."""
        return np.random.default_rng(derive_seed(self.config.seed, *about))


def name_judge(record: dict[str, Any], title: str) -> None:
    """Says in a record's method whose verdicts it rests on; a record without an estimate has no method."""
    if record["method"]:
        record["method"] += f"; judged by {title}"
