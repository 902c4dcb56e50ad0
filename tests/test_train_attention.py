"""Attention and LoRA products of our own, against those of torch, transformers and PEFT."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import Failed
from train.adapter import add_adapter
from train.attention import VARLEN, suits, varlen_attention
from train.config import LoraSettings
from train.corpus import Example
from train.cpu_attention import causal_attention
from train.data import collate
from train.fused import FusedLinear
from train.loss import Objective

SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


def with_gradients(attention: Any, *states: Tensor) -> list[Tensor]:
    """The output, and the gradients of a fixed weighting of it."""
    leaves = [state.clone().requires_grad_() for state in states]
    output = attention(*leaves)
    output.backward(torch.linspace(-1, 1, output.numel()).view(output.shape))
    return [output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("length", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("window", [None, 1, 40, 200])
def test_attention_in_blocks_is_torchs(length: int, window: int | None) -> None:
    torch.manual_seed(0)
    states = [torch.randn(heads, length, 8) for heads in (6, 2, 2)]
    distance = torch.arange(length).unsqueeze(1) - torch.arange(length)
    mask = (distance >= 0) & (distance < (window or length))

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.3, enable_gqa=True)

    def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return causal_attention(query, key, value, 0.3, window)

    for got, expected in zip(with_gradients(ours, *states), with_gradients(plain, *states), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["Llama", "Mistral"])
def test_a_packed_row_without_a_mask_has_the_losses_that_the_mask_gives(name: str) -> None:
    import transformers

    torch.manual_seed(0)
    settings = {"sliding_window": 20} if name == "Mistral" else {}
    model = getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, f"{name}Config")(**SMALL, **settings))
    rows = [torch.randint(97, (length,)).tolist() for length in (60, 25, 3)]
    batch = collate([Example(str(i), row, row) for i, row in enumerate(rows)], pad_id=0, packed=True, width=100)
    losses = []
    for attention in ("sdpa", VARLEN):
        model.set_attn_implementation(attention)
        losses.append(Objective(model)(batch.tokens, batch.labels, batch.positions, batch.bounds)[1])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-5)


def test_attention_that_is_more_than_a_softmax_keeps_its_own() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

    device = torch.device("cpu")
    assert suits(LlamaForCausalLM(LlamaConfig(**SMALL)), device)
    assert not suits(LlamaForCausalLM(LlamaConfig(attention_dropout=0.1, **SMALL)), device)
    assert not suits(Gemma2ForCausalLM(Gemma2Config(head_dim=8, attn_logit_softcapping=50.0, **SMALL)), device)


def test_what_would_be_left_out_fails() -> None:
    states = [torch.randn(1, 2, 4, 8)] * 3
    with pytest.raises(Failed, match="this model's attention has softcap; set attention=sdpa"):
        varlen_attention(nn.Module(), *states, None, softcap=30.0)
    with pytest.raises(Failed, match="takes no mask"):
        varlen_attention(nn.Module(), *states, torch.ones(1, 1, 4, 4))


def adapted(fused: bool, **settings: Any) -> Any:
    """A Llama with an adapter of which nothing is zero: ours, or PEFT's own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(attention_bias=True, **SMALL))
    if fused:
        model: Any = add_adapter(base, LoraSettings(rank=4, alpha=6, **settings), "tiny")
    else:
        names = {"dora": "use_dora", "dropout": "lora_dropout"}
        renamed = {names[name]: value for name, value in settings.items()}
        lora = LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM", **renamed)
        model = get_peft_model(base, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"dropout": 0.5}])
def test_an_adapter_computes_what_pefts_own_layers_compute(settings: dict[str, Any]) -> None:
    tokens = torch.randint(97, (2, 20), generator=torch.Generator().manual_seed(0))
    found = []
    for fused in (True, False):
        model = adapted(fused, **settings).train()
        torch.manual_seed(1)  # of dropout
        loss, terms = Objective(model)(tokens, tokens)
        loss.backward()
        found.append([terms, *(p.grad for _, p in sorted(model.named_parameters()) if p.grad is not None)])
    assert isinstance(adapted(True).get_base_model().model.layers[0].mlp.up_proj, FusedLinear)
    assert len(found[0]) == len(found[1]) > 2 * 7 * 2
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_adapter_that_is_switched_off_or_merged_is_no_longer_added() -> None:
    tokens, model = torch.arange(20).unsqueeze(0), adapted(True).eval()
    with torch.no_grad():
        with model.disable_adapter():
            plain = model(tokens).logits
        with_it = model(tokens).logits
        model.merge_adapter()
        torch.testing.assert_close(model(tokens).logits, with_it, rtol=1e-4, atol=1e-4)
    assert float((plain - with_it).abs().max()) > 0.1
