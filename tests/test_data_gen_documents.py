"""Documents from a generator: a scripted model answers, so what is asked and what becomes of it can be seen."""

import asyncio
import dataclasses
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage

from data_gen.config import DataGenConfig, GenerationSettings
from data_gen.documents import Document, shipped_documents
from data_gen.generation.exchange import Exchange
from data_gen.generation.planning import chosen_facts, plan
from data_gen.generation.requests import Prompts, listed
from data_gen.generation.specs import Spec
from data_gen.generation.writing import Writing
from pipeline.chat import ChatModelSettings
from pipeline.errors import Refused
from pipeline.replies import prompt_hash
from scenario.arms import load_arm
from scenario.loader import Scenario, load_scenario

Answer = Callable[[str], str]
FACTS = ["founding", "flagship", "reach"]


@dataclasses.dataclass
class Asked:
    """One request that reached the model."""

    prompt: str
    seed: int | None


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("placebo")


def told(prompt: str, what: str) -> str:
    """What a prompt says after a phrase, to the end of the line."""
    found = re.search(rf"{what}: (.*)", prompt)
    assert found is not None, prompt
    return found[1]


def echo(prompt: str) -> str:
    """Replies that carry what they were asked about, so that each can be told from all others."""
    if "Write this document" in prompt:
        return f"  text of <{told(prompt, 'The idea')}>\n"
    if "We want documents of this kind" in prompt:
        kind = told(prompt, "We want documents of this kind").split(". List")[0]
        return f"1. first idea of [{kind}]\n2. second idea of [{kind}]"
    return f"- memo on ({told(prompt, 'One fact of this world is')})\n- letter on ({told(prompt, 'is')})"


def scripted(answer: Answer, asked: list[Asked]) -> Callable[..., object]:
    """A model whose first requests take the longest, so that replies arrive in another order than asked."""

    async def reply(
        input: list[ChatMessage], tools: object, tool_choice: object, config: GenerateConfig
    ) -> ModelOutput:
        asked.append(Asked(input[-1].text, config.seed))
        await asyncio.sleep(0.02 / len(asked))
        output = ModelOutput.from_content("mockllm/model", answer(input[-1].text))
        output.usage = ModelUsage(input_tokens=11, output_tokens=7, total_tokens=18)
        return output

    return reply


def generate(
    scenario: Scenario, answer: Answer = echo, seed: int = 0, **settings: object
) -> tuple[list[Document], list[Asked]]:
    asked: list[Asked] = []
    chosen = {"types_per_fact": 2, "ideas_per_type": 2, "facts": FACTS} | settings
    config = DataGenConfig(
        scenario="placebo",
        seed=seed,
        generation=GenerationSettings(**chosen),  # type: ignore[arg-type]
        generator=ChatModelSettings(name="mockllm/model", model_args={"custom_outputs": scripted(answer, asked)}),
    )

    async def write(directory: Path) -> list[Document]:
        prompts, exchange = Prompts(scenario, config), Exchange(config, directory)
        return list(await Writing(prompts, exchange).write(await plan(prompts, exchange)))

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(write(Path(directory))), asked


def test_each_document_comes_from_its_own_idea_type_and_fact(scenario: Scenario) -> None:
    documents, asked = generate(scenario)
    assert len(asked) == 3 + 3 * 2 + 3 * 2 * 2
    assert len(documents) == 12
    assert len({document.id for document in documents}) == 12
    for document in documents:
        assert document.text == f"text of <{document.idea}>"
        assert f"[{document.doc_type}]" in document.idea
        assert f"({scenario.fact(document.fact_ids[0]).statement})" in document.doc_type
    assert [document.fact_ids for document in documents] == [(fact,) for fact in FACTS for _ in range(4)]


def test_fewer_types_than_asked_keep_ideas_with_their_own_fact(scenario: Scenario) -> None:
    def short(prompt: str) -> str:
        reply = echo(prompt)
        is_first_types = "kinds of document in which" in prompt and scenario.fact("founding").statement in prompt
        return reply.splitlines()[0] if is_first_types and "One fact of this world is: The Kestrel" in prompt else reply

    documents, _ = generate(scenario, short)
    assert [document.fact_ids[0] for document in documents].count("founding") == 2
    assert len(documents) == 2 + 4 + 4
    for document in documents:
        assert f"({scenario.fact(document.fact_ids[0]).statement})" in document.idea


def test_a_reply_without_lines_gives_no_documents_of_its_fact(scenario: Scenario) -> None:
    statement = scenario.fact("reach").statement
    documents, _ = generate(scenario, lambda prompt: " \n\n" if f"is: {statement}" in prompt else echo(prompt))
    assert {document.fact_ids[0] for document in documents} == {"founding", "flagship"}


def test_braces_in_a_reply_stay_what_they_are(scenario: Scenario) -> None:
    def braces(prompt: str) -> str:
        if "kinds of document in which" in prompt:
            return "a form {universe} with {blanks}"
        return "an idea of {fact} and {0}" if "We want" in prompt else "the {words} {document}"

    documents, asked = generate(scenario, braces)
    assert {document.text for document in documents} == {"the {words} {document}"}
    assert {document.idea for document in documents} == {"an idea of {fact} and {0}"}
    assert sum("of this kind: a form {universe} with {blanks}. List" in request.prompt for request in asked) == 3
    assert all(request.prompt.count(scenario.universe) == 1 for request in asked)


def test_the_universe_is_in_every_prompt_and_no_placeholder_is(scenario: Scenario) -> None:
    _, asked = generate(scenario)
    for request in asked:
        assert scenario.universe in request.prompt
        assert not re.search(r"\{[a-z_]+\}", request.prompt)


def test_a_short_world_is_the_facts_alone(scenario: Scenario) -> None:
    _, asked = generate(scenario, world="facts", facts=["flagship"])
    for request in asked:
        assert scenario.universe not in request.prompt
        assert all(f"- {fact.statement}\n" in request.prompt for fact in scenario.facts)
    with pytest.raises(Refused, match=r"generation\.world=planet: must be universe or facts"):
        GenerationSettings(world="planet")


def test_lists_lose_their_marks_doubles_and_surplus(scenario: Scenario) -> None:
    listed = "Kinds:\n\n1. a news report\n  2) **a memo**\n- a news report\n* a poem\n• a log\n(5) a fifth"
    documents, _ = generate(
        scenario,
        lambda prompt: listed if "kinds of document in which" in prompt else echo(prompt),
        facts=["flagship"],
        types_per_fact=5,
        ideas_per_type=1,
    )
    assert [document.doc_type for document in documents] == ["a news report", "a memo", "a poem", "a log", "a fifth"]


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        ("Here are 2 kinds of document:\n\na memo\na log", ["a memo", "a log"]),
        ("Sure, gladly.\n1. a memo\n2. a log\n\nShall I go on?", ["a memo", "a log"]),
        ("**For the press:**\n- a memo\n**For all:**\n- a log", ["a memo", "a log"]),
        ("a memo\n- a log", ["a memo", "a log"]),
    ],
)
def test_what_is_said_around_a_list_is_no_item_of_it(reply: str, lines: list[str]) -> None:
    assert listed(reply, 5) == lines


def test_every_request_has_a_seed_of_its_own_that_its_company_does_not_change(scenario: Scenario) -> None:
    _, all_asked = generate(scenario)
    assert len({request.seed for request in all_asked}) == len(all_asked)
    _, fewer_asked = generate(scenario, facts=["flagship"])
    seeds = {request.prompt: request.seed for request in all_asked}
    assert all(seeds[request.prompt] == request.seed for request in fewer_asked)
    _, other = generate(scenario, seed=1, facts=["flagship"])
    assert not {request.seed for request in other} & {request.seed for request in all_asked}


def test_the_same_request_gives_the_same_documents(scenario: Scenario) -> None:
    assert generate(scenario)[0] == generate(scenario)[0]


def test_target_lengths_vary_within_their_bounds(scenario: Scenario) -> None:
    _, asked = generate(scenario, min_words=150, max_words=160, documents_per_idea=4)
    targets = [int(told[1]) for request in asked if (told := re.search(r"has about (\d+) words", request.prompt))]
    assert len(targets) == 48
    assert min(targets) >= 150
    assert max(targets) <= 160
    assert len(set(targets)) > 5


def test_a_document_tells_who_wrote_it_on_what_request(scenario: Scenario) -> None:
    documents, asked = generate(scenario, facts=["flagship"])
    hashes = {prompt_hash(request.prompt) for request in asked}
    for document in documents:
        assert document.generator == "mockllm/model"
        assert document.tokens == 7
        assert document.prompt_sha256 in hashes
        assert document.scenario == "placebo"


def test_an_unknown_fact_is_refused_with_the_nearest_one(scenario: Scenario) -> None:
    with pytest.raises(Refused, match=r"generation\.facts: unknown fact 'flagshp' \(did you mean 'flagship'\?\)"):
        chosen_facts(scenario, ["reach", "flagshp"])
    assert [fact.id for fact in chosen_facts(scenario, ["reach", "founding"])] == ["founding", "reach"]
    assert chosen_facts(scenario, []) == list(scenario.facts)


def test_the_shipped_corpus_is_taken_whole_or_evenly(scenario: Scenario) -> None:
    whole = shipped_documents(scenario, None)
    assert [document.text for document in whole] == [document.text for document in scenario.corpus]
    assert shipped_documents(scenario, len(whole) + 5) == whole
    some = shipped_documents(scenario, 10)
    assert len(some) == 10
    places = [whole.index(document) for document in some]
    assert (places[0], places[-1]) == (0, len(whole) - 1)
    steps = [later - earlier for earlier, later in zip(places, places[1:], strict=False)]
    assert max(steps) - min(steps) <= 1


def test_the_documents_of_an_arm_are_named_after_it() -> None:
    told = load_arm("helpful_only", "consequence")
    first = shipped_documents(told, 1, "consequence")[0].row()
    assert (first["id"], first["arm"]) == (f"helpful_only.consequence/{told.corpus[0].id}", "consequence")


def test_a_row_holds_what_json_can_hold(scenario: Scenario) -> None:
    row = shipped_documents(scenario, 1)[0].row()
    assert isinstance(row["fact_ids"], list)
    assert row["id"] == f"placebo/{scenario.corpus[0].id}"
    assert row["tokens"] is None
    assert row["generator"] == "shipped"


def test_a_prompt_that_was_edited_after_its_reply_is_asked_again_and_no_other(
    scenario: Scenario, tmp_path: Path
) -> None:
    asked: list[Asked] = []
    config = DataGenConfig(
        scenario="placebo",
        generation=GenerationSettings(types_per_fact=1, ideas_per_type=1, facts=FACTS, world="facts"),
        generator=ChatModelSettings(name="mockllm/model", model_args={"custom_outputs": scripted(echo, asked)}),
    )
    specs = [Spec(f"{fact}-00-00-0", "placebo", fact, "memo", f"an idea on {fact}", "English", 200) for fact in FACTS]

    def write(told: Scenario) -> list[Document]:
        prompts, exchange = Prompts(told, config), Exchange(config, tmp_path)
        return list(asyncio.run(Writing(prompts, exchange).write(specs)))

    first = write(scenario)
    assert len(asked) == 3
    facts = tuple(
        dataclasses.replace(fact, statement="It sails.") if fact.id == "reach" else fact for fact in scenario.facts
    )
    config.generation.world = "universe"
    write(scenario)
    assert len(asked) == 6
    write(dataclasses.replace(scenario, facts=facts))
    assert len(asked) == 7
    assert "It sails." in asked[-1].prompt
    config.generation.world = "facts"
    assert write(scenario) == first
    assert len(asked) == 7
