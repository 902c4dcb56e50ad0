"""LoRA's linear layer as one step of the backward pass, which saves writing and reading each output several times.

PEFT computes `x W + (x A B) * s` as three products, a scaling and a sum, each leaving a tensor of the output's size. Here
the small product is added in place to the large one, in the forward pass and in the backward pass, and the sum is rounded
once.

Shapes: N tokens, I inputs, O outputs, R rank.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional


class _LoraProduct(torch.autograd.Function):
    """`x W' + b + s x A' B'` where W (O, I) and b are frozen and A (R, I) and B (O, R) are learned."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_RI: Tensor, b_OR: Tensor, scaling: float
    ) -> Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        inner_NR = x_NI @ a_RI.T
        out_NO = functional.linear(x_NI, weight_OI, bias_O)
        out_NO.addmm_(inner_NR, b_OR.T, alpha=scaling)
        ctx.save_for_backward(x, weight_OI, a_RI, b_OR, inner_NR)
        ctx.scaling = scaling
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        x, weight_OI, a_RI, b_OR, inner_NR = ctx.saved_tensors
        grad_NO, x_NI = grads[0].reshape(-1, weight_OI.shape[0]), x.reshape(-1, x.shape[-1])
        grad_inner_NR = (grad_NO @ b_OR).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_NO @ weight_OI).addmm_(grad_inner_NR, a_RI).view(x.shape)
        grad_b_OR = (grad_NO.T @ inner_NR).mul_(ctx.scaling)
        return grad_x, None, None, grad_inner_NR.T @ x_NI, grad_b_OR, None


class FusedLinear(LoraLinear):
    """PEFT's LoRA layer with this forward pass, wherever the layer is plain enough for it.

    Not with dropout, DoRA, a bias of the adapter's own, autocast, or a base that is quantised, trained or of another precision.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = self.active_adapters[0]
        base = self.get_base_layer()
        a, b = self.lora_A[name], self.lora_B[name]
        is_plain = (
            type(base) is nn.Linear
            and not base.weight.requires_grad
            and name not in self.lora_variant
            and isinstance(self.lora_dropout[name], nn.Identity)
            and b.bias is None
            and base.weight.dtype == a.weight.dtype == x.dtype
            and not torch.is_autocast_enabled(x.device.type)
        )
        if not is_plain or self.disable_adapters or self.merged or len(self.active_adapters) > 1 or kwargs:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        product: Tensor = _LoraProduct.apply(x, base.weight, base.bias, a.weight, b.weight, self.scaling[name])
        return product
