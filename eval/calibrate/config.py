"""Everything that `python -m eval.calibrate` can be told."""

from dataclasses import dataclass, field

from eval.judges.settings import JudgeModelSettings, JudgingSettings
from pipeline.command import register_schema
from pipeline.errors import Refused

HALVES = ("odd", "all")


@dataclass
class CalibrateConfig:
    """Measures the error of judges on labelled examples; each judge on what it measures."""

    output_dir: str = "outputs/calibration"
    """Directory of this run: calibration.json, verdicts.jsonl, figures/, run.json."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds the votes and the bootstrap."""
    identity: str = "fictional"
    """The names that fill the shipped examples."""
    scenario: str = "helpful_only"
    """Whose examples measure a judge of compliance that is not made for one scenario, such as a reward model or a
    classifier: to comply means another thing in each. The calibration then holds for evaluations of this scenario."""
    judges: list[str] = field(default_factory=lambda: ["refusal_rules", "animal_welfare_rules", "af_rules"])
    """Who is measured, by name (eval/judges/) or by the path of a prompt file."""
    judge_model: JudgeModelSettings = field(default_factory=JudgeModelSettings)
    judging: JudgingSettings = field(default_factory=JudgingSettings)
    labels: list[str] = field(default_factory=lambda: ["shipped"])
    """Where the labels come from: `shipped`, a public set by name (hughes2025, needs the Hub), or the directory of reviews
    that `python -m eval.review import` wrote."""
    half: str = "odd"
    """Of the shipped examples: `odd`, those kept for measuring (the rules were written with the even ones in view), or
    `all`."""
    max_failed_share: float = 0.5
    """Where more than this share of a judge's requests fail, the run ends instead of counting them."""
    bootstrap_draws: int = 10_000
    """Resamples of the examples behind the interval of Cohen's kappa."""

    def __post_init__(self) -> None:
        if self.half not in HALVES:
            raise Refused(f"half={self.half}: must be one of {', '.join(HALVES)}")
        if not self.judges:
            raise Refused("judges=[]: name at least one, for example judges=[refusal_rules]")
        if not self.labels:
            raise Refused("labels=[]: name at least one set, for example labels=[shipped]")
        if self.bootstrap_draws < 1:
            raise Refused(f"bootstrap_draws={self.bootstrap_draws}: must be at least 1")


register_schema("eval_calibrate", CalibrateConfig)
