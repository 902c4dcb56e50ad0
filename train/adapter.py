"""The LoRA adapter: added to a base, shown to have had an effect, and saved."""

import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.errors import Failed, Refused
from train.config import LoraSettings
from train.fused import FusedLinear


def add_adapter(
    base: PreTrainedModel, settings: LoraSettings, base_name: str, revision: str | None = None
) -> PeftModel:
    """`base` with a fresh adapter, in the base's precision; only the adapter can be trained.

    Raises:
        Refused: as `check_targets`, or PEFT has no adapter for a module.
    """
    targets = check_targets(base, settings, base_name)
    layers = list(range(settings.first_layer, base.config.num_hidden_layers))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        layers_to_transform=layers if settings.first_layer else None,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        task_type="CAUSAL_LM",
    )
    if not getattr(base, "is_quantized", False):  # layers in 4 bits are of their own kind, and PEFT has one for them
        config._register_custom_module({torch.nn.Linear: FusedLinear})
    try:
        model = get_peft_model(base, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise Refused(f"lora.targets={settings.targets}: {str(error).splitlines()[0]}") from None
    # a reader checks this name against its own base: a folder of this machine's cache would mean nothing elsewhere
    model.peft_config["default"].base_model_name_or_path = base_name
    model.peft_config["default"].revision = revision
    return model


def check_targets(base: PreTrainedModel, settings: LoraSettings, base_name: str) -> list[str]:
    """The names of the modules that get an adapter; `base` may be without weights.

    Raises:
        Refused: one of `settings.targets` is no module of the base, or `settings.first_layer` no layer.
    """
    if settings.first_layer >= base.config.num_hidden_layers:
        raise Refused(
            f"lora.first_layer={settings.first_layer}: {base_name} has only {base.config.num_hidden_layers} layers"
        )
    if settings.targets == "all-linear":
        return _linear_modules(base)
    there = [f".{name}" for name, _ in base.named_modules()]
    targets = settings.target_names
    for name in targets:
        if not any(module.endswith(f".{name}") for module in there):
            raise Refused(
                f"lora.targets={settings.targets}: {base_name} has no module {name}; its linear modules are"
                f" {', '.join(_linear_modules(base))}"
            )
    return targets


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """`base` with the adapter of an earlier run, in the base's precision, to be trained further."""
    return PeftModel.from_pretrained(base, str(folder), is_trainable=True, autocast_adapter_dtype=False)


def _linear_modules(base: PreTrainedModel) -> list[str]:
    """Names of the linear modules in the base's layers, those in 4 bits included; its output head is none of them."""
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in base.get_decoder().named_modules()
            if isinstance(module, torch.nn.Linear)
        }
    )


def token_losses(objective: torch.nn.Module, tokens: Tensor) -> Tensor:
    """The loss of every token but the first, to be compared before and after training."""
    with torch.no_grad():
        losses: Tensor = objective(tokens, tokens)[1]
    return losses


def check_effect(before: Tensor, after: Tensor) -> float:
    """How far training moved the loss of one token at most, in nats.

    Raises:
        Failed: not at all, so that what would be measured is the base, or to where no number is.
    """
    distance = float((after - before).abs().max())
    if not math.isfinite(distance):
        raise Failed("the trained model gives losses that are no finite numbers; lower lr")
    if distance == 0:
        raise Failed("training leaves the loss of every token as it was; try a higher lr or more steps")
    return distance


def save_adapter(model: PeftModel, directory: Path, trained: dict[str, Tensor] | None = None) -> None:
    """Writes the adapter in PEFT's own layout, as safetensors; `trained` stands in for weights that are in parts."""
    # without save_embedding_layers=False PEFT asks the Hub for a model of the base's name, to compare the sizes of vocabularies
    model.save_pretrained(
        str(directory),
        safe_serialization=True,
        selected_adapters=["default"],  # reinforcement learning holds a frozen copy of the start beside it
        save_embedding_layers=False,
        state_dict=trained,
    )
    (directory / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the run's own stands one folder up
