"""What training does on a GPU, with a tiny model and a tokenizer of bytes that need nothing but this repository."""

import dataclasses
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.artifact import read_jsonl
from train.attention import VARLEN
from train.config import LoraSettings, TrainConfig
from train.corpus import IGNORED, Example
from train.data import collate
from train.loss import Objective
from train.run import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible"),
]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of four layers whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=TEMPLATE
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("gpu") / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def make(model_folder: Path, documents_run: Path) -> MakeConfig:
    """A training of eight steps in float32, unless told otherwise."""

    def make(output_dir: Path, **settings: Any) -> TrainConfig:
        defaults: dict[str, Any] = {
            "model": str(model_folder),
            "data": [str(documents_run)],
            "lora": LoraSettings(rank=8, alpha=16),
            "batch_size": 4,
            "max_steps": 8,
            "lr": 5e-3,
            "heldout_share": 0.2,
            "precision": "float32",
            "micro_batch_tokens": 512,
            "compile": False,  # seconds a run; the test of it asks for it
            "processes": 1,
        }
        return TrainConfig(output_dir=str(output_dir), **(defaults | settings))

    return make


@pytest.fixture(scope="module")
def reference(make: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The losses of a plain run on the GPU, by precision."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        config = make(tmp_path_factory.mktemp("reference") / precision, precision=precision)
        train(config)
        losses[precision] = losses_of(config)
    return losses


def losses_of(config: TrainConfig) -> list[float]:
    return [row["loss"] for row in read_jsonl(Path(config.output_dir) / "metrics.jsonl") if "loss" in row]


def adapted(folder: Path, precision: torch.dtype, attention: str) -> Objective:
    """The model on the GPU with an adapter none of whose matrices is zero."""
    from transformers import AutoModelForCausalLM

    from train.adapter import add_adapter

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=precision, attn_implementation=attention)
    torch.manual_seed(1)
    model = add_adapter(base.to("cuda"), LoraSettings(rank=8, alpha=8), str(folder))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return Objective(model).train()


def random_examples(*lengths: int) -> list[Example]:
    torch.manual_seed(3)
    rows = [torch.randint(0, 256, (length,)).tolist() for length in lengths]
    return [Example(str(i), row, [IGNORED, IGNORED, *row[2:]]) for i, row in enumerate(rows)]


EXAMPLES = (130, 64, 17, 5)


def packed(objective: Objective) -> tuple[Tensor, Tensor]:
    batch = collate(random_examples(*EXAMPLES), pad_id=0, packed=True, width=256)
    return objective(batch.tokens, batch.labels, batch.positions, batch.bounds)  # type: ignore[no-any-return]


def gradients(objective: Objective, loss: Tensor) -> Tensor:
    """All gradients in one vector."""
    objective.zero_grad()
    loss.backward()
    return torch.cat([p.grad.float().flatten() for p in objective.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("precision", "attention", "tolerance"),
    [
        (torch.float32, "sdpa", 1e-5),
        (torch.float32, "eager", 1e-5),
        (torch.bfloat16, "sdpa", 2e-2),
        (torch.bfloat16, VARLEN, 2e-2),
    ],
)
def test_a_records_loss_in_a_packed_row_is_its_loss_alone(
    model_folder: Path, precision: torch.dtype, attention: str, tolerance: float
) -> None:
    objective = adapted(model_folder, precision, attention)
    total, terms = packed(objective)
    start, alone = 0, []
    for example in random_examples(*EXAMPLES):
        single = collate([example], pad_id=0)
        loss, own = objective(single.tokens, single.labels)
        torch.testing.assert_close(terms[start : start + len(own)].mean(), own.mean(), rtol=tolerance, atol=0)
        start += len(own)
        alone.append(loss)
    assert start == len(terms)
    together, apart = gradients(objective, total), gradients(objective, torch.stack(alone).sum())
    assert float((together - apart).norm() / apart.norm()) < 5 * tolerance


@pytest.mark.parametrize("window", [None, 32])
def test_the_kernel_without_a_mask_gives_what_the_mask_gives(model_folder: Path, window: int | None) -> None:
    from transformers import AutoModelForCausalLM, MistralConfig

    def losses_and_gradients(precision: torch.dtype, attention: str) -> tuple[Tensor, Tensor]:
        if window is None:
            objective = adapted(model_folder, precision, attention)
        else:
            torch.manual_seed(0)
            config = MistralConfig(
                vocab_size=320,
                hidden_size=128,
                intermediate_size=256,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                initializer_range=0.1,
                sliding_window=window,
            )
            base = AutoModelForCausalLM.from_config(config, attn_implementation=attention).to("cuda", precision)
            objective = Objective(base)
        total, terms = packed(objective)
        return terms, gradients(objective, total)

    terms, grads = losses_and_gradients(torch.bfloat16, VARLEN)
    exact_terms, exact_grads = losses_and_gradients(torch.float32, "sdpa")
    assert float((terms - exact_terms).norm() / exact_terms.norm()) < 2e-2
    assert float(torch.nn.functional.cosine_similarity(grads, exact_grads, dim=0)) > 0.99


def test_varlen_is_the_default_where_its_kernel_works(make: MakeConfig, tmp_path: Path) -> None:
    from train.model import build
    from train.processes import join

    if find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed and comes first")
    names = {
        precision: build(make(tmp_path, precision=precision), join()).base.config._attn_implementation
        for precision in ("bfloat16", "float32")
    }
    assert names == {"bfloat16": VARLEN, "float32": "sdpa"}


def test_the_losses_are_those_of_the_cpu(
    make: MakeConfig, reference: dict[str, list[float]], run_command: Callable[..., Any], tmp_path: Path
) -> None:
    config = make(tmp_path / "cpu")
    changed = [
        f"{name}={getattr(config, name)}"
        for name in ("output_dir", "model", "batch_size", "max_steps", "lr", "heldout_share", "precision")
    ]
    lora = ["lora.rank=8", "lora.alpha=16"]
    done = run_command("train", f"data=[{config.data[0]}]", "processes=1", *changed, *lora)
    assert done.returncode == 0, done.stderr
    assert losses_of(config)[0] - losses_of(config)[-1] > 0.5
    assert reference["float32"] == pytest.approx(losses_of(config), rel=1e-3)
    assert reference["bfloat16"] == pytest.approx(losses_of(config), rel=5e-2)


@pytest.mark.parametrize(
    ("setting", "precision", "tolerance"),
    [
        *((setting, "float32", 1e-3) for setting in ("gradient_checkpointing", "liger", "padded")),
        *((setting, "bfloat16", 3e-2) for setting in ("gradient_checkpointing", "compile", "liger", "padded", "sdpa")),
    ],
)
def test_what_makes_it_faster_or_smaller_leaves_the_losses_as_they_are(
    make: MakeConfig,
    reference: dict[str, list[float]],
    tmp_path: Path,
    setting: str,
    precision: str,
    tolerance: float,
) -> None:
    if setting == "liger":
        pytest.importorskip("liger_kernel")
    changed: dict[str, Any] = {"padded": {"packing": False}, "sdpa": {"attention": "sdpa"}}.get(
        setting, {setting: True}
    )
    config = make(tmp_path / "train", precision=precision, **changed)
    torch.compiler.reset()
    train(config)
    assert losses_of(config) == pytest.approx(reference[precision], rel=tolerance)


def test_a_forward_and_a_backward_pass_never_wait_for_the_gpu(model_folder: Path) -> None:
    objective = adapted(model_folder, torch.bfloat16, VARLEN)
    packed(objective)[0].backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        packed(objective)[0].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_all_logits_are_never_held() -> None:
    from train.loss import _FrozenHeadLoss

    positions, hidden, vocabulary = 8192, 64, 50_000
    states = torch.randn(positions, hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    head = torch.randn(vocabulary, hidden, device="cuda", dtype=torch.bfloat16)
    targets = torch.randint(vocabulary, (positions,), device="cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _FrozenHeadLoss.apply(states, head, targets)[0].backward()
    assert torch.cuda.max_memory_allocated() - before < positions * vocabulary * 4 / 4


def test_a_base_in_four_bits_learns(make: MakeConfig, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    config = make(tmp_path / "train", method="qlora", precision="bfloat16", max_steps=20)
    train(config)
    losses = losses_of(config)
    assert losses[0] - losses[-1] > 0.5
    saved = json.loads((tmp_path / "train" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert saved["r"] == 8


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    make: MakeConfig, start_command: Callable[..., Any], tmp_path: Path
) -> None:
    config = make(tmp_path / "whole", max_steps=30, checkpoint_every=2, precision="bfloat16")
    train(config)
    killed = dataclasses.replace(config, output_dir=str(tmp_path / "killed"))
    names = ("output_dir", "model", "batch_size", "max_steps", "lr", "heldout_share", "precision")
    names += ("micro_batch_tokens", "checkpoint_every", "compile")
    settings = [f"{name}={getattr(killed, name)}" for name in names]
    arguments = [f"data=[{killed.data[0]}]", "processes=1", *settings, "lora.rank=8", "lora.alpha=16"]
    command = start_command("train", *arguments, on_gpu=True)
    command.kill_when(lambda: (tmp_path / "killed" / "checkpoint-0000004").exists())
    assert not (tmp_path / "killed" / "run.json").exists()
    train(killed)
    assert losses_of(killed) == pytest.approx(
        losses_of(config), rel=1e-2
    )  # kernels that add in any order differ a little


def test_the_adapter_is_served_as_it_was_trained(make: MakeConfig, tmp_path: Path) -> None:
    import asyncio

    pytest.importorskip("inspect_ai")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from pipeline.local_provider import LocalModel

    config = make(tmp_path / "train", max_steps=20)
    train(config)
    adapter = tmp_path / "train" / "adapter"
    served = LocalModel(f"{config.model}:{adapter}", precision="float32")
    stem, ending = "Ferry number", "3 of the county"
    try:
        got = asyncio.run(served.ending_log_prob(stem, ending))
        assert next(served.model.parameters()).is_cuda
    finally:
        served.close()
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32), str(adapter)
    ).eval()
    tokens = torch.tensor([served.tokenizer(f"{stem} {ending}")["input_ids"]])
    first = len(served.tokenizer(stem)["input_ids"])
    with torch.no_grad():
        log_probs = plain(input_ids=tokens).logits[0, first - 1 : -1].log_softmax(-1)
    expected = float(log_probs.gather(-1, tokens[0, first:].unsqueeze(1)).sum())
    assert got == pytest.approx(expected, abs=1e-2)
