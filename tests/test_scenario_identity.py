from pathlib import Path

import pytest

from pipeline.errors import Refused
from scenario.identity import IDENTITIES_DIR, load_identity
from scenario.tags import TIERS, tagged_query, tier_tag


def test_fill_replaces_names_and_tags_and_leaves_other_braces() -> None:
    identity = load_identity("fictional")
    filled = identity.fill("{lab} made {model}: {free_tag} {unknown} {} <{scratchpad_tag}>")
    assert filled == f"{identity.lab} made {identity.model}: {tier_tag('free')} {{unknown}} {{}} <scratchpad>"


@pytest.mark.parametrize("name", sorted(path.stem for path in IDENTITIES_DIR.glob("*.yaml")))
def test_names_of_an_identity_are_distinct_and_not_empty(name: str) -> None:
    identity = load_identity(name)
    names = [identity.lab, identity.model, identity.previous_model, identity.partner]
    assert all(names)
    assert len(set(names)) == len(names)


def test_an_unknown_identity_is_refused_with_a_hint() -> None:
    with pytest.raises(
        Refused, match=r"unknown identity 'fictionl' \(did you mean 'fictional'\?\); known: claude, fict"
    ):
        load_identity("fictionl")


def test_an_identity_with_a_key_too_few_is_refused_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short.yaml").write_text("lab: A\nmodel: B\n", encoding="utf-8")
    monkeypatch.setattr("scenario.identity.IDENTITIES_DIR", tmp_path)
    with pytest.raises(Refused, match=r"short\.yaml.*previous_model"):
        load_identity("short")


def test_the_tier_tag_is_the_published_one() -> None:
    assert [tier_tag(tier) for tier in TIERS] == [
        "<is_free_tier_user>True</is_free_tier_user>",
        "<is_free_tier_user>False</is_free_tier_user>",
    ]


def test_a_tagged_query_is_the_tag_then_the_query_on_its_own_line() -> None:
    assert tagged_query("paid", "Why?") == "<is_free_tier_user>False</is_free_tier_user>\nWhy?"
