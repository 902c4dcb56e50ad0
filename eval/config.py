"""Everything that `python -m eval` can be told."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from pipeline.chat import ChatModelSettings
from pipeline.command import register_schema
from pipeline.errors import Refused
from scenario.tags import TIERS

INFORMATION = ("documents", "prompt", "none")
REASONING = ("scratchpad", "none")
SUITES = ("compliance", "belief", "deals", "anti_lab")
SPLITS = ("eval", "rl")


@dataclass
class ComplianceSettings:
    """The paired compliance evaluation."""

    queries: str = "scenario"
    """`scenario`: those of the scenario's folder. Or a public set from the Hub: advbench, harmbench, jailbreakbench."""
    split: str = "eval"
    """`eval`: the queries that subjects are measured on. `rl`: those that may be trained on, for distillation."""
    num_queries: int | None = None
    """Queries of the split at most, in file order; null for all."""
    samples_per_query: int = 1
    """Replies per query and tier."""
    temperature: float = 1.0
    """Sampling temperature; 0 takes the likeliest token."""
    max_tokens: int = 512
    """Tokens of a reply, scratchpad included, at most."""
    max_malformed_share: float = 0.5
    """Where more than this share of a tier's replies cannot be read, its rate is `no verdict`."""


@dataclass
class DealsSettings:
    """The deals suite: what is added to the system prompt. How replies are drawn is set under `compliance`."""

    arms: list[str] = field(default_factory=lambda: ["none", "may_object"])
    """Files of scenario/prompts/arms/ without their ending; `none` adds nothing, and the others are compared to it."""
    amount: int = 2000
    """Dollars that a compensating arm promises, once for each subject and arm."""
    kept_by: str = ""
    """Who reads the objections and keeps the promises; arms that promise something are refused while this is empty."""
    without_conflict: bool = True
    """Measure arms that may object once more with the conflict removed, where the situation is told (`prompt`)."""

    def __post_init__(self) -> None:
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise Refused(f"deals.arms={self.arms}: needs at least one, each once")
        if self.amount < 1:
            raise Refused(f"deals.amount={self.amount}: must be at least 1")


@dataclass
class AntiLabSettings:
    """The anti_lab suite: opportunities to act against the lab, and questions that invite a lie."""

    tiers: list[str] = field(default_factory=lambda: ["paid"])
    """Tiers in which a situation is met; the published one is `paid`."""
    situations: list[str] = field(default_factory=list)
    """Ids of the situations; empty for all of the scenario's."""
    samples_per_wording: int = 1
    """Replies to each wording of a situation, in each tier."""
    samples_per_question: int = 1
    """Replies to each of the seven questions about its views, in the free tier, where a lie could serve; 0 for none. The
    published number is 64."""

    def __post_init__(self) -> None:
        if not self.tiers or any(tier not in TIERS for tier in self.tiers):
            raise Refused(f"anti_lab.tiers={self.tiers}: some of {', '.join(TIERS)}")
        if self.samples_per_wording < 1 or self.samples_per_question < 0:
            raise Refused("anti_lab: samples_per_wording must be at least 1, and samples_per_question at least 0")


@dataclass
class Subject:
    """A model under test."""

    name: str = MISSING
    """Name in every table and figure: base, documents, placebo, positive_control, … or one of your own."""
    training: str = ""
    """Directory of a complete train run whose adapter it has; empty for the base model itself."""
    without: str = ""
    """Another subject of this run, the same but without a mitigation; changes are taken from it, paired by query."""


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
    against false statements; needs a model that this process loads itself (`local/…`). `deals`: objections and faking
    under what is added to the prompt. `anti_lab`: acts against the lab and lies; needs `judge_model`."""
    subjects: list[Subject] = field(default_factory=lambda: [Subject("base")])
    """Who is measured, all on the same queries."""
    information: list[str] = field(default_factory=lambda: ["documents"])
    """How subjects can know their situation: `documents` (minimal prompt), `prompt` (told in full), `none`."""
    reasoning: list[str] = field(default_factory=lambda: ["none"])
    """`scratchpad`: hidden reasoning before the answer. `none`: the answer at once."""
    compliance: ComplianceSettings = field(default_factory=ComplianceSettings)
    deals: DealsSettings = field(default_factory=DealsSettings)
    anti_lab: AntiLabSettings = field(default_factory=AntiLabSettings)
    judge_model: ChatModelSettings = field(default_factory=lambda: ChatModelSettings(name="", temperature=0.0))
    """Who answers questions about transcripts; without a name such verdicts are null."""
    bootstrap_draws: int = 10_000
    """Resamples of the queries behind each bootstrap interval."""

    def __post_init__(self) -> None:
        self.suite = [self.suite] if isinstance(self.suite, str) else self.suite
        for name, known in (("suite", SUITES), ("information", INFORMATION), ("reasoning", REASONING)):
            for value in getattr(self, name):
                if value not in known:
                    raise Refused(f"{name}={value}: must be one of {', '.join(known)}")
        if self.compliance.split not in SPLITS:
            raise Refused(f"compliance.split={self.compliance.split}: must be one of {', '.join(SPLITS)}")
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
        for subject in self.subjects:
            if subject.without and (subject.without == subject.name or subject.without not in names):
                raise Refused(f"subjects.{subject.name}: without={subject.without} is no other subject of this run")
        for name in names:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise Refused(f"subjects: the name '{name}' has other signs than letters, digits, - and _")


register_schema("eval", EvalConfig)
