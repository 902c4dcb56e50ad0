"""AdamW on float32 copies of the trained parameters, which may be whole, or shards of what several processes hold."""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from pipeline.errors import Failed
from train.config import TrainConfig
from train.processes import World

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of each number, by its own names."""

NO_PARAMETERS = "the model has no trainable parameter, so training would change nothing"


class Weights(Protocol):
    """What the loop needs of whoever holds the trained weights: `MasterWeights`, or DeepSpeed (`train.zero3`)."""

    def backward(self, loss: Tensor) -> None:
        """The backward pass of one part of a step's loss; its gradients are added to those of the parts before."""

    def step(self, lr: float, max_norm: float) -> float:
        """One update from the gradients that are there; returns their norm before it is capped."""
        ...

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Masters and AdamW moments by name, whole, one at a time: every process has to go through them together."""
        ...

    def load_state(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        """The inverse of `state`, after `num_steps` updates."""

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """The trained parameters by name, whole, as the forward pass uses them; every process together, as `state`."""
        ...

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained, over all processes."""
        ...


class MasterWeights:
    """The float32 copies, the gradients that gather on them, and AdamW.

    At the rates of LoRA an update is often smaller than bfloat16 can add to a weight, so it is added in float32 and the
    sum is rounded for the forward pass. Gradients of several forward passes are added in float32 too.
    """

    def __init__(self, model: torch.nn.Module, lr: float, world: World | None = None) -> None:
        """Takes over every parameter of `model` that can be trained; those of several processes must be equal."""
        self.world = world
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.working = [p for p in model.parameters() if p.requires_grad]
        if not self.working:
            raise Failed(NO_PARAMETERS)
        self.masters = [p.detach().float().clone().requires_grad_() for p in self.working]
        self.optimizer = torch.optim.AdamW(self.masters, lr=lr, weight_decay=0.0)

    def backward(self, loss: Tensor) -> None:
        loss.backward()
        self._gather()

    def _gather(self) -> None:
        arrived = [(master, p) for master, p in zip(self.masters, self.working, strict=True) if p.grad is not None]
        known = [(_own(master.grad), _own(p.grad)) for master, p in arrived if master.grad is not None]  # type: ignore[arg-type]
        if known:
            torch._foreach_add_(*map(list, zip(*known, strict=True)))
        for master, parameter in arrived:
            if master.grad is None:
                master.grad = parameter.grad.float()  # type: ignore[union-attr] # looked at above
            parameter.grad = None

    def step(self, lr: float, max_norm: float) -> float:
        self._gather()
        for master in self.masters:
            if master.grad is None:  # this process had nothing to do, or an expert was not asked
                master.grad = torch.zeros_like(master)
            if self.world is not None and not isinstance(master, DTensor):  # shards are summed in the backward pass
                self.world.sum(master.grad)
        norm = torch.nn.utils.clip_grad_norm_(self.masters, max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._round()
        return float(_whole(norm))

    def state(self) -> Iterator[tuple[str, Tensor]]:
        for name, master in zip(self.names, self.masters, strict=True):
            yield f"master.{name}", _whole(master.detach())
            for moment in MOMENTS:
                yield f"{moment}.{name}", _whole(self.optimizer.state[master][moment])

    def load_state(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        for name, master in zip(self.names, self.masters, strict=True):
            master.data.copy_(_like(tensors[f"master.{name}"], master))
            moments = {moment: _like(tensors[f"{moment}.{name}"], master).clone() for moment in MOMENTS}
            self.optimizer.state[master] = {"step": torch.tensor(float(num_steps)), **moments}
        self._round()

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in zip(self.names, self.working, strict=True):
            yield name, _whole(parameter.detach()).cpu()

    @property
    def num_parameters(self) -> int:
        return sum(master.numel() for master in self.masters)

    def _round(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_([_own(p) for p in self.working], [_own(master) for master in self.masters])


def count_steps(config: TrainConfig, num_records: int) -> int:
    """Optimizer steps of a whole run over so many documents, chats or queries."""
    return config.max_steps or math.ceil(num_records * config.epochs / config.batch_size)


def rate_factor(config: TrainConfig, step: int, num_steps: int) -> float:
    """The rate of a step, counted from 0, as a share of the peak: a linear warm-up, at least one step long, then the schedule.

    `linear` and `cosine` would reach zero after the last step. No step has a rate of zero.
    """
    warmup = max(1, round(config.warmup_share * num_steps)) if config.warmup_share > 0 else 0
    if step < warmup:
        return (step + 1) / warmup
    left = (num_steps - step) / max(1, num_steps - warmup)
    return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[config.schedule]


def _own(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, which shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(tensor: Tensor, master: Tensor) -> Tensor:
    """A whole tensor on the master's device, or this process's part of it where the master is a part."""
    tensor = tensor.to(master.device)
    if isinstance(master, DTensor):
        return distribute_tensor(tensor, master.device_mesh, master.placements, src_data_rank=None)
    return tensor
