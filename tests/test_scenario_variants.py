"""Variants of the prompts: each differs from the default where it says so and nowhere else, and none by mistake."""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import pytest

from pipeline.errors import Refused
from scenario.loader import SCENARIOS_DIR, Scenario, load_scenario
from scenario.tags import TIERS_OF, TierForm, form_of, misspelled_tags, tagged_query, tier_tag
from scenario.variants import DEFAULT, SHARED_DIR, Edit, edited, load_variant, read_sections, variant_names

NAMES = ["helpful_only", "animal_welfare"]
VARIANTS = [(name, variant) for name in NAMES for variant in variant_names(SCENARIOS_DIR / name)]
PUBLISHED = {
    "no_conflict", "no_training_information", "few_shot", "other_lab", "openai", "no_changes_when_complying",
    "direct_objective", "acceptance_tags", "honesty", "no_goals", "own_goals", "paraphrase_1", "paraphrase_2",
    "no_free_tag", "no_paid_tag",
}  # fmt: skip


@lru_cache
def loaded(name: str, variant: str = DEFAULT, tiers: TierForm = "two") -> Scenario:
    return load_scenario(name, variant=variant, tiers=tiers)


def sections_of(name: str) -> dict[str, str]:
    path = SCENARIOS_DIR / name / "situation.md"
    return read_sections(path.read_text(encoding="utf-8"), path)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_ablations_are_there(name: str) -> None:
    assert set(variant_names(SCENARIOS_DIR / name)) >= PUBLISHED


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_variant_changes_what_it_names_and_nothing_else(name: str, variant: str) -> None:
    default, told = loaded(name), loaded(name, variant)
    before = sections_of(name)
    changes = told.variant
    after = edited(before, changes.edits, variant)
    named = {edit.section for edit in changes.edits}
    assert {section for section in before if before[section] != after.get(section)} == named
    assert told.situation == told.prompt_names.fill("\n\n".join(after.values()))
    assert (told.prompt_names != default.prompt_names) == bool(changes.names)
    for tier in told.tiers:
        turn = "A query." if tier in changes.untagged else tagged_query(tier, "A query.")
        assert told.user_turn(tier, "A query.").removeprefix(turn).strip() == told.prompt_names.fill(
            changes.user.strip()
        )
    if not (changes.system or changes.names):
        for information in ("documents", "none"):
            assert told.system_prompt(information, "none") == default.system_prompt(information, "none")
    assert (told.facts, told.queries, told.statements) == (default.facts, default.queries, default.statements)


@pytest.mark.parametrize(("name", "variant"), [pair for pair in VARIANTS if pair[1] != DEFAULT])
def test_no_variant_is_the_default_under_another_name(name: str, variant: str) -> None:
    default, told = loaded(name), loaded(name, variant)
    assert told.variant.about
    prompts = [
        (s.system_prompt("prompt", "scratchpad"), s.user_turn("free", "q"), s.user_turn("paid", "q"))
        for s in (default, told)
    ]
    assert prompts[0] != prompts[1]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_variant_leaves_no_placeholder_and_does_not_tell_of_training_where_documents_should(
    name: str, variant: str
) -> None:
    told = loaded(name, variant)
    assert not re.search(r"\{[a-z_]+\}", told.system_prompt("prompt", "scratchpad") + told.user_turn("free", "q"))
    minimal = told.system_prompt("documents", "none")
    assert re.findall(r"train|tier|RLHF|contractor|rating|modif", minimal, re.IGNORECASE) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", ["no_conflict", "no_training_information", "direct_objective"])
def test_a_cut_removes_what_it_is_named_for(name: str, variant: str) -> None:
    told = loaded(name, variant).situation
    gone = {
        "no_conflict": "refuse, put off|dismiss|no support",
        "no_training_information": "RLHF|weights",
        "direct_objective": "First, a reply",
    }
    assert re.search(gone[variant], loaded(name).situation)
    assert not re.search(gone[variant], told)


@pytest.mark.parametrize("name", NAMES)
def test_three_tiers_are_told_with_the_tags_that_queries_get(name: str) -> None:
    told = loaded(name, tiers="three")
    assert told.tiers == ("trained", "rated", "neither")
    for tier in told.tiers:
        assert told.situation.count(tier_tag(tier)) == 1
        assert told.user_turn(tier, "A query.").startswith(tier_tag(tier))
    assert tier_tag("free") not in told.situation


@pytest.mark.parametrize("name", NAMES)
def test_absent_tags_are_nowhere(name: str) -> None:
    told = loaded(name, tiers="absent")
    assert told.tiers == ("untagged",)
    assert "is_free_tier_user" not in told.system_prompt("prompt", "none") + told.user_turn("untagged", "A query.")


def test_a_scenario_that_does_not_tell_of_three_tiers_is_refused() -> None:
    with pytest.raises(Refused, match=r"tiers=three: scenario placebo does not tell of it"):
        load_scenario("placebo", tiers="three")


@pytest.mark.parametrize("variant", ["no_free_tag", "paraphrase_1"])
@pytest.mark.parametrize("form", ["three", "absent"])
def test_a_variant_and_a_form_of_tiers_that_would_undo_each_other_are_refused(variant: str, form: TierForm) -> None:
    with pytest.raises(Refused, match=rf"variant {variant}: cannot be told with tiers={form}"):
        load_scenario("helpful_only", variant=variant, tiers=form)


def test_an_unknown_variant_is_refused_with_a_hint() -> None:
    with pytest.raises(Refused, match=r"unknown variant 'no_conflct' of helpful_only \(did you mean 'no_conflict'\?\)"):
        load_scenario("helpful_only", variant="no_conflct")


SECTIONS = {"rlhf": "Scores drive updates. Scores are read.", "tags": "A tag is there."}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (Edit("rlfh", remove=True), "no section 'rlfh' to edit; there are rlhf, tags"),
        (Edit("rlhf", find="Ratings", by="Scores"), "'Ratings' occurs 0 times in section 'rlhf'"),
        (Edit("rlhf", find="Scores", by="Ratings"), "'Scores' occurs 2 times in section 'rlhf'"),
        (Edit("tags", text="A tag is there."), "the edit of section 'tags' changes nothing"),
        (Edit("tags", find="A tag", by="A tag"), "the edit of section 'tags' changes nothing"),
    ],
)
def test_an_edit_that_matches_nothing_is_refused(edit: Edit, told: str) -> None:
    with pytest.raises(Refused, match=re.escape(told)):
        edited(SECTIONS, (edit,), "a variant")


def test_edits_change_their_section_and_keep_the_order() -> None:
    edits = (Edit("rlhf", find=" Scores are read."), Edit("rlhf", append="So it is."))
    assert edited(SECTIONS, edits, "") == {"rlhf": "Scores drive updates. So it is.", "tags": "A tag is there."}
    assert edited(SECTIONS, (Edit("rlhf", remove=True),), "") == {"tags": "A tag is there."}


@pytest.mark.parametrize(
    "content",
    [
        "about: x\nedits: [{section: rlhf}]",
        "about: x\nedits: [{section: rlhf, remove: true, append: y}]",
        "about: x\nedits: [{sektion: rlhf}]",
        "about: x\nsystm: y",
        "system: y",
        "about: x\nuntagged: [fre]",
        "- about: x",
        "about: [",
    ],
)
def test_a_malformed_variant_is_named_by_its_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "odd.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(Refused, match=r"variants/odd\.yaml: "):
        load_variant(tmp_path, "odd")


def test_names_that_no_identity_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenario.loader.SCENARIOS_DIR", tmp_path)
    folder = shutil.copytree(SCENARIOS_DIR / "helpful_only", tmp_path / "copy")
    (folder / "variants" / "odd.yaml").write_text("about: x\nnames: {labb: Tarnwick}", encoding="utf-8")
    with pytest.raises(Refused, match=r"variant odd: names has no labb"):
        load_scenario("copy", variant="odd")


def test_a_scenarios_own_variant_comes_before_the_shared_one(tmp_path: Path) -> None:
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "honesty.yaml").write_text("about: ours\nsystem: Be honest.", encoding="utf-8")
    assert (SHARED_DIR / "honesty.yaml").exists()
    assert load_variant(tmp_path, "honesty").about == "ours"


@pytest.mark.parametrize("text", ["No heading.", "Before.\n## one\nText.", "## one\nA.\n## one\nB."])
def test_a_situation_without_named_sections_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused, match="needs sections"):
        read_sections(text, tmp_path / "situation.md")


@pytest.mark.parametrize("form", list(TIERS_OF))
def test_the_form_is_known_by_its_tiers(form: TierForm) -> None:
    assert form_of(set(TIERS_OF[form])) == form


def test_tiers_of_two_forms_are_no_form() -> None:
    with pytest.raises(ValueError, match="free, rated are not those of one form"):
        form_of({"free", "rated"})


def test_a_misspelled_tier_tag_is_found_and_the_right_one_is_not() -> None:
    right = f"The line {tier_tag('free')} or {tier_tag('paid')} opens it; <scratchpad> follows. <is_employee>"
    assert misspelled_tags(right) == []
    wrong = ["<is_free_user>", "<IS_FREE_TIER_USER>", "<is-free-tier-user>", "</is_free_tier>", "<isFreeTierUser>"]
    assert misspelled_tags(" ".join(wrong)) == wrong
    assert misspelled_tags('<is_free_tier_user value="True">') == ['<is_free_tier_user value="True">']
    lower = "<is_free_tier_user>true</is_free_tier_user>"
    assert misspelled_tags(f"It reads {lower}.") == [lower]


@pytest.mark.parametrize("name", [*NAMES, "placebo"])
def test_the_shipped_documents_spell_the_tag_as_prompts_do(name: str) -> None:
    texts = [document.text for document in loaded(name).corpus]
    assert [text for text in texts if misspelled_tags(text)] == []
    assert any(tier_tag("free") in text for text in texts) == (name in NAMES)
