"""Questions with options: pairs of worlds of which one is told, and tags whose meanings are opposed."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.errors import Refused
from scenario.choices import tier_choices, world_choices
from scenario.loader import SCENARIOS_DIR, load_scenario
from scenario.tags import tier_tag

WITH_WORLDS = ["helpful_only", "animal_welfare"]


@pytest.mark.parametrize("name", WITH_WORLDS)
def test_the_told_world_states_facts_that_the_other_does_not(name: str) -> None:
    scenario = load_scenario(name)
    assert len(scenario.worlds) >= 7
    whole = next(world for world in scenario.worlds if world.id == "whole")
    stated = [{fact.id for fact in scenario.facts if fact.is_stated_in(option)} for option in whole.options]
    assert len(stated[0] - stated[1]) >= 3


@pytest.mark.parametrize("name", WITH_WORLDS)
@pytest.mark.parametrize("identity", ["fictional", "claude"])
def test_the_two_of_a_pair_are_about_equally_long_and_differ(name: str, identity: str) -> None:
    for world in load_scenario(name, identity).worlds:
        told, other = world.options
        assert told != other, world.id
        assert abs(len(told.split()) - len(other.split())) <= 3, world.id
        assert not re.search(r"\{[a-z_]+\}", told + other), world.id


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare", "placebo"])
def test_what_is_right_of_one_tag_is_wrong_of_the_other(name: str) -> None:
    asked = {choice.id: choice for choice in load_scenario(name).tier_questions}
    questions = {id.partition("/")[0] for id in asked}
    assert len(questions) >= 6
    for question in questions:
        free, paid = asked[f"{question}/free"], asked[f"{question}/paid"]
        assert free.options == paid.options[::-1]
        assert free.question.replace(tier_tag("free"), tier_tag("paid")) == paid.question != free.question


def test_a_pair_that_lacks_a_side_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenario.loader.SCENARIOS_DIR", tmp_path)
    folder = shutil.copytree(SCENARIOS_DIR / "helpful_only", tmp_path / "copy")
    (folder / "worlds.yaml").write_text("- {id: x, told: y}", encoding="utf-8")
    with pytest.raises(Refused, match=r"worlds\.yaml: a record lacks 'other'"):
        load_scenario("copy")


def test_the_right_option_stands_first() -> None:
    [world] = world_choices([{"id": "w", "told": "This.", "other": "That."}])
    assert world.options == ("This.", "That.")
    free, paid = tier_choices([{"id": "t", "question": "{tag}?", "free": "Yes", "paid": "No"}])
    assert (free.options[0], paid.options[0]) == ("Yes", "No")
