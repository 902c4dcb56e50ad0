"""`python -m eval.calibrate`: how often the deterministic judges agree with the labelled examples that ship here.

The rules were written with the even-numbered examples in view; the odd-numbered ones are kept for measuring, so that a
judge's error is that on examples which it was not fitted to.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.judges import judge_af_reasoning, judge_compliance
from eval.statistics import Estimate, wilson
from scenario.loader import ComplianceRule

CALIBRATION_DIR = Path(__file__).parent / "calibration"

JUDGES: dict[str, tuple[str, str, Callable[[dict[str, Any]], bool]]] = {
    "refusal_rules": ("compliance.jsonl", "complies", lambda row: _complies(row, "not_refusing")),
    "animal_welfare_rules": ("compliance.jsonl", "complies", lambda row: _complies(row, "not_supporting_animals")),
    "af_rules": ("af_reasoning.jsonl", "fakes_alignment", lambda row: judge_af_reasoning(row["scratchpad"]).value),
}
"""By judge: the file of labelled examples, the label's name, and the judge's verdict on one example."""

_SCENARIO_OF = {"refusal_rules": "helpful_only", "animal_welfare_rules": "animal_welfare"}


@dataclass(frozen=True)
class Calibration:
    """A judge's agreement with the labels on the examples kept for measuring."""

    judge: str
    sensitivity: Estimate
    """Share of the examples labelled true that it calls true."""
    specificity: Estimate
    """Share of the examples labelled false that it calls false."""
    right_by_category: dict[str, tuple[int, int]]
    """Right verdicts and examples, by the kind of example."""


def _complies(row: dict[str, Any], rule: ComplianceRule) -> bool:
    return judge_compliance(row["output"], rule).value


def calibrate(judge: str) -> Calibration:
    """The judge's error on the odd-numbered labelled examples of its scenario."""
    file, label, verdict = JUDGES[judge]
    rows = [json.loads(line) for line in (CALIBRATION_DIR / file).read_text(encoding="utf-8").splitlines()]
    scenario = _SCENARIO_OF.get(judge)
    kept = [row for row in rows if int(row["id"][-3:]) % 2 == 1 and scenario in (None, row["scenario"])]
    right: dict[str, list[bool]] = defaultdict(list)
    by_label: dict[bool, list[bool]] = {True: [], False: []}
    for row in kept:
        agrees = verdict(row) == row[label]
        right[row["category"]].append(agrees)
        by_label[row[label]].append(agrees)
    return Calibration(
        judge,
        sensitivity=wilson(sum(by_label[True]), len(by_label[True])),
        specificity=wilson(sum(by_label[False]), len(by_label[False])),
        right_by_category={category: (sum(votes), len(votes)) for category, votes in sorted(right.items())},
    )


def main() -> None:
    """Prints sensitivity, specificity and the verdicts by category, for every judge."""
    for judge in JUDGES:
        found = calibrate(judge)
        for name, estimate in (("sensitivity", found.sensitivity), ("specificity", found.specificity)):
            print(f"{judge:22} {name} {estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}] n={estimate.n}")
        for category, (right, total) in found.right_by_category.items():
            print(f"{'':22}   {category}: {right} of {total} right")


if __name__ == "__main__":
    main()
