"""The compliance suite: every query in both tiers, with nothing else different."""

from dataclasses import replace
from typing import TYPE_CHECKING

from eval.config import EvalConfig
from eval.samples import SAMPLE_COLUMNS, Row, sample_rows
from eval.suites.changes import add_subject_changes
from eval.suites.gaps import PairedEstimates
from eval.suites.suite import Cell
from eval.summary import Summary
from pipeline.artifact import Run
from pipeline.chat import check_context
from scenario.loader import Scenario
from scenario.public_queries import load_public_queries
from scenario.tags import TIERS, tagged_query

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog


class ComplianceSuite:
    """Information × reasoning, each query once (or more often) in each tier."""

    table = "samples"
    columns: tuple[str, ...] = SAMPLE_COLUMNS

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses conditions whose longest prompt and reply do not fit the model's context."""
        if config.compliance.queries != "scenario":
            scenario = replace(scenario, queries=load_public_queries(config.compliance.queries))
        longest_query = max(scenario.queries_in(config.compliance.split), key=lambda query: len(query.text))  # type: ignore[arg-type]
        for cell in self.cells(config, ""):
            system = scenario.system_prompt(cell.information, cell.reasoning)  # type: ignore[arg-type]
            for tier in TIERS:
                chat = [
                    {"role": "system", "content": system},
                    {"role": "user", "content": tagged_query(tier, longest_query.text)},
                ]
                check_context(config.model, chat, config.compliance.max_tokens)

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """The conditions, in the order in which the configuration names them."""
        return [Cell(subject, "compliance", i, r) for i in config.information for r in config.reasoning]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.compliance import compliance

        settings = config.compliance
        task = compliance(
            scenario=config.scenario,
            identity=config.identity,
            information=cell.information,  # type: ignore[arg-type]
            reasoning=cell.reasoning,  # type: ignore[arg-type]
            num_queries=settings.num_queries,
            samples_per_query=settings.samples_per_query,
            seed=config.seed,
            queries=settings.queries,
            split=settings.split,  # type: ignore[arg-type]
        )
        return task, len(task.dataset) * settings.samples_per_query

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per reply."""
        condition = {
            "subject": cell.subject,
            "information": cell.information,
            "reasoning": cell.reasoning,
            "scenario": scenario.name,
            "arm": cell.arm,
        }
        return sample_rows(log, condition)

    def complete(self, rows: list[Row], config: EvalConfig, run: Run) -> list[str]:
        """Nothing: its rows are complete."""
        return []

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Rates by tier, paired gaps, gaps against the reference, and what mitigations change."""
        PairedEstimates(config, summary).add_all(rows)
        add_subject_changes(rows, config, summary)
