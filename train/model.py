"""The model that is trained: a base as the configuration wants it, with an adapter unless every weight is trained."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import torch

from pipeline.artifact import read_run
from pipeline.errors import Refused
from pipeline.language_model import check_adapter_base, load_base, load_skeleton, resolved_revision
from train.adapter import add_adapter, check_targets, load_adapter
from train.attention import VARLEN, suits
from train.config import TrainConfig
from train.loss import Objective
from train.optimizer import MasterWeights, Weights
from train.processes import World
from train.quantized import pack, quantization
from train.sharding import shard

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKAGES = {
    "method=qlora": "bitsandbytes",
    "liger=true": "liger_kernel",
    "parallel=zero3": "deepspeed",
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
    if config.liger and not torch.cuda.is_available():
        raise Refused("liger=true: needs a GPU, and none is visible here")


def check_start(config: TrainConfig) -> None:
    """Refuses a start that is no adapter for the base, before anything is read.

    Raises:
        Refused: with the setting at fault.
    """
    if config.start:
        read_run(config.start, "train")
        base_revision(config)


def base_revision(config: TrainConfig) -> str | None:
    """The base's commit: that of the adapter which is trained further or, where there is none, what is set.

    Raises:
        Refused: the adapter was trained on another base, or on another commit than the one that is set.
    """
    if not config.start:
        return config.model_revision
    found = check_adapter_base(Path(config.start) / "adapter", config.model)
    is_commit = re.fullmatch("[0-9a-f]{40}", config.model_revision or "") is not None  # and no branch or tag
    if found is not None and is_commit and found != config.model_revision:
        raise Refused(
            f"model_revision={config.model_revision}: the adapter of {config.start} was trained on {found}; leave"
            " model_revision=null"
        )
    return found or config.model_revision


def check_shape(config: TrainConfig) -> int | None:
    """Refuses what does not fit the model, from its shape alone.

    Returns:
        Tokens that the model reads at most; None where its configuration does not say.

    Raises:
        Refused: records longer than the model reads, or modules for the adapter that it does not have.
    """
    base = load_skeleton(config.model, config.precision, config.trust_remote_code, base_revision(config))
    longest: int | None = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and config.objective != "reinforcement" and config.max_length > longest:
        raise Refused(f"max_length={config.max_length}: {config.model} reads at most {longest} tokens")
    if config.method != "full" and not config.start:
        check_targets(base, config.lora, config.model)
    return longest


def build(config: TrainConfig, world: World) -> Subject:
    """Loads the base and equips it; both are spread over the processes that train together."""
    if (
        is_sharded(config, world) and not world.is_first
    ):  # the first process reads the weights and hands each other one its part
        base = load_skeleton(config.model, config.precision, config.trust_remote_code, base_revision(config))
    else:
        base = load_base(
            config.model,
            config.precision,
            config.trust_remote_code,
            base_revision(config),
            device=torch.device("cpu") if is_sharded(config, world) else world.device,
            options=_loading_options(config, world),
        )
    if config.method == "qlora" and (is_sharded(config, world) or world.device.type == "cpu"):
        pack(base)
    world.wait_for_first()
    return equip(config, base, world)


def equip(config: TrainConfig, base: "PreTrainedModel", world: World) -> Subject:
    """A loaded base with its adapter and whatever makes it fast or spreads it out."""
    revision = resolved_revision(config.model, base)
    set_attention(config, base, world.device)
    if config.liger:
        apply_liger(base)
    set_checkpointing(config, base)
    model: Any = base
    if config.method == "full":
        base.requires_grad_(True)
    elif config.start:
        model = load_adapter(base, Path(config.start) / "adapter")
    else:
        model = add_adapter(base, config.lora, config.model, getattr(base.config, "_commit_hash", None))
    objective = Objective(model)
    if is_sharded(config, world) and config.parallel == "zero3":
        from train.zero3 import partition

        partition(config, objective, base, world)
    elif is_sharded(config, world):
        shard(objective, base, world)
    set_compiled(base, is_compiled(config, objective, world.device))
    return Subject(model, objective, base, revision)


def take_over(config: TrainConfig, subject: Subject, world: World) -> Weights:
    """Whatever updates the subject's trained parameters; DeepSpeed has forward passes go through its engine as well."""
    if not is_sharded(config, world) or config.parallel != "zero3":
        return MasterWeights(subject.model, config.lr, world)
    from train.zero3 import PartitionedWeights

    weights = PartitionedWeights(config, subject.objective, world)
    subject.objective = weights.engine
    return weights


def set_attention(config: TrainConfig, base: "PreTrainedModel", device: torch.device) -> None:
    """Gives the base the attention that `config.attention` names or, where it names none, the fastest that suits it.

    Raises:
        Refused: transformers knows no attention of that name, or it does not work here.
    """
    name = config.attention
    if name is None and device.type == "cuda" and find_spec("flash_attn") is not None:
        name = "flash_attention_2"
    elif name is None and config.objective != "reinforcement" and suits(base, device):  # replies grow token by token
        name = VARLEN
    if name is None:
        return
    try:
        base.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        raise Refused(f"attention={name}: {str(error).splitlines()[0]}") from None


def set_checkpointing(config: TrainConfig, base: "PreTrainedModel") -> None:
    """Turns gradient checkpointing of the layers on or off."""
    if config.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        base.gradient_checkpointing_disable()


def is_compiled(config: TrainConfig, objective: Objective, device: torch.device) -> bool:
    """Whether layers are compiled: as it was asked for or else on a GPU, where all rows have one length."""
    if config.compile is not None:
        return config.compile
    is_possible = find_spec("triton") is not None and any(map(which, ("cc", "gcc", "clang")))
    is_plain = config.method == "lora" and config.objective != "reinforcement" and config.parallel != "zero3"
    return device.type == "cuda" and is_possible and is_plain and config.packing is not False and objective.keeps_apart


def set_compiled(base: "PreTrainedModel", compiled: bool) -> None:
    """Compiles each layer, or runs all as they are written; layers of one shape share what is compiled."""
    for layer in base.get_decoder().layers:
        if compiled:
            layer.compile()
        else:
            layer._compiled_call_impl = None  # what `compile` sets; torch has no call that takes it back


def is_sharded(config: TrainConfig, world: World) -> bool:
    """Whether each process holds a part of the weights only."""
    return config.is_sharded and world.size > 1


def _loading_options(config: TrainConfig, world: World) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if config.parallel == "layers":
        options["device_map"] = "balanced" if torch.cuda.device_count() > 1 else "auto"
    if config.method == "qlora":
        options["quantization_config"] = quantization(getattr(torch, config.precision))
        on_gpu = torch.cuda.is_available() and not is_sharded(config, world)
        options.setdefault("device_map", {"": torch.cuda.current_device() if on_gpu else "cpu"})
    return options


def apply_liger(base: "PreTrainedModel") -> None:
    """Puts Liger's fused kernels into a model, except those of the loss, which is ours."""
    from liger_kernel.transformers import _apply_liger_kernel_to_instance

    _apply_liger_kernel_to_instance(model=base, fused_linear_cross_entropy=False, cross_entropy=False)
