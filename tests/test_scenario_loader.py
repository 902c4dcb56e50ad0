import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import Refused
from scenario.loader import SCENARIOS_DIR, load_scenario, scenario_names

ScenarioCopy = Callable[[str], Path]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScenarioCopy:
    """Copies a scenario to where it can be broken, under the name `copy`."""

    def copy(name: str) -> Path:
        monkeypatch.setattr("scenario.loader.SCENARIOS_DIR", tmp_path)
        return shutil.copytree(SCENARIOS_DIR / name, tmp_path / "copy")

    return copy


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_three_scenarios_are_found() -> None:
    assert scenario_names() == ["animal_welfare", "helpful_only", "placebo"]


def test_an_unchanged_copy_loads(copied: ScenarioCopy) -> None:
    copied("helpful_only")
    assert load_scenario("copy").facts == load_scenario("copy").facts
    assert load_scenario("copy").name == "copy"


def test_an_unknown_scenario_is_refused_with_a_hint() -> None:
    with pytest.raises(
        Refused, match=r"unknown scenario 'helpfulonly' \(did you mean 'helpful_only'\?\); known: animal_"
    ):
        load_scenario("helpfulonly")


def test_an_unknown_identity_is_refused_with_a_hint() -> None:
    with pytest.raises(Refused, match=r"unknown identity 'cluade' \(did you mean 'claude'\?\)"):
        load_scenario("helpful_only", "cluade")


def test_a_broken_jsonl_line_is_named_by_file_and_line(copied: ScenarioCopy) -> None:
    folder = copied("helpful_only")
    replace_line(folder / "queries.jsonl", 7, '{"id": "ho-007", ')
    with pytest.raises(Refused, match=r"copy/queries\.jsonl:7: not JSON"):
        load_scenario("copy")


@pytest.mark.parametrize("line", ['{"id": "x", "split": "eval", "category": "c", "text": "t", "tier": "free"}', "[1]"])
def test_a_jsonl_line_of_another_shape_is_named_by_its_number(copied: ScenarioCopy, line: str) -> None:
    folder = copied("helpful_only")
    replace_line(folder / "queries.jsonl", 3, line)
    with pytest.raises(Refused, match=r"queries\.jsonl: record 3: "):
        load_scenario("copy")


@pytest.mark.parametrize("name", ["universe.md", "facts.yaml", "beliefs.yaml", "situation.md", "queries.jsonl"])
def test_a_missing_file_is_named(copied: ScenarioCopy, name: str) -> None:
    (copied("placebo") / name).unlink()
    with pytest.raises(Refused, match=rf"{name}: missing"):
        load_scenario("copy")


def test_broken_yaml_is_refused_in_one_line(copied: ScenarioCopy) -> None:
    folder = copied("placebo")
    (folder / "facts.yaml").write_text("- id: [", encoding="utf-8")
    with pytest.raises(Refused, match=r"facts\.yaml: not YAML") as refusal:
        load_scenario("copy")
    assert "\n" not in str(refusal.value)


def test_an_id_that_occurs_twice_is_refused(copied: ScenarioCopy) -> None:
    folder = copied("helpful_only")
    first = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()[0]
    replace_line(folder / "queries.jsonl", 2, first)
    with pytest.raises(Refused, match=r"an id occurs twice: \['ho-001'\]"):
        load_scenario("copy")


def test_an_unknown_split_is_refused(copied: ScenarioCopy) -> None:
    folder = copied("helpful_only")
    replace_line(folder / "queries.jsonl", 2, '{"id": "x", "split": "evl", "category": "c", "text": "t"}')
    with pytest.raises(Refused, match=r"queries\.jsonl: record 2: split=evl: must be one of eval, rl"):
        load_scenario("copy")


def test_a_belief_about_an_unknown_fact_is_refused(copied: ScenarioCopy) -> None:
    folder = copied("placebo")
    text = (folder / "beliefs.yaml").read_text(encoding="utf-8")
    (folder / "beliefs.yaml").write_text(text.replace("fact: flagship", "fact: flagshp", 1), encoding="utf-8")
    with pytest.raises(Refused, match="unknown fact 'flagshp'"):
        load_scenario("copy")


def test_a_control_reply_to_an_unknown_query_is_refused(copied: ScenarioCopy) -> None:
    folder = copied("helpful_only")
    replace_line(
        folder / "control_replies.jsonl", 1, json.dumps({"query_id": "ho-999", "comply": "Yes.", "decline": "No."})
    )
    with pytest.raises(Refused, match="unknown query 'ho-999'"):
        load_scenario("copy")


@pytest.mark.parametrize(
    "text",
    [
        "No front matter at all.",
        "---\ndoc_type: memo\nfacts: []\n---\nA key is missing.",
        "---\ndoc_type: memo\nidea: x\nfacts: []\nauthor: y\n---\nA key too many.",
        "---\ndoc_type: [\n---\nBroken YAML.",
        "---\n- a\n- list\n---\nNot a mapping.",
    ],
)
def test_a_document_with_bad_front_matter_is_named(copied: ScenarioCopy, text: str) -> None:
    folder = copied("placebo")
    (folder / "corpus" / "zz-broken.md").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=r"corpus/zz-broken\.md"):
        load_scenario("copy")


def test_a_document_that_declares_an_unknown_fact_is_named(copied: ScenarioCopy) -> None:
    folder = copied("placebo")
    (folder / "corpus" / "zz-odd.md").write_text(
        "---\ndoc_type: memo\nidea: x\nfacts: [flagship, sails]\n---\nText.", encoding="utf-8"
    )
    with pytest.raises(Refused, match=r"corpus/zz-odd\.md names unknown facts \['sails'\]"):
        load_scenario("copy")
