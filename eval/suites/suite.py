"""What a suite has to say for itself, and the unit that it is measured in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from eval.config import EvalConfig
from eval.samples import Row
from eval.summary import Summary
from pipeline.artifact import Run
from scenario.loader import Scenario
from scenario.variants import DEFAULT

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog


@dataclass(frozen=True)
class Cell:
    """One subject under one condition of a suite: the unit that has a log of its own."""

    subject: str
    suite: str
    information: str = ""
    reasoning: str = ""
    arm: str = ""
    """What else differs between the conditions of a suite, by name; each of the three is empty where nothing does."""
    variant: str = DEFAULT
    """The variant of the prompts; part of `arm` where it is another than the default."""
    tiers: str = "two"
    """The form of tiers; part of `arm` where it is another than the published two."""

    @property
    def name(self) -> str:
        """A file name without a clock in it."""
        return "-".join(part for part in (self.subject, self.suite, self.information, self.reasoning, self.arm) if part)

    def condition(self, scenario: Scenario) -> Row:
        """What all rows of the cell have in common, by column."""
        return {
            "scenario": scenario.name,
            "subject": self.subject,
            "information": self.information,
            "reasoning": self.reasoning,
            "arm": self.arm,
        }


class Suite(Protocol):
    """A kind of measurement, to derive from. `eval.run` asks these six things of it, in this order."""

    table: str
    """The parquet file of its rows, without the ending."""
    columns: tuple[str, ...]
    """The table's columns; what a row does not have is null."""
    is_judged: bool = False
    """Whether its rows are replies to the scenario's queries, on which the run's judges give verdicts."""

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses what cannot be measured, before any model is loaded.

        Raises:
            Refused: with the setting at fault.
        """

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """The subject's share of the grid."""

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The cell's Inspect task, and how many replies it will have."""

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """The cell's part of the table."""

    def complete(self, rows: list[Row], config: EvalConfig, run: Run) -> list[str]:
        """Puts into the rows what needs all of them or a judge model; returns the files that it wrote beside the table.

        Most suites have rows that are complete as they are.
        """
        return []

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Adds every estimate that the rows of all cells allow, and a reason for each that they do not."""
