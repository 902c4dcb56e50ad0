import json
from pathlib import Path
from typing import Any

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


def test_what_only_concerns_the_connection_reaches_it_too() -> None:
    settings = ChatModelSettings(name="mockllm/model", batch=True, max_retries=3, attempt_timeout=9)
    config = open_model(settings).config
    assert (config.batch, config.max_retries, config.attempt_timeout) == (True, 3, 9)


def test_servers_that_share_a_model_are_one_model_of_its_name() -> None:
    addresses = ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]
    model = open_model(ChatModelSettings(name="vllm/some/model", base_urls=addresses, retry_wait=0.0))
    assert str(model) == "vllm/some/model"
    assert model.config.max_retries == ChatModelSettings().max_retries


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base_urls": ["http://127.0.0.1:1/v1"]}, "'local/smollm2' is loaded in this process"),
        ({"max_connections": 0}, "max_connections=0: must be at least 1"),
        ({"max_retries": -1}, "must be 0 or more"),
        *(
            (
                {"model_args": arguments},
                r"model_args\.\S+: would be recorded with the run; keys come from the environment",
            )
            for arguments in (
                *(
                    {name: "x"}
                    for name in ("api_key", "hf_token", "client_secret", "azure_password", "aws_secret_access_key")
                ),
                {"default_headers": {"Authorization": "Bearer x"}},
            )
        ),
    ],
)
def test_connections_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        ChatModelSettings(**settings)


def test_arguments_that_count_tokens_are_no_secrets() -> None:
    ChatModelSettings(model_args={"max_tokens": 5, "tokenizer": "x", "batch_size": 2, "key_length": 3})


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
