"""Next-token loss; where the output head is frozen and plain, without ever holding all logits.

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

from pipeline.errors import Failed
from train.attention import bounds_arguments, takes_bounds
from train.corpus import IGNORED

_CHUNK = 512
"""Positions whose logits are held at once."""

_CHANGES_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of architectures whose logits are more than head times hidden state."""


class _FrozenHeadLoss(torch.autograd.Function):
    """Cross-entropy of `hidden_ND @ head_VD.T` against `targets_N`: its sum, and its terms for the record."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        grad_ND = torch.empty_like(hidden_ND)
        losses_N = torch.empty(len(targets_N), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, len(targets_N), _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits = hidden_ND[rows] @ head_VD.T
            log_probs = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
            losses_N[rows] = functional.nll_loss(log_probs, targets_N[rows], reduction="none")
            grad = log_probs.exp_()
            grad[torch.arange(len(grad), device=grad.device), targets_N[rows]] -= 1
            grad_ND[rows] = grad.to(head_VD.dtype) @ head_VD
        ctx.save_for_backward(grad_ND)
        ctx.mark_non_differentiable(losses_N)
        return losses_N.sum(), losses_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_ND,) = ctx.saved_tensors
        return grad_ND * grads[0], None, None  # the factor stays in float32, the product does not


class Objective(nn.Module):
    """A causal language model, or a PEFT model around one, whose forward pass gives losses instead of logits.

    What shards a model hooks into the forward pass of the outermost module, so the loss is taken inside it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def causal(self) -> Any:
        """The transformers model itself, also where PEFT has wrapped it."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def keeps_apart(self) -> bool:
        """Whether records can share a row at no cost. A mask does it too; on a CPU it costs more than padding."""
        return takes_bounds(self.causal) or self.causal.device.type != "cpu"

    def forward(
        self, tokens: Tensor, labels: Tensor, positions: Tensor | None = None, bounds: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats over the labelled positions. All arguments may stand on the CPU, whatever the model's device.

        Args:
            tokens: (rows, length), padded on the right, or one packed row.
            labels: as `tokens`, with `IGNORED` where nothing is to be learned. Position t is predicted from those before.
            positions: as `tokens`, for a packed row: they start again at each record, which keeps the records apart.
            bounds: (records + 1,) int32, where the records of a packed row begin and the last one ends.

        Returns:
            The sum, with its gradient, and (N,) the terms in the order of the labelled positions, without.
        """
        causal = self.causal
        start = causal.get_input_embeddings().weight.device
        moved = [None if each is None else each.to(start, non_blocking=True) for each in (tokens, positions, bounds)]
        inputs: dict[str, Any] = {"input_ids": moved[0], "position_ids": moved[1], "use_cache": False}
        if moved[2] is not None and takes_bounds(causal):
            inputs |= bounds_arguments(moved[2], tokens.shape[1])
        # chosen where the labels stand, so that a GPU need not be waited for
        rows, columns = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
        targets, places = labels[rows, columns + 1], rows * tokens.shape[1] + columns
        head = causal.get_output_embeddings()
        # a head with an adapter, or a quantised one, is a module of another type
        plain = type(head) is nn.Linear and head.bias is None
        if not plain or head.weight.requires_grad or any(getattr(causal.config, key, None) for key in _CHANGES_LOGITS):
            logits = causal(**inputs).logits
            chosen = logits.flatten(0, 1).index_select(0, places.to(logits.device))
            losses = functional.cross_entropy(chosen.float(), targets.to(logits.device), reduction="none")
            return losses.sum(), losses.detach()
        hidden = causal.get_decoder()(**inputs).last_hidden_state
        device = head.weight.device  # another one where the layers are dealt out over several
        chosen = hidden.flatten(0, 1).index_select(0, places.to(hidden.device, non_blocking=True)).to(device)
        total, terms = _FrozenHeadLoss.apply(chosen, head.weight, targets.to(device, non_blocking=True))
        return total, terms


def summed_loss(model: nn.Module, tokens: Tensor, labels: Tensor) -> Tensor:
    """The sum that `Objective` gives for a model that is not sharded."""
    total: Tensor = Objective(model)(tokens, labels)[0]
    return total


def check_packing(objective: nn.Module, vocabulary: int) -> None:
    """Measures whether records that share a packed row are kept apart.

    Raises:
        Failed: what stands in one record changes the loss of the next.
    """
    generator = torch.Generator().manual_seed(0)
    length = 24
    row = torch.randint(vocabulary, (1, 2 * length), generator=generator)
    other = row.clone()
    other[:, :length] = torch.randint(vocabulary, (1, length), generator=generator)
    labels = row.clone()
    labels[:, : length + 1] = IGNORED
    positions = torch.arange(length).repeat(2).unsqueeze(0)
    bounds = torch.tensor([0, length, 2 * length], dtype=torch.int32)
    with torch.no_grad():
        losses = [objective(tokens, labels, positions, bounds)[1] for tokens in (row, other)]
    difference = float((losses[0] - losses[1]).abs().max())
    if difference > 1e-2:  # the same kernels on the same shapes: rounding alone changes nothing
        raise Failed(
            f"packing=true: this model's records see one another in a packed row (a loss moves by {difference:.2g} nats);"
            " set packing=false"
        )
