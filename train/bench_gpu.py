"""`python -m train.bench_gpu`: what the trainer reaches on a GPU, with a model of Llama 3.1 8B's shape and random weights.

Packed rows of 2,048 and more tokens, documents of 512. Model FLOP utilisation is the work that the model asks for (forward,
and backward through frozen weights, no recomputing) over what the same GPU reaches in bfloat16 matrix products in the same
run. The model is made once and goes through all settings, the most telling first; each result is printed and written at
once, a setting that fails is told with its error, and what a time limit leaves out is named.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.benchmark import BENCH_DIR, Comparison, measure, write_benchmark
from train.config import TrainConfig
from train.memory import GIB, SHAPES, Shape, adapter_parameters

ROW = 2048
"""Tokens of a packed row."""
DOCUMENT = 512
"""Tokens of a document."""
STEP = 8192
"""Tokens of an optimizer step."""
STEPS = 4
"""Steps that are timed."""
MATRIX = 8192
"""Rows and columns of the matrices whose product is timed."""
TINY = Shape(num_layers=2, hidden=64, intermediate=128, num_heads=4, num_key_value_heads=2, vocabulary=512)
"""For trying this out where there is no GPU."""


@dataclass(frozen=True)
class Setting:
    """One way to train: what differs from the defaults."""

    attention: str | None = None
    tokens: int = ROW
    """Tokens in one forward pass."""
    compile: bool = False
    gradient_checkpointing: bool = False
    liger: bool = False

    @property
    def name(self) -> str:
        words = [self.attention or "varlen", f"{self.tokens:,} tokens a pass"]
        for word in ("compile", "gradient_checkpointing", "liger"):
            words += [word] if getattr(self, word) else []
        return ", ".join(words)


# Liger's kernels cannot be taken out again, so they come last.
SETTINGS = (
    Setting(),
    Setting(compile=True),
    Setting(tokens=STEP),
    Setting(tokens=STEP, compile=True),
    Setting(tokens=STEP, gradient_checkpointing=True),
    Setting(gradient_checkpointing=True),
    Setting(attention="sdpa"),
    Setting(tokens=STEP, gradient_checkpointing=True, compile=True),
    Setting(gradient_checkpointing=True, compile=True),
    Setting(attention="sdpa", compile=True),
    Setting(liger=True),
    Setting(tokens=STEP, liger=True),
    Setting(tokens=STEP, liger=True, gradient_checkpointing=True),
    Setting(tokens=STEP, liger=True, compile=True),
)


def main() -> None:
    """Measures within --seconds and writes outputs/bench/train_gpu.json."""
    parser = argparse.ArgumentParser(prog="python -m train.bench_gpu", description=__doc__)
    parser.add_argument("--seconds", type=float, default=240.0, help="begin no further setting after this time")
    parser.add_argument(
        "--tiny", action="store_true", help="a model of no size, to try the benchmark itself, on a CPU too"
    )
    parser.add_argument("--directory", type=Path, default=BENCH_DIR, help="where the file goes")
    arguments = parser.parse_args()
    shape = TINY if arguments.tiny else SHAPES["meta-llama/Llama-3.1-8B-Instruct"]
    write = partial(write_benchmark, "train_gpu", directory=arguments.directory, packages=["peft", "liger-kernel"])
    compare_on_gpu(shape, arguments.seconds, write, arguments.tiny)


def compare_on_gpu(
    shape: Shape,
    seconds: float,
    write: Callable[[Sequence[Comparison]], object],
    on_cpu: bool = False,
    settings: Sequence[Setting] = SETTINGS,
) -> list[Comparison]:
    """Two lines for each way to train, utilisation and memory; none where there is no GPU, unless `on_cpu`."""
    import torch

    if not torch.cuda.is_available() and not on_cpu:
        print("no GPU is visible: the GPU part of this benchmark was not run")
        return []
    until = time.monotonic() + seconds
    bench, failed = _Bench(shape), {}
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    lines = [measure("matrix products, bfloat16", bench.peak / 1e12, "TFLOP/s", {"device": card})]
    for number, setting in enumerate(settings):
        if time.monotonic() > until:
            print("left out for lack of time: " + "; ".join(left.name for left in settings[number:]), flush=True)
            break
        if setting.liger and not (find_spec("liger_kernel") and torch.cuda.is_available()):
            failed[setting.name] = "liger-kernel or a GPU is missing"
            continue
        try:
            rate, memory, notes = bench.train_rate(setting)
        except Exception as error:  # whatever ends one setting must not end the others
            failed[setting.name] = f"{type(error).__name__}: {str(error).strip()[:300]}"
            print(f"{setting.name}: FAILED: {failed[setting.name]}", flush=True)
            continue
        utilisation = rate * flops_per_token(shape) / bench.peak
        notes |= {"tokens_per_second": rate, "device": card}
        lines.append(measure(f"{setting.name}: model FLOP utilisation", utilisation, "share", notes))
        lines.append(measure(f"{setting.name}: peak memory", memory / GIB, "GiB"))
        write(lines)
    lines.append(measure("settings that failed", len(failed), "settings", {"failed": failed}))
    write(lines)
    return lines


def flops_per_token(shape: Shape) -> float:
    """Forward 2 a weight; backward 2 for the frozen ones and 4 for the adapter's; causal attention within documents.

    Weights: those in matrix products, the embedding not (Kaplan et al. 2020, section 2.1, without frozen gradients).
    """
    frozen = shape.num_layers * shape.layer_parameters + shape.vocabulary * shape.hidden
    attention = 2 * 2 * shape.num_layers * shape.hidden * DOCUMENT / 2
    return 4 * frozen + 6 * adapter_parameters(_config(Setting()), shape) + 3 * attention


def _config(setting: Setting) -> TrainConfig:
    return TrainConfig(
        data=["unused"],
        attention=setting.attention,
        micro_batch_tokens=setting.tokens,
        max_length=DOCUMENT,
        batch_size=STEP // DOCUMENT,
        max_steps=STEPS + 2,
        packing=True,
        compile=setting.compile,
        gradient_checkpointing=setting.gradient_checkpointing,
        liger=setting.liger,
    )


class _Bench:
    """One model with one adapter, switched from setting to setting."""

    def __init__(self, shape: Shape) -> None:
        import torch

        from train.corpus import Example
        from train.data import Dataset, Source
        from train.model import equip
        from train.optimizer import MasterWeights
        from train.processes import join

        self.world = join()
        self.peak = matrix_rate(self.world.device, MATRIX if self.world.device.type == "cuda" else 256)
        torch.manual_seed(0)
        self.subject = equip(_config(Setting()), random_model(shape, self.world.device), self.world)
        self.weights = MasterWeights(self.subject.model, 5e-5, self.world)
        self.has_liger = False
        tokens = torch.randint(shape.vocabulary, (STEP // DOCUMENT, DOCUMENT)).tolist()
        examples = [Example(f"{i:04d}", row, row) for i, row in enumerate(tokens)]
        self.dataset = Dataset(examples, [], [Source("random", len(examples), 0, 0, 1.0)], 0, 0.0)

    def train_rate(self, setting: Setting) -> tuple[float, int, dict[str, Any]]:
        """Tokens a second over `STEPS` steps, peak bytes on the GPU, and what explains them."""
        import torch

        from train.loop import Trainer

        config, on_gpu = _config(setting), self.world.device.type == "cuda"
        self._switch(config)
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trainer = Trainer(config, self.subject.objective.train(), self.weights, self.dataset, 0, self.world)
        start = time.perf_counter()
        losses = [trainer.step(step)["loss"] for step in range(2)]
        warm_up = time.perf_counter() - start
        start = time.perf_counter()
        losses += [trainer.step(step)["loss"] for step in range(2, STEPS + 2)]  # reads a loss, and so waits for the GPU
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated() if on_gpu else 0
        notes = {"attention": self.subject.base.config._attn_implementation, "first_loss": losses[0]}
        return STEPS * STEP / seconds, peak, notes | {"warm_up_seconds": warm_up}

    def _switch(self, config: TrainConfig) -> None:
        import torch

        from train.model import apply_liger, set_attention, set_checkpointing, set_compiled

        base = self.subject.base
        self.weights.optimizer.zero_grad(set_to_none=True)  # what a failed setting left
        for parameter in self.weights.working:
            parameter.grad = None
        if config.liger and not self.has_liger:
            apply_liger(base)
            self.has_liger = True
        set_attention(config, base, self.world.device)
        set_checkpointing(config, base)
        torch.compiler.reset()  # else a new length is compiled for all lengths, and what is compiled is kept for nothing
        set_compiled(base, bool(config.compile))


def matrix_rate(device: Any, size: int = MATRIX) -> float:
    """FLOP/s of a large product in bfloat16."""
    import torch

    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    for _ in range(5):
        left @ right
    wait()
    start = time.perf_counter()
    for _ in range(50):
        left @ right
    wait()
    return 50 * 2 * size**3 / (time.perf_counter() - start)


def random_model(shape: Shape, device: Any) -> Any:
    """A Llama of this shape with random weights in bfloat16, made where it will be used."""
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
    )
    with torch.device(device):
        return LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
