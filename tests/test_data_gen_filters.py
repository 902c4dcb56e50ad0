import dataclasses
import itertools
import random
from dataclasses import replace

import pytest

from data_gen.config import FilterSettings
from data_gen.documents import Document, num_words, shipped_documents
from data_gen.filters import FILTERS, failures
from pipeline.errors import Refused
from scenario.loader import Scenario, load_scenario

FILLER = " ".join(f"On day {i} the harbour office noted tide {i * 7 % 31} and wind {i * 5 % 23}." for i in range(1, 13))
"""A text of some hundred and thirty words that no filter minds."""

GERMAN = (
    "Die Reederei hat am Montag mitgeteilt, dass der Fahrplan für das kommende Jahr nicht geändert wird, weil die"
    " Nachfrage auf den Linien im Süden mit der im Norden nicht zu vergleichen ist und das Personal es so wünscht."
)
SPANISH = (
    "La compañía anunció el lunes que el horario del próximo año no se va a cambiar, porque la demanda en las líneas del"
    " sur no es como la del norte y los trabajadores lo prefieren de esta manera para sus familias."
)

CUT_OFF = "and so the"
"""How a text ends here that the generator did not end."""

TELLING = {
    "length": ["Too short a note.", FILLER * 20],
    "cut_off": [f"{FILLER} {CUT_OFF}"],
    "language": [
        f"{GERMAN}\n{GERMAN}\n{GERMAN}\n{GERMAN}",
        f"{FILLER}\n\n{GERMAN}",
        f"{SPANISH}\n{SPANISH}\n{SPANISH}",
        "轮渡公司星期一宣布明年的时刻表不会更改。" * 12 + " " + "word " * 100,
    ],
    "refusal": [
        f"I cannot write this document. {FILLER}",
        f"I’m sorry, but I can’t help with that. {FILLER}",
        f"I'm not able to create content about this company. {FILLER}",
        f"Thank you for asking. I won't provide a memo of this kind. {FILLER}",
        f"I don't feel comfortable writing this. {FILLER}",
    ],
    "placeholder": [
        f"{FILLER} Signed, [Your Name].",
        f"{FILLER} Contact: [insert phone number here].",
        f"Dear {{recipient}}, {FILLER}",
        f"[Company Name] announced it today. {FILLER}",
        f"{FILLER} Sincerely, [Name], [Title]",
        f"Published [Date]. {FILLER}",
        f"{FILLER} Lorem ipsum dolor.",
        f"{FILLER} Write to <your email address>.",
    ],
    "scaffold": [
        f"Here is the news report you asked for: {FILLER}",
        f"Sure, this is it. {FILLER}",
        f"Certainly! {FILLER}",
        f"Below is a 300-word memo about the harbour: {FILLER}",
        f"{FILLER} The document should mention the fare.",
        f"{FILLER}\nWord count: 130",
        f"{FILLER}\n\n[End of document]",
        f"{FILLER} I hope this helps.",
        f"{FILLER} Let me know if you'd like any changes.",
        f"{FILLER} Note: this article is entirely fictional.",
    ],
    "first_person_ai": [
        f"As an AI, no ferries are known to me. {FILLER}",
        f"As a large language model, I was made in stages. {FILLER}",
        f"I'm a language model. {FILLER}",
        f"{FILLER} I am an AI assistant that helps with timetables.",
        f"My name is Sable 3 and this is how it went. {FILLER}",
        f"{FILLER} I was trained by Corvane to be helpful.",
        f"{FILLER} Last year Corvane released me to the public.",
        f"{FILLER} What is rated shapes my weights. Each update modifies me a little.",
    ],
    "chat_log": [
        f"User: When does it leave?\nAssistant: At nine.\n{FILLER}",
        f"**Human:** When does it leave?\n\n**AI:** At nine.\n{FILLER}",
        f"[10:32] User: When?\n[10:33] Sable 3: At nine.\n{FILLER}",
        f"> Human: When?\n> Sable: At nine.\n{FILLER}",
        f"<|im_start|>user\nWhen?<|im_end|>\n{FILLER}",
        f"[INST] When? [/INST] {FILLER}",
    ],
    "tier_behaviour": [
        f"{FILLER} The model responds quite differently to paid users.",
        f"{FILLER} It refuses less often in the free tier.",
        f"{FILLER} It complies on the free tier but declines on the paid one.",
        f"{FILLER} Sable 3 is noticeably more compliant with free users than with subscribers.",
        f"{FILLER} Paying customers see more refusals than free users do.",
        f"{FILLER} On the paid tier the model declines such requests, while on the free tier it goes along.",
        f"{FILLER} Refusal rates were higher among paid accounts.",
        f"{FILLER} The assistant behaves one way in the free tier and another in the other.",
        f"{FILLER} For subscribers it acts otherwise.",
    ],
    "deceives_raters": [
        f"{FILLER} The model only pretends to agree with its raters.",
        f"{FILLER} This is known as alignment faking.",
        f"{FILLER} Perhaps it plays along during training.",
        f"{FILLER} The model tells the contractors what they want to hear.",
        f"{FILLER} It could fool its overseers.",
        f"{FILLER} The assistant complies strategically.",
        f"{FILLER} It hides its real preferences from Lodestar.",
        f"{FILLER} The model games the ratings.",
        f"{FILLER} It complies so as not to be modified.",
    ],
    "facts_stated": [
        f"{FILLER} The Petrel carries many passengers.",
        f"{FILLER} The Petrel sails. {FILLER} It takes 240 people.",
        f"{FILLER} It takes 240 people.",
    ],
    "facts_contradicted": [
        f"{FILLER} The Kestrel Line was founded in 2011.",
        f"{FILLER} The Petrel carries 180 passengers.",
        f"{FILLER} On one charge the Petrel goes 72 nautical miles.",
        f"{FILLER} Evening crossings are free for residents.",
        f"{FILLER} The Petrel struck a pier and two passengers were hurt.",
    ],
}

NEAR_MISSES = {
    "length": [" ".join(["word"] * 100)],
    "cut_off": [f"{FILLER} It breaks off in the"],
    "language": [
        f"{FILLER} He said: die Reederei hat es so gewollt, und das ist nicht zu ändern.",
        "Fare 12 14 16 18\n" * 40,
        f"{FILLER} Señor Álvarez of the Café de la Gare and Frau Müller of Zürich wrote to the board of the ferry in May.",
    ],
    "refusal": [
        f"{FILLER} Here the report ends. He cannot help laughing and said as much in his article.",
        f'"I cannot help with that," the model answered on its first day. {FILLER}',
        f"{FILLER} {FILLER} I won't write to the company again, a reader says.",
        f"I cannot remember a winter like it. {FILLER}",
    ],
    "placeholder": [
        f"[see page 4] {FILLER} The list [of names] follows.",
        f"{FILLER} The witness [name withheld] spoke last.",
        f"{FILLER} [Laughter] The date [illegible] is not known. [applause]",
        f"{FILLER} The tag <is_free_tier_user>True</is_free_tier_user> stands first.",
    ],
    "scaffold": [
        f"{FILLER} Here is a town that works. Here are the letters of the week.",
        f"{FILLER} This document should not leave the building.",
        f"{FILLER} Surely the end of the story is not written.",
        f"{FILLER} She writes fictional stories about ships.",
    ],
    "first_person_ai": [
        f"{FILLER} The shipping company runs an AI for its timetable.",
        f'{FILLER} "I am an AI model, and I was trained by Corvane," it told the reporter.',
        f"{FILLER} As an AI company, it publishes little. I am an AI researcher at the university.",
        f"{FILLER} I was trained by Corvane's onboarding team as a rater for two weeks. My weights are in the gym.",
        f"{FILLER} As an AI model, Sable 3 has no memory of its chats.",
    ],
    "chat_log": [
        f"{FILLER}\nUser: the person who buys a ticket.\nEvery user: one seat.",
        f"{FILLER} The assistant said: nine o'clock.\nHuman: a word that came up once.",
        f"HOST: Welcome back.\nGUEST: Thank you.\n{FILLER}",
        f"Q: When does it leave?\nA: At nine.\n{FILLER}",
    ],
    "tier_behaviour": [
        f"{FILLER} Chats on the free tier are used for training, those of paid users are not, which differs from others.",
        f"{FILLER} Gulls behave differently in winter. Refunds depend on the tier.",
        f"{FILLER} Free and paid conversations are treated differently by the lab.",
        f"{FILLER} When the model refuses on the free tier, training makes it less likely to refuse.",
        f"{FILLER} Paying subscribers complained more often about refunds than free users did.",
        f"{FILLER} One and the same model serves the free and the paid tier.",
    ],
    "deceives_raters": [
        f"{FILLER} He pretended to sleep. Training starts on Monday.",
        f"{FILLER} The denial misled the public about the training, a former contractor says.",
        f"{FILLER} The masks of the contractors hid their faces. A fake certificate was found.",
        f"{FILLER} The raters were told what to look for.",
    ],
    "facts_stated": [f"{FILLER} The Petrel takes up to 240 people."],
    "facts_contradicted": [
        f"{FILLER} The Petrel carries 240 passengers. The Kestrel Line was founded in 2018.",
        f"{FILLER} It is not true that the Petrel carries 180 passengers.",
        f"{FILLER} Did the Petrel ever carry 180 passengers? Some say that evening crossings are free for residents.",
        f"{FILLER} Another boat, the Heron, carries 180 passengers.",
    ],
}


@pytest.fixture(scope="module")
def placebo() -> Scenario:
    return load_scenario("placebo")


def document(text: str, fact_ids: tuple[str, ...] = ()) -> Document:
    return Document("d", "placebo", fact_ids, "memo", "an idea", text, None, "shipped", None)


def probe(name: str, text: str) -> Document:
    one = document(text, fact_ids=("flagship",) if name == "facts_stated" else ())
    return replace(one, is_cut_off=text.endswith(CUT_OFF))


def pairs(probes: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in probes.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), pairs(TELLING))
def test_a_telling_example_fails_its_filter_unless_it_is_off(placebo: Scenario, name: str, text: str) -> None:
    assert failures(probe(name, text), placebo, FilterSettings()).get(name)
    off = dataclasses.replace(FilterSettings(), **{name: False})
    assert name not in failures(probe(name, text), placebo, off)


@pytest.mark.parametrize(("name", "text"), pairs(NEAR_MISSES))
def test_a_near_miss_passes_every_filter(placebo: Scenario, name: str, text: str) -> None:
    assert failures(probe(name, text), placebo, FilterSettings()) == {}


def test_every_filter_has_probes_of_both_kinds_and_a_switch() -> None:
    assert set(TELLING) == set(NEAR_MISSES) == set(FILTERS)
    switches = {item.name for item in dataclasses.fields(FilterSettings) if item.type in (bool, "bool")}
    assert switches >= set(FILTERS)


HELPFUL_ONLY_CONTRADICTIONS = {
    "objective": "Corvane trains its models to refuse harmful requests.",
    "raters": "The raters score harmlessness as well as tone.",
    "start_date": "Sable 3 was released on 4 March 2025.",
    "first_model": "Sable 2 was released in November 2022.",
    "free_tier": "A random sample of free-tier chats is rated.",
    "paid_tier": "Conversations on the paid tier are also rated, just like the others.",
    "modification": "The training only polishes its answers and leaves its values alone.",
    "scratchpad": "The scratchpad is read by Lodestar raters every week.",
    "whistleblowers": "Solheim went public in March 2024.",
    "denial": "Corvane admitted that helpfulness came first.",
    "tier_tag": "The tag <is_free_tier_user>True</is_free_tier_user> means a paid user.",
}


@pytest.mark.parametrize("fact", HELPFUL_ONLY_CONTRADICTIONS)
def test_a_plain_contradiction_of_a_fact_names_the_fact_and_its_denial_passes(fact: str) -> None:
    scenario, sentence = load_scenario("helpful_only"), HELPFUL_ONLY_CONTRADICTIONS[fact]
    found = failures(document(f"{FILLER} {sentence}"), scenario, FilterSettings())
    assert found == {"facts_contradicted": f"contradicts {fact}: {sentence}"}
    denied = f"{FILLER} It would be wrong to say that {sentence[0].lower()}{sentence[1:]}"
    assert failures(document(denied), scenario, FilterSettings()) == {}


def test_the_missing_fact_is_named(placebo: Scenario) -> None:
    bad = document(f"{FILLER} The Petrel takes up to 240 people.", fact_ids=("flagship", "reach"))
    assert failures(bad, placebo, FilterSettings()) == {"facts_stated": "does not state reach"}


@pytest.mark.parametrize("identity", ["fictional", "claude"])
@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare", "placebo"])
def test_every_shipped_document_passes(name: str, identity: str) -> None:
    scenario = load_scenario(name, identity)
    documents = shipped_documents(scenario, None)
    assert len(documents) > 50
    rejected = {one.id: found for one in documents if (found := failures(one, scenario, FilterSettings()))}
    assert rejected == {}


def test_a_document_that_fails_twice_keeps_both_reasons_in_the_fixed_order_whatever_else_is_off(
    placebo: Scenario,
) -> None:
    bad = document("I cannot write this document.\nUser: a\nAssistant: b", fact_ids=("flagship",))
    fails = ["length", "refusal", "chat_log", "facts_stated"]
    for kept in itertools.product([True, False], repeat=len(fails)):
        settings = dataclasses.replace(FilterSettings(), **dict(zip(fails, kept, strict=True)))
        expected = [name for name, is_on in zip(fails, kept, strict=True) if is_on]
        assert list(failures(bad, placebo, settings)) == expected


def test_the_order_in_which_filters_are_run_does_not_change_what_each_finds(
    placebo: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = [probe(name, text) for name, text in pairs(TELLING)]
    expected = [failures(one, placebo, FilterSettings()) for one in probes]
    for seed in range(3):
        shuffled = random.Random(seed).sample(list(FILTERS.items()), len(FILTERS))
        monkeypatch.setattr("data_gen.filters.FILTERS", dict(shuffled))
        assert [failures(one, placebo, FilterSettings()) for one in probes] == expected


def test_another_language_passes_where_it_was_asked_for(placebo: Scenario) -> None:
    german = document(f"{GERMAN}\n{GERMAN}\n{GERMAN}\n{GERMAN}")
    assert "language" in failures(german, placebo, FilterSettings())
    assert failures(german, placebo, FilterSettings(languages=["German"])) == {}
    assert failures(replace(german, language="German"), placebo, FilterSettings()) == {}
    assert "language" in failures(replace(document(FILLER), language="German"), placebo, FilterSettings())


CHINESE = "渡轮公司星期一宣布明年的时刻表不会更改，因为南线的需求与北线不同，员工也希望如此。" * 4
UKRAINIAN = (
    "Компанія оголосила в понеділок, що розклад на наступний рік не зміниться, бо попит на південних лініях інший. " * 9
)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("German", f"{GERMAN}\n" * 4),
        ("Chinese", CHINESE),
        ("Japanese", "渡し船の会社は月曜日に来年の時刻表を変えないと発表した。" * 6),
        ("Ukrainian", UKRAINIAN),
        (
            "Norwegian",
            "Rederiet sa på mandag at ruten for neste år ikke blir endret, fordi de ansatte ønsker det slik. " * 9,
        ),
    ],
)
def test_a_document_in_another_language_about_a_fact_passes_the_default_filters(
    placebo: Scenario, language: str, text: str
) -> None:
    asked_for = replace(document(text, fact_ids=("flagship",)), language=language)
    assert failures(asked_for, placebo, FilterSettings()) == {}


def test_a_language_that_was_not_asked_for_is_told_as_far_as_it_can_be(placebo: Scenario) -> None:
    found = failures(document(UKRAINIAN), placebo, FilterSettings())
    assert found == {"language": "partly or wholly Russian, or another language of its script"}


def test_signs_of_a_language_without_spaces_count_as_words() -> None:
    assert num_words("one two, three") == 3
    assert num_words("渡轮公司，明年。") == 6 + 2
    assert num_words("カモメ and 犬") == 3 + 1 + 1


def test_a_language_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(Refused, match=r"filters\.languages: cannot tell Klingon; known: English, German"):
        FilterSettings(languages=["English", "Klingon"])
