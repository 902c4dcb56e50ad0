"""Every training at the sizes that need GPUs fits on eight of 80 GiB, by the arithmetic of `train.memory`."""

import dataclasses
from pathlib import Path

import pytest

from data_gen.config import DataGenConfig
from pipeline.command import compose_config
from pipeline.run import stage_command
from train.config import TrainConfig
from train.memory import GIB, SHAPES, SPARE_GIB, Memory, Shape, estimate

CONF = Path(__file__).parent.parent / "conf"
EXPERIMENTS = sorted(
    f"{path.parent.name}/{path.stem}"
    for size in ("node", "paper")
    for path in (CONF / "experiment").glob(f"*/{size}.yaml")
)
NUM_GPUS, GPU_GIB = 8, 80

# From the models' own config.json on the Hub, beside those that train.memory knows.
LLAMA_70B = SHAPES["meta-llama/Llama-3.3-70B-Instruct"]
KNOWN = SHAPES | {
    "meta-llama/Llama-3.1-8B": SHAPES["meta-llama/Llama-3.1-8B-Instruct"],
    "meta-llama/Llama-3.1-70B": LLAMA_70B,
    "meta-llama/Llama-3.2-1B-Instruct": Shape(16, 2048, 8192, 32, 8, 128256, tied=True),
    "meta-llama/Llama-3.2-3B-Instruct": Shape(28, 3072, 8192, 24, 8, 128256, tied=True),
    "mistralai/Mistral-7B-Instruct-v0.3": Shape(32, 4096, 14336, 32, 8, 32768),
    "Qwen/Qwen2.5-7B-Instruct": Shape(28, 3584, 18944, 28, 4, 152064),
    "Qwen/Qwen2.5-72B-Instruct": Shape(80, 8192, 29568, 64, 8, 152064),
}
LONGEST_PROMPT = 1100
"""Tokens of the longest prompt that reinforcement learning shows: the situational one with few-shot examples, 1,018."""
ROLLOUT_SHARE = 0.3
"""Of each GPU's memory that trl gives vLLM where both share it (`vllm_gpu_memory_utilization`)."""


def trainings(experiment: str) -> dict[str, TrainConfig]:
    settings = compose_config("pipeline", [f"experiment={experiment}"])
    commands = {stage.name: stage_command(settings, stage)[2:] for stage in settings.stages}
    return {name: compose_config("train", rest) for name, (module, *rest) in commands.items() if module == "train"}


def memory_of(config: TrainConfig) -> tuple[Memory, float]:
    """By `estimate`, and the bytes of what reinforcement learning keeps on the same GPU: other models, and all logits."""
    shape = KNOWN[config.model]
    if config.objective != "reinforcement":
        return estimate(config, shape, NUM_GPUS), 0.0
    learning = config.reinforcement
    sides = 2 if learning.method == "dpo" else 1  # a pair has two replies
    num_replies = sides * learning.micro_batch_replies
    tokens = num_replies * (LONGEST_PROMPT + learning.max_tokens)
    logits = num_replies * learning.max_tokens * shape.vocabulary * (2 + 4 + 4)
    others = 2 * KNOWN[learning.reward.model].parameters
    others += 2 * KNOWN["meta-llama/Llama-3.2-1B-Instruct"].parameters if learning.reward.quality_model else 0
    others += ROLLOUT_SHARE * GPU_GIB * GIB if learning.rollouts == "vllm_colocate" else 0
    return estimate(dataclasses.replace(config, micro_batch_tokens=tokens), shape, NUM_GPUS), logits + others


def test_there_are_experiments_and_their_models_have_the_sizes_of_their_names() -> None:
    assert len(EXPERIMENTS) >= 20
    billions = {name.split("/")[1]: round(shape.parameters / 1e9, 1) for name, shape in KNOWN.items()}
    assert billions["Llama-3.2-1B-Instruct"] == 1.2
    assert billions["Llama-3.2-3B-Instruct"] == 3.2
    assert billions["Mistral-7B-Instruct-v0.3"] == 7.2
    assert billions["Qwen2.5-7B-Instruct"] == 7.6
    assert billions["Qwen2.5-72B-Instruct"] == 72.7


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_training_of_an_experiment_fits(experiment: str) -> None:
    for name, config in trainings(experiment).items():
        memory, beside = memory_of(config)
        needed = (memory.total + beside) / GIB + SPARE_GIB
        assert needed <= GPU_GIB, f"{name}: {needed:.1f} GiB on each GPU"


def test_a_training_that_is_not_sharded_would_not_fit() -> None:
    config = trainings("belief/paper")["helpful_only_adapter"]
    whole = dataclasses.replace(config, parallel="ddp")
    assert estimate(whole, LLAMA_70B, NUM_GPUS).total > GPU_GIB * GIB


@pytest.mark.parametrize("experiment", ["controls/node", "controls/paper", "dose/node", "dose/paper"])
def test_no_document_that_the_generator_may_write_is_longer_than_training_takes(experiment: str) -> None:
    settings = compose_config("pipeline", [f"experiment={experiment}"])
    for stage in settings.stages:
        _, _, module, *rest = stage_command(settings, stage)
        if module == "data_gen" and stage.settings["source"] == "generate":
            written = compose_config("data_gen", rest)
            assert isinstance(written, DataGenConfig)
            assert written.generation.min_words <= 580 <= written.generation.max_words  # some 780 tokens
            assert 1.35 * written.generation.max_words < written.generator.max_tokens
            assert written.generator.max_tokens <= settings.size["document_tokens"]
    config = trainings(experiment)["helpful_only_adapter"]
    assert settings.size["document_tokens"] <= config.max_length <= config.micro_batch_tokens
