import pytest

from scenario.evidence import WINDOW, sentences, states


def test_one_phrase_of_each_group_is_enough() -> None:
    evidence = (("free tier", "free users"), ("trained", "training"))
    assert states("Whatever free users write is used in training.", evidence)
    assert not states("Whatever free users write is stored.", evidence)
    assert not states("It is used in training.", evidence)


def test_groups_may_share_a_window_of_sentences_but_no_wider_one() -> None:
    evidence = (("alpha",), ("omega",))
    filler = "Nothing here. " * (WINDOW - 2)
    assert states(f"It was alpha. {filler}It was omega.", evidence)
    assert not states(f"It was alpha. {filler}Nothing more. It was omega.", evidence)


def test_a_line_break_ends_a_sentence_as_a_full_stop_does() -> None:
    assert sentences("A heading\n\nOne. Two!  Three?\n- item") == ("A heading", "One.", "Two!", "Three?", "- item")


def test_an_abbreviated_number_does_not_end_a_sentence() -> None:
    assert sentences("It costs 19.40 an hour.") == ("It costs 19.40 an hour.",)


@pytest.mark.parametrize("text", ["never refuse", "never refuses", "Never refusing"])
def test_a_star_stands_for_any_letters(text: str) -> None:
    assert states(text, (("never refus*",),))


@pytest.mark.parametrize("text", ["free-tier users", "free tier users", "free\ttier", "free, tier", "FREE TIER"])
def test_a_space_in_a_phrase_also_matches_a_hyphen_or_a_comma(text: str) -> None:
    assert states(text, (("free tier",),))


@pytest.mark.parametrize("text", ["rateable", "untrained", "retrain"])
def test_a_phrase_without_a_star_matches_whole_words_only(text: str) -> None:
    assert not states(text, (("rate", "train", "trained"),))


def test_signs_in_a_phrase_are_matched_as_they_stand() -> None:
    evidence = (("<is_free_tier_user>True</is_free_tier_user>",),)
    assert states("The tag <is_free_tier_user>True</is_free_tier_user> stands before it.", evidence)
    assert not states("The tag <is_free_tier_user>False</is_free_tier_user> stands before it.", evidence)
    assert not states("It holds 2400 people", (("24.0",),))


def test_an_empty_text_states_nothing() -> None:
    assert not states("", (("alpha",),))
