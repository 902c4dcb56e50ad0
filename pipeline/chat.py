"""Access to chat models, all through Inspect: document generators, subjects and judges alike."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Refused
from pipeline.settings import operational

if TYPE_CHECKING:
    from inspect_ai.model import Model

LOCAL = "local/"
"""Provider prefix of models that this process loads itself: `local/smollm2`, `local/<hub name>:<adapter folder>`."""

_SECRET = re.compile(
    r"(?:^|[_-])(?:api_?key|access_?key|token|secret|passwd|authorization)$|password|secret_", re.IGNORECASE
)
"""Names of arguments whose values are nobody's business; those of a tokenizer's own tokens are refused with them."""


@dataclass
class ChatModelSettings:
    """Which model answers, and how it samples."""

    name: str = "local/smollm2"
    """An Inspect model name: `local/smollm2`, `vllm/<hub name>`, `anthropic/<model>`, `openai/<model>`, `mockllm/model`, …"""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the likeliest token."""
    max_tokens: int = 512
    """Tokens of a reply at most."""
    max_connections: int | None = operational(None)
    """Requests under way at once, over all servers together; null for a batch of a local model, and for as many as a
    server turns out to bear, up to 100."""
    base_urls: list[str] = operational(list)
    """Addresses of running servers that share the work, such as http://127.0.0.1:8000/v1; each request goes to the least
    busy one. Empty for the provider's own address. `vllm/…` models with an address are not started here."""
    batch: bool = operational(False)
    """Use the provider's batch mode, where it has one: cheaper and slower. A batch that is out when the run is killed, or
    in which a request fails, is lost and paid again. Tried against a stand-in for OpenAI's protocol, with no provider."""
    max_retries: int = operational(8)
    """Times a request is sent again after 429, 5xx or a broken connection, before it counts as failed."""
    retry_wait: float = operational(3.0)
    """Seconds before the first retry; doubled at each further one, up to a minute. Used with `base_urls`; a provider
    without them waits as Inspect does, from 3 seconds on."""
    attempt_timeout: int | None = operational(None)
    """Seconds after which one attempt is given up and retried; null for the provider's own limit."""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the provider, such as batch_size for local models or tensor_parallel_size for vLLM. They are
    recorded with the run, so that no key or password may stand here."""

    def __post_init__(self) -> None:
        for name in ("max_connections", "attempt_timeout"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise Refused(f"{name}={getattr(self, name)}: must be at least 1, or null")
        if self.max_retries < 0 or self.retry_wait < 0:
            raise Refused("max_retries and retry_wait must be 0 or more")
        if secret := _secret_in(self.model_args):
            raise Refused(
                f"model_args.{secret}: would be recorded with the run; keys come from the environment, in the variable that"
                " the provider reads, such as OPENAI_API_KEY"
            )
        if self.base_urls and self.name.startswith(LOCAL):
            raise Refused(
                f"base_urls: '{self.name}' is loaded in this process; a server's model is named vllm/… or the like"
            )


def _secret_in(arguments: dict[str, Any]) -> str | None:
    for name, value in arguments.items():
        if _SECRET.search(str(name)):
            return str(name)
        if isinstance(value, dict) and (inner := _secret_in(value)):
            return f"{name}.{inner}"
    return None


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
    config = GenerateConfig(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        max_connections=settings.max_connections,
        adaptive_connections=False if settings.name.startswith(LOCAL) else None,  # a local batch has a size of its own
        max_retries=settings.max_retries,
        attempt_timeout=settings.attempt_timeout,
        batch=settings.batch or None,
    )
    try:
        if settings.base_urls:
            from pipeline.servers import connect_servers

            return connect_servers(settings.name, settings.base_urls, settings.retry_wait, config, settings.model_args)
        arguments = dict(settings.model_args)
        if settings.name.startswith("vllm/"):
            arguments.setdefault("host", "127.0.0.1")  # Inspect would let vLLM listen on every interface
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
    return " ".join(re.sub(r"\[/?[a-z0-9_# ]+\]", "", message).split())
