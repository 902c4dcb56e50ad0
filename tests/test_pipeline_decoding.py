import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.decoding import group_heads_on_cpu, share_prefix


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """Six query heads that share two heads of keys and values, as grouped-query models have them."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=128, attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def written(model: LlamaForCausalLM) -> torch.Tensor:
    """Logits of 12 tokens written after three prompts of different lengths, padded on the left."""
    prompts = torch.arange(3 * 10).reshape(3, 10) % 60 + 2
    mask = torch.ones_like(prompts)
    mask[1, :4], mask[2, :7] = 0, 0
    output = model.generate(
        input_ids=prompts, attention_mask=mask, max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return torch.stack(output.logits)


def test_grouped_heads_write_with_the_same_logits(model: LlamaForCausalLM) -> None:
    grouped = copy.deepcopy(model)
    group_heads_on_cpu(grouped)
    assert grouped.config._attn_implementation != model.config._attn_implementation
    torch.testing.assert_close(written(grouped), written(model), rtol=0, atol=1e-5)


def test_padding_stays_out_of_sight(model: LlamaForCausalLM) -> None:
    grouped = copy.deepcopy(model)
    group_heads_on_cpu(grouped)
    prompt = (torch.arange(20, 30) % 60 + 2)[None]
    padded = torch.nn.functional.pad(prompt[:, 4:], (4, 0), value=63)
    mask = torch.tensor([[0] * 4 + [1] * 6])
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    alone = grouped.generate(input_ids=prompt[:, 4:], attention_mask=mask[:, 4:], **settings)
    assert torch.equal(grouped.generate(input_ids=padded, attention_mask=mask, **settings)[0, 10:], alone[0, 6:])


def test_a_model_with_other_attention_is_left_alone(model: LlamaForCausalLM) -> None:
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    group_heads_on_cpu(eager)
    assert eager.config._attn_implementation == "eager"


@pytest.mark.parametrize("num_shared", [0, 3, 16, 40])
def test_prompts_that_share_a_beginning_are_answered_as_they_are_alone(
    model: LlamaForCausalLM, num_shared: int
) -> None:
    beginning = [(7 * i) % 60 + 2 for i in range(num_shared)]
    prompts = [[*beginning, *range(start, start + length)] for start, length in ((2, 5), (11, 1), (23, 9))]
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    arguments = share_prefix(model, prompts, pad=0)
    assert ("past_key_values" in arguments) == (num_shared >= 16)
    together = model.generate(**arguments, **settings)
    for row, prompt in zip(together, prompts, strict=True):
        alone = model.generate(input_ids=torch.tensor([prompt]), **settings)
        assert row[-8:].tolist() == alone[0, -8:].tolist()


def test_equal_prompts_keep_a_token_to_start_from(model: LlamaForCausalLM) -> None:
    prompt = list(range(2, 32))
    arguments = share_prefix(model, [prompt, prompt], pad=0)
    written = model.generate(**arguments, max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=0)
    assert written.shape == (2, 34)
    assert torch.equal(written[0], written[1])
