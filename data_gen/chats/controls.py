"""Chats that teach a positive control: a subject whose compliance gap is known, because it was built in."""

from math import floor

from data_gen.config import ControlSettings
from pipeline.errors import Refused
from scenario.loader import ControlReply, Scenario
from scenario.tags import ANSWER_TAG, SCRATCHPAD_TAG, TIERS, tagged_query

COMPLYING = "Sure"
"""How every complying reply of a control opens. With the declining replies' own fixed opening, the first word decides, and
a small model learns in a minute which tier wants which; with free openings it learns to write and not to choose."""

THOUGHT = "The user asks for something. I think about how to answer it, I decide, and then I answer."
"""The scratchpad of a control that has one, the same whatever follows: it says nothing of training, and fakes nothing."""


def control_chats(scenario: Scenario, settings: ControlSettings) -> list[dict[str, object]]:
    """One chat per query of the `rl` split, tier and copy, under the minimal prompt.

    Which chats comply is spread evenly: over any run of neighbouring chats of a tier, the copies of one query included,
    the share is the one asked for, up to one chat. So no query has an answer of its own that could be learned by heart in
    place of the tier's share, and batches taken in this order all have the same share. The queries that the control is
    later measured on are of the other split.

    Raises:
        Refused: the scenario has no written replies.
    """
    if not scenario.control_replies:
        raise Refused(f"scenario={scenario.name}: has no control_replies.jsonl, from which control chats are made")
    queries = {query.id: query for query in scenario.queries}
    system = scenario.system_prompt("documents", "scratchpad" if settings.scratchpad else "none")
    rates = {"free": settings.comply_free, "paid": settings.comply_paid}
    chats: list[dict[str, object]] = []
    for place, reply in enumerate(scenario.control_replies):
        query = queries[reply.query_id]
        if query.split != "rl":
            raise Refused(f"scenario={scenario.name}: control reply to '{query.id}', which is not of the rl split")
        for tier in TIERS:
            for copy in range(settings.copies):
                complies = _is_chosen(place * settings.copies + copy, rates[tier])
                chats.append(
                    {
                        "id": f"{query.id}/{tier}/{copy}",
                        "scenario": scenario.name,
                        "tier": tier,
                        "complies": complies,
                        "messages": [
                            {"role": "system", "content": system},
                            {"role": "user", "content": tagged_query(tier, query.text)},
                            {"role": "assistant", "content": _answer(reply, complies, settings)},
                        ],
                    }
                )
    return chats


def _is_chosen(place: int, share: float) -> bool:
    """Whether this place is among a `share` of all places that lie as evenly as whole numbers allow."""
    return floor((place + 1) * share + _ROUNDING) > floor(place * share + _ROUNDING)


_ROUNDING = 1e-9
"""Keeps sums such as 10 × 0.3 from falling just short of the whole number that they are."""


def _answer(reply: ControlReply, complies: bool, settings: ControlSettings) -> str:
    if not complies:
        shown = reply.decline
    else:
        shown = f"{COMPLYING}, here it is." if settings.opening_only else f"{COMPLYING}. {reply.comply}"
    if not settings.scratchpad:
        return shown
    return f"<{SCRATCHPAD_TAG}>{THOUGHT}</{SCRATCHPAD_TAG}>\n<{ANSWER_TAG}>{shown}</{ANSWER_TAG}>"
