"""A base in 4 bits (QLoRA; Dettmers et al. 2023), whole on one device or in parts over several processes.

bitsandbytes keeps what it needs to read a weight beside that weight and not in the module, which no sharding knows of; and on
CPUs with AVX512-BF16 its module lets no gradient through once it has been called in evaluation (0.50). So in both cases each
linear module becomes a `PackedLinear`, whose packed weight is a parameter like any other and whose constants are buffers.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

_BLOCK, _NESTED_BLOCK = 64, 256
"""Weights that share a constant, and constants that share one in turn."""
_KIND = "nf4"


def quantization(precision: torch.dtype) -> "BitsAndBytesConfig":
    """What transformers is told: NF4, constants quantised too, stored and computed with in `precision`."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=_KIND,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
        bnb_4bit_quant_storage=precision,  # PEFT makes the adapter in the precision that weights are stored in
    )


class PackedLinear(nn.Linear):
    """A frozen linear module in 4 bits; PEFT takes it for an ordinary one.

    Shapes: `weight` (bytes / size of the dtype, 1), two numbers in a byte, stored as floating-point numbers because parameters
    of a shard have to be of one kind; `absmax` (weights / 64,) uint8; `nested_absmax` (weights / 64 / 256,) float32; `code`
    (16,) and `nested_code` (256,), the values that 4 and 8 bits stand for.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool, dtype: torch.dtype) -> None:
        """Without values: `pack` or another process's state dict fills it."""
        with torch.device("meta"):
            super().__init__(inputs, outputs, bias, dtype=dtype)
            blocks = -(-inputs * outputs // _BLOCK)
            packed = torch.empty(-(-inputs * outputs // 2 // dtype.itemsize), 1, dtype=dtype)
            self.weight = nn.Parameter(packed, requires_grad=False)
            self.register_buffer("absmax", torch.empty(blocks, dtype=torch.uint8))
            self.register_buffer("nested_absmax", torch.empty(-(-blocks // _NESTED_BLOCK)))
            self.register_buffer("offset", torch.empty(()))
            self.register_buffer("code", torch.empty(16))
            self.register_buffer("nested_code", torch.empty(256))
        if self.bias is not None:
            self.bias.requires_grad_(False)

    def forward(self, input: Tensor) -> Tensor:
        from bitsandbytes import matmul_4bit
        from bitsandbytes.functional import QuantState

        nested = QuantState(self.nested_absmax, code=self.nested_code, blocksize=_NESTED_BLOCK, dtype=torch.float32)
        state = QuantState(
            self.absmax,
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.code,
            blocksize=_BLOCK,
            quant_type=_KIND,
            dtype=self.weight.dtype,
            offset=self.offset,
            state2=nested,
        )
        product: Tensor = matmul_4bit(input, self.weight, quant_state=state, bias=self.bias)
        return product


def pack(base: "PreTrainedModel") -> None:
    """Makes every linear module of the layers a `PackedLinear`, in place.

    Args:
        base: loaded with `quantization`, or without weights; then the new modules have none either.
    """
    for name, module in list(base.get_decoder().layers.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, attribute = name.rpartition(".")
            setattr(base.get_decoder().layers.get_submodule(parent), attribute, _packed(module, base.dtype))


def _packed(module: nn.Linear, dtype: torch.dtype) -> PackedLinear:
    made = PackedLinear(module.in_features, module.out_features, module.bias is not None, dtype)
    if module.weight.is_meta:
        return made
    weight: Any = module.weight
    state = weight.quant_state
    values = {
        "weight": weight.data,
        "absmax": state.absmax,
        "nested_absmax": state.state2.absmax,
        "offset": state.offset,
        "code": state.code,
        "nested_code": state.state2.code,
    }
    if module.bias is not None:
        values["bias"] = module.bias.data
    made.load_state_dict(values, assign=True)
    return made
