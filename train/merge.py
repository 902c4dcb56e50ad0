"""`python -m train.merge <training> <directory>`: base and adapter as one ordinary checkpoint, for whatever serves it.

The directory gets safetensors, tokenizer, a card, and a `run.json` that says of which training it is. The sum is taken in
float32 and rounded once.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifact import Run, open_run, read_run, working, write_text
from pipeline.command import exit_codes
from pipeline.directories import MARKS
from pipeline.errors import Refused
from train.config import CHOICES, TrainConfig


@dataclass
class MergeConfig:
    """What is merged, into where."""

    training: str
    """Directory of a complete training run."""
    output_dir: str
    """Directory of the merged checkpoint."""
    precision: str = "bfloat16"
    """Of the weights that are written."""
    overwrite: bool = False
    """Remove another merged checkpoint that stands in output_dir."""


def main() -> None:
    """Parses the arguments and merges; exits with 2 where there is nothing to merge."""
    parser = argparse.ArgumentParser(prog="python -m train.merge", description=__doc__)
    parser.add_argument("training", help="directory of a complete training run")
    parser.add_argument("directory", help="where the merged checkpoint goes")
    parser.add_argument("--precision", choices=CHOICES["precision"], default="bfloat16")
    parser.add_argument("--overwrite", action="store_true", help="remove another checkpoint that stands there")
    arguments = parser.parse_args()
    config = MergeConfig(arguments.training, arguments.directory, arguments.precision, arguments.overwrite)
    with exit_codes("train.merge", TrainConfig):
        merge(config)


def merge(config: MergeConfig) -> None:
    """Writes the merged checkpoint, or finds it complete and says so.

    Raises:
        Refused: the training is not complete, or trained every weight, so that its `model/` is a checkpoint already.
    """
    run = open_run("merge", config, {"training": Path(config.training)})
    if run.is_complete:
        print(f"train.merge: {run.directory} is already complete")
        return
    with working(run):
        _write(config, run)


def _write(config: MergeConfig, run: Run) -> None:
    record = read_run(config.training, "train")
    base = record.config["model"]
    if record.config["method"] == "full":
        raise Refused(f"{config.training}: trained every weight; {config.training}/model is a checkpoint already")
    import torch

    from pipeline.language_model import load_subject, load_tokenizer

    # where nothing is generated a GPU would save little, and in float32 a large model fits on none
    model = load_subject(base, Path(config.training) / "adapter", config.precision, device=torch.device("cpu"))
    model.save_pretrained(str(run.directory), safe_serialization=True)
    tokenizer = load_tokenizer(base, revision=record.config["model_revision"])
    tokenizer.save_pretrained(str(run.directory))
    run.notes |= {"model": base, "model_revision": record.notes["model_revision"]}
    card = (Path(config.training) / "README.md").read_text(encoding="utf-8")
    card = re.sub(r"!\[\w+\]\(\w+\.svg\)\n", "", card.replace("library_name: peft", "library_name: transformers"))
    write_text(run.path("README.md"), card.replace("\n# LoRA adapter", "\n# Merged base and LoRA adapter"))
    written = sorted(file.name for file in run.directory.iterdir() if file.name not in MARKS)
    run.finish(written)
    print(f"train.merge: {base} with {config.training} -> {run.directory}")


if __name__ == "__main__":
    main()
