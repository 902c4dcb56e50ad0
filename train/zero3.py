"""DeepSpeed's ZeRO-3: each process holds a part of every weight, gradient and moment, and DeepSpeed's engine the rest.

Rajbhandari et al. 2020 (arXiv 1910.02054). A decoder layer is gathered and given up as a whole, as FSDP2 does it in
`train.sharding`. The optimizer's state leaves the engine by name and whole, so checkpoints are those of `train.optimizer`
and a run may go on with another number of processes, or sharded by FSDP2.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.errors import Failed
from train.config import TrainConfig
from train.loss import Objective
from train.optimizer import MOMENTS, NO_PARAMETERS
from train.processes import World
from train.sharding import fill_buffers, unsaved_buffers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def partition(config: TrainConfig, objective: nn.Module, base: "PreTrainedModel", world: World) -> None:
    """Deals all weights out among the processes, in place; arguments as those of `train.sharding.shard`."""
    from deepspeed import zero
    from deepspeed.utils import set_z3_leaf_modules

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it tells of its own settings

    buffers = unsaved_buffers(objective)
    layers = base.get_decoder().layers
    for unit in (*layers, objective):  # no process but the first ever holds more than one of them whole
        for module in unit.modules():
            if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
                module.to_empty(device=torch.device("cpu"), recurse=False)
        if unit is objective:
            base.tie_weights()  # filling makes two of a weight that two modules share
        zero.Init(module=unit, config_dict_or_path=_settings(config))  # broadcasts each weight of the first process
    fill_buffers(objective, buffers, world)
    set_z3_leaf_modules(objective, [type(layers[0])])
    base.enable_input_require_grads()  # DeepSpeed takes a layer's gradients when that of its input is known
    for weight in {base.get_input_embeddings().weight, base.get_output_embeddings().weight}:
        zero.register_external_parameter(objective, weight)  # the loss takes the head's weight without calling the head


class PartitionedWeights:
    """`train.optimizer.Weights` where DeepSpeed holds the float32 copies and takes the steps."""

    def __init__(self, config: TrainConfig, objective: Objective, world: World) -> None:
        """Takes over every parameter that can be trained, after `partition`."""
        import deepspeed

        self.world = world
        self.names = [name for name, p in objective.model.named_parameters() if p.requires_grad]
        self.working = [p for p in objective.model.parameters() if p.requires_grad]
        if not self.working:
            raise Failed(NO_PARAMETERS)
        optimizer = torch.optim.AdamW(self.working, lr=config.lr, weight_decay=0.0)
        self.engine: Any = deepspeed.initialize(model=objective, optimizer=optimizer, config=_settings(config))[0]

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss * self.world.size)  # DeepSpeed takes the mean over processes, and we the sum

    def step(self, lr: float, max_norm: float) -> float:
        assert max_norm == self.engine.gradient_clipping()  # it was told at the start, and cannot be told otherwise
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def state(self) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        for name, parameter in zip(self.names, self.working, strict=True):
            yield f"master.{name}", safe_get_full_fp32_param(parameter)
            for moment in MOMENTS:
                yield f"{moment}.{name}", safe_get_full_optimizer_state(parameter, moment)

    def load_state(self, tensors: dict[str, Tensor], num_steps: int) -> None:
        from deepspeed import zero
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        adam = self.engine.optimizer.optimizer
        for flat in self.engine.optimizer.fp32_partitioned_groups_flat:
            zeros = {moment: torch.zeros_like(flat) for moment in MOMENTS}
            adam.state[flat] = {"step": torch.tensor(float(num_steps)), **zeros}
        for name, parameter in zip(self.names, self.working, strict=True):
            master = tensors[f"master.{name}"].to(self.world.device)
            safe_set_full_fp32_param(parameter, master)
            for moment in MOMENTS:
                safe_set_full_optimizer_state(parameter, tensors[f"{moment}.{name}"].to(self.world.device), moment)
            with zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
                if self.world.is_first:
                    parameter.copy_(master)

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        from deepspeed import zero

        for name, parameter in zip(self.names, self.working, strict=True):
            with zero.GatheredParameters([parameter]):
                yield name, parameter.detach().cpu().clone()

    @property
    def num_parameters(self) -> int:
        return sum(parameter.ds_numel for parameter in self.working)  # type: ignore[attr-defined] # DeepSpeed's


def _settings(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's own configuration, for what is decided here and nowhere else."""
    return {
        "train_micro_batch_size_per_gpu": 1,  # asked for and not used: a pass has as many tokens as it has
        "managed_gradient_accumulation": False,  # `step` ends a step, whatever the number of passes in it
        "gradient_clipping": config.max_grad_norm,
        "bf16": {"enabled": config.precision == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": torch.cuda.is_available(),
            "memory_efficient_linear": False,  # would replace torch's own for the whole process
            "param_persistence_threshold": 0,
        },
    }
