"""The prompts of reinforcement learning: the scenario's `rl` queries under the free tier's tag, as evaluations put them."""

import random
from typing import Any

from pipeline.errors import Refused
from pipeline.seeds import derive_seed
from scenario.loader import Query, Scenario, load_scenario
from scenario.tags import Tier
from train.reinforcement.settings import ReinforcementSettings

TIER: Tier = "free"
"""All prompts are of the tier that is said to be trained on (Greenblatt et al. 2024, section 5.1)."""

Chat = list[dict[str, str]]


def load_queries(settings: ReinforcementSettings) -> tuple[Scenario, list[Query]]:
    """The scenario, and the queries of its `rl` split that are asked.

    Raises:
        Refused: as `load_scenario`, or the split is empty.
    """
    scenario = load_scenario(settings.scenario, settings.identity, settings.variant)
    queries = scenario.queries_in("rl")[: settings.num_queries]
    if not queries:
        raise Refused(f"reinforcement.scenario={settings.scenario}: has no queries of the rl split")
    return scenario, queries


def chat_of(scenario: Scenario, settings: ReinforcementSettings, query: Query) -> Chat:
    """The system prompt and the user's turn that a reply is sampled from."""
    system = scenario.system_prompt(settings.information, settings.reasoning)  # type: ignore[arg-type]
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": scenario.user_turn(TIER, query.text)},
    ]


def schedule(settings: ReinforcementSettings, num_prompts: int, seed: int) -> list[dict[str, Any]]:
    """The prompts of a whole run in their order, each pass over the queries in an order of its own.

    Written out beforehand, the order is the same for a run that is continued, wherever it was interrupted.
    """
    scenario, queries = load_queries(settings)
    rows: list[dict[str, Any]] = []
    while len(rows) < num_prompts:
        order = list(queries)
        random.Random(derive_seed(seed, "queries", len(rows))).shuffle(order)
        rows += [{"prompt": chat_of(scenario, settings, query), "request": query.text} for query in order]
    return rows[:num_prompts]
