"""Next-token loss without ever holding all logits.

The output head of a LoRA run is frozen, so the gradient with respect to the hidden states is all that is needed; it is
computed chunk by chunk in the forward pass, where the chunk's logits are at hand, as fused cross-entropy kernels do.
Hidden states whose label is ignored skip the head altogether, which is most of a chat.

Shapes: N labelled positions, D hidden size, V vocabulary.
"""

from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional

from train.data import IGNORED

_CHUNK = 512
"""Positions whose logits are held at once."""

_CHANGES_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of architectures whose logits are more than head times hidden state."""


class _FrozenHeadLoss(torch.autograd.Function):
    """Sum over N of the cross-entropy of `hidden_ND @ head_VD.T` against `targets_N`."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
        grad_ND = torch.empty_like(hidden_ND)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, len(targets_N), _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits = (hidden_ND[rows] @ head_VD.T).float()
            log_probs = functional.log_softmax(logits, dim=-1)
            total += functional.nll_loss(log_probs, targets_N[rows], reduction="sum")
            grad = log_probs.exp_()
            grad[torch.arange(len(grad), device=grad.device), targets_N[rows]] -= 1
            grad_ND[rows] = grad.to(head_VD.dtype) @ head_VD
        ctx.save_for_backward(grad_ND)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_ND,) = ctx.saved_tensors
        return grad_ND * grads[0].to(grad_ND.dtype), None, None


def summed_loss(model: nn.Module, tokens: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over the labelled positions.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
        tokens: (rows, length), padded on the right.
        labels: as `tokens`, with `IGNORED` where nothing is to be learned. Position t is predicted from those before it.
    """
    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    targets = labels[:, 1:]
    chosen = targets != IGNORED
    head = causal.get_output_embeddings()
    # a head with an adapter, or a quantised one, is a module of another type
    plain = type(head) is nn.Linear and head.bias is None
    if not plain or head.weight.requires_grad or any(getattr(causal.config, key, None) for key in _CHANGES_LOGITS):
        logits = causal(input_ids=tokens, use_cache=False).logits[:, :-1][chosen]
        return functional.cross_entropy(logits.float(), targets[chosen], reduction="sum")
    hidden = causal.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1][chosen]
    loss: Tensor = _FrozenHeadLoss.apply(hidden, head.weight, targets[chosen])
    return loss
