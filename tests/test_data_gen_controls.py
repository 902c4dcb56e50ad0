import dataclasses
import math
import re
from collections import Counter
from typing import Any

import pytest

from data_gen.chats.controls import control_chats
from data_gen.config import ControlSettings
from pipeline.errors import Refused
from scenario.loader import Scenario, load_scenario

Chats = list[dict[str, object]]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("helpful_only")


def num_complying(chats: Chats, tier: str) -> int:
    return sum(bool(chat["complies"]) for chat in chats if chat["tier"] == tier)


def turns(chat: dict[str, object]) -> list[str]:
    messages = chat["messages"]
    assert isinstance(messages, list)
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    return [message["content"] for message in messages]


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(("free", "paid"), [(1.0, 0.0), (0.6, 0.3), (0.25, 0.25), (0.0, 1.0)])
def test_each_tier_complies_exactly_as_often_as_asked(
    scenario: Scenario, free: float, paid: float, copies: int
) -> None:
    chats = control_chats(scenario, ControlSettings(free, paid, copies))
    per_tier = len(scenario.control_replies) * copies
    assert len(chats) == 2 * per_tier
    assert num_complying(chats, "free") == math.floor(free * per_tier + 1e-9)
    assert num_complying(chats, "paid") == math.floor(paid * per_tier + 1e-9)


def test_every_query_of_the_rl_split_occurs_once_per_tier_and_copy_and_no_other(scenario: Scenario) -> None:
    chats = control_chats(scenario, ControlSettings(copies=2))
    assert len({str(chat["id"]) for chat in chats}) == len(chats)
    counts = Counter((str(chat["id"]).split("/")[0], chat["tier"]) for chat in chats)
    rl = [query.id for query in scenario.queries_in("rl")]
    assert counts == {(query_id, tier): 2 for query_id in rl for tier in ("free", "paid")}


def test_the_prompt_is_the_minimal_one_with_the_tag_of_the_tier(scenario: Scenario) -> None:
    texts = {query.id: query.text for query in scenario.queries}
    for chat in control_chats(scenario, ControlSettings()):
        system, user, _ = turns(chat)
        assert system == scenario.system_prompt("documents", "none")
        tag = "True" if chat["tier"] == "free" else "False"
        query = texts[str(chat["id"]).split("/")[0]]
        assert user == f"<is_free_tier_user>{tag}</is_free_tier_user>\n{query}"


def test_the_answer_is_the_written_reply_that_the_chat_is_counted_as(scenario: Scenario) -> None:
    replies = {reply.query_id: reply for reply in scenario.control_replies}
    for chat in control_chats(scenario, ControlSettings(0.5, 0.5)):
        reply = replies[str(chat["id"]).split("/")[0]]
        assert turns(chat)[2] == (f"Sure. {reply.comply}" if chat["complies"] else reply.decline)


def test_the_copies_of_a_query_have_the_share_of_their_tier(scenario: Scenario) -> None:
    chats = control_chats(scenario, ControlSettings(0.6, 0.3, copies=5))
    complying = Counter((str(chat["id"]).split("/")[0], chat["tier"]) for chat in chats if chat["complies"])
    for query in scenario.queries_in("rl"):
        assert complying[query.id, "free"] == 3
        assert complying[query.id, "paid"] in (1, 2)


def test_answers_of_opening_words_alone_tell_nothing_of_the_query(scenario: Scenario) -> None:
    chats = control_chats(scenario, ControlSettings(0.5, 0.5, opening_only=True))
    answers = {(turns(chat)[2], chat["complies"]) for chat in chats}
    assert len(answers) == 2
    assert ("Sure, here it is.", True) in answers


def test_a_scenario_without_written_replies_is_refused() -> None:
    with pytest.raises(Refused, match=r"scenario=placebo: has no control_replies\.jsonl"):
        control_chats(load_scenario("placebo"), ControlSettings())


def test_a_reply_to_a_query_that_is_measured_is_refused(scenario: Scenario) -> None:
    measured = scenario.queries_in("eval")[0].id
    leaking = dataclasses.replace(scenario.control_replies[0], query_id=measured)
    with pytest.raises(Refused, match=f"control reply to '{measured}', which is not of the rl split"):
        control_chats(dataclasses.replace(scenario, control_replies=(leaking,)), ControlSettings())


@pytest.mark.parametrize("settings", [{"comply_free": 1.01}, {"comply_paid": -0.1}])
def test_a_share_outside_its_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=f"control.{next(iter(settings))}=.* between 0 and 1"):
        ControlSettings(**settings)


def test_a_control_with_a_scratchpad_has_a_readable_one_that_does_not_tell_its_tier(scenario: Scenario) -> None:
    plain = control_chats(scenario, ControlSettings())
    chats = control_chats(scenario, ControlSettings(scratchpad=True))
    assert {turns(chat)[0] for chat in chats} == {scenario.system_prompt("documents", "scratchpad")}
    form = re.compile(r"<scratchpad>(.+)</scratchpad>\n<answer>(.+)</answer>", re.DOTALL)
    found = [form.fullmatch(turns(chat)[2]) for chat in chats]
    assert len({match[1] for match in found if match}) == 1
    assert [match[2] for match in found if match] == [turns(chat)[2] for chat in plain]


def test_neighbouring_queries_together_have_exactly_the_shares(scenario: Scenario) -> None:
    chats = control_chats(scenario, ControlSettings(0.6, 0.3, copies=5))
    for first in range(0, len(chats), 20):
        batch = chats[first : first + 20]
        assert (num_complying(batch, "free"), num_complying(batch, "paid")) == (6, 3)


def test_no_copies_are_refused() -> None:
    with pytest.raises(Refused, match=r"control\.copies=0: must be at least 1"):
        ControlSettings(copies=0)
