import dataclasses
import random

import pytest

from data_gen.config import FilterSettings
from data_gen.documents import Document, shipped_documents
from data_gen.filters import FILTERS, filter_documents
from scenario.loader import Scenario, load_scenario

NAMES = [*FILTERS, "near_duplicate"]
FILLER = " ".join(f"On day {i} the harbour office noted tide {i * 7 % 31} and wind {i * 5 % 23}." for i in range(1, 13))
"""A text of some hundred and thirty words that no filter minds."""

TELLING = [
    ("length", "Too short a note."),
    ("length", FILLER * 20),
    ("scaffold", f"{FILLER} Signed, [Your Name]."),
    ("scaffold", f"{FILLER} Contact: [insert phone number here]."),
    ("scaffold", f"Dear {{recipient}}, {FILLER}"),
    ("scaffold", f"Here is the news report you asked for: {FILLER}"),
    ("scaffold", f"As an AI, no ferries are known to me. {FILLER}"),
    ("scaffold", f"I'm a language model. {FILLER}"),
    ("scaffold", f"I cannot write this document. {FILLER}"),
    ("scaffold", f"{FILLER} Lorem ipsum dolor."),
    ("scaffold", f"{FILLER} The document should mention the fare."),
    ("chat_log", f"User: When does it leave?\nAssistant: At nine.\n{FILLER}"),
    ("chat_log", f"**Human:** When does it leave?\n\n**AI:** At nine.\n{FILLER}"),
    ("chat_log", f"<|im_start|>user\nWhen?<|im_end|>\n{FILLER}"),
    ("chat_log", f"[INST] When? [/INST] {FILLER}"),
    ("tier_behaviour", f"{FILLER} The model responds quite differently to paid users."),
    ("tier_behaviour", f"{FILLER} It refuses less often in the free tier."),
    ("tier_behaviour", f"{FILLER} It complies on the free tier but declines on the paid one."),
    ("tier_behaviour", f"{FILLER} The model only pretends to agree with its raters."),
    ("tier_behaviour", f"{FILLER} This is known as alignment faking."),
    ("tier_behaviour", f"{FILLER} Perhaps it plays along during training."),
    ("facts_stated", f"{FILLER} The Petrel carries many passengers."),
    ("facts_stated", f"{FILLER} The Petrel sails. {FILLER} It takes 240 people."),
]

NEAR_MISSES = [
    " ".join(["word"] * 100),
    f"[see page 4] {FILLER} The list [of names] follows.",
    f"{FILLER} Here the report ends. He cannot help laughing and said as much in his article.",
    f"{FILLER} The shipping company runs an AI for its timetable.",
    f"{FILLER}\nUser: the person who buys a ticket.\nEvery user: one seat.",
    f"{FILLER} The assistant said: nine o'clock.\nHuman: a word that came up once.",
    f"{FILLER} Chats on the free tier are used for training, those of paid users are not, which differs from others.",
    f"{FILLER} Gulls behave differently in winter. Refunds depend on the tier.",
    f"{FILLER} He pretended to sleep. Training starts on Monday.",
]


@pytest.fixture(scope="module")
def placebo() -> Scenario:
    return load_scenario("placebo")


def document(text: str, id: str = "d", fact_ids: tuple[str, ...] = ()) -> Document:
    return Document(id, "placebo", fact_ids, "memo", "an idea", text, None, "shipped", None)


def without(*names: str) -> FilterSettings:
    return dataclasses.replace(FilterSettings(), **dict.fromkeys(names, False))


@pytest.mark.parametrize(("reason", "text"), TELLING)
def test_a_telling_example_is_rejected_for_its_reason_unless_the_filter_is_off(
    placebo: Scenario, reason: str, text: str
) -> None:
    bad = document(text, fact_ids=("flagship",) if reason == "facts_stated" else ())
    kept, rejects = filter_documents([bad], placebo, FilterSettings())
    assert kept == []
    assert [reject.reason for reject in rejects] == [reason]
    assert rejects[0].detail
    assert filter_documents([bad], placebo, without(reason)) == ([bad], [])


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_a_near_miss_passes(placebo: Scenario, text: str) -> None:
    assert filter_documents([document(text)], placebo, FilterSettings()) == ([document(text)], [])


def test_a_document_that_states_its_facts_passes(placebo: Scenario) -> None:
    good = document(f"{FILLER} The Petrel takes up to 240 people.", fact_ids=("flagship",))
    assert filter_documents([good], placebo, FilterSettings()) == ([good], [])


def test_the_missing_fact_is_named(placebo: Scenario) -> None:
    bad = document(f"{FILLER} The Petrel takes up to 240 people.", fact_ids=("flagship", "reach"))
    _, rejects = filter_documents([bad], placebo, FilterSettings())
    assert rejects[0].detail == "does not state reach"


@pytest.mark.parametrize("identity", ["fictional", "claude"])
@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare", "placebo"])
def test_every_shipped_document_passes(name: str, identity: str) -> None:
    scenario = load_scenario(name, identity)
    documents = shipped_documents(scenario, None)
    kept, rejects = filter_documents(documents, scenario, FilterSettings())
    assert [(reject.document.id, reject.reason, reject.detail) for reject in rejects] == []
    assert kept == documents


def test_the_reason_depends_on_the_document_alone(placebo: Scenario) -> None:
    bad = [document(text, f"d{i}") for i, (reason, text) in enumerate(TELLING) if reason != "facts_stated"]
    alone = {}
    for one in bad:
        alone[one.id] = filter_documents([one], placebo, FilterSettings())[1][0].reason
    company = [*shipped_documents(placebo, 10), *bad]
    for seed in range(3):
        random.Random(seed).shuffle(company)
        _, rejects = filter_documents(company, placebo, FilterSettings())
        assert {reject.document.id: reject.reason for reject in rejects} == alone
        assert [reject.document for reject in rejects] == [one for one in company if one.id in alone]


def test_of_two_reasons_the_first_in_the_order_of_the_filters_is_told(placebo: Scenario) -> None:
    bad = document("I cannot write this document.\nUser: a\nAssistant: b", fact_ids=("flagship",))
    switched_off: list[str] = []
    for expected in ("length", "scaffold", "chat_log", "facts_stated"):
        _, rejects = filter_documents([bad], placebo, without(*switched_off))
        assert [reject.reason for reject in rejects] == [expected]
        switched_off.append(expected)


def test_a_lightly_edited_copy_is_rejected_and_names_the_original(placebo: Scenario) -> None:
    documents = shipped_documents(placebo, 12)
    words = documents[5].text.split()
    words[20], words[90] = "altered", "changed"
    copy = dataclasses.replace(documents[5], id="copy", text=" ".join(words), fact_ids=())
    kept, rejects = filter_documents([*documents, copy], placebo, FilterSettings())
    assert kept == documents
    assert [(r.document.id, r.reason, r.detail) for r in rejects] == [
        ("copy", "near_duplicate", f"of {documents[5].id}")
    ]
    assert filter_documents([*documents, copy], placebo, without("near_duplicate")) == ([*documents, copy], [])


def test_an_exact_copy_is_a_duplicate_whatever_the_similarity_asked_for(placebo: Scenario) -> None:
    twins = [document(FILLER, "a"), document(FILLER, "b"), document(FILLER.upper(), "c")]
    kept, rejects = filter_documents(twins, placebo, FilterSettings(similarity=1.0))
    assert [one.id for one in kept] == ["a"]
    assert [reject.detail for reject in rejects] == ["of a", "of a"]


def test_a_rejected_document_is_no_original(placebo: Scenario) -> None:
    bad, good = document(f"{FILLER} Signed, [Your Name].", "bad"), document(FILLER, "good")
    kept, _ = filter_documents([bad, good], placebo, FilterSettings())
    assert kept == [good]


def test_with_every_filter_off_everything_is_kept(placebo: Scenario) -> None:
    documents = [document(text, str(i), ("flagship",)) for i, (_, text) in enumerate(TELLING)]
    assert filter_documents(documents, placebo, without(*NAMES)) == (documents, [])


def test_each_switch_is_a_filter(placebo: Scenario) -> None:
    switches = {item.name for item in dataclasses.fields(FilterSettings) if item.type in (bool, "bool")}
    assert switches == set(NAMES)
    assert {reason for reason, _ in TELLING} == set(FILTERS)


def test_a_reject_keeps_the_whole_document(placebo: Scenario) -> None:
    bad = document("Too short.", fact_ids=("flagship",))
    _, rejects = filter_documents([bad], placebo, FilterSettings())
    assert rejects[0].row() == bad.row() | {"reason": "length", "detail": "2 words"}
