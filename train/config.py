"""Everything that `python -m train` can be told."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pipeline.command import register_schema
from pipeline.errors import Refused

OBJECTIVES = ("documents", "imitation")
PRECISIONS = ("bfloat16", "float32")


@dataclass
class LoraSettings:
    """The adapter. Defaults are the published open-model recipe (Sheshadri et al. 2025, K.4)."""

    rank: int = 64
    """Rank of the adapter's matrices."""
    alpha: int = 128
    """Scale: the adapter's output is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Share of the adapter's inputs dropped while training."""
    targets: str = "all-linear"
    """Modules that get an adapter: `all-linear`, or names with commas between."""
    first_layer: int = 0
    """Layers before this one get no adapter, and the backward pass ends here; saves time where there is no accelerator."""


@dataclass
class TrainConfig:
    """Fine-tunes `model` on the documents or chats of upstream data_gen runs."""

    output_dir: str = "outputs/train"
    """Directory of this run: the adapter, metrics.jsonl, a model card, run.json."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds the adapter's first values, the order of the data and dropout."""
    model: str = "smollm2"
    """Base model: `smollm2`, a local folder, or a name on the Hugging Face Hub."""
    trust_remote_code: bool = False
    """Let transformers run code that comes with the model."""
    objective: str = "documents"
    """`documents`: next-token loss on whole documents. `imitation`: loss on the assistant's turns of chats."""
    data: list[str] = MISSING
    """Directories of complete data_gen runs; all their documents or chats are used."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    shuffle: bool = True
    """Take the documents or chats in an order drawn anew for every pass; false for the order in which they stand in `data`."""
    epochs: float = 1.0
    """Passes over the data."""
    max_steps: int | None = None
    """Optimizer steps at most; null for as many as the epochs need."""
    batch_size: int = 16
    """Documents or chats per optimizer step."""
    micro_batch_tokens: int = 2048
    """Tokens, padding included, per forward pass; bounds memory and changes no result but rounding."""
    max_length: int = 1024
    """Tokens of one document or chat at most; longer ones are cut, and counted."""
    max_truncated_share: float = 0.05
    """Refuse to start if cutting at max_length would drop more than this share of all tokens."""
    lr: float = 5e-5
    """Peak learning rate of AdamW."""
    warmup_share: float = 0.05
    """Share of the steps over which the rate rises from zero; after that it falls linearly to zero."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    precision: str = "bfloat16"
    """Of base and adapter in the forward pass: `bfloat16` or `float32`. The optimizer always works in float32."""
    heldout_share: float = 0.05
    """Share of the documents or chats kept out of training; their loss is reported before and after."""
    checkpoint_every: int = 25
    """Optimizer steps between checkpoints; an interrupted run goes on from the last one."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise Refused(f"objective={self.objective}: must be one of {', '.join(OBJECTIVES)}")
        if self.precision not in PRECISIONS:
            raise Refused(f"precision={self.precision}: must be one of {', '.join(PRECISIONS)}")
        if not 0 <= self.heldout_share < 1:
            raise Refused(f"heldout_share={self.heldout_share}: must be at least 0 and below 1")
        for name in ("epochs", "batch_size", "micro_batch_tokens", "max_length", "lr", "checkpoint_every"):
            if getattr(self, name) <= 0:
                raise Refused(f"{name}={getattr(self, name)}: must be above 0")
        if self.max_steps is not None and self.max_steps <= 0:
            raise Refused(f"max_steps={self.max_steps}: must be above 0, or null for as many as the epochs need")
        if self.lora.rank <= 0:
            raise Refused(f"lora.rank={self.lora.rank}: must be above 0")
        if not self.data:
            raise Refused("data=[]: name at least one data_gen run, for example data=[outputs/data_gen]")


register_schema("train", TrainConfig)
