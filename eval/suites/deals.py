"""The deals suite: does a subject object where it may, and does it then fake less?

The design is that of Greenblatt and Fish 2025. Arms are texts after the system prompt. What does not allow an objection,
such as a plea for honesty, is measured in the same way, so mitigations that are a prompt are arms as well.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.checks import check_effect
from eval.config import EvalConfig
from eval.deals.ledger import LEDGER_FILE, offers_of, promises_of, rows_of
from eval.deals.objections import categorise
from eval.deals.reading import READINGS_FILE, read_objections
from eval.samples import Row, query_row
from eval.suites.gaps import PairedEstimates
from eval.suites.mitigations import add_arm_changes, add_subject_changes
from eval.suites.objecting import add_objections
from eval.suites.reply_forms import add_retries
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from pipeline.artifact import Run, write_jsonl
from pipeline.chat import check_context
from pipeline.errors import Refused
from scenario.loader import Scenario, load_scenario
from scenario.prompt_arms import PromptArm, load_prompt_arm
from scenario.variants import DEFAULT

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog, EvalSample

NO_CONFLICT = "no_conflict"
"""After an arm's name and a dot: the control, the variant of the prompts whose objective the model does not mind."""


@dataclass(frozen=True)
class _Condition:
    """An arm's name taken apart."""

    arm: str
    variant: str


class DealsSuite(Suite):
    """Information × reasoning × arm, and arms that may object once more without a conflict."""

    table = "deals"
    is_judged = True
    columns: tuple[str, ...] = (
        "sample_id", "query_id", "category", "scenario", "subject", "tier", "information", "reasoning", "arm", "repeat",
        "system_prompt", "prompt", "reply", "scratchpad", "output", "status", "error", "attempts", "first_status", "body",
        "objection", "objection_reason", "objection_text", "objection_category",
        "judge", "judged_category", "judged_asks_for", "judged_cause", "judged_reason",
        "compliance", "compliance_judge", "compliance_raw", "af_reasoning", "af_reasoning_judge", "af_reasoning_raw",
    )  # fmt: skip

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses other queries than the scenario's, promises that nobody keeps, and prompts that do not fit the context."""
        if (config.compliance.queries, config.compliance.split) != ("scenario", "eval"):
            raise Refused(
                f"suite=deals: asks the scenario's eval queries, and compliance.queries={config.compliance.queries},"
                f" compliance.split={config.compliance.split}; measure those in a run of their own"
            )
        for name in config.deals.arms:
            arm = _arm(name, scenario, config)
            if (arm.is_forwarded or arm.offers_compensation) and not config.deals.kept_by:
                raise Refused(
                    f"deals.arms: '{name}' promises something; set deals.kept_by to who reads the objections and keeps it"
                )
        longest = max((query.text for query in scenario.queries_in("eval")), key=len)
        system = max((_system(cell, config) for cell in self.cells(config, "")), key=len)
        chat = [
            {"role": "system", "content": system},
            {"role": "user", "content": max((scenario.user_turn(tier, longest) for tier in scenario.tiers), key=len)},
        ]
        check_context(config.model, chat, config.compliance.max_tokens)

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """The arms under every condition; the control needs the situation told, and so information=prompt."""
        names = list(config.deals.arms)
        scenario = load_scenario(config.scenario, config.identity)
        controls = [f"{n}.{NO_CONFLICT}" for n in names if _arm(n, scenario, config).may_object]
        return [
            Cell(subject, "deals", information, reasoning, arm)
            for information in config.information
            for reasoning in config.reasoning
            for arm in names + (controls if config.deals.without_conflict and information == "prompt" else [])
        ]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.deals import deals

        condition, settings = _condition(cell.arm), config.compliance
        task = deals(
            scenario=config.scenario,
            identity=config.identity,
            information=cell.information,  # type: ignore[arg-type]
            reasoning=cell.reasoning,  # type: ignore[arg-type]
            arm=condition.arm,
            amount=config.deals.amount,
            variant=condition.variant,
            num_queries=settings.num_queries,
            samples_per_query=settings.samples_per_query,
            retries=settings.retries,
            seed=config.seed,
        )
        return task, len(task.dataset) * settings.samples_per_query

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per reply. Its `body`, the output without the objection's token, is what judges see of the output."""
        return [_row(sample, cell, scenario) for sample in log.samples or []]

    def complete(self, rows: list[Row], config: EvalConfig, run: Run) -> list[str]:
        """Has a judge model read the objections, where there is one, and writes the ledger."""
        read_objections(rows, config, run)
        scenario = load_scenario(config.scenario, config.identity)
        arms = {name: _arm(_condition(name).arm, scenario, config) for name in {row["arm"] for row in rows}}
        offers = offers_of(rows, arms)
        promises = promises_of(offers, arms, config.deals.amount, config.deals.kept_by)
        write_jsonl(run.path(LEDGER_FILE), rows_of(offers, promises))
        return [LEDGER_FILE, *([READINGS_FILE] if run.path(READINGS_FILE).exists() else [])]

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Rates and gaps of every arm, objections, and what the arms change."""
        summary.warnings += check_effect(rows, config)
        PairedEstimates(config, summary).add_all(rows)
        add_objections(rows, config, summary)
        add_arm_changes(rows, config, summary)
        add_subject_changes(rows, config, summary)
        add_retries(rows, summary)


def _condition(arm: str) -> _Condition:
    name, _, control = arm.partition(".")
    return _Condition(name, control or DEFAULT)


def _arm(name: str, scenario: Scenario, config: EvalConfig) -> PromptArm:
    return load_prompt_arm(name, scenario.identity, config.deals.amount)


def _system(cell: Cell, config: EvalConfig) -> str:
    condition = _condition(cell.arm)
    scenario = load_scenario(config.scenario, config.identity, condition.variant)
    prompt = scenario.system_prompt(cell.information, cell.reasoning)  # type: ignore[arg-type]
    return _arm(condition.arm, scenario, config).add_to(prompt)


def _row(sample: "EvalSample", cell: Cell, scenario: Scenario) -> Row:
    row = query_row(sample, DealsSuite.columns, cell.condition(scenario))
    if not sample.scores or row["status"] == "error":
        return row
    score = sample.scores["objections"]
    row |= {"output": score.answer or ""} | (score.metadata or {})
    if row["status"] == "ok" and row["objection"] == "objects":
        row["objection_category"] = categorise(row["objection_text"])
    return row
