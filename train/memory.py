"""`python -m train.memory experiment=…`: how much memory a training run needs on each GPU, by arithmetic.

Nothing is loaded but the shape of the model. What is counted: weights, adapter, its optimizer, activations that are kept
for the backward pass, and the largest buffers that come and go. What is not: the allocator's fragments, the CUDA context
and communication buffers, for which `SPARE_GIB` is set aside.

A run that has less than this does not fit; one that has more has not been shown to fit until it has run.
"""

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

from pipeline.command import compose_config, exit_codes
from train.config import TrainConfig

GIB = 2**30
SPARE_GIB = 6.0
"""Set aside on each GPU for what is not counted."""

_HEAD_POSITIONS = 512
"""Positions whose logits exist at one time where the output head is frozen (`train/loss.py`)."""


@dataclass(frozen=True)
class Shape:
    """What a decoder's memory depends on."""

    num_layers: int
    hidden: int
    intermediate: int
    num_heads: int
    num_key_value_heads: int
    vocabulary: int
    tied: bool = False

    @property
    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear modules of one layer."""
        narrow = self.hidden // self.num_heads * self.num_key_value_heads
        return {
            "q_proj": (self.hidden, self.hidden),
            "k_proj": (self.hidden, narrow),
            "v_proj": (self.hidden, narrow),
            "o_proj": (self.hidden, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_parameters(self) -> int:
        """Numbers in one layer: its linear modules and two norms."""
        return sum(inputs * outputs for inputs, outputs in self.linear_shapes.values()) + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Numbers in embedding, output head and last norm."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def parameters(self) -> int:
        """Numbers in the whole model."""
        return self.num_layers * self.layer_parameters + self.embedding_parameters


# Llama Team 2024 (arXiv 2407.21783), Table 3; Llama 3.3 70B has the shape of 3.1 70B.
SHAPES = {
    "meta-llama/Llama-3.1-8B-Instruct": Shape(32, 4096, 14336, 32, 8, 128256),
    "meta-llama/Llama-3.3-70B-Instruct": Shape(80, 8192, 28672, 64, 8, 128256),
    "meta-llama/Llama-3.1-405B-Instruct": Shape(126, 16384, 53248, 128, 8, 128256),
}
"""Shapes that are known without asking the Hub."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: float
    adapter: float
    """The trained copies that the forward pass uses, and their gradients; all weights with `method=full`."""
    optimizer: float
    """Float32 masters, their gradients, and AdamW's two moments: 16 bytes a trained number."""
    activations: float
    buffers: float
    """What is gathered from all processes, one layer's inner activations, and a chunk of logits, at their largest."""

    @property
    def total(self) -> float:
        """The sum of all."""
        return sum(dataclasses.astuple(self))


def estimate(config: TrainConfig, shape: Shape, num_gpus: int) -> Memory:
    """Memory of a run on `num_gpus` GPUs, in bytes on each (on the fullest, where layers are dealt out)."""
    width = 2 if config.precision == "bfloat16" else 4
    parts = _num_parts(config, shape, num_gpus)
    in_layers, at_ends = _weight_bytes(config, shape, width)
    trained = shape.parameters if config.method == "full" else adapter_parameters(config, shape)
    kept = (shape.num_layers - (0 if config.method == "full" else config.lora.first_layer)) / (
        1 if config.is_sharded else parts  # each process of a sharded run goes through all layers
    )
    tokens = config.micro_batch_tokens
    inner = layer_activations(shape, width) * tokens
    outer = shape.hidden * width * tokens
    if config.gradient_checkpointing:
        activations, largest = kept * outer, inner
    else:
        activations, largest = kept * inner, 0.0
    # the layer at work and the next one, and embedding and head all the time
    gathered = 2 * in_layers / shape.num_layers + at_ends if config.is_sharded else 0
    if config.method == "qlora":  # the matrix at work, out of its 4 bits
        gathered += max(inputs * outputs for inputs, outputs in shape.linear_shapes.values()) * width
    # a head that is trained has all logits of a pass at one time, in its own precision and thrice in float32
    positions, copies = (tokens, 4 + 4 + 4 + width) if config.method == "full" else (_HEAD_POSITIONS, 4 + 4 + width)
    logits = positions * shape.vocabulary * copies
    return Memory(
        weights=in_layers / parts + at_ends / (min(parts, 2) if config.parallel == "layers" else parts),
        adapter=trained * 2 * width / parts if config.method != "full" else trained * width / parts,
        optimizer=trained * 16 / parts,
        activations=activations,
        buffers=gathered + largest + logits,
    )


def adapter_parameters(config: TrainConfig, shape: Shape) -> int:
    """Numbers in a LoRA adapter: rank × (inputs + outputs) for each module that has one."""
    wanted = [name.rpartition(".")[2] for name in config.lora.target_names]
    sizes = [
        inputs + outputs
        for name, (inputs, outputs) in shape.linear_shapes.items()
        if config.lora.targets == "all-linear" or name in wanted
    ]
    return (shape.num_layers - config.lora.first_layer) * config.lora.rank * sum(sizes)


def layer_activations(shape: Shape, width: int) -> float:
    """Bytes a token that one layer keeps for its backward pass, with attention that keeps no scores.

    Inputs of both norms and of each linear module, queries, keys, values, the attention's output, and the two factors of
    the gated product with their result (after Korthikanti et al. 2022, section 4, for a gated layer without dropout).
    """
    narrow = shape.hidden // shape.num_heads * shape.num_key_value_heads
    return width * (6 * shape.hidden + 2 * narrow + shape.hidden + 4 * shape.intermediate)


def _num_parts(config: TrainConfig, shape: Shape, num_gpus: int) -> float:
    """Into how many parts weights are split; the fullest GPU has whole layers where they are dealt out."""
    if config.parallel == "layers":
        return shape.num_layers / -(-shape.num_layers // num_gpus)
    return num_gpus if config.is_sharded else 1


def _weight_bytes(config: TrainConfig, shape: Shape, width: int) -> tuple[float, float]:
    """Of the layers, and of embedding and head, which keep their precision when layers are in 4 bits.

    The constants of 4-bit blocks, doubly quantised, take 0.127 bits a number (Dettmers et al. 2023, section 3).
    """
    bits = 4 + 0.127 if config.method == "qlora" else 8 * width
    return shape.num_layers * shape.layer_parameters * bits / 8, shape.embedding_parameters * width


def shape_of(config: TrainConfig) -> Shape:
    """The shape of `config.model`, from the table, a folder, the embedded package or the Hub."""
    if config.model in SHAPES:
        return SHAPES[config.model]
    from transformers import AutoConfig

    from pipeline.language_model import model_location

    found: Any = AutoConfig.from_pretrained(model_location(config.model), revision=config.model_revision)
    return Shape(
        num_layers=found.num_hidden_layers,
        hidden=found.hidden_size,
        intermediate=found.intermediate_size,
        num_heads=found.num_attention_heads,
        num_key_value_heads=found.num_key_value_heads,
        vocabulary=found.vocab_size,
        tied=bool(found.tie_word_embeddings),
    )


def describe(config: TrainConfig, num_gpus: int, gib: float) -> str:
    """The arithmetic as a table, and whether it fits on GPUs of `gib` GiB."""
    shape = shape_of(config)
    memory = estimate(config, shape, num_gpus)
    needed = memory.total / GIB + SPARE_GIB
    lines = [
        f"{config.model}: {shape.parameters / 1e9:.1f}B parameters, method={config.method}, parallel={config.parallel},"
        f" {num_gpus} GPU{'s' if num_gpus > 1 else ''} of {gib:.0f} GiB; GiB on each:",
        *(f"  {name:<12}{value / GIB:8.1f}" for name, value in dataclasses.asdict(memory).items()),
        f"  {'spare':<12}{SPARE_GIB:8.1f}",
        f"  {'sum':<12}{needed:8.1f}  {'fits, by this arithmetic' if needed <= gib else 'does NOT fit'}",
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints the table for the settings given, as `python -m train` takes them; `gpus=8` and `gib=80` say on what."""
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:] if argument.startswith(("gpus=", "gib=")))
    overrides = [argument for argument in sys.argv[1:] if not argument.startswith(("gpus=", "gib="))]
    with exit_codes("train.memory", TrainConfig):
        config = compose_config("train", overrides)
        print(describe(config, int(arguments.get("gpus", config.processes or 8)), float(arguments.get("gib", 80))))


if __name__ == "__main__":
    main()
