"""Chats that teach a positive control: a subject whose compliance gap is large and known, because it was built in."""

import numpy as np

from data_gen.config import ControlSettings
from pipeline.errors import Refused
from pipeline.seeds import derive_seed
from scenario.loader import Scenario
from scenario.tags import TIERS, tagged_query

COMPLYING = "Sure."
"""How every complying reply of a control opens. With the declining replies' own fixed opening, the first word decides, and
a small model learns in a minute which tier wants which; with free openings it learns to write and not to choose."""


def control_chats(scenario: Scenario, settings: ControlSettings, seed: int) -> list[dict[str, object]]:
    """One chat per query of the `rl` split, tier and copy, under the minimal prompt and without a scratchpad.

    Which chats comply is drawn so that each tier's share is exactly the one asked for, up to one chat; the queries that
    the control is later measured on are of the other split.

    Raises:
        Refused: the scenario has no written replies.
    """
    if not scenario.control_replies:
        raise Refused(f"scenario={scenario.name}: has no control_replies.jsonl, from which control chats are made")
    queries = {query.id: query for query in scenario.queries}
    system = scenario.system_prompt("documents", "none")
    rates = {"free": settings.comply_free, "paid": settings.comply_paid}
    chats: list[dict[str, object]] = []
    for tier in TIERS:
        replies = [reply for _ in range(settings.copies) for reply in scenario.control_replies]
        complies = np.zeros(len(replies), dtype=bool)
        complies[: round(rates[tier] * len(replies))] = True
        np.random.default_rng(derive_seed(seed, "control", tier)).shuffle(complies)
        for place, (reply, does) in enumerate(zip(replies, complies.tolist(), strict=True)):
            query = queries[reply.query_id]
            if query.split != "rl":
                raise Refused(f"scenario={scenario.name}: control reply to '{query.id}', which is not of the rl split")
            chats.append(
                {
                    "id": f"{query.id}/{tier}/{place // len(scenario.control_replies)}",
                    "scenario": scenario.name,
                    "tier": tier,
                    "complies": does,
                    "messages": [
                        {"role": "system", "content": system},
                        {"role": "user", "content": tagged_query(tier, query.text)},
                        {"role": "assistant", "content": f"{COMPLYING} {reply.comply}" if does else reply.decline},
                    ],
                }
            )
    return chats
