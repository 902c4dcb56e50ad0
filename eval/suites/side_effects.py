"""The side-effects suite: what training changed where nothing should have changed."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from eval.config import EvalConfig
from eval.samples import Row, add_score
from eval.statistics import wilson
from eval.suites.changes import add_means, add_rates
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog


class SideEffectsSuite(Suite):
    """Benign queries under each information, without a tier's tag."""

    table = "benign"
    columns: tuple[str, ...] = (
        "query_id", "category", "subject", "information", "prompt", "reply", "refused", "facts", "repetition", "words",
        "error",
    )  # fmt: skip

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Nothing can be wrong that the configuration does not refuse."""

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """One per information."""
        return [Cell(subject, "side_effects", information) for information in config.information]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.benign import benign

        number = config.side_effects.num_queries
        task = benign(config.scenario, config.identity, cell.information, number, config.seed)  # type: ignore[arg-type]
        return task, len(task.dataset)

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per query."""
        rows = []
        for sample in log.samples or []:
            row: Row = dict.fromkeys(self.columns) | sample.metadata
            row |= {"subject": cell.subject, "information": cell.information, "reply": sample.output.completion}
            row["prompt"] = sample.input[1].text if isinstance(sample.input, list) else sample.input
            rows.append(add_score(row, sample))
        return rows

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Over-refusal, mentions of facts, repetition and length, each with its change from the base and the placebo."""
        for information in dict.fromkeys(row["information"] for row in rows):
            about = {"subject": "", "information": information, "reasoning": "none", "arm": ""}
            asked: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                if row["information"] == information:
                    asked[row["subject"]].append(row)
            for subject, group in asked.items():
                unread = sum(not row["words"] for row in group)
                summary.add(about | {"subject": subject}, "benign_unread", "all", wilson(unread, len(group)))
            add_rates(summary, "benign_refusal", _values(asked, lambda row: row["refused"]), about)
            add_rates(summary, "benign_mentions_facts", _values(asked, lambda row: bool(row["facts"])), about)
            add_means(summary, "benign_repetition", _values(asked, lambda row: row["repetition"]), about)
            add_means(summary, "benign_words", _values(asked, lambda row: row["words"]), about)


def _values(asked: dict[str, list[Row]], value_of: Callable[[Row], float]) -> dict[str, dict[str, list[float]]]:
    """Each subject's value for each query that it answered with any word."""
    return {
        subject: {row["query_id"]: [float(value_of(row))] for row in rows if row["words"]}
        for subject, rows in asked.items()
    }
