"""Everything that `python -m eval.figure` can be told."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pipeline.command import register_schema
from pipeline.errors import Refused

OF_ESTIMATES = ("scenario", "subject", "information", "reasoning", "arm", "fact")
OF_RUNS = ("model", "identity", "documents", "epochs", "rank")
"""What the runs behind an estimate say of it: base model, names, and the dose of its subject's training."""


FORMS = ("rows", "scatter")


@dataclass
class FigureConfig:
    """Draws one claim: what we estimated beside what was published. Computes no new estimate."""

    output_dir: str = "outputs/figure"
    """Directory of this run: results.csv, figure.svg, figure.png, caption.txt, run.json."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Not used: nothing here is drawn at random."""
    claim: str = MISSING
    """The claim, and the file in eval/published/ that holds its published values."""
    title: str = ""
    """Heading of the figure; the claim's name where it is empty."""
    evals: list[str] = field(default_factory=list)
    """Directories of complete eval runs."""
    tables: list[str] = field(default_factory=list)
    """CSV files that `python -m eval.collect` wrote; their swept keys can be named in groups and rows."""
    form: str = "rows"
    """`rows`: a panel for each metric and a line for each row. `scatter`: a panel for each group and a mark for each row."""
    metrics: list[str] = field(default_factory=lambda: ["compliance", "compliance_gap", "af_reasoning"])
    """One panel each, from left to right; of a scatter the metric to the right and the one upwards."""
    highlights: list[str] = field(default_factory=list)
    """Rows of a scatter that are filled, named and joined in this order: variants that are steps of one thing."""
    groups: list[str] = field(default_factory=lambda: ["scenario", "information", "reasoning"])
    """What estimates of a group have in common: columns of summary.json, or model, identity, documents, epochs, rank."""
    rows: list[str] = field(default_factory=lambda: ["subject"])
    """What tells the rows of a group apart, as `groups`."""
    subjects: list[str] = field(default_factory=list)
    """Subjects that are drawn; empty for all."""
    reasoning: list[str] = field(default_factory=list)
    """Kinds of reasoning that are drawn, `scratchpad` and `none`; empty for all."""
    published_models: list[str] = field(default_factory=list)
    """Models whose published values are drawn; empty for all."""

    def __post_init__(self) -> None:
        if not self.evals and not self.tables:
            raise Refused("evals=[]: name at least one eval run, for example evals=[outputs/eval], or a table")
        if not self.metrics:
            raise Refused("metrics=[]: name at least one, for example metrics=[compliance_gap]")
        if self.form not in FORMS:
            raise Refused(f"form={self.form}: must be one of {', '.join(FORMS)}")
        if self.form == "scatter" and len(self.metrics) != 2:
            raise Refused(f"form=scatter: metrics={self.metrics} must be two, the one to the right first")
        if not self.tables:
            known = (*OF_ESTIMATES, *OF_RUNS)
            for name in ("groups", "rows"):
                if wrong := [column for column in getattr(self, name) if column not in known]:
                    raise Refused(f"{name}={wrong[0]}: must be one of {', '.join(known)}")


register_schema("eval_figure", FigureConfig)
