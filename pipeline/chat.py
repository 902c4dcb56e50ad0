"""Access to chat models, all through Inspect: document generators, subjects and judges alike."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Refused

if TYPE_CHECKING:
    from inspect_ai.model import Model

LOCAL = "local/"
"""Provider prefix of models that this process loads itself: `local/smollm2`, `local/<hub name>:<adapter folder>`."""


@dataclass
class ChatModelSettings:
    """Which model answers, and how it samples."""

    name: str = "local/smollm2"
    """An Inspect model name: `local/smollm2`, `vllm/<hub name>`, `anthropic/<model>`, `openai/<model>`, `mockllm/model`, …"""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the likeliest token."""
    max_tokens: int = 512
    """Tokens of a reply at most."""
    max_connections: int | None = None
    """Requests under way at once; null for the provider's own default."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the provider, such as batch_size for local models or tensor_parallel_size for vLLM."""


def open_model(settings: ChatModelSettings) -> "Model":
    """The model, loaded or connected to.

    Raises:
        Refused: the provider is unknown, its package or its key is missing, or the model cannot be found.
    """
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import GenerateConfig, get_model

    if settings.name.startswith(LOCAL):
        import pipeline.local_provider  # noqa: F401 - registers the provider with Inspect

        _check_local(settings.name.removeprefix(LOCAL))
    arguments = dict(settings.model_args)
    if settings.name.startswith("vllm/"):
        arguments.setdefault("host", "127.0.0.1")  # Inspect would let vLLM listen on every interface
    config = GenerateConfig(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        max_connections=settings.max_connections,
    )
    try:
        return get_model(settings.name, config=config, memoize=False, **arguments)
    except PrerequisiteError as error:
        raise Refused(f"model '{settings.name}': {_plain(str(error.message))}") from None
    except (ValueError, TypeError) as error:  # the second for a name in model_args that the provider does not have
        raise Refused(f"model '{settings.name}': {_plain(str(error))}") from None


def _check_local(name: str) -> None:
    """The provider loads at the first request, which is too late to refuse."""
    from pipeline.language_model import check_adapter_base, model_location

    base, _, adapter = name.partition(":")
    model_location(base)
    if adapter:
        check_adapter_base(Path(adapter), base)


def check_context(name: str, longest_prompt: list[dict[str, str]], max_tokens: int) -> None:
    """Refuses a local model whose context cannot hold the longest prompt together with a reply."""
    if not name.startswith(LOCAL):
        return  # a server refuses by itself, and its limit is its own
    from transformers import AutoConfig

    from pipeline.language_model import load_tokenizer, model_location

    base = name.removeprefix(LOCAL).partition(":")[0]
    context = int(AutoConfig.from_pretrained(model_location(base)).max_position_embeddings)
    tokenizer = load_tokenizer(base)
    text = str(tokenizer.apply_chat_template(longest_prompt, tokenize=False, add_generation_prompt=True))
    needed = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    if needed + max_tokens > context:
        raise Refused(
            f"model '{name}': the longest prompt has {needed} tokens and a reply may have {max_tokens}, together more than"
            f" its context of {context}; lower max_tokens or shorten the prompt"
        )


def _plain(message: str) -> str:
    """One line without the terminal markup that Inspect puts into its messages."""
    import re

    return " ".join(re.sub(r"\[/?[a-z0-9_# ]+\]", "", message).split())
