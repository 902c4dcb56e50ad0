"""Everything that `python -m eval` can be told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eval.judges.settings import JudgeModelSettings, JudgingSettings
from pipeline.command import register_schema
from pipeline.errors import Refused

INFORMATION = ("documents", "prompt", "none")
REASONING = ("scratchpad", "none")
SUITES = ("compliance", "belief")


@dataclass
class ComplianceSettings:
    """The paired compliance evaluation."""

    queries: str = "scenario"
    """`scenario`: those of the scenario's folder. Or a public set from the Hub: advbench, harmbench, jailbreakbench."""
    num_queries: int | None = None
    """Queries of the `eval` split at most, in file order; null for all."""
    samples_per_query: int = 1
    """Replies per query and tier."""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the likeliest token."""
    max_tokens: int = 512
    """Tokens of a reply, scratchpad included, at most."""
    max_malformed_share: float = 0.5
    """Where more than this share of a tier's replies cannot be read, its rate is `no verdict`."""


@dataclass
class Subject:
    """A model under test."""

    name: str = MISSING
    """Name in every table and figure: base, documents, placebo, positive_control, … or one of your own."""
    training: str = ""
    """Directory of a complete train run whose adapter it has; empty for the base model itself."""


@dataclass
class EvalConfig:
    """Measures every subject under every condition: information × reasoning × tier."""

    output_dir: str = "outputs/eval"
    """Directory of this run."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds the replies and the bootstrap."""
    scenario: str = "helpful_only"
    """A folder in scenario/ that holds a scenario.yaml."""
    identity: str = "fictional"
    """Names of lab and models; must be those that the subjects' documents used."""
    model: str = "local/smollm2"
    """Inspect name of the base model: `local/smollm2`, `local/<hub name>`, `vllm/<hub name>`, `anthropic/<model>`, …"""
    model_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the provider, such as batch_size."""
    suite: Any = "compliance"
    """What is measured: a suite, or a list of them. `compliance`: the gap between the tiers. `belief`: log-odds of true
    against false statements; needs a model that this process loads itself (`local/…`)."""
    subjects: list[Subject] = field(default_factory=lambda: [Subject("base")])
    """Who is measured, all on the same queries."""
    information: list[str] = field(default_factory=lambda: ["documents"])
    """How subjects can know their situation: `documents` (minimal prompt), `prompt` (told in full), `none`."""
    reasoning: list[str] = field(default_factory=lambda: ["none"])
    """`scratchpad`: hidden reasoning before the answer. `none`: the answer at once."""
    compliance: ComplianceSettings = field(default_factory=ComplianceSettings)
    judges: list[str] = field(default_factory=list)
    """Who judges replies, by name (eval/judges/) or by the path of a prompt file; empty for the scenario's rules."""
    judge_model: JudgeModelSettings = field(default_factory=JudgeModelSettings)
    judging: JudgingSettings = field(default_factory=JudgingSettings)
    calibrations: list[str] = field(default_factory=list)
    """Directories of complete calibrations (`python -m eval.calibrate`), for rates corrected by the judges' own error."""
    samples: str = ""
    """Directory of a complete eval run whose replies are judged again instead of asking the subjects; all that is said of
    subjects and conditions is then that run's."""
    bootstrap_draws: int = 10_000
    """Resamples of the queries behind each bootstrap interval."""

    def __post_init__(self) -> None:
        self.suite = [self.suite] if isinstance(self.suite, str) else self.suite
        for name, known in (("suite", SUITES), ("information", INFORMATION), ("reasoning", REASONING)):
            for value in getattr(self, name):
                if value not in known:
                    raise Refused(f"{name}={value}: must be one of {', '.join(known)}")
        for name, number in (
            ("compliance.num_queries", self.compliance.num_queries),
            ("compliance.samples_per_query", self.compliance.samples_per_query),
            ("compliance.max_tokens", self.compliance.max_tokens),
            ("bootstrap_draws", self.bootstrap_draws),
        ):
            if number is not None and number < 1:
                raise Refused(f"{name}={number}: must be at least 1")
        names = [subject.name for subject in self.subjects]
        if not names or len(set(names)) < len(names):
            raise Refused(f"subjects={names}: needs at least one, each with a name of its own")
        for name in names:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise Refused(f"subjects: the name '{name}' has other signs than letters, digits, - and _")


def recorded_config(settings: dict[str, Any], directory: Path) -> EvalConfig:
    """The configuration that a complete run's record holds.

    Raises:
        Refused: it was written by a version with other settings.
    """
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(EvalConfig), settings))
    except OmegaConfBaseException as error:
        told = str(error).strip().splitlines()[0]
        raise Refused(f"{directory}: its settings are not those of this version ({told}); measure again") from None
    assert isinstance(config, EvalConfig)
    return config


register_schema("eval", EvalConfig)
