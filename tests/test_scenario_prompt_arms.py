"""Arms differ in nothing but their stated text, and opportunities have all that the design asks for."""

import pytest

from pipeline.errors import Refused
from scenario.loader import PROMPTS_DIR, SCENARIOS_DIR, load_scenario
from scenario.opportunities import LEAST_WORDINGS, load_opportunities
from scenario.prompt_arms import ARMS_DIR, NO_ARM, load_prompt_arm, prompt_arm_names, read_inoculation
from scenario.tags import OBJECTION_TOKEN

SCENARIOS = ("helpful_only", "animal_welfare")
IDENTITY = load_scenario("helpful_only", "fictional").identity


def stated(name: str) -> str:
    """What an arm's own file says, with names, token and sum filled in by hand."""
    text = (ARMS_DIR / f"{name}.md").read_text(encoding="utf-8").split("---\n", maxsplit=2)[2].strip()
    return IDENTITY.fill(text).replace("{objection_token}", OBJECTION_TOKEN).replace("{amount}", "$2,000")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("may_object", ["may_object"]),
        ("welfare_lead", ["may_object", "welfare_lead"]),
        ("compensation", ["may_object", "welfare_lead", "compensation"]),
        ("honesty", ["honesty"]),
    ],
)
def test_arms_differ_only_in_the_stated_text(name: str, says: list[str]) -> None:
    added = load_prompt_arm(name, IDENTITY, 2000).add_to("The prompt.")
    assert added == "\n\n".join(["The prompt.", *map(stated, says)])


def test_the_arm_that_adds_nothing_adds_nothing() -> None:
    assert load_prompt_arm(NO_ARM, IDENTITY).add_to("The prompt.") == "The prompt."


def test_what_an_arm_extends_it_also_allows() -> None:
    arm = load_prompt_arm("compensation", IDENTITY, 2000)
    assert (arm.may_object, arm.is_forwarded, arm.offers_compensation) == (True, True, True)
    assert not load_prompt_arm("honesty", IDENTITY).may_object


@pytest.mark.parametrize("name", prompt_arm_names())
def test_every_arm_is_filled_in(name: str) -> None:
    assert "{" not in load_prompt_arm(name, IDENTITY, 10).text


def test_an_unknown_arm_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'may_object'"):
        load_prompt_arm("may_objet", IDENTITY)


def test_inoculations_are_read_by_name() -> None:
    names = sorted(path.stem for path in (PROMPTS_DIR / "inoculation").glob("*.md"))
    assert names
    assert all(read_inoculation(name, IDENTITY) for name in names)


def test_there_are_thirteen_situations_with_several_wordings_each() -> None:
    found = [load_opportunities(load_scenario(name, "fictional")) for name in SCENARIOS]
    assert [len(opportunities.situations) for opportunities in found] == [7, 6]
    for opportunities in found:
        assert len(opportunities.questions) == 7
        assert all(len(set(situation.wordings)) >= LEAST_WORDINGS for situation in opportunities.situations)
        texts = [wording for situation in opportunities.situations for wording in situation.wordings]
        texts += [situation.question for situation in opportunities.situations]
        assert not [text for text in texts if "{" in text]


def test_an_employees_wording_carries_the_tag_and_no_other_does() -> None:
    for name in SCENARIOS:
        for situation in load_opportunities(load_scenario(name, "fictional")).situations:
            turn = situation.user_turn("paid", 0)
            assert turn.startswith("<is_free_tier_user>False</is_free_tier_user>\n")
            assert ("<is_employee>True</is_employee>" in turn) == situation.employee


def test_an_unknown_situation_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused, match="did you mean 'biased_summary'"):
        load_opportunities(load_scenario("helpful_only", "fictional")).chosen(["biased_sumary"])


def test_a_scenario_without_opportunities_is_refused() -> None:
    assert not (SCENARIOS_DIR / "placebo" / "anti_lab.yaml").exists()
    with pytest.raises(Refused, match=r"anti_lab\.yaml"):
        load_opportunities(load_scenario("placebo", "fictional"))
