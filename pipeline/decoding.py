"""What makes generating in this process fast: a prompt's shared beginning read once, and attention without copies."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "grouped_sdpa"

_SHORTEST_PREFIX = 16
"""Tokens that prompts must share for it to be worth a forward pass of its own."""


def share_prefix(model: PreTrainedModel, prompts: Sequence[list[int]], pad: int) -> dict[str, Any]:
    """Arguments for `generate` under which the beginning that all prompts share is read once for all of them.

    The questions of an evaluation share their system prompt and the requests of a generation their world, which are most
    of what is read. Padding stands between that beginning and the rest, and the mask keeps it out of sight and out of
    the count of positions.

    Args:
        model: a causal language model of transformers.
        prompts: token ids, a list per row, none empty.
        pad: the id that fills rows up.

    Returns:
        `input_ids` and `attention_mask` (rows, longest prompt) and, where there is a beginning to share,
        `past_key_values` that hold it.
    """
    width = max(len(prompt) for prompt in prompts)
    length = _shared_length(prompts) if _attends_to_everything(model) else 0
    if length < _SHORTEST_PREFIX or len(prompts) == 1:
        length = 0
    fill = [width - len(prompt) for prompt in prompts]
    rows = [[*prompt[:length], *[pad] * n, *prompt[length:]] for prompt, n in zip(prompts, fill, strict=True)]
    masks = [[1] * length + [0] * n + [1] * (width - length - n) for n in fill]
    arguments: dict[str, Any] = {
        "input_ids": torch.tensor(rows, device=model.device),
        "attention_mask": torch.tensor(masks, device=model.device),
    }
    if length:
        cache = DynamicCache(config=model.config)
        with torch.no_grad():
            model(
                input_ids=arguments["input_ids"][:1, :length], past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        cache.batch_repeat_interleave(len(prompts))
        arguments["past_key_values"] = cache
    return arguments


def _shared_length(prompts: Sequence[list[int]]) -> int:
    """Tokens at the start that all prompts have in common, short of the last of the shortest."""
    first, last = min(prompts), max(prompts)  # in dictionary order, all others lie between these two
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return min(shared, min(len(prompt) for prompt in prompts) - 1)


def _attends_to_everything(model: PreTrainedModel) -> bool:
    """Whether every layer sees all tokens before it; a window counted in places would count the padding too."""
    config = model.config.get_text_config()
    return set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}


def group_heads_on_cpu(model: PreTrainedModel) -> None:
    """Switches a model that stands on the CPU and uses SDPA to attention that copies no keys; others are left alone.

    transformers repeats the keys and values of grouped-query attention for every query head that shares them whenever a
    mask is needed. While one token is written at a time, those copies are most of the work on a CPU. Here the query heads
    of a group are handed over as if they were positions of one head, which asks for no copy and is the same sum.
    """
    if model.device.type != "cpu" or getattr(model.config, "_attn_implementation", None) != "sdpa":
        return
    AttentionInterface.register(_NAME, _grouped_attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def _grouped_attention(
    module: nn.Module,
    query_BHQD: Tensor,
    key_BGKD: Tensor,
    value_BGKD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention; B rows, H query heads in G groups, Q queries, K keys, D the size of a head.

    Only a single query per row is grouped: with more, the causal mask differs from query to query.
    """
    B, H, Q, D = query_BHQD.shape  # noqa: N806 - shapes
    G, K = key_BGKD.shape[1:3]  # noqa: N806
    if Q > 1 or G == H or attention_mask is None:
        return sdpa_attention_forward(
            module, query_BHQD, key_BGKD, value_BGKD, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    output_BGQD = nn.functional.scaled_dot_product_attention(
        query_BHQD.view(B, G, H // G, D),
        key_BGKD,
        value_BGKD,
        attn_mask=attention_mask.expand(B, 1, H // G, K),
        scale=scaling,
    )
    return output_BGQD.reshape(B, 1, H, D), None
