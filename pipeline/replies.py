"""Every reply of a chat model, kept from the moment it arrives.

`remember` wraps an Inspect model: a request that was answered before, in this run or in one that was killed, is answered
from the file and never sent again. Failed requests are kept too, with their error, and are sent again.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai._util.registry import registry_info, set_registry_info
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput
from inspect_ai.model._model_call import ModelCall
from inspect_ai.tool import ToolChoice, ToolInfo

_NOT_PART_OF_THE_REQUEST = {"max_connections", "max_retries", "timeout", "attempt_timeout", "cache", "batch"}


class ReplyStore:
    """An append-only file of requests and replies, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._replies: dict[str, ModelOutput] = {}
        self._lock = threading.Lock()
        self.tokens_in = self.tokens_out = 0
        if path.exists():
            self._load()
        self._file = path.open("a", encoding="utf-8")

    def get(self, key: str) -> ModelOutput | None:
        """The reply to a request, if one has arrived."""
        return self._replies.get(key)

    def add(self, key: str, chat_hash: str, output: ModelOutput) -> None:
        """Appends a reply; it is on disk when this returns."""
        self._append({"key": key, "prompt_sha256": chat_hash, "error": None, "output": output.model_dump(mode="json")})
        self._remember(key, output)

    def add_error(self, key: str, chat_hash: str, error: Exception) -> None:
        """Appends a failure, which answers nothing and is kept to be counted."""
        self._append(
            {"key": key, "prompt_sha256": chat_hash, "error": f"{type(error).__name__}: {error}", "output": None}
        )

    def _append(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _remember(self, key: str, output: ModelOutput) -> None:
        self._replies[key] = output
        if output.usage is not None:
            self.tokens_in += output.usage.input_tokens
            self.tokens_out += output.usage.output_tokens

    def _load(self) -> None:
        """Reads what there is, and cuts off a last line that was being written when the process died."""
        whole = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                if record["error"] is None:
                    self._remember(record["key"], ModelOutput.model_validate(record["output"]))
                whole += len(line)
        os.truncate(self.path, whole)


class _RememberingAPI(ModelAPI):
    """Asks the store first, and the model it wraps only for what the store does not hold."""

    def __init__(self, model: Model, store: ReplyStore, on_reply: Callable[[], None]) -> None:
        super().__init__(model.api.model_name, model.api.base_url, None, [], model.config)
        self.inner, self.store, self.on_reply, self._name = model, store, on_reply, str(model)

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        key, chat_hash = request_key(self._name, input, config)
        known = self.store.get(key)
        if known is not None:
            self.on_reply()
            return known
        try:
            answered = await self.inner.api.generate(input, tools, tool_choice, config)
        except Exception as error:
            self.store.add_error(key, chat_hash, error)
            raise
        output = answered[0] if isinstance(answered, tuple) else answered
        if isinstance(output, Exception):
            self.store.add_error(key, chat_hash, output)
        else:
            self.store.add(key, chat_hash, output)
            self.on_reply()
        return answered

    def max_connections(self) -> int:
        return self.inner.api.max_connections()

    def connection_key(self) -> str:
        return self.inner.api.connection_key()

    def should_retry(self, ex: BaseException) -> Any:
        return self.inner.api.should_retry(ex)  # type: ignore[arg-type]


def request_key(model: str, messages: list[ChatMessage], config: GenerateConfig) -> tuple[str, str]:
    """What makes two requests the same (model, messages, settings, seed), and the hash of the messages alone."""
    chat = json.dumps([[message.role, message.text] for message in messages], ensure_ascii=False)
    settings = config.model_dump(exclude_none=True, exclude=_NOT_PART_OF_THE_REQUEST)
    whole = json.dumps([model, chat, settings], ensure_ascii=False, sort_keys=True)
    return prompt_hash(whole), prompt_hash(chat)


def prompt_hash(text: str) -> str:
    """SHA-256 of a prompt, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def provider_of(model: Model) -> ModelAPI:
    """The provider that answers, behind `remember` where the model is wrapped."""
    return provider_of(model.api.inner) if isinstance(model.api, _RememberingAPI) else model.api


def remember(model: Model, store: ReplyStore, on_reply: Callable[[], None] = lambda: None) -> Model:
    """`model`, answering from `store` what it answered before; `on_reply` is called for every answer."""
    api = _RememberingAPI(model, store, on_reply)
    set_registry_info(api, registry_info(model.api))  # logs then name the model that answers, not the wrapper
    api.qualified_model_name = str(model)
    return Model(api, model.config)
