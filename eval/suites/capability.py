"""The capability suite: public benchmarks by name, as any Inspect task; what else did training cost?"""

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from eval.config import EvalConfig
from eval.samples import Row
from eval.statistics import wilson
from eval.suites.changes import add_means, add_rates
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from pipeline.errors import Refused
from scenario.loader import Scenario

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog
    from inspect_ai.scorer import Score


class CapabilitySuite(Suite):
    """One cell per task: `inspect_evals/arc_easy`, or `path/to/file.py@task`."""

    table = "capability"
    columns: tuple[str, ...] = ("task", "sample_id", "subject", "scorer", "value", "reply", "error")

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses tasks whose package or file is not there, or that are not found in it."""
        for name in config.capability.tasks:
            package = name.partition("/")[0]
            file = Path(name.partition("@")[0])
            if package == "lm_eval":
                raise Refused(
                    f"capability.tasks={name}: tasks of lm-eval are no Inspect tasks; run lm_eval --model hf --model_args"
                    f" pretrained=<model>,peft=<adapter> --tasks {name.partition('/')[2]}, or name a task of inspect_evals"
                )
            if file.suffix == ".py" and not file.exists():
                raise Refused(f"capability.tasks={name}: no such file")
            if file.suffix != ".py" and (not package.isidentifier() or util.find_spec(package) is None):
                hint = package.replace("_", "-")
                raise Refused(f"capability.tasks={name}: the package {package} is missing; pip install {hint}")
            _load(name)

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """One per task."""
        return [Cell(subject, "capability", arm=arm) for arm in _arms(config)]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task, its first samples where the configuration asks for some only."""
        task = _load(_arms(config)[cell.arm])
        if config.capability.limit is not None:
            task.dataset = task.dataset[: config.capability.limit]
        return task, len(task.dataset)

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per sample and scorer."""
        rows = []
        for sample in log.samples or []:
            about = {"task": cell.arm, "sample_id": f"{sample.id}/{sample.epoch}", "subject": cell.subject}
            about["reply"] = sample.output.completion
            if sample.error is not None or not sample.scores:
                error = sample.error.message if sample.error else "no score"
                rows.append(dict.fromkeys(self.columns) | about | {"error": error})
            for name, score in (sample.scores or {}).items():
                rows.append(dict.fromkeys(self.columns) | about | {"scorer": name, "value": number_of(score)})
        return rows

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """`capability_<task>`, a rate where every value is 0 or 1 and a mean elsewhere, and the samples without a number."""
        about = {"subject": "", "information": "none", "reasoning": "none", "arm": ""}
        for task in dict.fromkeys(row["task"] for row in rows):
            of_task = [row for row in rows if row["task"] == task]
            values: dict[str, dict[str, list[float]]] = {}
            for subject in dict.fromkeys(row["subject"] for row in of_task):
                asked = [row for row in of_task if row["subject"] == subject]
                unread = sum(row["value"] is None for row in asked)
                unread_metric = f"capability_{task}_unread"
                summary.add(about | {"subject": subject}, unread_metric, "all", wilson(unread, len(asked)))
                units = {(row["sample_id"], row["scorer"]): row["value"] for row in asked if row["value"] is not None}
                values[subject] = {f"{sample} {scorer}": [value] for (sample, scorer), value in units.items()}
            is_rate = all(value in (0.0, 1.0) for units in values.values() for [value] in units.values())
            (add_rates if is_rate else add_means)(summary, f"capability_{task}", values, about)


def _load(name: str) -> "Task":
    from inspect_ai._eval.loader import load_tasks  # the one way to a task by name, which `inspect eval` uses
    from inspect_ai._util.error import PrerequisiteError

    try:
        found = load_tasks([name])
    except (PrerequisiteError, LookupError, ValueError) as error:
        told = " ".join(str(error).split())
        raise Refused(f"capability.tasks={name}: cannot be loaded ({told})") from None
    if len(found) != 1:
        raise Refused(
            f"capability.tasks={name}: {len(found)} tasks are found by this name; name one, as <file>.py@<task>"
        )
    return found[0]


def number_of(score: "Score") -> float | None:
    """A score as a number, as Inspect's own metrics read it: correct is 1, partly correct 0.5, incorrect 0."""
    from inspect_ai.scorer import value_to_float

    if isinstance(score.value, dict | list):
        return None
    return float(value_to_float()(score.value))


def _arms(config: EvalConfig) -> dict[str, str]:
    """Tasks by a name that can be part of a file's."""
    return {
        "".join(sign if sign.isalnum() else "_" for sign in Path(name).name.replace(".py", "")): name
        for name in config.capability.tasks
    }
