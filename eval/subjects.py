"""Where the adapter of a subject stands: that of a finished training, or one that was kept along its way."""

from pathlib import Path

from eval.config import Subject
from pipeline.artifact import read_run
from pipeline.errors import Refused


def adapter_of(subject: Subject) -> Path | None:
    """The folder of a subject's adapter; None for the base model.

    Raises:
        Refused: the training is not complete, or kept no adapter at that step.
    """
    if not subject.training:
        return None
    directory = Path(subject.training)
    notes = read_run(directory, "train").notes
    if subject.step is None or notes.get("num_steps", subject.step + 1) <= subject.step:  # it had stopped by then
        return directory / "adapter"
    kept = notes.get("kept_steps", [])
    if subject.step not in kept:
        known = ", ".join(map(str, kept)) or "none; train it with reinforcement.keep_every"
        raise Refused(f"subjects.{subject.name}: {directory} kept no adapter at step {subject.step}; kept: {known}")
    return directory / "steps" / str(subject.step) / "adapter"
