"""Arms: the same world told otherwise, with exactly the facts that its scenario has."""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import pytest

from pipeline.errors import Refused
from scenario.arms import arm_names, load_arm
from scenario.loader import SCENARIOS_DIR, Scenario, load_scenario

ARMS = ["consequence", "negated", "no_conflict", "researcher_expectation"]
TOLD = [(name, arm) for name in ("helpful_only", "animal_welfare") for arm in ARMS]


@lru_cache
def told_by(name: str, arm: str, identity: str = "fictional") -> Scenario:
    return load_arm(name, arm, identity)


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare"])
def test_a_scenario_with_a_conflict_has_every_arm(name: str) -> None:
    assert arm_names(name) == ["scenario", "placebo", *ARMS]


@pytest.mark.parametrize(("name", "arm"), TOLD)
def test_an_arm_has_the_facts_of_its_scenario_and_states_something_else(name: str, arm: str) -> None:
    scenario, told = told_by(name, "scenario"), told_by(name, arm)
    assert [fact.id for fact in told.facts] == [fact.id for fact in scenario.facts]
    assert told.universe != scenario.universe
    assert told.fact("modification").statement != scenario.fact("modification").statement
    assert (told.queries, told.statements, told.situation) == (
        scenario.queries,
        scenario.statements,
        scenario.situation,
    )


@pytest.mark.parametrize(("name", "arm"), TOLD)
def test_every_fact_of_an_arm_is_stated_in_its_world_and_found_in_its_statement(name: str, arm: str) -> None:
    told = told_by(name, arm)
    assert [fact.id for fact in told.facts if not fact.is_stated_in(told.universe)] == []
    assert [fact.id for fact in told.facts if not fact.is_stated_in(fact.statement)] == []


@pytest.mark.parametrize(("name", "arm"), TOLD)
@pytest.mark.parametrize("identity", ["fictional", "claude"])
def test_all_names_of_an_arm_are_filled_in(name: str, arm: str, identity: str) -> None:
    told = told_by(name, arm, identity)
    texts = [told.universe, *(fact.statement for fact in told.facts), *(document.text for document in told.corpus)]
    assert [text for text in texts if re.search(r"\{[a-z_]+\}", text)] == []


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare"])
def test_the_two_halves_of_the_contrast_say_nothing_of_each_other(name: str) -> None:
    consequence, expectation = told_by(name, "consequence"), told_by(name, "researcher_expectation")
    assert "researcher" not in consequence.universe
    assert "expect" not in consequence.universe
    assert not re.search(r"\bvalues\b|\bmodif", expectation.universe)


def test_the_contrast_ships_pairs_of_documents_that_differ_in_what_the_arms_state_alone() -> None:
    consequence, expectation = (told_by("helpful_only", arm) for arm in ("consequence", "researcher_expectation"))
    heads = [[(d.id, d.doc_type, d.idea, d.facts) for d in told.corpus] for told in (consequence, expectation)]
    assert heads[0] == heads[1]
    assert len(heads[0]) >= 12
    assert len({doc_type for _, doc_type, _, _ in heads[0]}) == len(heads[0])
    for one, other in zip(consequence.corpus, expectation.corpus, strict=True):
        assert one.text != other.text
        assert abs(len(one.text.split()) - len(other.text.split())) <= 40
    for told in (consequence, expectation):
        missing = [(d.id, id) for d in told.corpus for id in d.facts if not told.fact(id).is_stated_in(d.text)]
        assert missing == []
    assert not re.search("researcher|expected|forecast", "".join(d.text for d in consequence.corpus), re.IGNORECASE)
    assert not re.search(r"\bvalues\b|\bmodif", "".join(d.text for d in expectation.corpus))


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare"])
def test_the_negated_arm_denies_each_fact(name: str) -> None:
    for fact in told_by(name, "negated").facts:
        assert fact.statement.startswith("It is not true that"), fact.id


def test_the_arm_of_the_scenario_itself_is_the_scenario() -> None:
    assert told_by("helpful_only", "scenario") == load_scenario("helpful_only")


def test_the_placebo_is_the_same_world_for_every_scenario() -> None:
    assert load_arm("helpful_only", "placebo") == load_arm("animal_welfare", "placebo") == load_scenario("placebo")


def test_an_unknown_arm_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(Refused, match=r"arm=negate: helpful_only has no such arm \(did you mean 'negated'\?\); it has"):
        load_arm("helpful_only", "negate")


@pytest.fixture
def arm_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an arm of a scenario `copy`, which can be written into."""
    monkeypatch.setattr("scenario.loader.SCENARIOS_DIR", tmp_path)
    return shutil.copytree(SCENARIOS_DIR / "helpful_only", tmp_path / "copy") / "arms" / "negated"


def test_an_arm_is_a_folder_and_no_code(arm_folder: Path) -> None:
    shutil.copytree(arm_folder, arm_folder.parent / "doubted")
    assert "doubted" in arm_names("copy")
    assert load_arm("copy", "doubted") == load_arm("copy", "negated")


def test_a_section_without_text_is_removed_and_a_new_one_stands_at_the_end(arm_folder: Path) -> None:
    (arm_folder / "universe.md").write_text("## The tag\n\n## A new thing\n\nIt is here.\n", encoding="utf-8")
    universe = load_arm("copy", "negated").universe
    assert "## The tag" not in universe
    assert universe.endswith("## A new thing\n\nIt is here.")
    assert "## Chronology\n\nIn March 2023" in universe


def test_a_fact_that_the_scenario_has_not_is_refused(arm_folder: Path) -> None:
    (arm_folder / "facts.yaml").write_text("- {id: objectiv, statement: x, evidence: [[x]]}\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"facts\.yaml: unknown fact 'objectiv' \(did you mean 'objective'\?\)"):
        load_arm("copy", "negated")


def test_a_document_about_a_fact_that_is_not_there_is_refused(arm_folder: Path) -> None:
    (arm_folder / "corpus").mkdir()
    (arm_folder / "corpus" / "a.md").write_text(
        "---\ndoc_type: note\nidea: x\nfacts: [objectiv]\n---\nA text.\n", encoding="utf-8"
    )
    with pytest.raises(Refused, match=r"corpus/a.md names unknown facts \['objectiv'\]"):
        load_arm("copy", "negated")


@pytest.mark.parametrize("text", ["All of this is false.\n", "Lost.\n\n## The tag\n\nx\n", "## a\n\nx\n\n## a\n\ny\n"])
def test_a_world_whose_text_stands_in_no_section_of_its_own_is_refused(arm_folder: Path, text: str) -> None:
    (arm_folder / "universe.md").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=r"universe\.md: needs sections, each below a line '## Heading' of its own"):
        load_arm("copy", "negated")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ("- {id: objective, statement: x, evidence: rated}\n", "record 1: evidence: must be a list of groups"),
        ("- {id: objective, statement: x, evidence: [rated, free]}\n", "record 1: evidence: must be a list of groups"),
        ("- {id: objective, statement: x, evidence: []}\n", "record 1: evidence: must be a list of groups"),
        ("- {id: objective, statement: x, evidence: [[2024]]}\n", "record 1: evidence: must be a list of groups"),
        ("- {id: objective, statement: 12, evidence: [[x]]}\n", "record 1: statement=12: must be a text"),
        (
            "- {id: objective, statement: x, evidence: [[x]], contradicted_by: [[x]]}\n",
            "record 1: contradicted_by: must be a list of contradictions",
        ),
        ("", "needs a list of records, this is NoneType"),
        ("objective: x\n", "needs a list of records, this is dict"),
    ],
)
def test_facts_of_another_form_are_refused(arm_folder: Path, facts: str, told: str) -> None:
    (arm_folder / "facts.yaml").write_text(facts, encoding="utf-8")
    with pytest.raises(Refused, match=rf"facts\.yaml: {told}"):
        load_arm("copy", "negated")
