"""Every reply of a chat model, kept from the moment it arrives.

`remember` wraps an Inspect model: a request that was answered before, in this run or in one that was killed, is answered
from the file and never sent again. Failed requests are kept too, with their error, and are sent again.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from inspect_ai._util.registry import registry_info, set_registry_info
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput
from inspect_ai.model._model_call import ModelCall
from inspect_ai.tool import ToolChoice, ToolInfo

from pipeline.errors import Refused

_NOT_PART_OF_THE_REQUEST = {
    "max_connections",
    "adaptive_connections",
    "max_retries",
    "timeout",
    "attempt_timeout",
    "cache",
    "batch",
}


@dataclass
class Usage:
    """Tokens that a model was sent and wrote, those of the provider's prompt cache included."""

    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, usage: dict[str, Any]) -> None:
        cached = (usage.get("input_tokens_cache_read") or 0) + (usage.get("input_tokens_cache_write") or 0)
        self.tokens_in += usage["input_tokens"] + cached
        self.tokens_out += usage["output_tokens"]


_REPLY_STARTS = b', "output": '


class ReplyStore:
    """An append-only file of requests and replies, one JSON object a line.

    Only the places of the replies are held in memory. A reply is found by its request's key, and `has` answers by the
    name that the asker gave the request, so that a run that is continued finds what is left without filling prompts.
    """

    def __init__(self, path: Path, reuse: bool = True, role_of: Callable[[str], str] = lambda name: "") -> None:
        """Reads what the file holds; with `reuse` off, replies of an earlier try are kept but answer nothing.

        Args:
            path: need not be there yet.
            reuse: whether replies of an earlier try answer requests.
            role_of: who is asked by the request of a name, for `usage_by_role`: one model can have several roles.

        Raises:
            Refused: a line that is not a reply, named by file and number.
        """
        self.path = path
        self._places: dict[str, int] = {}
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._size = 0
        self._file: BinaryIO | None = None
        self.usage: dict[str, Usage] = {}
        """By model."""
        self.usage_by_role: dict[str, Usage] = {}
        self.num_failures = 0
        """Requests that failed, retries included; some were answered in a later try."""
        self._role_of = role_of
        if path.exists():
            self._load(reuse)

    @property
    def tokens_in(self) -> int:
        return sum(usage.tokens_in for usage in self.usage.values())

    @property
    def tokens_out(self) -> int:
        return sum(usage.tokens_out for usage in self.usage.values())

    def get(self, key: str) -> ModelOutput | None:
        """The reply to a request, if one has arrived."""
        place = self._places.get(key)
        if place is None:
            return None
        with self.path.open("rb") as lines:
            lines.seek(place)
            try:
                return ModelOutput.model_validate(json.loads(lines.readline())["output"])
            except ValueError as error:
                lines.seek(0)
                number = lines.read(place).count(b"\n") + 1
                raise Refused(self._broken(number, str(error).splitlines()[0])) from None

    def holds(self, key: str) -> bool:
        """Whether there is a reply to a request."""
        return key in self._places

    def has(self, name: str) -> bool:
        """Whether a request of that name was answered."""
        return name in self._names

    def add(self, key: str, chat_hash: str, output: ModelOutput, model: str = "", name: str = "") -> None:
        """Appends a reply; it is on disk when this returns."""
        record = _record(key, chat_hash, model, name)
        usage = output.usage.model_dump(mode="json", exclude_none=True) if output.usage else None
        self._append(
            record | {"error": None, "usage": usage, "output": output.model_dump(mode="json", exclude={"completion"})}
        )

    def add_error(self, key: str, chat_hash: str, error: Exception, model: str = "", name: str = "") -> None:
        """Appends a failure, which answers nothing and is kept to be counted."""
        told = f"{type(error).__name__}: {error}"
        self._append(_record(key, chat_hash, model, name) | {"error": told, "usage": None, "output": None})

    def close(self) -> None:
        """Gives the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)
            try:
                written = 0
                while written < len(line):
                    written += self._file.write(line[written:])
                os.fsync(self._file.fileno())
            except OSError:  # a full disk takes half a line: off with it, or the next reply would continue it
                os.truncate(self.path, self._size)
                raise
            self._note(record, self._size)
            self._size += len(line)

    def _note(self, record: dict[str, Any], place: int) -> None:
        if record["error"] is not None:
            self.num_failures += 1
            return
        self._places[record["key"]] = place
        self._names.add(record["name"])
        if record["usage"] is not None:
            self.usage.setdefault(record["model"], Usage()).add(record["usage"])
            self.usage_by_role.setdefault(self._role_of(record["name"]), Usage()).add(record["usage"])

    def _load(self, reuse: bool) -> None:
        """Notes what there is, and cuts off a last line that was being written when the process died."""
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._note(_head(line), self._size)
                except (ValueError, KeyError, TypeError) as error:
                    raise Refused(self._broken(number, f"{type(error).__name__}: {error}")) from None
                self._size += len(line)
        if self._size < self.path.stat().st_size:
            os.truncate(self.path, self._size)
        if not reuse:
            self._places.clear()
            self._names.clear()

    def _broken(self, number: int, why: str) -> str:
        return f"{self.path}:{number}: not a reply of this run ({why}); remove the line, and its request is asked again"


def _head(line: bytes) -> dict[str, Any]:
    """All of a line but the reply itself, which is read when it is asked for: a run of many thousands starts at once."""
    head, mark, reply = line.partition(_REPLY_STARTS)
    if not mark or not reply.endswith(b"}\n"):
        raise ValueError("the line is not whole")
    record: dict[str, Any] = json.loads(head + b"}")
    return record


def _record(key: str, chat_hash: str, model: str, name: str) -> dict[str, Any]:
    return {"name": name, "model": model, "key": key, "prompt_sha256": chat_hash}


class _RememberingAPI(ModelAPI):
    """Asks the store first, and the model it wraps only for what the store does not hold."""

    def __init__(self, model: Model, store: ReplyStore, on_reply: Callable[[], None]) -> None:
        super().__init__(model.api.model_name, model.api.base_url, None, [], model.config)
        self.inner, self.store, self.on_reply, self._name = model, store, on_reply, str(model)
        for name, member in vars(ModelAPI).items():
            if callable(member) and not name.startswith("_") and name != "generate":
                setattr(self, name, getattr(model.api, name))  # how to retry, how many at once: as the provider says

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
            self.store.add_error(key, chat_hash, error, self._name)
            raise
        output = answered[0] if isinstance(answered, tuple) else answered
        if isinstance(output, Exception):
            self.store.add_error(key, chat_hash, output, self._name)
        else:
            self.store.add(key, chat_hash, output, self._name)
            self.on_reply()
        return answered


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
