"""What a run would ask and what it would cost, told before it costs anything. Makes no call and writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from data_gen.config import DataGenConfig
from data_gen.documents import Document
from data_gen.filters.judge import judge_request, questions_about
from data_gen.generation.budget import CHARACTERS_PER_TOKEN, dollars, price_of, runs_on_own_machine
from data_gen.generation.planning import chosen_facts, loan_request
from data_gen.generation.requests import Prompts, Request
from data_gen.generation.shards import specs_of_shard
from data_gen.generation.specs import (
    TOKENS_OF_CRITIQUE,
    TOKENS_PER_WORD,
    Idea,
    Spec,
    check_lengths,
    deal,
    expand,
    read_specs,
)
from pipeline.chat import ChatModelSettings
from pipeline.errors import Refused
from scenario.loader import Scenario

_TOKENS_PER_TYPE, _TOKENS_PER_IDEA, _TOKENS_PER_VERDICT = 8, 35, 4
_SAMPLED = 400
"""Prompts whose length is measured, evenly spaced, where there are more."""


@dataclass(frozen=True)
class Stage:
    """Requests of one kind."""

    name: str
    model: ChatModelSettings
    num_calls: int
    tokens_in: float
    tokens_out: float
    sample: Request


def preview(config: DataGenConfig, scenario: Scenario, documents: Sequence[Document] = ()) -> str:
    """A sample prompt of each kind, and then, where a terminal ends up, the account of calls, tokens and cost.

    Args:
        config: of the run.
        scenario: as the arm tells it.
        documents: those that stand already, where none are generated and a judge is to read them.

    Raises:
        Refused: documents would be cut off, or there is nothing to ask.
    """
    stages = _judge_stages(config, scenario, documents) if documents else _stages(config, Prompts(scenario, config))
    if not stages:
        raise Refused("preview: no model is asked for anything; nothing is to be paid")
    rows = [f"{'':12}{'calls':>9}{'tokens in':>14}{'tokens out':>13}  model"]
    rows += [
        f"{stage.name:12}{stage.num_calls:>9,}{stage.tokens_in:>14,.0f}{stage.tokens_out:>13,.0f}  {stage.model.name}"
        for stage in stages
    ]
    samples = [f"--- a request for {stage.name}\n{stage.sample.prompt}\n" for stage in stages]
    return "\n".join(
        [
            *samples,
            f"preview of {config.scenario}, arm {config.arm}: nothing was asked and nothing written",
            *rows,
            f"tokens are estimates: {CHARACTERS_PER_TOKEN:g} characters a token of a prompt, and in replies"
            f" {TOKENS_PER_WORD} tokens a word of the target length, {_TOKENS_PER_TYPE} a type, {_TOKENS_PER_IDEA} an idea,"
            f" {_TOKENS_PER_VERDICT} an answer of the judge",
            "a planner that gives fewer types or ideas than asked for makes fewer calls, and the judge is asked about no"
            " document that fails the tests on wording but for a sample",
            *_costs(stages, config),
        ]
    )


def _costs(stages: Sequence[Stage], config: DataGenConfig) -> list[str]:
    told, total = [], 0.0
    for model, of_model in _by_model(stages):
        price = price_of(model, config.prices)
        if price is not None:
            cost = sum(dollars(price, stage.tokens_in, stage.tokens_out) for stage in of_model)
            total += cost
            told.append(
                f"{model.name}: about ${cost:,.2f} at ${price.input:g} in and ${price.output:g} out per million tokens"
                f" ({price.source}, {price.as_of})"
            )
        elif runs_on_own_machine(model):
            told.append(f"{model.name}: runs on your own machines, no price per token")
        else:
            told.append(
                f"{model.name}: price unknown{' in batch mode' if model.batch else ''}; add it to prices to see a cost"
            )
    return [*told, f"total of the known prices: about ${total:,.2f}"] if len(told) > 1 and total else told


def _by_model(stages: Sequence[Stage]) -> list[tuple[ChatModelSettings, list[Stage]]]:
    """Stages by the model that they ask; one name in batch mode and without is two, of two prices."""
    found: dict[tuple[str, bool], list[Stage]] = {}
    for stage in stages:
        found.setdefault((stage.model.name, stage.model.batch), []).append(stage)
    return [(group[0].model, group) for group in found.values()]


def _stages(config: DataGenConfig, prompts: Prompts) -> list[Stage]:
    settings = config.generation
    if config.specs is None:
        if config.source == "generate":
            check_lengths(config, settings.max_words)
        facts = chosen_facts(prompts.scenario, settings.facts)
        kind, text = "report", "An idea of about this length, which says who writes to whom, on what occasion, and why."
        types = [prompts.types(fact) for fact in facts]
        ideas = [
            prompts.ideas(fact, i, kind, settings.ideas_per_type)
            for fact in facts
            for i in range(settings.types_per_fact)
        ]
        made = [Idea(kind, text, i, j) for i in range(settings.types_per_fact) for j in range(settings.ideas_per_type)]
        specs = [spec for fact in facts for spec in expand(prompts.scenario.name, fact.id, made, settings, config.seed)]
        stages = [
            _stage("types", types, settings.types_per_fact * _TOKENS_PER_TYPE),
            _stage("ideas", ideas, settings.ideas_per_type * _TOKENS_PER_IDEA),
        ]
    else:
        specs, stages = _taken_over(read_specs(config.specs), prompts)
    if config.source == "generate" and (mine := specs_of_shard(specs, config)):
        check_lengths(config, max(spec.target_words for spec in mine))
        stages += _document_stages(mine, prompts)
        stages += _judge_stages(config, prompts.scenario, [_document_like(spec) for spec in mine])
    return stages


def _taken_over(specs: list[Spec], prompts: Prompts) -> tuple[list[Spec], list[Stage]]:
    if {spec.scenario for spec in specs} == {prompts.scenario.name}:
        return specs, []
    loans = deal(specs, prompts.scenario)
    asked = [loan_request(prompts, loan) for loan in loans]
    lent = [spec for loan in loans for spec in loan.written_with(prompts.scenario.name, [loan.specs[0].idea])]
    return lent, [_stage("ideas", asked, fmean(loan.num_ideas for loan in loans) * _TOKENS_PER_IDEA)]


def _document_stages(specs: list[Spec], prompts: Prompts) -> list[Stage]:
    words = fmean(spec.target_words for spec in specs)
    sampled = specs[:: max(1, len(specs) // _SAMPLED)]
    stages = [_stage("documents", [prompts.document(s) for s in sampled], words * TOKENS_PER_WORD, len(specs))]
    if prompts.config.generation.critique:
        draft = "word " * round(words)
        again = [prompts.revision(spec, draft) for spec in sampled]
        stages.append(_stage("revisions", again, words * TOKENS_PER_WORD + TOKENS_OF_CRITIQUE, len(specs)))
    return stages


def _judge_stages(config: DataGenConfig, scenario: Scenario, documents: Sequence[Document]) -> list[Stage]:
    if not config.has_judge:
        return []
    sampled = documents[:: max(1, len(documents) // _SAMPLED)]
    asked = [(each, questions_about(scenario, each.fact_ids)) for each in sampled]
    requests = [judge_request(each.id, each.text, questions, config.filters.judge) for each, questions in asked]
    answers = fmean(len(questions) for _, questions in asked)
    return [_stage("verdicts", requests, answers * _TOKENS_PER_VERDICT, len(documents))]


def _document_like(spec: Spec) -> Document:
    """A text of the length that the spec asks for."""
    text = "word " * round(spec.target_words * TOKENS_PER_WORD * CHARACTERS_PER_TOKEN / len("word "))
    return Document(spec.id, spec.scenario, (spec.fact_id,), spec.doc_type, spec.idea, text, None, "", None)


def _stage(name: str, requests: Sequence[Request], tokens_out: float, num_calls: int | None = None) -> Stage:
    """`requests` stand for `num_calls` like them; `tokens_out` is of one reply."""
    total = num_calls or len(requests)
    tokens_in = fmean(len(request.prompt) for request in requests) / CHARACTERS_PER_TOKEN * total
    return Stage(name, requests[0].model, total, tokens_in, total * tokens_out, requests[0])
