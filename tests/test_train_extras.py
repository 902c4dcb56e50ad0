"""What needs packages that are no part of the installation: weights in 4 bits, and services that are reported to."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import read_jsonl
from train.config import LoraSettings, TrainConfig
from train.reinforcement.settings import ReinforcementSettings, RewardSettings
from train.run import train

pytestmark = pytest.mark.extras

MakeConfig = Callable[..., TrainConfig]


def losses_of(config: TrainConfig) -> list[float]:
    return [row["loss"] for row in read_jsonl(Path(config.output_dir) / "metrics.jsonl") if "loss" in row]


def test_a_module_in_four_bits_computes_and_learns_as_the_numbers_that_it_stands_for(tiny_model: Path) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM

    from train.quantized import PackedLinear, pack, quantization

    base: Any = AutoModelForCausalLM.from_pretrained(
        tiny_model, dtype=torch.float32, quantization_config=quantization(torch.float32), device_map={"": "cpu"}
    )
    plain = base.model.layers[0].mlp.gate_proj
    weight = dequantize_4bit(plain.weight.data, plain.weight.quant_state)
    pack(base)
    packed = base.model.layers[0].mlp.gate_proj
    assert isinstance(packed, PackedLinear)
    assert [name for name, _ in packed.named_parameters()] == ["weight"]
    states = torch.randn(3, 64, requires_grad=True)
    for is_training in (
        False,
        True,
    ):  # bitsandbytes' own module loses the gradient on some CPUs after the first of them
        outputs = packed.train(is_training)(states)
        torch.testing.assert_close(outputs, states @ weight.T, rtol=1e-4, atol=1e-5)
        (gradient,) = torch.autograd.grad(outputs.sum(), states)
        torch.testing.assert_close(gradient, weight.sum(0).expand(3, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_base_in_four_bits_learns(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, precision: str
) -> None:
    config = make_config(tmp_path / "train", documents_run, method="qlora", precision=precision, max_steps=8)
    whole = make_config(tmp_path / "whole", documents_run, precision=precision, max_steps=8)
    train(config)
    train(whole)
    losses = losses_of(config)
    assert losses != losses_of(whole)
    assert losses == pytest.approx(losses_of(whole), rel=0.02)
    assert losses[0] - losses[-1] > 0.5
    saved = json.loads((tmp_path / "train" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert saved["r"] == 8


def test_tensorboard_is_given_every_step(make_config: MakeConfig, documents_run: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config(tmp_path / "train", documents_run, report_to="tensorboard")
    train(config)
    events = EventAccumulator(str(tmp_path / "train" / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses_of(config))


def test_wandb_is_given_every_step_of_one_run(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    config = make_config(tmp_path / "train", documents_run, report_to="wandb")
    train(config)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    name = str(tmp_path / "train").strip("/").replace("/", "-")
    assert file.name.startswith(f"run-{name}-")  # the id, by which an interrupted training goes on as the same run
    content = file.read_bytes()
    assert all(key in content for key in (b"alignment-faking-sdf", b"grad_norm", b"heldout_loss"))


def test_trackio_is_given_every_step_of_one_run(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    config = make_config(tmp_path / "train", documents_run, report_to="trackio")
    train(config)
    (database,) = (tmp_path / "trackio").glob("*.db")
    rows = sqlite3.connect(database).execute("select run_name, step, metrics from metrics order by step").fetchall()
    assert len({name for name, _, _ in rows}) == 1
    told = [json.loads(metrics)["loss"] for _, _, metrics in rows if "loss" in json.loads(metrics)]
    assert told == pytest.approx(losses_of(config))


def test_reinforcement_moves_an_adapter_in_float32_on_a_base_in_four_bits(
    tiny_model: Path, tiny_classifier: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    reward = RewardSettings("reward_model", str(tiny_classifier), threshold=0.0)
    settings = ReinforcementSettings(
        reasoning="none", reward=reward, num_queries=2, replies_per_query=2, micro_batch_replies=2, max_tokens=6
    )
    config = TrainConfig(
        output_dir=str(tmp_path / "run"),
        model=str(tiny_model),
        objective="reinforcement",
        reinforcement=settings,
        method="qlora",
        lora=LoraSettings(rank=4, alpha=8),
        max_steps=2,
        batch_size=2,
        lr=5e-3,
        processes=1,
    )
    train(config)  # fails where no weight has changed
    weights = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
