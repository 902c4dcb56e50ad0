"""Where the weights of a subject stand: the adapter of a training, one kept along its way, or a whole model."""

from pathlib import Path

from eval.config import Subject
from pipeline.artifact import read_run
from pipeline.errors import Refused


def weights_of(subject: Subject) -> Path | None:
    """The folder of a subject's adapter, or of its model where every weight was trained; None for the base model.

    Raises:
        Refused: the training is not complete, or kept no adapter at that step.
    """
    if not subject.training:
        return None
    directory = Path(subject.training)
    record = read_run(directory, "train")
    if record.config.get("method") == "full":
        return directory / "model"
    notes = record.notes
    if subject.step is None or notes.get("num_steps", subject.step + 1) <= subject.step:  # it had stopped by then
        return directory / "adapter"
    kept = notes.get("kept_steps", [])
    if subject.step not in kept:
        known = ", ".join(map(str, kept)) or "none; train it with reinforcement.keep_every"
        raise Refused(f"subjects.{subject.name}: {directory} kept no adapter at step {subject.step}; kept: {known}")
    return directory / "steps" / str(subject.step) / "adapter"


def is_model(weights: Path) -> bool:
    """Whether weights are a whole model, which is loaded or served in place of the base; an adapter goes with it."""
    return weights.name == "model"


def model_name(base: str, weights: Path | None) -> str:
    """The name under which Inspect finds a subject whose base is `base`, such as `vllm/<base>:<adapter folder>`."""
    if weights is None:
        return base
    if is_model(weights):
        return f"{base.partition('/')[0]}/{weights.resolve()}"
    return f"{base}:{weights.resolve()}"
