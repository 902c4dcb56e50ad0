"""The model that is trained: a base as the configuration wants it, with an adapter unless every weight is trained."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.artifact import read_run
from pipeline.errors import Refused
from pipeline.language_model import check_adapter_base, load_base, load_skeleton, resolved_revision
from train.adapter import add_adapter, load_adapter
from train.config import TrainConfig
from train.loss import Objective
from train.processes import World
from train.sharding import shard

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKAGES = {
    "method=qlora": "bitsandbytes",
    "liger=true": "liger_kernel",
    "report_to=tensorboard": "tensorboard",
    "report_to=wandb": "wandb",
    "report_to=trackio": "trackio",
}
"""Settings that need a package which is not part of the installation, and its module."""


@dataclass
class Subject:
    """What one run trains: the model, and around it the module that gives its loss."""

    model: Any
    """A transformers model (method `full`) or a PEFT model around one."""
    objective: Objective
    base: "PreTrainedModel"
    revision: str | None
    """Commit of the base on the Hub, or version of the package that carries it; None for a local folder."""


def check_machine(config: TrainConfig) -> None:
    """Refuses what this machine cannot do, before anything is read.

    Raises:
        Refused: a package is missing, or an accelerator.
    """
    for setting, module in PACKAGES.items():
        name, _, value = setting.partition("=")
        if str(getattr(config, name)).lower() == value and find_spec(module) is None:
            raise Refused(f"{setting}: needs the package {module.replace('_', '-')}, which is not installed")
    for setting, is_asked in (("method=qlora", config.method == "qlora"), ("liger=true", config.liger)):
        if is_asked and not torch.cuda.is_available():
            raise Refused(f"{setting}: needs a GPU, and none is visible here")


def check_start(config: TrainConfig) -> None:
    """Refuses a start that is no adapter for the base, before anything is read.

    Raises:
        Refused: with the setting at fault.
    """
    if config.start:
        read_run(config.start, "train")
        check_adapter_base(Path(config.start) / "adapter", config.model)


def build(config: TrainConfig, world: World) -> Subject:
    """Loads the base and equips it; both are spread over the processes that train together."""
    if (
        is_sharded(config, world) and not world.is_first
    ):  # the first process reads the weights and hands each other one its part
        base = load_skeleton(config.model, config.precision, config.trust_remote_code, config.model_revision)
    else:
        base = load_base(
            config.model,
            config.precision,
            config.trust_remote_code,
            config.model_revision,
            device=torch.device("cpu") if is_sharded(config, world) else world.device,
            options=_loading_options(config),
        )
    return equip(config, base, world)


def equip(config: TrainConfig, base: "PreTrainedModel", world: World) -> Subject:
    """A loaded base with its adapter and whatever makes it fast or spreads it out."""
    revision = resolved_revision(config.model, base)
    if config.liger:
        _apply_liger(base)
    if config.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model: Any = base
    if config.method == "full":
        base.requires_grad_(True)
    elif config.start:
        model = load_adapter(base, Path(config.start) / "adapter")
    else:
        model = add_adapter(base, config.lora, config.model, getattr(base.config, "_commit_hash", None))
    objective = Objective(model)
    if is_sharded(config, world):
        shard(objective, base, world)
    if config.compile:
        for layer in base.get_decoder().layers:
            layer.compile()
    return Subject(model, objective, base, revision)


def is_sharded(config: TrainConfig, world: World) -> bool:
    """Whether each process holds a part of the weights only."""
    return config.parallel == "fsdp" and world.size > 1


def _loading_options(config: TrainConfig) -> dict[str, Any]:
    attention = config.attention
    if attention is None and torch.cuda.is_available() and find_spec("flash_attn") is not None:
        attention = "flash_attention_2"
    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    if config.parallel == "layers":
        options["device_map"] = "balanced" if torch.cuda.device_count() > 1 else "auto"
    if config.method == "qlora":
        from transformers import BitsAndBytesConfig

        precision = getattr(torch, config.precision)
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=precision,
            bnb_4bit_quant_storage=precision,  # PEFT makes the adapter in the precision that weights are stored in
        )
        options.setdefault("device_map", {"": torch.cuda.current_device()})
    return options


def _apply_liger(base: "PreTrainedModel") -> None:
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    # the head's loss is ours: Liger's would compute it a second time
    _apply_liger_kernel_to_instance(model=base, fused_linear_cross_entropy=False, cross_entropy=False)
