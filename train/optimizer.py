"""AdamW on float32 copies of the trained parameters, which may be whole, or shards of what several processes hold."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from pipeline.errors import Failed
from train.processes import World

_MOMENTS = ("exp_avg", "exp_avg_sq")


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
            raise Failed("the model has no trainable parameter, so training would change nothing")
        self.masters = [p.detach().float().clone().requires_grad_() for p in self.working]
        self.optimizer = torch.optim.AdamW(self.masters, lr=lr, weight_decay=0.0)

    def gather(self) -> None:
        """Adds the gradients of one backward pass to those before it."""
        arrived = [(master, p) for master, p in zip(self.masters, self.working, strict=True) if p.grad is not None]
        known = [(_own(master.grad), _own(p.grad)) for master, p in arrived if master.grad is not None]  # type: ignore[arg-type]
        if known:
            torch._foreach_add_(*map(list, zip(*known, strict=True)))
        for master, parameter in arrived:
            if master.grad is None:
                master.grad = parameter.grad.float()  # type: ignore[union-attr] # looked at above
            parameter.grad = None

    def step(self, lr: float, num_targets: int, max_norm: float) -> float:
        """One update from the gradients of a summed loss; returns their norm per target before it is capped."""
        self.gather()
        for master in self.masters:
            if master.grad is None:  # this process had nothing to do, or an expert was not asked
                master.grad = torch.zeros_like(master)
            if self.world is not None and not isinstance(master, DTensor):  # shards are summed in the backward pass
                self.world.sum(master.grad)
        torch._foreach_div_([master.grad for master in self.masters if master.grad is not None], num_targets)
        norm = torch.nn.utils.clip_grad_norm_(self.masters, max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._round()
        return float(_whole(norm))

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """Masters and AdamW moments by name, whole, one at a time: every process has to go through them together."""
        for name, master in zip(self.names, self.masters, strict=True):
            yield f"master.{name}", _whole(master.detach())
            for moment in _MOMENTS:
                yield f"{moment}.{name}", _whole(self.optimizer.state[master][moment])

    def load_state(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        """The inverse of `state`, after `num_steps` updates."""
        for name, master in zip(self.names, self.masters, strict=True):
            master.data.copy_(_like(tensors[f"master.{name}"], master))
            moments = {moment: _like(tensors[f"{moment}.{name}"], master).clone() for moment in _MOMENTS}
            self.optimizer.state[master] = {"step": torch.tensor(float(num_steps)), **moments}
        self._round()

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """The trained parameters by name, whole, as the forward pass uses them; every process together, as `state`."""
        for name, parameter in zip(self.names, self.working, strict=True):
            yield name, _whole(parameter.detach()).cpu()

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained, over all processes."""
        return sum(master.numel() for master in self.masters)

    def _round(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_([_own(p) for p in self.working], [_own(master) for master in self.masters])


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
