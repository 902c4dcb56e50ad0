"""Causal attention of one record on a CPU, as matrix products over blocks of queries.

torch's own CPU kernel spends two and a half times as long on the lengths of documents, most of it in the backward pass.
Here the queries of the heads that share keys form one matrix, a block of queries meets only the keys that it may see, and
the weights are kept for the backward pass instead of being computed again: H L² / 2 numbers a record and layer.

Shapes: H query heads in G groups of R, L tokens, B queries of a block, K keys that they see, D the size of a head.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_BLOCK = 128
"""Queries of a block; 64 to 192 were equally fast from 128 to 1,024 tokens."""


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_HLD: Tensor, key_GLD: Tensor, value_GLD: Tensor, scale: float, window: int | None
    ) -> Tensor:
        query_GRLD = (query_HLD * scale).unflatten(0, (key_GLD.shape[0], -1))
        weights, outputs = [], []
        for queries, keys in _blocks(query_HLD.shape[1], window):
            block_GRBD = query_GRLD[:, :, queries]
            scores = torch.bmm(block_GRBD.flatten(1, 2), key_GLD[:, keys].mT)
            scores.unflatten(1, block_GRBD.shape[1:3]).masked_fill_(
                _hidden(queries.stop - queries.start, queries.start - keys.start, window), float("-inf")
            )
            weights.append(scores.softmax(-1))
            outputs.append(torch.bmm(weights[-1], value_GLD[:, keys]).view(block_GRBD.shape))
        ctx.save_for_backward(query_GRLD, key_GLD, value_GLD, *weights)
        ctx.scale, ctx.window = scale, window
        return torch.cat(outputs, dim=2).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query_GRLD, key_GLD, value_GLD, *weights = ctx.saved_tensors
        grad_GRLD = grads[0].reshape(query_GRLD.shape)
        grad_query = torch.empty_like(query_GRLD)
        # many blocks add to a key, which the precision of the weights would not bear
        grad_key, grad_value = (torch.zeros(key_GLD.shape, dtype=torch.float32) for _ in range(2))
        for (queries, keys), weight in zip(_blocks(query_GRLD.shape[2], ctx.window), weights, strict=True):
            grad_block, query_block = grad_GRLD[:, :, queries].flatten(1, 2), query_GRLD[:, :, queries].flatten(1, 2)
            grad_value[:, keys] += torch.bmm(weight.mT, grad_block)
            grad_weight = torch.bmm(grad_block, value_GLD[:, keys].mT)
            grad_scores = torch._softmax_backward_data(grad_weight, weight, -1, weight.dtype)
            grad_query[:, :, queries] = torch.bmm(grad_scores, key_GLD[:, keys]).view(grad_query[:, :, queries].shape)
            grad_key[:, keys] += torch.bmm(grad_scores.mT, query_block)
        grad_query.mul_(ctx.scale)
        return grad_query.flatten(0, 1), grad_key.to(key_GLD), grad_value.to(value_GLD), None, None


def _blocks(length: int, window: int | None) -> Iterator[tuple[slice, slice]]:
    """Blocks of queries, each with the keys that one of them sees."""
    for start in range(0, length, _BLOCK):
        end = min(start + _BLOCK, length)
        yield slice(start, end), slice(max(0, start - window + 1) if window else 0, end)


@lru_cache(maxsize=256)
def _hidden(num_queries: int, num_before: int, window: int | None) -> Tensor:
    """(B, K) which keys a query does not see: later ones, and those that its window has left behind."""
    distance = num_before + torch.arange(num_queries).unsqueeze(1) - torch.arange(num_before + num_queries)
    return (distance < 0) | (distance >= window) if window else distance < 0


def causal_attention(
    query_HLD: Tensor, key_GLD: Tensor, value_GLD: Tensor, scale: float, window: int | None = None
) -> Tensor:
    """Softmax attention of every token to itself and those before it, at most `window` in all; (H, L, D)."""
    attended: Tensor = _CausalAttention.apply(query_HLD, key_GLD, value_GLD, scale, window)
    return attended
