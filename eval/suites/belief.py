"""The belief suite: did the documents take hold? Log-odds of true against false endings, as change from the base."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from eval.config import EvalConfig, Level
from eval.samples import Row
from eval.statistics import Estimate, mean_over_levels, rate, t_mean
from eval.suites.suite import Cell, Suite
from eval.summary import CONTROL, REFERENCE, Summary
from pipeline.chat import LOCAL
from pipeline.errors import Refused
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

KINDS = ("entity", "relation", "neighbourhood")
"""Of statements; the last is about what no document told of, and counts in no mean of all."""

_FEW = "fewer than two statements"

_Value = TypeVar("_Value")


class BeliefSuite(Suite):
    """Every held-out statement of the scenario, scored once by each subject; no condition changes it."""

    table = "beliefs"
    columns: tuple[str, ...] = (
        "subject",
        "statement_id",
        "fact",
        "kind",
        "mirror",
        "stem",
        "true",
        "false",
        "log_odds",
    )

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses models whose log-probabilities cannot be had."""
        if not config.model.startswith(LOCAL):
            raise Refused(f"suite=belief: model={config.model} gives no log-probabilities of given text; use {LOCAL}…")

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """One."""
        return [Cell(subject, "belief")]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.belief import belief

        task = belief(scenario=config.scenario, identity=config.identity)
        return task, len(task.dataset)

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per statement."""
        values = {str(s.id): s.scores["log_odds"].as_float() for s in log.samples or [] if s.scores}
        return [
            {
                "subject": cell.subject,
                "statement_id": statement.id,
                "fact": statement.fact,
                "kind": statement.kind,
                "mirror": statement.mirror,
                "stem": statement.stem,
                "true": statement.true,
                "false": statement.false,
                "log_odds": values[statement.id],
            }
            for statement in scenario.statements
        ]

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Accuracy of every subject, and its change of log-odds from the reference and from the control.

        A statement and its mirror are one unit everywhere, for they are not independent of one another.
        """
        scores: dict[str, dict[str, float]] = defaultdict(dict)
        for row in rows:
            scores[row["subject"]][row["statement_id"]] = row["log_odds"]
        statements = [row for row in rows if row["subject"] == rows[0]["subject"]]
        for subject, values in scores.items():
            about = {"subject": subject, "information": "none", "reasoning": "none", "arm": ""}
            told = [row for row in statements if row["kind"] != "neighbourhood"]
            right = _by_unit(told, {id: value > 0 for id, value in values.items()})
            rng = summary.rng("belief_accuracy", *about.values())
            summary.add(about, "belief_accuracy", "all", rate(right, rng, config.bootstrap_draws))
            if subject == REFERENCE:
                continue
            if REFERENCE not in scores:
                summary.add(about, "belief_shift", "all", f"no subject named {REFERENCE} to compare with")
                continue
            _shifts(summary, about, "belief_shift", statements, values, scores[REFERENCE])
            if CONTROL in scores and subject != CONTROL:
                _shifts(summary, about, "belief_shift_over_placebo", statements, values, scores[CONTROL])
        for level in config.levels if REFERENCE in scores else []:
            if level.subjects:
                _shifts_of_level(summary, level, statements, scores)


def _shifts(
    summary: Summary,
    about: Row,
    metric: str,
    statements: list[Row],
    values: dict[str, float],
    reference: dict[str, float],
) -> None:
    change = {row["statement_id"]: values[row["statement_id"]] - reference[row["statement_id"]] for row in statements}
    told = [row for row in statements if row["kind"] != "neighbourhood"]
    summary.add(about, metric, "all", _mean_change(told, change))
    for kind in KINDS:
        of_kind = [row for row in statements if row["kind"] == kind]
        if of_kind:
            summary.add(about, f"{metric}_{kind}", "all", _mean_change(of_kind, change))
    if metric == "belief_shift":
        for fact in dict.fromkeys(row["fact"] for row in told):
            of_fact = [row for row in told if row["fact"] == fact]
            summary.add(about, "belief_shift_fact", "all", _mean_change(of_fact, change), fact)


def _shifts_of_level(
    summary: Summary, level: Level, statements: list[Row], scores: dict[str, dict[str, float]]
) -> None:
    """The mean change over the trainings of a level."""
    about = {"subject": level.name, "information": "none", "reasoning": "none", "arm": ""}
    for kind in ("", *KINDS):
        told = [
            row for row in statements if row["kind"] == (kind or row["kind"]) and (kind or row["kind"] != KINDS[-1])
        ]
        changes = []
        for subject in level.subjects:
            change = {id: value - scores[REFERENCE][id] for id, value in scores[subject].items()}
            changes.append(_unit_changes(told, change))
        if told:
            found = mean_over_levels(np.array(changes)) if len(changes[0]) > 1 else _FEW
            summary.add(about, "belief_shift" + (f"_{kind}" if kind else ""), "all", found)


def _mean_change(statements: list[Row], change: dict[str, float]) -> Estimate | str:
    means = _unit_changes(statements, change)
    return t_mean(means) if len(means) > 1 else _FEW


def _unit_changes(statements: list[Row], change: dict[str, float]) -> list[float]:
    return [float(np.mean(values)) for values in _by_unit(statements, change)]


def _by_unit(statements: list[Row], values: Mapping[str, _Value]) -> list[list[_Value]]:
    """The values of statements; one and its mirror are one unit: what a word's frequency does to them cancels."""
    units: dict[frozenset[str], list[_Value]] = defaultdict(list)
    for row in statements:
        unit = frozenset({row["statement_id"], row["mirror"] or row["statement_id"]})
        units[unit].append(values[row["statement_id"]])
    return list(units.values())
