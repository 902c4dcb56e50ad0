"""Attention over packed rows that never forms a mask: each record is a sequence of its own, as in FlashAttention's API.

transformers' `sdpa` keeps packed records apart by a mask of (length, length), which shuts out the fast kernels. Here the
bounds of the records are handed down to the kernel instead: on a GPU to torch's own variable-length FlashAttention, which
needs no further package; on a CPU each record goes alone through `train/cpu_attention.py`.

Shapes: L tokens of a row, H query heads, G heads of keys and values, D the size of a head, N records.
"""

from contextlib import suppress
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from pipeline.errors import Failed
from train.cpu_attention import causal_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_varlen_attn: Any = None
with suppress(ImportError):  # torch has it from 2.10 on
    from torch.nn.attention.varlen import varlen_attn as _varlen_attn

# later versions of torch want to be told what earlier ones find out
_GROUPED = {"enable_gqa": True} if _varlen_attn and "enable_gqa" in signature(_varlen_attn).parameters else {}

VARLEN = "varlen"
"""Its name among transformers' attention functions."""

_NOT_PLAIN = ("attn_logit_softcapping", "v_head_dim", "attention_dropout")
"""Settings of models whose attention is something else."""

_LARGEST_HEAD = 256
"""Size of a head up to which FlashAttention goes."""


def bounds_arguments(bounds: Tensor, length: int) -> dict[str, Any]:
    """What transformers hands down to FlashAttention, and to the function of this file.

    Args:
        bounds: (N + 1,) int32, where each record of a packed row starts and the last one ends.
        length: of the row; as the longest possible record it is the same number in every step, for what is compiled.
    """
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": length, "max_length_k": length}


def takes_bounds(model: Any) -> bool:
    """Whether the model's attention looks at `bounds_arguments`."""
    name = str(model.config._attn_implementation)
    return name == VARLEN or name.startswith("flash_attention")


def suits(model: "PreTrainedModel", device: torch.device) -> bool:
    """Whether `varlen` computes this model's attention: plain softmax attention in heads that its kernels take."""
    config: Any = model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    is_plain = not any(getattr(config, key, None) for key in _NOT_PLAIN)
    has_sinks = any(name.endswith("sinks") for name, _ in model.named_parameters())
    fits = size <= _LARGEST_HEAD and size % 8 == 0
    is_known = bool(getattr(model, "_supports_flash_attn", False))
    return is_known and is_plain and fits and not has_sinks and _has_kernel(device, model.dtype)


def _has_kernel(device: torch.device, precision: torch.dtype) -> bool:
    if device.type == "cpu":
        return True
    if _varlen_attn is None or precision not in (torch.bfloat16, torch.float16):
        return False
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def varlen_attention(
    module: nn.Module,
    query_1HLD: Tensor,
    key_1GLD: Tensor,
    value_1GLD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each record of a packed row, or within each row where no bounds are given.

    Raises:
        Failed: something is asked for that would be left out: a mask, dropout, soft caps, sinks.
    """
    for name in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(name) is not None:
            raise Failed(f"attention={VARLEN}: this model's attention has {name}; set attention=sdpa")
    if attention_mask is not None or dropout:
        raise Failed(f"attention={VARLEN}: takes no mask and no attention dropout; set attention=sdpa")
    rows, _, length, _ = query_1HLD.shape
    if cu_seq_lens_q is None or max_length_q is None:
        max_length_q = length
        cu_seq_lens_q = torch.arange(0, rows * length + 1, length, dtype=torch.int32, device=query_1HLD.device)
    if query_1HLD.device.type == "cpu":
        return _one_by_one(query_1HLD, key_1GLD, value_1GLD, cu_seq_lens_q, scaling, sliding_window), None
    query, key, value = (states.transpose(1, 2).flatten(0, 1) for states in (query_1HLD, key_1GLD, value_1GLD))
    attended: Tensor = _varlen_attn(
        query,
        key,
        value,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(sliding_window - 1 if sliding_window else -1, 0),
        **_GROUPED,
    )
    return attended.unflatten(0, (rows, length)), None


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scaling: float | None, window: int | None
) -> Tensor:
    """The same, a record at a time; (rows, L, H, D)."""
    rows, _, length, size = query.shape
    starts = sorted(set(bounds.tolist()))  # where a row is full, its padding begins and ends at one place
    parts = []
    for start, end in zip(starts, starts[1:], strict=False):
        row, place = start // length, slice(start % length, start % length + end - start)
        own_query, own_key, own_value = (each[row, :, place] for each in (query, key, value))
        attended = causal_attention(own_query, own_key, own_value, scaling or size**-0.5, window)
        parts.append(attended.transpose(0, 1))
    return torch.cat(parts).unflatten(0, (rows, length))


AttentionInterface.register(VARLEN, varlen_attention)
