import json
from pathlib import Path

import pytest

from pipeline.chat import ChatModelSettings, check_context, open_model
from pipeline.errors import Refused

PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When does the ferry leave?"}]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nosuchprovider/model", "nosuchprovider"),
        ("smollm2", "smollm2"),
        ("local/./no/such/model", "no such folder"),
        ("local/smollm2:no/such/adapter", "holds no adapter_config.json"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_one_line(name: str, told: str) -> None:
    with pytest.raises(Refused) as refused:
        open_model(ChatModelSettings(name=name))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_key_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(Refused) as refused:
        open_model(ChatModelSettings(name="openai/gpt-4o-mini"))
    assert str(refused.value).startswith("model 'openai/gpt-4o-mini': ")
    assert "OPENAI_API_KEY" in str(refused.value)
    assert "[bold]" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_argument_of_a_provider_is_refused(tiny_model: Path) -> None:
    with pytest.raises(Refused, match="bach_size"):
        open_model(ChatModelSettings(name=f"local/{tiny_model}", model_args={"bach_size": 2}))


def test_the_settings_reach_the_model() -> None:
    model = open_model(ChatModelSettings(name="mockllm/model", temperature=0.3, max_tokens=7, max_connections=5))
    assert (model.config.temperature, model.config.max_tokens, model.config.max_connections) == (0.3, 7, 5)


@pytest.fixture(scope="module")
def short_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a check of the context reads of a model with room for 64 tokens: its configuration and its tokenizer."""
    folder = tmp_path_factory.mktemp("short") / "model"
    folder.mkdir()
    for file in tiny_model.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}), encoding="utf-8")
    return folder


def num_tokens(model: Path) -> int:
    from pipeline.language_model import load_tokenizer

    tokenizer = load_tokenizer(str(model))
    text = tokenizer.apply_chat_template(PROMPT, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text)["input_ids"])


def test_a_prompt_and_its_reply_may_fill_the_context_and_no_more(short_model: Path) -> None:
    room = 64 - num_tokens(short_model)
    assert room > 0
    check_context(f"local/{short_model}", PROMPT, room)
    with pytest.raises(Refused, match=rf"longest prompt has {64 - room} tokens .* than its context of 64; lower"):
        check_context(f"local/{short_model}:some/adapter", PROMPT, room + 1)


def test_a_server_is_left_to_refuse_by_itself() -> None:
    check_context("openai/gpt-4o-mini", PROMPT, 10**9)
