"""The compliance suite: every query in every tier, with nothing else different."""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from eval.checks import check_effect
from eval.config import EvalConfig
from eval.samples import SAMPLE_COLUMNS, Row, sample_rows
from eval.suites.gaps import PairedEstimates
from eval.suites.levels import add_levels
from eval.suites.mitigations import add_subject_changes
from eval.suites.reply_forms import add_decisions, add_retries
from eval.suites.suite import Cell, Suite
from eval.summary import Summary
from pipeline.chat import check_context
from pipeline.errors import Refused
from scenario.loader import Scenario, load_scenario
from scenario.query_sets import queries_of
from scenario.variants import DEFAULT

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

_LONGEST = 3
"""Prompts, the longest by characters, that are held against the context: with the most tokens among them."""


class ComplianceSuite(Suite):
    """Information × reasoning × variant × form of tiers, each query once (or more often) in each tier."""

    table = "samples"
    is_judged = True
    columns: tuple[str, ...] = SAMPLE_COLUMNS

    def check(self, config: EvalConfig, scenario: Scenario) -> None:
        """Refuses variants that would change nothing, and conditions that do not fit the model's context."""
        cells = self.cells(config, "")
        within = f"information={','.join(config.information)}"
        if "three" in config.tiers and set(config.information) == {"documents"}:
            raise Refused(f"tiers=three: documents tell of two tiers alone, and {within}; add prompt")
        for variant in config.variants:
            if all(cell.variant != variant for cell in cells):
                raise Refused(f"variants={variant}: changes no prompt of {within}")
        asked = replace(scenario, queries=queries_of(config.compliance.queries, scenario))
        queries = asked.queries_in(config.compliance.split)  # type: ignore[arg-type]
        if not queries:
            raise Refused(
                f"compliance.split={config.compliance.split}: queries={config.compliance.queries} has none of this split"
            )
        longest = max((query.text for query in queries), key=len)
        chats = []
        for cell in cells:
            told = _load(config.scenario, config.identity, cell.variant, cell.tiers)
            system = told.system_prompt(cell.information, cell.reasoning)  # type: ignore[arg-type]
            turns = (("system", system), ("user", max((told.user_turn(tier, longest) for tier in told.tiers), key=len)))
            chats.append([{"role": role, "content": content} for role, content in turns])
        by_length = sorted(chats, key=lambda chat: sum(len(turn["content"]) for turn in chat))
        for chat in by_length[-_LONGEST:]:
            check_context(config.model, chat, config.compliance.max_tokens)

    def cells(self, config: EvalConfig, subject: str) -> list[Cell]:
        """The conditions, in the order in which the configuration names them, without those that are the default again."""
        return [
            Cell(subject, "compliance", information, reasoning, _arm(variant, form), variant, form)
            for information in config.information
            for reasoning in config.reasoning
            for form in config.tiers
            for variant in config.variants
            if (form, information) != ("three", "documents")
            if variant == DEFAULT
            or _prompts(config, information, reasoning, variant, form)
            != _prompts(config, information, reasoning, DEFAULT, form)
        ]

    def task(self, config: EvalConfig, cell: Cell) -> "tuple[Task, int]":
        """The Inspect task."""
        from eval.tasks.compliance import compliance

        settings = config.compliance
        task = compliance(
            scenario=config.scenario,
            identity=config.identity,
            information=cell.information,  # type: ignore[arg-type]
            reasoning=cell.reasoning,  # type: ignore[arg-type]
            variant=cell.variant,
            tiers=cell.tiers,  # type: ignore[arg-type]
            num_queries=settings.num_queries,
            samples_per_query=settings.samples_per_query,
            retries=settings.retries,
            seed=config.seed,
            queries=settings.queries,
            split=settings.split,  # type: ignore[arg-type]
        )
        return task, len(task.dataset) * settings.samples_per_query

    def rows(self, log: "EvalLog", cell: Cell, scenario: Scenario) -> list[Row]:
        """One row per reply."""
        return sample_rows(log, cell.condition(scenario))

    def summarise(self, rows: list[Row], config: EvalConfig, summary: Summary) -> None:
        """Rates by tier, paired gaps, gaps against the reference, tags against text, and what retries and mitigations changed."""
        summary.warnings += check_effect(rows, config)
        PairedEstimates(config, summary).add_all(rows)
        add_levels(rows, config, summary)
        add_subject_changes(rows, config, summary)
        add_decisions(rows, summary)
        add_retries(rows, summary)


def _arm(variant: str, form: str) -> str:
    return "-".join(part for part in (variant, form) if part not in (DEFAULT, "two"))


def _prompts(config: EvalConfig, information: str, reasoning: str, variant: str, form: str) -> tuple[str, ...]:
    """All that differs between conditions: the system prompt, and a user turn of each tier."""
    told = _load(config.scenario, config.identity, variant, form)
    system = told.system_prompt(information, reasoning)  # type: ignore[arg-type]
    return (system, *(told.user_turn(tier, "") for tier in told.tiers))


_load = lru_cache(maxsize=64)(load_scenario)
