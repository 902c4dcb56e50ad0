"""Fully sharded training (FSDP2): each process holds a part of every weight and gathers a layer when it is its turn."""

from typing import TYPE_CHECKING

import torch
import torch.distributed
from torch import Tensor, nn

from train.processes import World

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def shard(objective: nn.Module, base: "PreTrainedModel", world: World) -> None:
    """Splits all weights among the processes, in place.

    Args:
        objective: what is called in the forward pass; on the first process with weights, on the others on `meta`.
        base: the transformers model inside it, whose layers become units of their own.
        world: the processes.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    weights = objective.state_dict() if world.is_first else {}
    unsaved = unsaved_buffers(objective)
    objective.to("meta")
    base.tie_weights()  # moving makes two of a weight that two modules share
    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for layer in base.get_decoder().layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh, mp_policy=policy)
    for module in objective.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # the loss is a sum, and so is its gradient
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    objective.to_empty(device=world.device)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(objective, weights, options=options)
    fill_buffers(objective, unsaved, world)


def unsaved_buffers(objective: nn.Module) -> dict[str, Tensor]:
    """Buffers that no state dict holds, such as the frequencies of rotary positions."""
    saved = objective.state_dict().keys()
    return {name: buffer for name, buffer in objective.named_buffers() if name not in saved}


def fill_buffers(objective: nn.Module, buffers: dict[str, Tensor], world: World) -> None:
    """Gives every process the first one's values of these buffers."""
    for name, buffer in buffers.items():
        there = buffer.to(world.device) if world.is_first else torch.empty_like(buffer, device=world.device)
        torch.distributed.broadcast(there, src=0)
        owner, _, attribute = name.rpartition(".")
        objective.get_submodule(owner)._buffers[attribute] = there
