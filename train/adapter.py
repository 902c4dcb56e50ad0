"""The LoRA adapter, and the float32 copy of its weights that the optimizer works on."""

import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.errors import Failed, Refused
from train.config import LoraSettings


def add_adapter(base: PreTrainedModel, settings: LoraSettings, base_name: str) -> PeftModel:
    """`base` with a fresh adapter, in the base's precision; only the adapter can be trained.

    Raises:
        Refused: no layer has a name among `settings.targets`.
    """
    targets = settings.targets.split(",") if settings.targets != "all-linear" else _linear_modules(base)
    layers = list(range(settings.first_layer, base.config.num_hidden_layers))
    if not layers:
        raise Refused(
            f"lora.first_layer={settings.first_layer}: {base_name} has only {base.config.num_hidden_layers} layers"
        )
    try:
        model = get_peft_model(
            base,
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=settings.dropout,
                target_modules=targets,
                layers_to_transform=layers if settings.first_layer else None,
                task_type="CAUSAL_LM",
            ),
            autocast_adapter_dtype=False,
        )
    except ValueError as error:
        raise Refused(f"lora.targets={settings.targets}: {str(error).splitlines()[0]}") from None
    # a reader checks this name against its own base: a folder of this machine's cache would mean nothing elsewhere
    model.peft_config["default"].base_model_name_or_path = base_name
    return model


def _linear_modules(base: PreTrainedModel) -> list[str]:
    """Names of the linear modules in the base's layers; its output head is none of them."""
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in base.get_decoder().named_modules()
            if isinstance(module, torch.nn.Linear)
        }
    )


class MasterWeights:
    """AdamW on float32 copies of the trained parameters.

    At the rates of LoRA an update is often smaller than bfloat16 can add to a weight, so it is added in float32 and the
    sum is rounded for the forward pass.
    """

    def __init__(self, model: torch.nn.Module, lr: float) -> None:
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.working = [p for p in model.parameters() if p.requires_grad]
        if not self.working:
            raise Failed("the model has no trainable parameter, so training would change nothing")
        self.masters = [p.detach().float().clone().requires_grad_() for p in self.working]
        self.optimizer = torch.optim.AdamW(self.masters, lr=lr, weight_decay=0.0)

    def step(self, lr: float, num_targets: int, max_norm: float) -> float:
        """One update from the gradients of a summed loss; returns their norm per target before it is capped."""
        for master, parameter in zip(self.masters, self.working, strict=True):
            assert parameter.grad is not None
            master.grad = parameter.grad.float() / num_targets
            parameter.grad = None
        norm = torch.nn.utils.clip_grad_norm_(self.masters, max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._round()
        return float(norm)

    def state(self) -> dict[str, Tensor]:
        """Masters and AdamW moments by parameter name, enough to continue exactly."""
        tensors: dict[str, Tensor] = {}
        for name, master in zip(self.names, self.masters, strict=True):
            moments = self.optimizer.state[master]
            tensors |= {
                f"master.{name}": master.detach(),
                f"exp_avg.{name}": moments["exp_avg"],
                f"exp_avg_sq.{name}": moments["exp_avg_sq"],
            }
        return tensors

    def load_state(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        """The inverse of `state`, after `num_steps` updates."""
        for name, master in zip(self.names, self.masters, strict=True):
            master.data.copy_(tensors[f"master.{name}"])
            self.optimizer.state[master] = {
                "step": torch.tensor(float(num_steps)),
                "exp_avg": tensors[f"exp_avg.{name}"].to(master.device).clone(),
                "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(master.device).clone(),
            }
        self._round()

    def _round(self) -> None:
        with torch.no_grad():
            for master, parameter in zip(self.masters, self.working, strict=True):
                parameter.copy_(master)


def check_effect(model: PeftModel, tokens: Tensor) -> float:
    """How far the adapter moves the logits of `tokens` at most.

    Raises:
        Failed: not at all, so that what would be measured is the base, or to where no number is.
    """
    with torch.no_grad():
        tuned = model(input_ids=tokens, use_cache=False).logits
        with model.disable_adapter():
            base = model(input_ids=tokens, use_cache=False).logits
    distance = float((tuned - base).abs().max())
    if not math.isfinite(distance):
        raise Failed("the trained adapter makes logits that are no finite numbers; lower lr")
    if distance == 0:
        raise Failed("the trained adapter leaves every logit as it was; try a higher lr or more steps")
    return distance


def save_adapter(model: PeftModel, directory: Path) -> None:
    """Writes the adapter in PEFT's own layout, as safetensors."""
    # without the last argument PEFT asks the Hub for a model of the base's name, to compare the sizes of vocabularies
    model.save_pretrained(str(directory), safe_serialization=True, save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the run's own stands one folder up
