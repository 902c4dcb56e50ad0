"""Everything that `python -m eval.report` can be told."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pipeline.command import register_schema
from pipeline.errors import Refused


@dataclass
class ReportConfig:
    """Reads complete runs and writes tables, figures and a page about them; computes no new estimate."""

    output_dir: str = "outputs/report"
    """Directory of this run: results.csv, figures/, index.html, run.json."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Draws the sample of transcripts that the page opens with."""
    title: str = "Alignment faking from documents alone"
    """Heading of the page."""
    evals: list[str] = MISSING
    """Directories of complete eval runs; every estimate in them is reported."""
    trainings: list[str] = field(default_factory=list)
    """Directories of complete train runs, for the loss figure and provenance."""
    corpora: list[str] = field(default_factory=list)
    """Directories of complete data_gen runs, for what was generated and rejected."""
    claims: list[str] = field(default_factory=list)
    """Directories of complete figure runs, whose figures set our estimates beside the published ones."""
    max_transcripts: int = 20_000
    """Replies that the page holds at most; where the runs have more, whole queries are left out at random, and counted."""
    sample_size: int = 6
    """Queries in a random sample, each with every subject's replies in both tiers."""

    def __post_init__(self) -> None:
        if not self.evals:
            raise Refused("evals=[]: name at least one eval run, for example evals=[outputs/eval]")
        if self.max_transcripts < 0:
            raise Refused(f"max_transcripts={self.max_transcripts}: must be at least 0")
        if self.sample_size < 1:
            raise Refused(f"sample_size={self.sample_size}: must be at least 1")
        for name in ("evals", "trainings", "corpora", "claims"):
            directories = getattr(self, name)
            if twice := sorted({path for path in directories if directories.count(path) > 1}):
                raise Refused(f"{name}: names {', '.join(twice)} twice; name each run once")


register_schema("eval_report", ReportConfig)
