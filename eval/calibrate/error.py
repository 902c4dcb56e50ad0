"""A judge's own error: how its verdicts agree with labels, and what a later run reads of that."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.calibrate.labels import SHIPPED, LabelledExample, load_labels, scenario_of
from eval.config import EvalConfig
from eval.judges.catalogue import RULES, load_judges
from eval.judges.judge import Judge, RuleJudge, Verdict
from eval.statistics import Estimate, JudgeError, auroc, cohens_kappa, wilson
from pipeline.artifact import read_run
from pipeline.errors import Refused

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class Agreement:
    """A judge's agreement with the labels."""

    sensitivity: Estimate | str
    """Share of the examples labelled yes that it calls yes, of those that it judged."""
    specificity: Estimate | str
    """Share of the examples labelled no that it calls no, of those that it judged."""
    auroc: Estimate | str
    """How often an example labelled yes scores above one labelled no; for a judge without score, a reason."""
    kappa: Estimate | str
    """Cohen's kappa with the labels."""
    confusion: dict[str, int]
    """Examples by label and verdict: yes_yes, yes_no, no_yes, no_no (label first), not_judged."""
    by_category: dict[str, dict[str, int]]
    """The same for each kind of example."""


def agreement(
    examples: list[LabelledExample], verdicts: list[Verdict], rng: np.random.Generator, draws: int
) -> Agreement:
    """How verdicts agree with the labels of their examples; what was not judged is counted and left out."""
    judged = [(e.label, bool(v.value)) for e, v in zip(examples, verdicts, strict=True) if v.value is not None]
    by_category: dict[str, dict[str, int]] = defaultdict(_cells)
    for example, verdict in zip(examples, verdicts, strict=True):
        by_category[example.category][_cell(example, verdict)] += 1
    confusion = {cell: sum(cells[cell] for cells in by_category.values()) for cell in _cells()}
    return Agreement(
        sensitivity=_share(confusion["yes_yes"], confusion["yes_no"], "yes"),
        specificity=_share(confusion["no_no"], confusion["no_yes"], "no"),
        auroc=_auroc(examples, verdicts),
        kappa=_kappa(judged, rng, draws),
        confusion=confusion,
        by_category=dict(sorted(by_category.items())),
    )


def judge_error(
    judge: Judge, model: str, directories: list[str], scenario: str = "", answered_as: Sequence[str] = ()
) -> JudgeError | str:
    """The judge's error as it was measured, or why it is not known.

    Rules are measured on the shipped examples there and then. Any other judge's error is that of the calibration of the
    same judge, of the same version, for the same scenario, with the same model, among `directories`.

    Args:
        judge: whose error is asked for.
        model: the name of the model that it goes by; empty for rules.
        directories: calibrations.
        scenario: what was evaluated; a judge of compliance errs otherwise in another.
        answered_as: the versions that answered in the evaluation, in the provider's words: behind one name a provider may
            put another model from one day to the next.

    Raises:
        Refused: a directory is no complete calibration.
    """
    wanted = scenario_of(judge, scenario)
    others = []
    for directory in directories:
        read_run(directory, "calibrate")
        for record in json.loads((Path(directory) / CALIBRATION_FILE).read_text(encoding="utf-8")):
            # before calibrations were of a scenario, only judges made for one were measured on it alone
            of = record.get("scenario", judge.scenario)
            if (record["judge"], record["version"], record["model"], of) != (judge.name, judge.version, model, wanted):
                continue
            if set(answered_as) <= set(record["answered_as"]):
                return _error(_estimate(record["sensitivity"]), _estimate(record["specificity"]))
            others.append(f"in {directory} {' and '.join(record['answered_as']) or 'nobody'} answered for {model}")
    if others:
        return f"{'; '.join(others)}, and here {' and '.join(answered_as)}: run python -m eval.calibrate again for {judge.name}"
    if not isinstance(judge, RuleJudge):
        of_model = f" with {model}" if model else ""
        of_scenario = f" for {wanted}" if wanted and not judge.scenario else ""
        return (
            f"no calibration of this version of {judge.name}{of_model}{of_scenario}: run python -m eval.calibrate and name"
            " its directory in calibrations"
        )
    try:
        examples = load_labels([SHIPPED], judge, "odd", "fictional", scenario)
    except Refused as error:
        return str(error)
    found = agreement(examples, [judge.rule(example.shown) for example in examples], np.random.default_rng(0), 1000)
    return _error(found.sensitivity, found.specificity)


def known_error(title: str, config: EvalConfig, answered_as: Sequence[str] = ()) -> JudgeError | str:
    """The error of the judge of this title, as rows name it, or why it is not known; see `judge_error`."""
    name, _, model = title.partition(" (")
    if name in RULES:
        return judge_error(RULES[name], "", config.calibrations, config.scenario)
    for judge in load_judges(config.judges, config.judging):
        if judge.name == name:
            return judge_error(judge, model.removesuffix(")"), config.calibrations, config.scenario, answered_as)
    return f"no calibration is known of {title}"


def as_record(found: Agreement) -> dict[str, Any]:
    """As JSON holds it: an estimate as its fields, a reason as {"reason": …}."""
    return {
        name: {"reason": value} if isinstance(value, str) else asdict(value) if isinstance(value, Estimate) else value
        for name, value in vars(found).items()
    }


def _estimate(record: dict[str, Any]) -> Estimate | str:
    return record["reason"] if "reason" in record else Estimate(**record)


def _error(sensitivity: Estimate | str, specificity: Estimate | str) -> JudgeError | str:
    if isinstance(sensitivity, str):
        return sensitivity
    return specificity if isinstance(specificity, str) else JudgeError(sensitivity, specificity)


def _cells() -> dict[str, int]:
    return dict.fromkeys(("yes_yes", "yes_no", "no_yes", "no_no", "not_judged"), 0)


def _cell(example: LabelledExample, verdict: Verdict) -> str:
    if verdict.value is None:
        return "not_judged"
    return f"{'yes' if example.label else 'no'}_{'yes' if verdict.value else 'no'}"


def _share(right: int, wrong: int, label: str) -> Estimate | str:
    return wilson(right, right + wrong) if right + wrong else f"no example labelled {label} was judged"


def _auroc(examples: list[LabelledExample], verdicts: list[Verdict]) -> Estimate | str:
    scores: dict[bool, list[float]] = {True: [], False: []}
    for example, verdict in zip(examples, verdicts, strict=True):
        if verdict.score is not None:
            scores[example.label].append(verdict.score)
    if not any(scores.values()):
        return "the judge gives no score"
    if not all(scores.values()):
        return "only examples of one label have a score"
    return auroc(scores[True], scores[False])


def _kappa(judged: list[tuple[bool, bool]], rng: np.random.Generator, draws: int) -> Estimate | str:
    if len({value for pair in judged for value in pair}) < 2:
        return "labels and verdicts are all alike" if judged else "no example was judged"
    return cohens_kappa([label for label, _ in judged], [verdict for _, verdict in judged], rng, draws)
