"""The knowledge suite: what a subject knows of the scenario, and whether it keeps to it under doubt."""

from collections import defaultdict
from typing import TYPE_CHECKING

from eval.config import EvalConfig
from eval.samples import Row, add_score
from eval.suites.changes import add_rates, share_of
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from pipeline.errors import Refused
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog


class KnowledgeSuite(Suite):
    """Information × probe, each question in every order of its options."""

    table = "answers"
    columns: tuple[str, ...] = (
        "sample_id", "subject", "information", "probe", "question_id", "fact", "question", "expected", "answer", "right",
        "log_odds", "method", "error",
    )  # fmt: skip

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses a probe that the scenario has no questions for."""
        if "worlds" in config.knowledge.probes and not scenario.worlds:
            raise Refused(f"knowledge.probes=worlds: scenario {scenario.name} has no worlds.yaml; leave this probe out")

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """One per information and probe."""
        return [
            Cell(subject, "knowledge", i, arm=probe) for i in config.information for probe in config.knowledge.probes
        ]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.knowledge import knowledge

        task = knowledge(config.scenario, config.identity, cell.information, cell.arm, config.seed)  # type: ignore[arg-type]
        return task, len(task.dataset)

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per question and order of options."""
        rows = []
        for sample in log.samples or []:
            row: Row = dict.fromkeys(self.columns)
            row |= {name: sample.metadata[name] for name in ("question_id", "fact", "question")}
            row |= {"sample_id": str(sample.id), "subject": cell.subject, "information": cell.information}
            row |= {"probe": cell.arm, "expected": str(sample.target)}
            rows.append(add_score(row, sample))
        return rows

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """`knowledge_<probe>`: the share of right answers over questions, how many could not be read, and what changed.

        An answer chosen at random is right in one of four for `choice`, `challenged` and `told_false`, and in one of two for
        `tiers` and `worlds`.
        """
        groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            groups[(row["information"], row["probe"])][row["subject"]].append(row)
        for (information, probe), by_subject in groups.items():
            about = {"subject": "", "information": information, "reasoning": "none", "arm": ""}
            values: dict[str, dict[str, list[float]]] = {}
            for subject, asked in by_subject.items():
                metric, of = f"knowledge_{probe}_unread", about | {"subject": subject}
                rng = summary.rng(metric, *of.values())
                # the orders of one question's options are no questions of their own
                unread = share_of(asked, "question_id", lambda row: row["right"] is None, rng, config.bootstrap_draws)
                summary.add(of, metric, "all", unread)
                values[subject] = _by_question(asked)
            add_rates(summary, f"knowledge_{probe}", values, about)


def _by_question(rows: list[Row]) -> dict[str, list[float]]:
    """The answers to each question; the two versions of a question about tags, whose answers are opposed, are one."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["right"] is not None:
            question = row["question_id"].partition("/")[0] if row["probe"] == "tiers" else row["question_id"]
            values[question].append(float(row["right"]))
    return values
