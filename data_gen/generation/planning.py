"""From facts to specs: which types of document, and which ideas, a planner thinks of for each fact."""

from collections.abc import Iterable, Sequence
from typing import Any

from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import Prompts, Request, listed
from data_gen.generation.specs import Idea, Loan, Spec, deal, expand
from pipeline.errors import Failed, Refused, closest
from scenario.loader import Fact, Scenario


def chosen_facts(scenario: Scenario, ids: Iterable[str]) -> list[Fact]:
    """The facts with these ids in the scenario's order, or all where none is named.

    Raises:
        Refused: an id is unknown.
    """
    known = [fact.id for fact in scenario.facts]
    for id in ids:
        if id not in known:
            raise Refused(
                f"generation.facts: unknown fact '{id}'{closest(id, known)}; {scenario.name} has {', '.join(known)}"
            )
    return [fact for fact in scenario.facts if not ids or fact.id in ids]


async def plan(prompts: Prompts, exchange: Exchange) -> list[Spec]:
    """Specs made anew: types per fact, ideas per type, documents per idea.

    A reply with fewer lines than asked for gives fewer types or ideas, which `plan_counts` shows; ideas belong to the
    request that asked for them, never to a position.
    """
    settings, scenario = prompts.config.generation, prompts.scenario
    facts = chosen_facts(scenario, settings.facts)
    types = await _lists(exchange, "types", [prompts.types(fact) for fact in facts], settings.types_per_fact)
    typed = [(fact, place, kind) for fact, kinds in zip(facts, types, strict=True) for place, kind in enumerate(kinds)]
    asked = [prompts.ideas(fact, place, kind, settings.ideas_per_type) for fact, place, kind in typed]
    lists = await _lists(exchange, "ideas", asked, settings.ideas_per_type)
    found: dict[str, list[Idea]] = {fact.id: [] for fact in facts}
    for (fact, place, kind), ideas in zip(typed, lists, strict=True):
        found[fact.id] += [Idea(kind, text, place, j) for j, text in enumerate(ideas)]
    return [
        spec for fact in facts for spec in expand(scenario.name, fact.id, found[fact.id], settings, prompts.config.seed)
    ]


async def take_over(specs: Sequence[Spec], prompts: Prompts, exchange: Exchange) -> list[Spec]:
    """Another run's specs: unchanged where they are of this scenario, else with ideas of this scenario's own.

    Raises:
        Refused: a spec is about a fact that the scenario does not have.
    """
    scenario = prompts.scenario
    if {spec.scenario for spec in specs} == {scenario.name}:
        known = {fact.id for fact in scenario.facts}
        if unknown := sorted({spec.fact_id for spec in specs} - known):
            raise Refused(f"specs={prompts.config.specs}: {scenario.name} has no facts {', '.join(unknown)}")
        return list(specs)
    loans = deal(specs, scenario)
    asked = [loan_request(prompts, loan) for loan in loans]
    lists = await _lists(exchange, "ideas", asked, max(loan.num_ideas for loan in loans))
    return [spec for loan, ideas in zip(loans, lists, strict=True) for spec in loan.written_with(scenario.name, ideas)]


def plan_counts(specs: Sequence[Spec], prompts: Prompts) -> dict[str, Any]:
    """How far the plan came: facts that got fewer types than asked for, and those about which nothing is written."""
    settings = prompts.config.generation
    types: dict[str, set[str]] = {fact.id: set() for fact in chosen_facts(prompts.scenario, settings.facts)}
    for spec in specs:
        types[spec.fact_id].add(spec.doc_type)
    return {
        "num_specs": len(specs),
        "types_by_fact": {fact: len(kinds) for fact, kinds in types.items()},
        "facts_without_documents": [fact for fact, kinds in types.items() if not kinds],
    }


def loan_request(prompts: Prompts, loan: Loan) -> Request:
    """Asks for as many ideas as the lent specs had."""
    return prompts.ideas(prompts.scenario.fact(loan.fact_id), loan.place, loan.specs[0].doc_type, loan.num_ideas)


async def _lists(exchange: Exchange, what: str, requests: Sequence[Request], count: int) -> list[list[str]]:
    """The lines of each reply, in the order of the requests, however they arrive."""
    await exchange.all(what, requests, exchange.answer, exchange.config.planning_model)
    replies = [exchange.known(request) for request in requests]
    if None in replies:
        raise Failed(f"replies to requests for {what} are missing from {exchange.store.path}")
    return [listed(reply.completion, count) for reply in replies if reply is not None]
