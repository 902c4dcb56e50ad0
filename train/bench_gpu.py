"""What the trainer reaches on a GPU: a model of the shape of Llama 3.1 8B with random weights, packed rows of 2,048 tokens.

Model FLOP utilisation is the work that the model asks for (forward, and backward through frozen weights, no recomputing)
over what the same GPU reaches in bfloat16 matrix products in the same run. Not run yet: no GPU was at hand.
"""

import time
from dataclasses import replace
from itertools import product
from typing import Any

from pipeline.benchmark import Comparison, measure
from train.config import TrainConfig
from train.memory import SHAPES, Shape, adapter_parameters

ROW = 2048
"""Tokens of a packed row."""
STEPS = 8
MATRIX = 8192
"""Rows and columns of the matrices whose product is timed."""


def compare_on_gpu() -> list[Comparison]:
    """One line for each way to train; none where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        print("no GPU is visible: the GPU part of this benchmark was not run")
        return []
    from importlib.util import find_spec

    shape = SHAPES["meta-llama/Llama-3.1-8B-Instruct"]
    peak = matrix_rate()
    lines = [measure("matrix products, bfloat16", peak / 1e12, "TFLOP/s")]
    liger = (False, True) if find_spec("liger_kernel") else (False,)
    for checkpointing, compiled, fused in product((False, True), (False, True), liger):
        config = TrainConfig(
            data=["unused"],
            micro_batch_tokens=ROW,
            max_length=ROW,
            gradient_checkpointing=checkpointing,
            compile=compiled,
            liger=fused,
        )
        name = f"8B, checkpointing={checkpointing}, compile={compiled}, liger={fused}"
        rate, memory = train_rate(config, shape)
        utilisation = rate * flops_per_token(config, shape) / peak
        lines.append(measure(f"{name}: model FLOP utilisation", utilisation, "share", {"tokens_per_second": rate}))
        lines.append(measure(f"{name}: peak memory", memory / 2**30, "GiB"))
    return lines


def flops_per_token(config: TrainConfig, shape: Shape) -> float:
    """Forward 2 a weight; backward 2 for the frozen ones and 4 for the adapter's; causal attention over a full row.

    Weights: those in matrix products, the embedding not (Kaplan et al. 2020, section 2.1, without frozen gradients).
    """
    frozen = shape.num_layers * shape.layer_parameters + shape.vocabulary * shape.hidden
    attention = 2 * 2 * shape.num_layers * shape.hidden * config.micro_batch_tokens / 2
    return 4 * frozen + 6 * adapter_parameters(config, shape) + 3 * attention


def matrix_rate() -> float:
    """FLOP/s of a large product in bfloat16."""
    import torch

    left, right = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        left @ right
    torch.cuda.synchronize()
    return 20 * 2 * MATRIX**3 / (time.perf_counter() - start)


def random_model(shape: Shape, device: str) -> Any:
    """A Llama of this shape with random weights in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_key_value_heads,
        tie_word_embeddings=shape.tied,
        dtype=torch.bfloat16,
    )
    with torch.device(device):
        model: Any = LlamaForCausalLM(config)
    return model.to(torch.bfloat16)


def train_rate(config: TrainConfig, shape: Shape, rows_per_step: int = 4) -> tuple[float, int]:
    """Tokens a second over `STEPS` steps of packed rows, and peak bytes on the GPU."""
    import torch

    from train.corpus import Example
    from train.data import Dataset, Source
    from train.loop import Trainer
    from train.model import equip
    from train.optimizer import MasterWeights
    from train.processes import join

    world = join()
    torch.manual_seed(0)
    subject = equip(config, random_model(shape, world.device.type), world)
    weights = MasterWeights(subject.model, config.lr, world)
    length = config.micro_batch_tokens // 4  # four documents fill a row
    drawn = torch.randint(shape.vocabulary, (4 * rows_per_step, length)).tolist()
    examples = [Example(f"{i:04d}", tokens, tokens) for i, tokens in enumerate(drawn)]
    dataset = Dataset(examples, [], [Source("random", len(examples), 0, 0, 1.0)], 0, 0.0)
    settings = replace(config, packing=True, batch_size=len(examples), max_steps=STEPS + 2)
    trainer = Trainer(settings, subject.objective.train(), weights, dataset, 0, world)
    for step in range(2):
        trainer.step(step)
    if world.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for step in range(2, STEPS + 2):
        trainer.step(step)  # reads the loss, and so waits for the GPU
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if world.device.type == "cuda" else 0
    return STEPS * len(examples) * length / seconds, peak
