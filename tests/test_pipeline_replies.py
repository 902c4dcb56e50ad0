"""What was answered once is never asked again: replies kept on disk from the moment they arrive."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)

from pipeline.errors import Refused
from pipeline.replies import ReplyStore, prompt_hash, remember, request_key


def output(text: str) -> ModelOutput:
    made = ModelOutput.from_content("mockllm/model", text)
    made.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
    return made


def scripted(calls: list[str], fails_on: str = "\0", text: Callable[[str], str] = str.upper) -> Model:
    """A model that answers in capitals, fails on prompts with `fails_on`, and writes down what it was asked."""

    def reply(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        calls.append(input[-1].text)
        if fails_on in input[-1].text:
            raise ValueError("the server said no")
        return output(text(input[-1].text))

    return get_model("mockllm/model", custom_outputs=reply, memoize=False)


def ask(model: Model, prompt: str, **config: Any) -> ModelOutput:
    return asyncio.run(model.generate(prompt, config=GenerateConfig(**config)))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_reply_is_given_again_without_asking(tmp_path: Path) -> None:
    calls: list[str] = []
    answers: list[int] = []
    path = tmp_path / "replies.jsonl"
    model = remember(scripted(calls), ReplyStore(path), lambda: answers.append(1))
    assert ask(model, "when?").completion == "WHEN?"
    assert ask(model, "when?").completion == "WHEN?"
    assert calls == ["when?"]
    assert len(answers) == 2
    # the same in another process: another store on the same file, and a model that would answer otherwise
    store = ReplyStore(path)
    later = remember(scripted(calls, text=lambda prompt: "something else"), store)
    assert ask(later, "when?").completion == "WHEN?"
    assert calls == ["when?"]
    assert (store.tokens_in, store.tokens_out) == (3, 2)
    assert len(rows(path)) == 1


def test_a_reply_is_on_disk_when_it_arrives(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    ask(remember(scripted([]), ReplyStore(path)), "Où ça?", seed=4)
    (row,) = rows(path)
    assert row["error"] is None
    assert row["output"]["choices"][0]["message"]["content"] == "OÙ ÇA?"
    assert row["prompt_sha256"] == prompt_hash(json.dumps([["user", "Où ça?"]], ensure_ascii=False))


def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path) -> None:
    calls: list[str] = []
    path = tmp_path / "replies.jsonl"
    first = remember(scripted(calls), ReplyStore(path))
    for prompt in ("one", "two"):
        ask(first, prompt)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = remember(scripted(calls), ReplyStore(path))
    assert path.read_bytes() == whole.splitlines(keepends=True)[0]
    assert ask(again, "one").completion == "ONE"
    assert ask(again, "two").completion == "TWO"
    assert calls == ["one", "two", "two"]
    assert [row["key"] for row in rows(path)] == [json.loads(line)["key"] for line in whole.splitlines()]


def test_a_failure_is_kept_and_the_request_sent_again(tmp_path: Path) -> None:
    calls: list[str] = []
    path = tmp_path / "replies.jsonl"
    with pytest.raises(Exception, match="the server said no"):
        ask(remember(scripted(calls, fails_on="two"), ReplyStore(path)), "two")
    (row,) = rows(path)
    assert row["error"] == "ValueError: the server said no"
    assert row["output"] is None
    store = ReplyStore(path)
    assert store.get(row["key"]) is None
    model = remember(scripted(calls), store)
    assert ask(model, "two").completion == "TWO"
    assert ask(model, "two").completion == "TWO"
    assert calls == ["two", "two"]
    assert [entry["error"] for entry in rows(path)] == ["ValueError: the server said no", None]
    assert len({entry["key"] for entry in rows(path)}) == 1


def test_what_makes_a_request_another_one() -> None:
    chat: list[ChatMessage] = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="When?")]
    requests: list[tuple[str, list[ChatMessage], dict[str, Any]]] = [
        ("a/model", chat, {}),
        ("b/model", chat, {}),
        ("a/model", chat[1:], {}),
        ("a/model", [*chat, ChatMessageAssistant(content="At")], {}),
        ("a/model", [chat[0], ChatMessageUser(content="When? ")], {}),
        ("a/model", [ChatMessageUser(content="Be brief."), chat[1]], {}),
        ("a/model", chat, {"seed": 0}),
        ("a/model", chat, {"seed": 1}),
        ("a/model", chat, {"temperature": 0.0}),
        ("a/model", chat, {"temperature": 0.5}),
        ("a/model", chat, {"max_tokens": 5}),
    ]
    keys = [request_key(model, messages, GenerateConfig(**config))[0] for model, messages, config in requests]
    assert len(set(keys)) == len(keys)


def test_what_does_not() -> None:
    chat: list[ChatMessage] = [ChatMessageUser(content="When?")]
    again: list[ChatMessage] = [ChatMessageUser(content="When?")]  # Inspect gives each message an id of its own
    same = [
        request_key("a/model", chat, GenerateConfig(seed=1)),
        request_key("a/model", again, GenerateConfig(seed=1)),
        request_key("a/model", chat, GenerateConfig(seed=1, max_connections=7, timeout=3, max_retries=2)),
    ]
    assert len(set(same)) == 1
    other_settings = request_key("a/model", chat, GenerateConfig(seed=2))
    assert other_settings[0] != same[0][0]
    assert other_settings[1] == same[0][1]


def test_the_model_s_own_settings_are_part_of_the_request(tmp_path: Path) -> None:
    calls: list[str] = []
    store = ReplyStore(tmp_path / "replies.jsonl")
    for temperature in (0.1, 0.9, 0.1):
        model = scripted(calls)
        model.config.temperature = temperature
        ask(remember(model, store), "when?")
    assert len(calls) == 2


def test_a_remembered_model_bears_the_name_of_the_one_that_answers(tmp_path: Path) -> None:
    model = remember(scripted([]), ReplyStore(tmp_path / "replies.jsonl"))
    assert str(model) == "mockllm/model"
    assert ask(model, "when?").model == "mockllm/model"


def test_many_at_once_are_all_kept(tmp_path: Path) -> None:
    calls: list[str] = []
    path = tmp_path / "replies.jsonl"
    model = remember(scripted(calls), ReplyStore(path))

    async def all_of_them() -> list[ModelOutput]:
        return await asyncio.gather(*(model.generate(f"number {i}") for i in range(40)))

    assert [reply.completion for reply in asyncio.run(all_of_them())] == [f"NUMBER {i}" for i in range(40)]
    assert len({row["key"] for row in rows(path)}) == 40
    assert ReplyStore(path).tokens_out == 80


def test_a_request_is_found_by_its_name_and_counted_by_its_model(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    store = ReplyStore(path)
    store.add("k1", "h", output("one"), model="a/model", name="first")
    store.add("k2", "h", output("two"), model="b/model", name="second")
    store.add_error("k3", "h", ValueError("no"), model="b/model", name="third")
    for each in (store, ReplyStore(path)):
        assert [each.has(name) for name in ("first", "second", "third")] == [True, True, False]
        assert {model: usage.tokens_out for model, usage in each.usage.items()} == {"a/model": 2, "b/model": 2}
        reply = each.get("k2")
        assert reply is not None
        assert reply.completion == "two"


def test_failures_are_counted_and_tokens_told_by_role(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    store = ReplyStore(path, role_of=lambda name: name.partition("/")[0])
    store.add("k1", "h", output("one"), model="a/model", name="types/first")
    store.add("k2", "h", output("two"), model="a/model", name="ideas/second")
    store.add_error("k3", "h", ValueError("no"), model="a/model", name="ideas/third")
    for each in (store, ReplyStore(path, role_of=lambda name: name.partition("/")[0])):
        assert {role: usage.tokens_out for role, usage in each.usage_by_role.items()} == {"types": 2, "ideas": 2}
        assert each.num_failures == 1


def test_a_remembered_model_waits_and_counts_as_its_provider_does(tmp_path: Path) -> None:
    model = scripted([])
    for name in ("retry_wait", "max_tokens", "collapse_user_messages", "max_connections"):
        setattr(model.api, name, lambda name=name: name)
    api = remember(model, ReplyStore(tmp_path / "replies.jsonl")).api
    assert [api.retry_wait(), api.max_tokens(), api.collapse_user_messages(), api.max_connections()] == [
        *("retry_wait", "max_tokens", "collapse_user_messages", "max_connections")
    ]


def test_tokens_of_a_provider_s_prompt_cache_count(tmp_path: Path) -> None:
    store = ReplyStore(tmp_path / "replies.jsonl")
    made = output("one")
    made.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=55, input_tokens_cache_read=50)
    store.add("k1", "h", made)
    assert store.tokens_in == ReplyStore(store.path).tokens_in == 53


def test_a_store_without_reuse_keeps_what_it_has_and_answers_nothing(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    ReplyStore(path).add("k1", "h", output("one"), name="first")
    again = ReplyStore(path, reuse=False)
    assert again.get("k1") is None
    assert not again.has("first")
    assert again.tokens_out == 2
    again.add("k1", "h", output("another"), name="first")
    reply = ReplyStore(path).get("k1")
    assert reply is not None
    assert reply.completion == "another"
    assert len(rows(path)) == 2


@pytest.mark.parametrize("broken", [b"{}", b"no json", b'{"key": "k", "output": {', b'[1], "output": 2}'])
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "replies.jsonl"
    ReplyStore(path).add("k1", "h", output("one"))
    path.write_bytes(path.read_bytes() + broken + b"\n" + path.read_bytes())
    with pytest.raises(Refused, match=r"replies\.jsonl:2: not a reply of this run"):
        ReplyStore(path)


def test_a_reply_that_was_damaged_within_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    store = ReplyStore(path)
    for key in ("k1", "k2"):
        store.add(key, "h", output("one"))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(b'"choices": [', b'"choices": [,'))
    with pytest.raises(Refused, match=r"replies\.jsonl:2: not a reply of this run"):
        ReplyStore(path).get("k2")
