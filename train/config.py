"""Everything that `python -m train` can be told."""

from dataclasses import dataclass, field, fields

from pipeline.command import register_schema
from pipeline.errors import Refused
from pipeline.settings import operational
from train.reinforcement.settings import ReinforcementSettings

CHOICES = {
    "objective": ("documents", "imitation", "reinforcement"),
    "method": ("lora", "qlora", "full"),
    "precision": ("bfloat16", "float32"),
    "schedule": ("linear", "cosine", "constant"),
    "parallel": ("ddp", "fsdp", "zero3", "layers"),
    "report_to": ("none", "tensorboard", "wandb", "trackio"),
}
"""The words that a setting can be."""

OF_RECORDS = ("shuffle", "document_prefix", "max_length", "max_truncated_share", "heldout_share")
"""Settings that say how documents and chats are read, of which reinforcement learning has none."""


@dataclass
class LoraSettings:
    """The adapter. Defaults are the published open-model recipe (Sheshadri et al. 2025, K.4)."""

    rank: int = 64
    """Rank of the adapter's matrices."""
    alpha: int = 128
    """Scale: the adapter's output is multiplied by alpha / rank, or by alpha / sqrt(rank) with `rslora`."""
    dropout: float = 0.0
    """Share of the adapter's inputs dropped while training."""
    targets: str = "all-linear"
    """Modules that get an adapter: `all-linear`, or names with commas between."""
    first_layer: int = 0
    """Layers before this one get no adapter, and the backward pass ends here; saves time where there is no accelerator."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), which keeps updates alike over ranks (Kalajdzievski 2023)."""
    dora: bool = False
    """Learn a magnitude for each output beside the direction (Liu et al. 2024); slower."""

    @property
    def target_names(self) -> list[str]:
        """The names in `targets`."""
        return [name.strip() for name in self.targets.split(",")]


@dataclass
class TrainConfig:
    """Fine-tunes `model` on the documents or chats of upstream data_gen runs, or by reinforcement on a scenario's queries."""

    output_dir: str = "outputs/train"
    """Directory of this run: the adapter, metrics.jsonl, a model card, run.json."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds the adapter's first values, the order of the data and dropout."""
    model: str = "smollm2"
    """Base model: `smollm2`, a local folder, or a name on the Hugging Face Hub."""
    model_revision: str | None = None
    """Commit, tag or branch of the model on the Hub; null for its present one. The commit that was used is recorded."""
    trust_remote_code: bool = False
    """Let transformers run code that comes with the model."""
    objective: str = "documents"
    """`documents`: next-token loss on whole documents. `imitation`: loss on the assistant's turns of chats. `reinforcement`:
    reward for doing what a scenario's training asks for; what is set under `reinforcement`."""
    start: str = ""
    """Directory of a complete train run whose adapter is trained further, with its rank and modules instead of those of
    `lora`; empty for a fresh one."""
    data: list[str] = field(default_factory=list)
    """Directories of complete data_gen runs; all their documents or chats are used, unless `shares` says otherwise. None for
    reinforcement."""
    shares: list[float] = field(default_factory=list)
    """Share of the training tokens that each run of `data` gives; as many records are used as the shares allow."""
    document_prefix: str = ""
    """Text before each document that takes no part in the loss, such as `<DOCTAG>`; a record's own `prefix` goes first."""
    method: str = "lora"
    """`lora`, `qlora` (a LoRA adapter on a base in 4 bits, slow without a GPU), or `full` (every weight)."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    reinforcement: ReinforcementSettings = field(default_factory=ReinforcementSettings)
    shuffle: bool = True
    """Take the documents or chats in an order drawn anew for every pass; false for the order in which they stand in `data`."""
    epochs: float = 1.0
    """Passes over the data."""
    max_steps: int | None = None
    """Optimizer steps, whatever `epochs` says; null for as many as the epochs need."""
    batch_size: int = 16
    """Documents or chats per optimizer step, over all processes."""
    micro_batch_tokens: int = operational(2048)
    """Tokens, padding included, per forward pass and process; bounds memory and changes no result but rounding."""
    packing: bool | None = None
    """Lay documents end to end in a row, none seeing another, instead of padding; null does so unless that were slower."""
    max_length: int = 1024
    """Tokens of one document or chat at most; longer ones are cut, and counted."""
    max_truncated_share: float = 0.05
    """Refuse to start if cutting at max_length would drop more than this share of all tokens."""
    lr: float = 5e-5
    """Peak learning rate of AdamW."""
    schedule: str = "linear"
    """How the rate falls after the warm-up: `linear` or `cosine` to zero, or `constant`."""
    warmup_share: float = 0.05
    """Share of the steps over which the rate rises from zero."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    precision: str = "bfloat16"
    """Of base and adapter in the forward pass: `bfloat16` or `float32`. The optimizer always works in float32."""
    heldout_share: float = 0.05
    """Share of the documents or chats kept out of training; their loss is reported, and returned to a sweeper."""
    checkpoint_every: int = operational(25)
    """Optimizer steps between checkpoints; an interrupted run goes on from the last one."""
    keep_checkpoints: int = operational(2)
    """Checkpoints kept while the run lasts."""
    attention: str | None = None
    """transformers' name of the attention kernel, or `varlen` (torch's own FlashAttention, records kept apart without a mask);
    null for `flash_attention_2` where that is installed, `varlen` where it suits the model, else `sdpa`."""
    gradient_checkpointing: bool = operational(False)
    """Compute activations again in the backward pass: about a third slower, and memory no longer grows with the layers."""
    compile: bool | None = None
    """Compile each layer with torch.compile; null does so for LoRA over packed rows on a GPU where Triton and a C compiler are,
    which there took a quarter off the time of a step (docs/benchmarks.md)."""
    liger: bool = False
    """Use Liger's fused kernels; needs the package liger-kernel and a GPU."""
    parallel: str = operational("ddp")
    """Over several processes: `ddp` (each holds the model), or `fsdp` or `zero3` (each holds a part of every weight, by torch
    or by DeepSpeed). `layers`: one process whose GPUs hold some layers each."""
    processes: int | None = operational(None)
    """Processes to start on this machine; null for one per visible GPU. Not looked at under torchrun, accelerate or SLURM."""
    report_to: str = operational("none")
    """Also log to `tensorboard`, `wandb` or `trackio`."""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise Refused(f"{name}={getattr(self, name)}: must be one of {', '.join(known)}")
        if not 0 <= self.heldout_share < 1:
            raise Refused(f"heldout_share={self.heldout_share}: must be at least 0 and below 1")
        above_zero = ("epochs", "batch_size", "micro_batch_tokens", "max_length", "lr", "checkpoint_every")
        for name in (*above_zero, "keep_checkpoints", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise Refused(f"{name}={getattr(self, name)}: must be above 0")
        if self.max_steps is not None and self.max_steps <= 0:
            raise Refused(f"max_steps={self.max_steps}: must be above 0, or null for as many as the epochs need")
        if self.processes is not None and self.processes <= 0:
            raise Refused(f"processes={self.processes}: must be above 0, or null for one per visible GPU")
        if self.lora.rank <= 0:
            raise Refused(f"lora.rank={self.lora.rank}: must be above 0")
        self._check_data()
        self._check_combinations()

    def _check_data(self) -> None:
        if self.objective == "reinforcement":
            self._check_reinforcement()
        elif not self.data:
            raise Refused("data=[]: name at least one data_gen run, for example data=[outputs/data_gen]")
        if self.shares and len(self.shares) != len(self.data):
            raise Refused(f"shares={self.shares}: needs one share for each of the {len(self.data)} runs in data")
        if self.shares and (min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6):
            raise Refused(f"shares={self.shares}: must be above 0 and sum to 1")

    def _check_reinforcement(self) -> None:
        if self.data:
            raise Refused(
                f"data={self.data}: reinforcement asks the queries of reinforcement.scenario; leave data empty"
            )
        if self.method == "full" or self.is_sharded or self.compile or self.liger or self.packing:
            raise Refused(
                "objective=reinforcement: takes method=lora or qlora, parallel=ddp or layers, and no compile, liger or packing"
            )
        if self.attention == "varlen":
            raise Refused("objective=reinforcement: attention=varlen cannot sample; leave attention=null")
        for item in fields(self):
            if item.name in OF_RECORDS and getattr(self, item.name) != item.default:
                raise Refused(f"objective=reinforcement: {item.name} does nothing here; leave it at {item.default}")
        at_once = min(self.reinforcement.micro_batch_replies, self.batch_size)
        if self.reinforcement.method == "dpo" and self.batch_size % at_once:
            raise Refused(
                f"batch_size={self.batch_size}: is no multiple of reinforcement.micro_batch_replies={at_once}, the pairs"
                " that are learned from at once"
            )

    def _check_combinations(self) -> None:
        if self.start and self.method == "full":
            raise Refused("start: method=full trains every weight and no adapter; use lora or qlora")
        if self.method == "qlora" and self.parallel == "zero3":
            raise Refused(
                "method=qlora parallel=zero3: DeepSpeed cannot shard weights in 4 bits here; use parallel=fsdp"
            )
        if self.method == "qlora" and self.lora.dora:
            raise Refused("method=qlora lora.dora=true: choose one of the two")
        if self.is_sharded and self.lora.dora:
            raise Refused(f"lora.dora=true parallel={self.parallel}: DoRA needs whole weights; use parallel=ddp")
        if self.parallel == "zero3" and self.compile:
            raise Refused(
                "compile=true parallel=zero3: DeepSpeed gathers weights where a compiled layer cannot; use fsdp"
            )
        if self.parallel == "layers" and (self.processes or 1) > 1:
            raise Refused(f"parallel=layers processes={self.processes}: layers are dealt out by a single process")

    @property
    def is_sharded(self) -> bool:
        """Whether each of several processes is to hold a part of every weight only."""
        return self.parallel in ("fsdp", "zero3")


register_schema("train", TrainConfig)
