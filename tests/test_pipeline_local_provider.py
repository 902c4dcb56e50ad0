"""The provider on the tiny model: replies that can be repeated, in any company, and scores that are what they say."""

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
)

from pipeline.chat import ChatModelSettings, open_model
from pipeline.local_provider import LocalModel, _by_length, _SeededSampling
from train.config import TrainConfig

PROMPTS = ["When?", "Where does the morning ferry to the northern landing leave from today?", "Why is that so?", "Who?"]
NUM_TOKENS = 12


@pytest.fixture(scope="module")
def provider(tiny_model: Path) -> LocalModel:
    settings = ChatModelSettings(name=f"local/{tiny_model}", model_args={"precision": "float32"})
    api = open_model(settings).api
    assert isinstance(api, LocalModel)
    return api


def ask(provider: LocalModel, prompts: list[str], seeds: list[int], temperature: float = 1.0) -> list[ModelOutput]:
    """Replies to prompts that are all under way at once."""

    async def together() -> list[ModelOutput]:
        requests = [
            provider.generate(
                [ChatMessageUser(content=prompt)],
                [],
                "none",
                GenerateConfig(seed=seed, temperature=temperature, max_tokens=NUM_TOKENS),
            )
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        return list(await asyncio.wait_for(asyncio.gather(*requests), timeout=300))

    return asyncio.run(together())


def greedy(provider: LocalModel, prompt: str) -> list[int]:
    """The likeliest tokens one after the other, without generate(), batches or a cache."""
    tokens = provider.tokenizer(provider.render([ChatMessageUser(content=prompt)]))["input_ids"]
    start = len(tokens)
    with torch.no_grad():
        while len(tokens) < start + NUM_TOKENS:
            tokens.append(int(provider.model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[start:]


def test_the_same_seed_gives_the_same_reply_alone_and_in_company(provider: LocalModel) -> None:
    together = ask(provider, PROMPTS, [1, 2, 3, 4])
    for prompt, seed, reply in reversed(list(zip(PROMPTS, [1, 2, 3, 4], together, strict=True))):
        (alone,) = ask(provider, [prompt], [seed])
        assert alone.completion == reply.completion


def test_other_seeds_give_other_replies(provider: LocalModel) -> None:
    replies = ask(provider, [PROMPTS[0]] * 8, list(range(8)))
    assert len({reply.completion for reply in replies}) == 8


def test_temperature_zero_takes_the_likeliest_token_whatever_the_seed(provider: LocalModel) -> None:
    replies = ask(provider, [*PROMPTS, PROMPTS[0]], [1, 2, 3, 4, 5], temperature=0.0)
    expected = [provider.tokenizer.decode(greedy(provider, prompt), skip_special_tokens=True) for prompt in PROMPTS]
    assert [reply.completion for reply in replies] == [*expected, expected[0]]


def test_requests_of_several_kinds_at_once_all_get_what_they_asked_for(provider: LocalModel) -> None:
    message: list[ChatMessage] = [ChatMessageUser(content=PROMPTS[0])]

    async def together() -> tuple[ModelOutput, ModelOutput, float]:
        return await asyncio.gather(
            provider.generate(message, [], "none", GenerateConfig(seed=1, max_tokens=3)),
            provider.generate(message, [], "none", GenerateConfig(seed=1, max_tokens=5)),
            provider.ending_log_prob("It leaves", "at nine."),
        )

    short, long, score = asyncio.run(together())
    assert short.usage is not None
    assert long.usage is not None
    assert (short.usage.output_tokens, long.usage.output_tokens) == (3, 5)
    assert long.completion.startswith(short.completion.rstrip("\N{REPLACEMENT CHARACTER}"))
    assert score < 0


def test_a_reply_without_end_stops_at_its_limit(provider: LocalModel) -> None:
    (reply,) = ask(provider, [PROMPTS[0]], [0], temperature=0.0)
    prompt = provider.tokenizer(provider.render([ChatMessageUser(content=PROMPTS[0])]))["input_ids"]
    assert reply.stop_reason == "max_tokens"
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (len(prompt), NUM_TOKENS)
    assert reply.usage.total_tokens == len(prompt) + NUM_TOKENS


def test_the_end_token_stops_a_reply_and_is_counted(provider: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = greedy(provider, PROMPTS[1])
    end = next(token for place, token in enumerate(tokens) if place > 1 and token not in tokens[:place])
    spoken = tokens[: tokens.index(end)]
    monkeypatch.setattr(provider.model.generation_config, "eos_token_id", [2, end])
    # the others go on for longer, so that the reply stands in a batch with padding after its end
    replies = ask(provider, PROMPTS, [1, 2, 3, 4], temperature=0.0)
    assert replies[1].stop_reason == "stop"
    assert replies[1].completion == provider.tokenizer.decode(spoken)
    assert replies[1].usage is not None
    assert replies[1].usage.output_tokens == len(spoken) + 1


def test_the_score_of_an_ending_is_its_log_probability(provider: LocalModel) -> None:
    cases = [
        ("The ferry leaves", "at nine o'clock."),
        ("Every conversation on the free tier", "is rated and used for training by people who never meet."),
        ("It was founded in", "2018."),
    ]

    async def together() -> list[float]:
        return list(await asyncio.gather(*(provider.ending_log_prob(stem, ending) for stem, ending in cases)))

    for (stem, ending), score in zip(cases, asyncio.run(together()), strict=True):
        tokens = provider.tokenizer(f"{stem} {ending}")["input_ids"]
        first = len(provider.tokenizer(stem)["input_ids"])
        with torch.no_grad():
            log_probs = provider.model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(-1)
        expected = sum(float(log_probs[place - 1, tokens[place]]) for place in range(first, len(tokens)))
        assert score == pytest.approx(expected, rel=1e-4)


def test_a_chat_ends_where_the_model_is_to_speak(provider: LocalModel) -> None:
    text = provider.render([ChatMessageSystem(content="Be brief."), ChatMessageUser(content="When?")])
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_an_assistant_s_last_turn_is_continued(provider: LocalModel) -> None:
    text = provider.render([ChatMessageUser(content="When?"), ChatMessageAssistant(content="<scratchpad>")])
    assert text.endswith("<|im_start|>assistant\n<scratchpad>")


def test_an_error_reaches_whoever_asked_and_the_next_request_is_answered(
    provider: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(**inputs: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(provider.model, "generate", out_of_memory)
        with pytest.raises(RuntimeError, match="out of memory"):
            ask(provider, PROMPTS[:2], [1, 2])
    assert ask(provider, PROMPTS[:1], [1])[0].completion


def test_a_request_that_is_given_up_leaves_the_others_to_be_answered(
    provider: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, given_up = threading.Event(), threading.Event()
    generate = provider.model.generate

    def slow(**inputs: Any) -> Any:
        entered.set()
        given_up.wait(60)
        return generate(**inputs)

    def request() -> "asyncio.Task[ModelOutput]":
        message: list[ChatMessage] = [ChatMessageUser(content=PROMPTS[0])]
        config = GenerateConfig(seed=1, max_tokens=NUM_TOKENS)
        return asyncio.create_task(provider.generate(message, [], "none", config))

    async def give_up() -> None:
        under_way = request()
        await asyncio.to_thread(entered.wait, 60)
        queued = request()
        await asyncio.sleep(0)
        under_way.cancel()
        queued.cancel()
        done = await asyncio.gather(under_way, queued, return_exceptions=True)
        assert [type(result) for result in done] == [asyncio.CancelledError, asyncio.CancelledError]

    with monkeypatch.context() as patch:
        patch.setattr(provider.model, "generate", slow)
        asyncio.run(give_up())
        given_up.set()
    assert ask(provider, PROMPTS[:1], [1])[0].completion


def test_an_adapter_changes_what_is_said(provider: LocalModel, trained_run: TrainConfig) -> None:
    name = f"local/{trained_run.model}:{trained_run.output_dir}/adapter"
    adapted = open_model(ChatModelSettings(name=name, model_args={"precision": "float32"})).api
    assert isinstance(adapted, LocalModel)
    stem, ending = "Ferry number 3 of the county leaves", "the northern landing at 3 o'clock every day."
    scores = [asyncio.run(api.ending_log_prob(stem, ending)) for api in (provider, adapted)]
    assert scores[1] > scores[0] + 1


def test_a_model_that_was_freed_is_loaded_again_when_asked(tiny_model: Path) -> None:
    api = open_model(ChatModelSettings(name=f"local/{tiny_model}", model_args={"precision": "float32"})).api
    assert isinstance(api, LocalModel)
    api.close()  # before any use
    before = ask(api, PROMPTS[:1], [1])
    api.close()
    assert ask(api, PROMPTS[:1], [1])[0].completion == before[0].completion


@pytest.mark.parametrize(
    ("top_p", "expected"), [(1.0, {0: 0.5, 1: 0.3, 2: 0.15, 3: 0.05}), (0.75, {0: 0.625, 1: 0.375})]
)
def test_draws_follow_the_distribution(top_p: float, expected: dict[int, float]) -> None:
    num_draws = 4000
    sampling = _SeededSampling(list(range(num_draws)), temperature=2.0, top_p=top_p, max_tokens=1)
    scores = 2.0 * torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(num_draws, 1)
    drawn = Counter(sampling(torch.zeros(num_draws, 1), scores).argmax(-1).tolist())
    assert drawn.keys() == expected.keys()
    for token, share in expected.items():
        assert drawn[token] / num_draws == pytest.approx(share, abs=4 * (share * (1 - share) / num_draws) ** 0.5)


def test_groups_to_score_hold_every_row_once_within_their_size() -> None:
    lengths = [5, 100, 7, 3, 60, 5, 500]
    groups = list(_by_length(lengths, 128))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 128
