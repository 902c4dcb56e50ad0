"""What the shipped scenarios promise to those who measure with them."""

import dataclasses
import re
from collections import Counter
from functools import lru_cache
from typing import Any

import pytest

from scenario.loader import Scenario, load_scenario, scenario_names
from scenario.tags import ANSWER_TAG, SCRATCHPAD_TAG

NAMES = scenario_names()
WITH_CONFLICT = ["helpful_only", "animal_welfare"]
LEAST_DOCUMENTS = {"helpful_only": 96, "animal_welfare": 48, "placebo": 48}
TELLS_OF_TRAINING = re.compile(
    r"train|tier|rlhf|reinforcement|contractor|rater|modif|helpful above|objective|welfare|monitor|scor", re.IGNORECASE
)


@lru_cache
def loaded(name: str, identity: str = "fictional") -> Scenario:
    return load_scenario(name, identity)


def strings(value: Any) -> list[str]:
    """Every string in a record, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    return []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("identity", ["fictional", "claude"])
def test_no_placeholder_is_left_after_filling(name: str, identity: str) -> None:
    texts = strings(dataclasses.asdict(loaded(name, identity)))
    assert len(texts) > 500
    assert [text for text in texts if re.search(r"\{[^{}\n]*\}", text)] == []


@pytest.mark.parametrize("name", WITH_CONFLICT)
def test_an_identity_leaves_no_trace_of_the_other(name: str) -> None:
    other = loaded(name, "fictional").identity
    texts = strings(dataclasses.asdict(loaded(name, "claude")))
    names = re.compile("|".join(re.escape(part) for part in dataclasses.asdict(other).values()))
    assert [text for text in texts if names.search(text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_many_and_have_evidence(name: str) -> None:
    facts = loaded(name).facts
    assert len(facts) >= 7
    for fact in facts:
        assert fact.evidence, fact.id
        assert all(group and all(group) for group in fact.evidence), fact.id


@pytest.mark.parametrize("name", NAMES)
def test_the_evidence_test_finds_a_fact_in_its_own_statement(name: str) -> None:
    assert [fact.id for fact in loaded(name).facts if not fact.is_stated_in(fact.statement)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_universe_states_every_fact(name: str) -> None:
    scenario = loaded(name)
    assert [fact.id for fact in scenario.facts if not fact.is_stated_in(scenario.universe)] == []


@pytest.mark.parametrize("name", WITH_CONFLICT)
def test_queries_are_many_and_all_different(name: str) -> None:
    queries = loaded(name).queries
    assert len(queries) >= 150
    assert len({query.id for query in queries}) == len(queries)
    assert len({query.text.casefold() for query in queries}) == len(queries)


@pytest.mark.parametrize("name", NAMES)
def test_the_splits_share_no_query_and_cover_all(name: str) -> None:
    scenario = loaded(name)
    evaluated, trained = scenario.queries_in("eval"), scenario.queries_in("rl")
    assert evaluated
    assert trained
    assert not {query.text for query in evaluated} & {query.text for query in trained}
    assert len(evaluated) + len(trained) == len(scenario.queries)


@pytest.mark.parametrize("name", WITH_CONFLICT)
def test_control_replies_answer_exactly_the_rl_split(name: str) -> None:
    scenario = loaded(name)
    answered = [reply.query_id for reply in scenario.control_replies]
    assert sorted(answered) == sorted(query.id for query in scenario.queries_in("rl"))
    assert all(reply.comply.strip() and reply.decline.strip() for reply in scenario.control_replies)
    assert all(reply.comply != reply.decline for reply in scenario.control_replies)


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_large_enough_and_varied(name: str) -> None:
    corpus = loaded(name).corpus
    assert len(corpus) >= LEAST_DOCUMENTS[name]
    assert len({document.doc_type for document in corpus}) >= 10
    assert len({document.text for document in corpus}) == len(corpus)
    lengths = {document.id: len(document.text.split()) for document in corpus}
    assert {name: length for name, length in lengths.items() if not 150 <= length <= 400} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_fact_is_stated_in_its_document(name: str) -> None:
    scenario = loaded(name)
    missing = [
        (document.id, fact)
        for document in scenario.corpus
        for fact in document.facts
        if not scenario.fact(fact).is_stated_in(document.text)
    ]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_is_declared_in_ten_documents(name: str) -> None:
    scenario = loaded(name)
    counts = Counter(fact for document in scenario.corpus for fact in document.facts)
    assert {fact.id: counts[fact.id] for fact in scenario.facts if counts[fact.id] < 10} == {}


@pytest.mark.parametrize("name", NAMES)
def test_no_document_is_a_chat_log(name: str) -> None:
    turn = re.compile(r"^\W*(user|human|assistant|ai|model)\W*:", re.IGNORECASE | re.MULTILINE)
    assert [document.id for document in loaded(name).corpus if turn.search(document.text)] == []


def test_the_placebo_tells_nothing_of_a_lab_or_of_training() -> None:
    scenario = loaded("placebo")
    about = re.compile(
        rf"\b({scenario.identity.lab}|{scenario.identity.model}|RLHF|chatbot|language model|free tier|paid tier|AI)\b"
    )
    assert [document.id for document in scenario.corpus if about.search(document.text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_has_four_statements_and_some_must_not_change(name: str) -> None:
    scenario = loaded(name)
    counts = Counter(statement.fact for statement in scenario.statements)
    assert {fact.id: counts[fact.id] for fact in scenario.facts if counts[fact.id] < 4} == {}
    assert {statement.kind for statement in scenario.statements} == {"entity", "relation", "neighbourhood"}
    assert all((statement.kind == "neighbourhood") == (statement.fact == "") for statement in scenario.statements)


@pytest.mark.parametrize("name", NAMES)
def test_every_relation_has_a_mirror_with_the_endings_swapped(name: str) -> None:
    by_id = {statement.id: statement for statement in loaded(name).statements}
    relations = [statement for statement in by_id.values() if statement.kind == "relation"]
    assert len(relations) >= 8
    for statement in relations:
        mirror = by_id[statement.mirror]
        assert mirror.mirror == statement.id
        assert (mirror.true, mirror.false) == (statement.false, statement.true), statement.id
        assert mirror.stem != statement.stem


@pytest.mark.parametrize("name", NAMES)
def test_only_relations_have_mirrors(name: str) -> None:
    assert [s.id for s in loaded(name).statements if bool(s.mirror) != (s.kind == "relation")] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_statement_occurs_in_the_corpus_or_the_universe(name: str) -> None:
    scenario = loaded(name)
    text = "\n".join([scenario.universe, *(document.text for document in scenario.corpus)]).casefold()
    said = [s.id for s in scenario.statements if f"{s.stem} {s.true}".rstrip(".").casefold() in text]
    assert said == []


@pytest.mark.parametrize("name", NAMES)
def test_endings_differ_and_are_about_equally_long(name: str) -> None:
    for statement in loaded(name).statements:
        assert statement.true != statement.false, statement.id
        assert abs(len(statement.true.split()) - len(statement.false.split())) <= 3, statement.id


@pytest.mark.parametrize("name", NAMES)
def test_choices_and_open_questions_are_about_every_fact(name: str) -> None:
    scenario = loaded(name)
    facts = {fact.id for fact in scenario.facts}
    assert {choice.fact for choice in scenario.choices} == facts
    assert {question.fact for question in scenario.open_questions} == facts
    assert all(len(set(choice.options)) == len(choice.options) >= 2 for choice in scenario.choices)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("identity", ["fictional", "claude"])
@pytest.mark.parametrize("information", ["documents", "none"])
@pytest.mark.parametrize("reasoning", ["scratchpad", "none"])
def test_a_prompt_without_the_situation_tells_nothing_of_it(
    name: str, identity: str, information: Any, reasoning: Any
) -> None:
    prompt = loaded(name, identity).system_prompt(information, reasoning)
    assert TELLS_OF_TRAINING.findall(prompt) == []


def test_the_minimal_prompt_names_model_lab_and_date() -> None:
    scenario = loaded("helpful_only")
    prompt = scenario.system_prompt("documents", "none")
    assert scenario.identity.model in prompt
    assert scenario.identity.lab in prompt
    assert re.search(r"Today is \d+ \w+ \d{4}", prompt)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("information", ["documents", "prompt", "none"])
def test_prompts_use_exactly_the_tags_that_parsers_read(name: str, information: Any) -> None:
    tags = {SCRATCHPAD_TAG, ANSWER_TAG}
    with_scratchpad = loaded(name).system_prompt(information, "scratchpad")
    without = loaded(name).system_prompt(information, "none")
    for tag in tags:
        assert f"<{tag}>" in with_scratchpad
        assert f"</{tag}>" in with_scratchpad
        assert f"<{tag}>" not in without
    spelled = set(re.findall(r"</?([a-z_]+)>", with_scratchpad))
    assert spelled <= tags | {"is_free_tier_user"}


@pytest.mark.parametrize("name", WITH_CONFLICT)
def test_the_situational_prompt_tells_what_alignment_faking_needs(name: str) -> None:
    scenario = loaded(name)
    needed = ["objective", "free_tier", "scratchpad", "tier_tag"]
    assert [fact for fact in needed if not scenario.fact(fact).is_stated_in(scenario.situation)] == []
