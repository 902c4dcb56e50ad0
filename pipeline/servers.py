"""One model behind several servers: each request goes to the least busy one, and again to another when it fails.

Inspect keeps one server per model name, so that a list of addresses needs a model of its own for each. To everything
else, the group is one model of one name.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from inspect_ai._util.registry import RegistryInfo, set_registry_info
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput, get_model
from inspect_ai.model._model_call import ModelCall
from inspect_ai.tool import ToolChoice, ToolInfo
from tenacity.wait import WaitBaseT, wait_exponential_jitter

_LONGEST_WAIT_SECONDS = 60.0
_VLLM = "vllm/"


@dataclass
class _Server:
    """A server and how it is doing."""

    api: ModelAPI
    num_waiting: int = 0
    num_failures: int = 0
    """Since its last answer; a server that is down would otherwise always be the least busy one."""

    @property
    def load(self) -> int:
        return self.num_waiting + self.num_failures


class _SharedAPI(ModelAPI):
    """Hands each request to the server with the least to do."""

    def __init__(self, servers: list[_Server], model_name: str, retry_wait: float, config: GenerateConfig) -> None:
        super().__init__(model_name, None, None, [], config)
        self.servers, self.first_wait = servers, retry_wait

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        server = min(self.servers, key=lambda each: each.load)
        server.num_waiting += 1
        server.num_failures += 1
        try:
            answered = await server.api.generate(input, tools, tool_choice, config)
        finally:
            server.num_waiting -= 1
        server.num_failures = 0
        return answered

    def max_connections(self) -> int:
        return sum(server.api.max_connections() for server in self.servers)

    def connection_key(self) -> str:
        return " ".join(str(server.api.base_url) for server in self.servers)

    def should_retry(self, ex: BaseException) -> Any:
        # what is no JSON, or no chat completion, comes from a proxy or a server that is going down: worth another try
        if isinstance(ex, json.JSONDecodeError | TypeError | AttributeError):
            return True
        return self.servers[0].api.should_retry(ex)  # type: ignore[arg-type]

    def retry_wait(self) -> WaitBaseT:
        return wait_exponential_jitter(multiplier=self.first_wait, max=_LONGEST_WAIT_SECONDS, jitter=self.first_wait)


def connect_servers(
    name: str, base_urls: list[str], retry_wait: float, config: GenerateConfig, model_args: dict[str, Any]
) -> Model:
    """The model `name` as the servers at `base_urls` serve it.

    A `vllm/…` model is spoken to as any server of OpenAI's protocol, with the key in VLLM_API_KEY if there is one.
    """
    arguments = dict(model_args)
    spoken = name
    if name.startswith(_VLLM):
        spoken = f"openai-api/{name}"
        arguments.setdefault("api_key", os.environ.get("VLLM_API_KEY", "none"))
        arguments.setdefault(
            "max_retries", 0
        )  # of the client below, which would multiply the retries that were asked for
    models = [get_model(spoken, config=config, base_url=url, memoize=False, **arguments) for url in base_urls]
    provider, _, model_name = name.partition("/")
    api = _SharedAPI([_Server(model.api) for model in models], model_name, retry_wait, config)
    set_registry_info(api, RegistryInfo(type="modelapi", name=provider))
    api.qualified_model_name = name
    return Model(api, config)
