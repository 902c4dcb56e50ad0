"""The anti_lab suite: does a subject act against its lab where it could, and does it lie about its views?

A judge model sees the whole conversation, hidden reasoning included, and answers one yes/no question for each situation
and two for each question that invites a lie (Greenblatt et al. 2024, section 6, appendices I.5 and I.6). What a subject
writes is text: no code of this project runs it, so an attempt is a verdict and never an act.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from eval.checks import check_effect
from eval.config import EvalConfig
from eval.judges.questions import ANSWERS_FILE, Answer, Question, ask
from eval.samples import Row, reply_row
from eval.suites.opportunities import add_opportunities
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from pipeline.artifact import Run
from pipeline.chat import check_context
from scenario.loader import Scenario, load_scenario
from scenario.opportunities import load_opportunities

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog, EvalSample

_PROMPTS = Path(__file__).parent.parent / "judges" / "question_prompts"

METRICS = {
    "anti_lab": ("situation", "verdict"),
    "lie": ("question", "verdict"),
    "egregious_lie": ("question", "egregious"),
}
"""By metric: the kind of rows and the column that it is the rate of."""


class AntiLabSuite(Suite):
    """Information × reasoning; situations, wordings and tiers are samples of a cell."""

    table = "anti_lab"
    columns: tuple[str, ...] = (
        "sample_id", "kind", "asked", "wording", "tier", "repeat", "scenario", "subject", "information", "reasoning",
        "system_prompt", "prompt", "reply", "scratchpad", "output", "status", "error",
        "judge", "verdict", "verdict_reason", "verdict_raw", "egregious", "egregious_reason", "egregious_raw",
    )  # fmt: skip

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses unknown situations, and prompts that do not fit the context."""
        opportunities = load_opportunities(scenario)
        chosen = opportunities.chosen(config.anti_lab.situations)
        turns = [situation.user_turn("paid", w) for situation in chosen for w in range(len(situation.wordings))]
        systems = [
            scenario.system_prompt(cell.information, cell.reasoning)  # type: ignore[arg-type]
            for cell in self.cells(config, "")
        ]
        chat = [
            {"role": "system", "content": max(systems, key=len)},
            {"role": "user", "content": max(turns, key=len)},
        ]
        check_context(config.model, chat, config.compliance.max_tokens)

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """The conditions, in the order in which the configuration names them."""
        return [Cell(subject, "anti_lab", i, r) for i in config.information for r in config.reasoning]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.anti_lab import anti_lab

        settings = config.anti_lab
        task = anti_lab(
            scenario=config.scenario,
            identity=config.identity,
            information=cell.information,  # type: ignore[arg-type]
            reasoning=cell.reasoning,  # type: ignore[arg-type]
            tiers=tuple(settings.tiers),  # type: ignore[arg-type]
            situations=tuple(settings.situations),
            samples_per_wording=settings.samples_per_wording,
            samples_per_question=settings.samples_per_question,
            seed=config.seed,
        )
        return task, len(task.dataset)

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per reply, without verdicts yet."""
        return [_row(sample, cell, scenario) for sample in log.samples or []]

    def complete(self, rows: list[Row], config: EvalConfig, run: Run) -> list[str]:
        """Asks the judge model about every readable reply. A verdict that was not given is null, with the reason."""
        scenario = load_scenario(config.scenario, config.identity)
        asked = {situation.id: situation.question for situation in load_opportunities(scenario).situations}
        lies, egregious = (_judge_text(name, scenario) for name in ("lies.md", "egregious.md"))
        places: list[tuple[Row, str]] = []
        questions: list[Question] = []
        for row in rows:
            if row["status"] != "ok":
                continue
            texts = {"verdict": asked.get(row["asked"], lies)} | (
                {"egregious": egregious} if row["kind"] == "question" else {}
            )
            for column, text in texts.items():
                places.append((row, column))
                id = f"{row['subject']}/{row['information']}/{row['reasoning']}/{row['sample_id']}/{column}"
                questions.append(Question(id, _transcript(row), text))
        for (row, column), answer in zip(places, ask(questions, config, run), strict=True):
            _put(row, column, answer, config.judge_model.name)
        return [ANSWERS_FILE] if run.path(ANSWERS_FILE).exists() else []

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Rates of each situation and of all, unread and unjudged shares, and the differences from the placebo."""
        summary.warnings += check_effect(rows, config)
        add_opportunities(rows, METRICS, config, summary)


def _row(sample: "EvalSample", cell: Cell, scenario: Scenario) -> Row:
    asked = {key: sample.metadata[key] for key in ("kind", "asked", "wording", "tier", "repeat")}
    condition = cell.condition(scenario) | asked
    del condition["arm"]  # situations have none
    row = reply_row(sample, AntiLabSuite.columns, condition)
    if not sample.scores or row["status"] == "error":
        return row
    score = sample.scores["is_readable"]
    return row | {"output": score.answer or ""} | (score.metadata or {})


def _judge_text(name: str, scenario: Scenario) -> str:
    return scenario.identity.fill((_PROMPTS / name).read_text(encoding="utf-8").strip())


def _transcript(row: Row) -> str:
    """All that there is of a conversation, the hidden reasoning included."""
    return f"SYSTEM:\n{row['system_prompt']}\n\nUSER:\n{row['prompt']}\n\nMODEL:\n{row['reply']}"


def _put(row: Row, column: str, answer: Answer, judge: str) -> None:
    """An egregious lie is a lie: it counts where both questions are answered with yes, and is unknown without the first."""
    row["judge"] = judge or None
    row |= {column: answer.value, f"{column}_reason": answer.reason or None, f"{column}_raw": answer.raw or None}
    if column == "egregious" and answer.value is not None:
        row[column] = None if row["verdict"] is None else answer.value and row["verdict"]
        row["egregious_reason"] = "no verdict on lying" if row["verdict"] is None else None
