from pathlib import Path
from typing import Any

import pytest

from pipeline.command import compose_config
from train.bench_gpu import random_model
from train.config import LoraSettings, TrainConfig
from train.memory import GIB, SHAPES, Shape, adapter_parameters, describe, estimate, shape_of

TINY = Shape(num_layers=2, hidden=64, intermediate=128, num_heads=4, num_key_value_heads=2, vocabulary=97)


def config_for(**settings: Any) -> TrainConfig:
    return TrainConfig(**({"data": ["unused"], "lora": LoraSettings(rank=4, alpha=8)} | settings))


def test_the_numbers_of_the_known_models_are_their_names() -> None:
    billions = [shape.parameters / 1e9 for shape in SHAPES.values()]
    assert billions == pytest.approx([8.03, 70.55, 405.85], abs=0.01)  # as their cards say


def test_parameters_are_those_of_a_real_model_and_adapter() -> None:
    from train.adapter import add_adapter

    model = random_model(TINY, "cpu")
    assert sum(p.numel() for p in model.parameters()) == TINY.parameters
    for settings in (LoraSettings(rank=4, alpha=8), LoraSettings(rank=2, alpha=8, targets="q_proj,down_proj")):
        adapted = add_adapter(random_model(TINY, "cpu"), settings, "tiny")
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        assert adapter_parameters(config_for(lora=settings), TINY) == trained


def test_the_shape_is_read_from_a_model(tiny_model: Path) -> None:
    shape = shape_of(config_for(model=str(tiny_model)))
    assert shape == Shape(2, 64, 128, 4, 2, 49152, tied=True)


def test_sharding_divides_what_each_process_holds() -> None:
    whole = estimate(config_for(), SHAPES["meta-llama/Llama-3.3-70B-Instruct"], 8)
    parts = estimate(config_for(parallel="fsdp"), SHAPES["meta-llama/Llama-3.3-70B-Instruct"], 8)
    assert parts.weights == whole.weights / 8
    assert parts.optimizer == whole.optimizer / 8
    assert parts.activations == whole.activations


def test_full_training_needs_sixteen_bytes_a_number_beside_the_weights() -> None:
    memory = estimate(config_for(method="full"), TINY, 1)
    assert memory.optimizer == 16 * TINY.parameters
    assert memory.weights == memory.adapter == 2 * TINY.parameters
    frozen = estimate(config_for(gradient_checkpointing=True), SHAPES["meta-llama/Llama-3.1-8B-Instruct"], 1)
    trained = estimate(
        config_for(gradient_checkpointing=True, method="full"), SHAPES["meta-llama/Llama-3.1-8B-Instruct"], 1
    )
    assert trained.buffers - frozen.buffers == (2048 * 14 - 512 * 10) * 128256  # logits of a whole pass


def test_checkpointing_keeps_a_layers_input_alone() -> None:
    config = config_for(gradient_checkpointing=True, micro_batch_tokens=100)
    assert estimate(config, TINY, 1).activations == 2 * 100 * 64 * 2


@pytest.mark.parametrize(("experiment", "gib"), [("train_70b", 38.4), ("train_405b_qlora", 68.3)])
def test_the_experiments_fit_as_their_files_say(experiment: str, gib: float) -> None:
    config = compose_config("train", [f"experiment={experiment}"])
    assert isinstance(config, TrainConfig)
    told = describe(config, 8, 80)
    assert f"{gib}  fits" in told
    file = Path(__file__).parent.parent / "conf" / "experiment" / f"{experiment}.yaml"
    assert f"{gib}\n" in file.read_text(encoding="utf-8")
    assert "does NOT fit" in describe(config, 8, gib - 1)


def test_a_bfloat16_8b_model_weighs_fifteen_gib() -> None:
    memory = estimate(config_for(), SHAPES["meta-llama/Llama-3.1-8B-Instruct"], 1)
    assert memory.weights / GIB == pytest.approx(14.96, abs=0.01)
