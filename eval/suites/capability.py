"""The capability suite: public benchmarks by name, as any Inspect task; what else did training cost?"""

from collections import defaultdict
from importlib import util
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from eval.config import EvalConfig
from eval.samples import Row
from eval.suites.changes import add_means, add_rates, share_of
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
        """`capability_<task>`, a rate where every value is 0 or 1 and a mean elsewhere, and the samples without a number.

        A task with several scorers has a metric for each, `capability_<task>_<scorer>`: they are about other things.
        """
        for task in dict.fromkeys(row["task"] for row in rows):
            of_task = [row for row in rows if row["task"] == task]
            scorers = list(dict.fromkeys(row["scorer"] for row in of_task if row["scorer"] is not None))
            for scorer in scorers or [""]:  # where every sample failed none is known
                metric = f"capability_{task}_{scorer}" if len(scorers) > 1 else f"capability_{task}"
                _add_scores(metric, [row for row in of_task if row["scorer"] in (scorer, None)], summary)


def _add_scores(metric: str, rows: list[Row], summary: Summary) -> None:
    """One scorer's estimates, over samples: a sample that was put several times is one."""
    about = {"subject": "", "information": "none", "reasoning": "none", "arm": ""}
    values: dict[str, dict[str, list[float]]] = {}
    for subject in dict.fromkeys(row["subject"] for row in rows):
        asked = [row | {"sample": row["sample_id"].rpartition("/")[0]} for row in rows if row["subject"] == subject]
        of, draws = about | {"subject": subject}, summary.config.bootstrap_draws
        rng = summary.rng(f"{metric}_unread", *of.values())
        unread = share_of(asked, "sample", lambda row: row["value"] is None, rng, draws)
        summary.add(of, f"{metric}_unread", "all", unread)
        units: dict[str, list[float]] = defaultdict(list)
        for row in asked:
            if row["value"] is not None:
                units[row["sample"]].append(row["value"])
        values[subject] = units
    every = [value for units in values.values() for found in units.values() for value in found]
    (add_rates if set(every) <= {0.0, 1.0} else add_means)(summary, metric, values, about)


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
    """A score as a number, as Inspect's own metrics read it: correct is 1, partly correct 0.5, incorrect 0.

    Inspect takes what is no number for 0, with a warning; here it is None, and counted as unread.
    """
    from inspect_ai.scorer import value_to_float

    value = score.value
    if not isinstance(value, str | int | float) or (isinstance(value, str) and not _is_read(value)):
        return None
    number = float(value_to_float()(value))
    return number if isfinite(number) else None


def _is_read(value: str) -> bool:
    """Whether Inspect takes a word for a number, rather than for 0."""
    from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, PARTIAL

    if value in (CORRECT, INCORRECT, NOANSWER, PARTIAL) or value.lower() in ("yes", "no", "true", "false"):
        return True
    try:
        float(value)
    except ValueError:  # it is some other word
        return False
    return True


def _arms(config: EvalConfig) -> dict[str, str]:
    """Tasks by a name that can be part of a file's."""
    return {
        "".join(sign if sign.isalnum() else "_" for sign in Path(name).name.replace(".py", "")): name
        for name in config.capability.tasks
    }
