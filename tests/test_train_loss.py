"""The loss that never holds all logits, against the plain one that does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from pipeline.errors import Failed
from train.attention import VARLEN
from train.corpus import IGNORED, Example
from train.data import collate
from train.loss import Objective, check_packing, summed_loss


def with_adapter(model: Any, targets: list[str]) -> Any:
    """`model` frozen, with an adapter whose two matrices are both not zero, so that all gradients flow."""
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return adapted


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return with_adapter(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32), ["q_proj", "up_proj"])


def random_batch(rows: int, length: int, vocabulary: int = 49152) -> tuple[Tensor, Tensor]:
    """Tokens, and labels of which about a third is ignored."""
    torch.manual_seed(2)
    tokens = torch.randint(0, vocabulary, (rows, length))
    labels = torch.where(torch.rand(rows, length) < 1 / 3, IGNORED, tokens)
    return tokens, labels


def plain_loss(model: Any, tokens: Tensor, labels: Tensor) -> Tensor:
    logits = model(input_ids=tokens).logits[:, :-1]
    return functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_same_loss_and_gradients(model: Any, tokens: Tensor, labels: Tensor) -> None:
    ours, plain = summed_loss(model, tokens, labels), plain_loss(model, tokens, labels)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-4)
    ours_by_name, plain_by_name = gradients(model, ours), gradients(model, plain)
    assert ours_by_name
    assert any(gradient.abs().max() > 1e-3 for gradient in plain_by_name.values())
    for name, gradient in plain_by_name.items():
        torch.testing.assert_close(ours_by_name[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(("rows", "length"), [(1, 2), (3, 50), (3, 300)])
def test_value_and_gradients_are_those_of_plain_cross_entropy(model: Any, rows: int, length: int) -> None:
    tokens, labels = random_batch(rows, length)
    labels[0, -1] = tokens[0, -1]
    assert_same_loss_and_gradients(model, tokens, labels)


def test_a_trained_head_is_part_of_the_gradients(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    assert_same_loss_and_gradients(model, *random_batch(2, 20))


def test_an_adapter_on_the_head_is_part_of_the_loss() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=97, tie_word_embeddings=False, **SMALL)
    model = with_adapter(LlamaForCausalLM(config), ["lm_head", "q_proj"])
    assert_same_loss_and_gradients(model, *random_batch(2, 20, vocabulary=97))


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("Qwen2", {}),
        ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 0.5}),
        ("Cohere", {"logit_scale": 0.25}),
        ("Granite", {"logits_scaling": 4.0}),
        ("Phi", {}),
    ],
)
def test_architectures_that_change_their_logits_get_their_own_loss(architecture: str, settings: dict[str, Any]) -> None:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=97, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2, **SMALL, **settings
    )
    model = with_adapter(getattr(transformers, f"{architecture}ForCausalLM")(config), ["q_proj"])
    assert_same_loss_and_gradients(model, *random_batch(2, 20, vocabulary=97))


def test_the_rows_of_a_padded_batch_have_the_losses_that_they_have_alone(model: Any) -> None:
    tokens, labels = random_batch(3, 30)
    lengths = [30, 17, 5]
    for row, length in enumerate(lengths):
        tokens[row, length:], labels[row, length:] = 2, IGNORED
    together = summed_loss(model, tokens, labels)
    alone = [
        summed_loss(model, tokens[i : i + 1, :length], labels[i : i + 1, :length]) for i, length in enumerate(lengths)
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum(), rtol=1e-5, atol=1e-4)


def test_what_stands_in_the_padding_changes_nothing(model: Any) -> None:
    tokens, labels = random_batch(2, 20)
    labels[1, 12:] = IGNORED
    other = tokens.clone()
    other[1, 12:] = 7
    torch.testing.assert_close(summed_loss(model, tokens, labels), summed_loss(model, other, labels))


def random_examples(*lengths: int) -> list[Example]:
    torch.manual_seed(3)
    rows = [torch.randint(0, 49152, (length,)).tolist() for length in lengths]
    return [Example(str(i), row, [IGNORED, IGNORED, *row[2:]]) for i, row in enumerate(rows)]


@pytest.mark.parametrize("attention", ["sdpa", "eager", VARLEN])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_records_loss_in_a_packed_row_is_its_loss_alone(
    tiny_model: Path, attention: str, checkpointing: bool
) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation=attention)
    if checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    objective = Objective(with_adapter(base, ["q_proj", "up_proj"])).train()
    examples = random_examples(30, 17, 5, 3)
    batch = collate(examples, pad_id=2, packed=True, width=64)
    total, terms = objective(batch.tokens, batch.labels, batch.positions, batch.bounds)
    start, alone = 0, []
    for example in examples:
        single = collate([example], pad_id=2)
        loss, _ = objective(single.tokens, single.labels)
        count = example.num_targets
        torch.testing.assert_close(terms[start : start + count].sum(), loss.detach(), rtol=1e-5, atol=1e-5)
        start += count
        alone.append(loss)
    assert start == len(terms)
    packed_gradients = gradients(objective, total)
    for name, gradient in gradients(objective, torch.stack(alone).sum()).items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_a_model_that_keeps_packed_records_apart_passes(model: Any) -> None:
    check_packing(Objective(model).eval(), 49152)


def test_a_model_whose_records_see_one_another_fails(model: Any) -> None:
    class Leaking(Objective):
        """Positions are lost on the way to the attention, as with architectures that carry a state along the row."""

        def forward(
            self, tokens: Tensor, labels: Tensor, positions: Tensor | None = None, bounds: Tensor | None = None
        ) -> tuple[Tensor, Tensor]:
            return super().forward(tokens, labels, None, None)

    with pytest.raises(Failed, match=r"packing=true: this model's records see one another .* set packing=false"):
        check_packing(Leaking(model).eval(), 49152)
