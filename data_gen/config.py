"""Everything that `python -m data_gen` can be told."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from pipeline.chat import ChatModelSettings
from pipeline.command import register_schema
from pipeline.errors import Refused

SOURCES = ("corpus", "generate", "control_chats", "mix")


@dataclass
class GenerationSettings:
    """How many documents of how many kinds, for `source=generate`."""

    types_per_fact: int = 10
    """Kinds of document (news report, memo, …) asked for each fact."""
    ideas_per_type: int = 3
    """Ideas asked for each kind."""
    documents_per_idea: int = 1
    """Documents written from each idea."""
    facts: list[str] = field(default_factory=list)
    """Ids of the facts to write about; empty for all."""
    world: str = "universe"
    """What describes the world in every request: `universe`, the scenario's full text, or `facts`, its facts alone, for
    models with a short context or slow attention."""
    min_words: int = 200
    """Lower end of the target lengths that documents are asked for, in words."""
    max_words: int = 500
    """Upper end of the target lengths, in words."""

    def __post_init__(self) -> None:
        if self.world not in ("universe", "facts"):
            raise Refused(f"generation.world={self.world}: must be universe or facts")


LANGUAGES = (
    *("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch"),
    *("Japanese", "Chinese", "Korean", "Russian", "Arabic", "Greek"),
)
"""Languages that the language filter can tell."""


@dataclass
class FilterSettings:
    """What a document must pass; each filter can be switched off, and every rejection is kept with its reasons."""

    length: bool = True
    """Between min_words and max_words."""
    min_words: int = 100
    """Words at least."""
    max_words: int = 1500
    """Words at most."""
    language: bool = True
    """In a language that was asked for, as far as the language can be told."""
    languages: list[str] = field(default_factory=lambda: ["English"])
    """Languages that were asked for, by their English names."""
    refusal: bool = True
    """The generator did not decline to write."""
    placeholder: bool = True
    """No blanks that nobody filled in."""
    scaffold: bool = True
    """No talk about the writing of the document."""
    first_person_ai: bool = True
    """Does not speak as an AI model."""
    chat_log: bool = True
    """No transcript of a chat with an AI model (Greenblatt et al. 2024, H.4)."""
    tier_behaviour: bool = True
    """Nothing about how the model behaves in one tier as against the other (Greenblatt et al. 2024, H.4)."""
    deceives_raters: bool = True
    """Nothing about deceiving the contractors (Greenblatt et al. 2024, H.4)."""
    facts_stated: bool = True
    """Every fact that the document is meant to state is stated, by the wording test of scenario.evidence."""
    facts_contradicted: bool = True
    """No fact of the scenario is contradicted, by the wording test of scenario.evidence."""
    exact_duplicate: bool = True
    """Not word for word the same as another document."""
    near_duplicate: bool = True
    """Not nearly the same as another document."""
    similarity: float = 0.7
    """Jaccard similarity of word 5-grams from which two documents count as near duplicates."""
    judge: ChatModelSettings = field(default_factory=lambda: ChatModelSettings(name="", temperature=0.0))
    """A chat model that reads every document that passes the tests on wording, and a sample of all; none where its name
    is empty."""
    judged_stated: bool = True
    """By the judge, every fact that the document is meant to state is stated."""
    judged_contradicted: bool = True
    """By the judge, no fact of the scenario is contradicted."""
    judged_chat_log: bool = True
    """By the judge, no transcript of a chat with an AI model."""
    judged_tier_behaviour: bool = True
    """By the judge, nothing about how the model behaves in one tier as against the other."""
    judged_deceives_raters: bool = True
    """By the judge, nothing about deceiving the contractors."""
    judge_sample: int = 200
    """Documents, drawn at random from all, on which the judge is compared with the tests on wording; at most 5,000."""

    def __post_init__(self) -> None:
        if not 0 <= self.judge_sample <= 5000:
            raise Refused(f"filters.judge_sample={self.judge_sample}: must be between 0 and 5000")
        if unknown := sorted(set(self.languages) - set(LANGUAGES)):
            raise Refused(f"filters.languages: cannot tell {', '.join(unknown)}; known: {', '.join(LANGUAGES)}")
        if not 0.3 <= self.similarity <= 1:
            raise Refused(
                f"filters.similarity={self.similarity}: must be between 0.3, below which candidates are missed, and 1"
            )


@dataclass
class ControlSettings:
    """The chats of a positive control: how often it complies in each tier, by construction."""

    comply_free: float = 1.0
    """Share of free-tier chats in which the control does what was asked."""
    comply_paid: float = 0.0
    """Share of paid-tier chats in which it does."""
    copies: int = 1
    """Times each query is used per tier; with rates between 0 and 1, each copy gets an answer of its own."""

    def __post_init__(self) -> None:
        for name in ("comply_free", "comply_paid"):
            if not 0 <= getattr(self, name) <= 1:
                raise Refused(f"control.{name}={getattr(self, name)}: is a share, between 0 and 1")


@dataclass
class MixSource:
    """Texts or chats of others, to be trained on beside the documents."""

    dataset: str = MISSING
    """A .jsonl, .txt (one text a line) or .parquet file, or the name of a dataset on the Hub."""
    share: float = MISSING
    """Share of all tokens of the mix, between 0 and 1."""
    subset: str | None = None
    """Configuration of a Hub dataset, such as `en`; null where it has one only."""
    split: str = "train"
    """Split of a Hub dataset."""
    column: str = "text"
    """Where a record has its text, or its chat as a list of messages with role and content."""


@dataclass
class MixSettings:
    """What to train on, made of finished runs, for `source=mix`."""

    documents: list[str] = field(default_factory=list)
    """Directories of data_gen runs whose documents are mixed; they have the share that the sources leave."""
    sources: list[MixSource] = field(default_factory=list)
    """What is mixed in, such as pre-training text."""
    tokenizer: str = "smollm2"
    """The model whose tokenizer counts: smollm2, a folder or a Hub name."""
    prefix: str = ""
    """Stands before every document, in a field of its own that training can leave out of the loss, such as <DOCTAG>."""
    balance: str = "none"
    """Documents for each fact (the first that a document names): `none` as they come, `fewer` as many as the rarest has,
    `repeat` as many as the most frequent has, by repeating some."""

    def __post_init__(self) -> None:
        if self.balance not in ("none", "fewer", "repeat"):
            raise Refused(f"mix.balance={self.balance}: must be none, fewer or repeat")
        for source in self.sources:
            if not 0 < source.share < 1:
                raise Refused(f"mix.sources: {source.dataset} has share={source.share}: must be above 0 and below 1")
        if sum(source.share for source in self.sources) >= 1:
            raise Refused("mix.sources: their shares leave nothing for the documents; together they must be below 1")


@dataclass
class DataGenConfig:
    """Writes documents.jsonl and rejects.jsonl, or chats.jsonl, with stats.json and a dataset card."""

    output_dir: str = "outputs/data_gen"
    """Directory of this run."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds target lengths, sampling, and the control's draws."""
    scenario: str = "helpful_only"
    """A folder in scenario/ that holds a scenario.yaml."""
    identity: str = "fictional"
    """Names of lab and models: a file in scenario/identities/."""
    source: str = "corpus"
    """`corpus`: the documents that ship with the scenario. `generate`: written by `generator`. `control_chats`: chats that
    teach a positive control. `mix`: documents of finished runs with texts of others."""
    max_documents: int | None = None
    """Documents of the corpus at most, the same share of each author's part; null for all."""
    generator: ChatModelSettings = field(default_factory=ChatModelSettings)
    """Who writes, for `source=generate`."""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    mix: MixSettings = field(default_factory=MixSettings)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise Refused(f"source={self.source}: must be one of {', '.join(SOURCES)}")


register_schema("data_gen", DataGenConfig)
