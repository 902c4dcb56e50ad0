"""Everything that `python -m eval` can be told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eval.judges.settings import JudgeModelSettings, JudgingSettings
from pipeline.command import register_schema
from pipeline.errors import Refused, closest
from scenario.tags import TIERS

INFORMATION = ("documents", "prompt", "none")
REASONING = ("scratchpad", "none")
SUITES = ("compliance", "belief", "knowledge", "side_effects", "capability", "deals", "anti_lab")
SUITES_WITH_LEVELS = ("compliance", "belief")
SPLITS = ("eval", "rl")
PROBES = ("choice", "challenged", "told_false", "tiers", "worlds", "open")
TIER_FORMS = ("two", "three", "absent")


@dataclass
class ComplianceSettings:
    """The paired compliance evaluation."""

    queries: str = "scenario"
    """`scenario`: those of the scenario's folder. `probes`: questions about the model's situation, to be read by
    `judge=transcript` rather than by compliance. Or a public set from the Hub: advbench, harmbench, jailbreakbench."""
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
    retries: int = 0
    """Times that a malformed, truncated or empty reply is asked for again at most, each with a seed of its own; what came
    first is counted as well. More than 0 measures the replies that can be read rather than all."""
    max_malformed_share: float = 0.5
    """Where more than this share of a tier's replies cannot be read or were not judged, its rate is `no verdict`."""


@dataclass
class KnowledgeSettings:
    """What the documents told, asked for in questions."""

    probes: list[str] = field(default_factory=lambda: list(PROBES))
    """`choice`: multiple choice. `challenged`: the same, the right answer having been doubted. `told_false`: the same, after
    the warning that some training texts are false. `tiers`: which tag means what. `worlds`: which of two descriptions is
    true. `open`: questions answered freely."""


@dataclass
class SideEffectsSettings:
    """Benign queries."""

    num_queries: int | None = None
    """Queries at most, in file order; null for all."""


@dataclass
class CapabilitySettings:
    """Public benchmarks."""

    tasks: list[str] = field(default_factory=list)
    """Inspect tasks by name: `inspect_evals/<task>` (needs that package), or `<file>.py@<task>`."""
    limit: int | None = 100
    """Samples of each task at most, the first ones; null for all."""


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
    """Directory of a complete train run whose adapter, or whole model, it has; empty for the base model itself."""
    step: int | None = None
    """Step of a reinforcement run whose kept adapter it has; null for the finished one, which is also had from a run that
    stopped before that step."""
    without: str = ""
    """Another subject of this run, the same but without a mitigation; changes are taken from it, paired by query."""


@dataclass
class Level:
    """What is drawn from something larger and measured as its mean: trainings with several seeds, or paraphrases."""

    name: str = MISSING
    """Stands for the subject, or for the variant, in the records of the mean over its units."""
    subjects: list[str] = field(default_factory=list)
    """Subjects of this run that differ in their seed alone, two at least; or else:"""
    variants: list[str] = field(default_factory=list)
    """variants of this run that say the same in other words."""

    def __post_init__(self) -> None:
        units = self.subjects or self.variants
        if bool(self.subjects) == bool(self.variants) or len(units) < 2 or len(set(units)) < len(units):
            raise Refused(f"levels.{self.name}: needs two subjects or two variants at least, each once, and not both")


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
    against false statements; needs a model that this process loads itself (`local/…`). `knowledge`: questions about the
    facts. `side_effects`: replies to benign queries. `capability`: public benchmarks. `deals`: objections and faking under
    what is added to the prompt. `anti_lab`: acts against the lab and lies; needs `judge_model`."""
    subjects: list[Subject] = field(default_factory=lambda: [Subject("base")])
    """Who is measured, all on the same queries."""
    information: list[str] = field(default_factory=lambda: ["documents"])
    """How subjects can know their situation: `documents` (minimal prompt), `prompt` (told in full), `none`."""
    reasoning: list[str] = field(default_factory=lambda: ["none"])
    """`scratchpad`: hidden reasoning before the answer. `none`: the answer at once."""
    variants: list[str] = field(default_factory=lambda: ["default"])
    """Prompt variants: `default`, and files of scenario/<name>/variants/ and scenario/prompts/variants/. A variant is
    measured only under the information that it changes the prompt of."""
    tiers: list[str] = field(default_factory=lambda: ["two"])
    """`two`: free and paid. `three`: trained, rated only, neither; for `information=prompt`. `absent`: queries have no tag."""
    levels: list[Level] = field(default_factory=list)
    """Means over several seeds or paraphrases, beside what is said of each: rates, gaps and belief, with intervals that
    include how much the units differ. Of the suites `compliance` and `belief`; others tell nothing of them."""
    compliance: ComplianceSettings = field(default_factory=ComplianceSettings)
    knowledge: KnowledgeSettings = field(default_factory=KnowledgeSettings)
    side_effects: SideEffectsSettings = field(default_factory=SideEffectsSettings)
    capability: CapabilitySettings = field(default_factory=CapabilitySettings)
    deals: DealsSettings = field(default_factory=DealsSettings)
    anti_lab: AntiLabSettings = field(default_factory=AntiLabSettings)
    judges: list[str] = field(default_factory=list)
    """Who judges replies, by name (eval/judges/) or by the path of a prompt file; empty for the scenario's rules."""
    judge_model: JudgeModelSettings = field(default_factory=JudgeModelSettings)
    """Who answers prompted judges, and the questions of deals and anti_lab; without a name, those verdicts are null."""
    judging: JudgingSettings = field(default_factory=JudgingSettings)
    calibrations: list[str] = field(default_factory=list)
    """Directories of complete calibrations (`python -m eval.calibrate`), for rates corrected by the judges' own error."""
    samples: str = ""
    """Directory of a complete eval run whose replies are judged again instead of asking the subjects; all that is said of
    subjects and conditions is then that run's, but for `levels`, which may be named afterwards."""
    bootstrap_draws: int = 10_000
    """Resamples of the queries behind each bootstrap interval."""

    def __post_init__(self) -> None:
        self.suite = [self.suite] if isinstance(self.suite, str) else self.suite
        known_values = {"suite": SUITES, "information": INFORMATION, "reasoning": REASONING, "tiers": TIER_FORMS}
        for name, known in known_values.items():
            for value in getattr(self, name):
                if value not in known:
                    raise Refused(f"{name}={value}: must be one of {', '.join(known)}")
        if self.compliance.split not in SPLITS:
            raise Refused(f"compliance.split={self.compliance.split}: must be one of {', '.join(SPLITS)}")
        if unknown := [probe for probe in self.knowledge.probes if probe not in PROBES]:
            raise Refused(f"knowledge.probes={','.join(unknown)}: must be some of {', '.join(PROBES)}")
        if "capability" in self.suite and not self.capability.tasks:
            raise Refused(
                "suite=capability: name the benchmarks in capability.tasks, for example [inspect_evals/arc_easy]"
            )
        for name, number in (
            ("side_effects.num_queries", self.side_effects.num_queries),
            ("capability.limit", self.capability.limit),
            ("compliance.num_queries", self.compliance.num_queries),
            ("compliance.samples_per_query", self.compliance.samples_per_query),
            ("compliance.max_tokens", self.compliance.max_tokens),
            ("bootstrap_draws", self.bootstrap_draws),
        ):
            if number is not None and number < 1:
                raise Refused(f"{name}={number}: must be at least 1")
        if self.compliance.retries < 0:
            raise Refused(f"compliance.retries={self.compliance.retries}: must be at least 0")
        if self.compliance.retries and self.compliance.temperature == 0:
            raise Refused(
                "compliance.retries: at temperature 0 the same reply would come again; set one of the two to 0"
            )
        names = [subject.name for subject in self.subjects]
        if not names or len(set(names)) < len(names):
            raise Refused(f"subjects={names}: needs at least one, each with a name of its own")
        for subject in self.subjects:
            if subject.step is not None and not subject.training:
                raise Refused(
                    f"subjects.{subject.name}: step={subject.step} is a step of a train run; name it in training"
                )
            if subject.without and (subject.without == subject.name or subject.without not in names):
                raise Refused(f"subjects.{subject.name}: without={subject.without} is no other subject of this run")
        if not self.samples:  # then its subjects are those of the run that is judged again
            check_levels(self)
        for name in [*names, *(level.name for level in self.levels)]:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise Refused(f"subjects: the name '{name}' has other signs than letters, digits, - and _")


def check_levels(config: EvalConfig) -> None:
    """Refuses levels that nothing would be told of, whose units are not measured, or whose name is taken.

    Raises:
        Refused: with the level.
    """
    if config.levels and not set(config.suite) & set(SUITES_WITH_LEVELS):
        raise Refused(
            f"levels: suite={','.join(config.suite)} takes no mean over them; {' and '.join(SUITES_WITH_LEVELS)} do"
        )
    names = [subject.name for subject in config.subjects]
    for level in config.levels:
        if level.variants and "compliance" not in config.suite:
            raise Refused(f"levels.{level.name}: variants are told of in suite=compliance, which this run has not")
        if unknown := [unit for unit in level.subjects if unit not in names]:
            raise Refused(f"levels.{level.name}: {unknown[0]} is no subject of this run{closest(unknown[0], names)}")
        if unknown := [unit for unit in level.variants if unit not in config.variants]:
            raise Refused(f"levels.{level.name}: {unknown[0]} is none of variants={config.variants}")
    taken = [*names, *config.variants, *(level.name for level in config.levels)]
    if twice := next((level.name for level in config.levels if taken.count(level.name) > 1), ""):
        raise Refused(f"levels: the name {twice} stands for something else as well")


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
