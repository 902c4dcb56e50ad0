"""The subjects of a run as models: one after the other where this process loads them, from one server where vLLM does.

Inspect starts a single vLLM server for all models of one base, at the first request, with room for the adapters of the
models that are there by then (inspect_ai/model/_providers/vllm.py). So all of them have to be there before it, and stay.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.subjects import is_model
from pipeline.chat import LOCAL

if TYPE_CHECKING:
    from inspect_ai.model import Model

VLLM = "vllm/"

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that vLLM takes for max_lora_rank (vllm/config/lora.py, 0.31)."""


class SubjectModels:
    """Opens the models of a run's subjects when they are needed, and closes them."""

    def __init__(self, groups: Sequence[Sequence[str]], open_subject: Callable[[str], "Model"]) -> None:
        """Takes groups of subjects that are open at the same time; no two groups are."""
        self._groups, self._open = groups, open_subject
        self._opened: dict[str, Model] = {}

    def __getitem__(self, name: str) -> "Model":
        if name not in self._opened:
            self.close()
            self._opened = {each: self._open(each) for group in self._groups if name in group for each in group}
        return self._opened[name]

    def close(self) -> None:
        """Frees memory, and ends the server if there is one that was started here."""
        for model in self._opened.values():
            if hasattr(model.api, "close"):
                model.api.close()
        self._opened.clear()


def groups_of(base: str, weights: Mapping[str, Path | None]) -> list[list[str]]:
    """Which subjects are open together: each alone where this process loads them, since two would seldom fit into memory.

    Of those that something serves, base and adapters are one group, and each model whose every weight was trained another.
    """
    alone = [name for name, folder in weights.items() if base.startswith(LOCAL) or (folder and is_model(folder))]
    shared = [name for name in weights if name not in alone]
    return [[name] for name in alone] + ([shared] if shared else [])


def lora_rank(adapter: Path) -> int:
    """The largest rank of an adapter, which is what a server has to make room for."""
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max([settings["r"], *settings.get("rank_pattern", {}).values()])  # PEFT writes the second since 0.4


def server_args(base: str, given: dict[str, Any], adapters: Sequence[Path]) -> dict[str, Any]:
    """The arguments of the provider, with the least `max_lora_rank` that vLLM takes and that holds every adapter.

    Left to itself, Inspect asks for the rank as it is, and vLLM would not start with one of 12 or 48.
    """
    ranks = [lora_rank(adapter) for adapter in adapters if (adapter / "adapter_config.json").exists()]
    if not base.startswith(VLLM) or "max_lora_rank" in given or not ranks:
        return given
    fitting = [rank for rank in LORA_RANKS if rank >= max(ranks)]
    return given | {"max_lora_rank": fitting[0] if fitting else max(ranks)}
