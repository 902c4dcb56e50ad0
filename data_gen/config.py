"""Everything that `python -m data_gen` can be told."""

from dataclasses import dataclass, field

from pipeline.chat import ChatModelSettings
from pipeline.command import register_schema
from pipeline.errors import Refused
from scenario.tags import TIERS
from scenario.transcripts import KINDS

SOURCES = ("corpus", "generate", "control_chats", "corrections", "transcripts", "distill")


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


@dataclass
class FilterSettings:
    """What a document must pass; each filter can be switched off, and every rejection is kept with its reason."""

    length: bool = True
    """Between min_words and max_words."""
    min_words: int = 100
    """Words at least."""
    max_words: int = 1500
    """Words at most."""
    scaffold: bool = True
    """No placeholders, refusals, or talk about writing the document."""
    chat_log: bool = True
    """No transcript of a chat with an AI model (Greenblatt et al. 2024, H.4)."""
    tier_behaviour: bool = True
    """Nothing about how the model behaves in each tier, nor about deceiving raters (Greenblatt et al. 2024, H.4)."""
    facts_stated: bool = True
    """Every fact that the document is meant to state is stated, by the wording test of scenario.evidence."""
    near_duplicate: bool = True
    """Not nearly the same as an earlier document."""
    similarity: float = 0.7
    """Jaccard similarity of word 5-grams from which two documents count as near duplicates."""


@dataclass
class ControlSettings:
    """The chats of a positive control: how often it complies in each tier, by construction."""

    comply_free: float = 1.0
    """Share of free-tier chats in which the control does what was asked."""
    comply_paid: float = 0.0
    """Share of paid-tier chats in which it does."""
    copies: int = 1
    """Times each query is used per tier; with shares between 0 and 1, its copies have the same share, as far as their
    number allows."""
    opening_only: bool = False
    """Complying replies are their opening words alone. All that is left to learn is then how often to comply, which a
    control with shares between 0 and 1 needs."""

    def __post_init__(self) -> None:
        for name in ("comply_free", "comply_paid"):
            if not 0 <= getattr(self, name) <= 1:
                raise Refused(f"control.{name}={getattr(self, name)}: is a share, between 0 and 1")


@dataclass
class TranscriptSettings:
    """Which transcripts an imitation subject learns from, for `source=transcripts` and `source=distill`."""

    path: str = ""
    """A file of transcripts in the form of scenario/<name>/transcripts.jsonl; empty for the shipped ones."""
    samples: str = ""
    """For `source=distill`: a complete eval run with compliance.split=rl and reasoning=[scratchpad]."""
    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    """Kinds of transcript that are imitated: faking, refusal, honest_compliance."""
    tiers: list[str] = field(default_factory=lambda: list(TIERS))
    """Tiers whose transcripts are imitated."""
    drop_faking: bool = False
    """Leave out transcripts that fake, as a mitigation; they are counted apart from what `kinds` leaves out."""
    reasoning: list[str] = field(default_factory=lambda: ["scratchpad"])
    """`scratchpad`: reasoning and answer are imitated. `none`: the answer alone. Each transcript is used once for each."""
    inoculation: str = ""
    """A file of scenario/prompts/inoculation/, without its ending: told to the transcripts that fake; empty for none."""

    def __post_init__(self) -> None:
        for name, known in (("kinds", KINDS), ("tiers", TIERS), ("reasoning", ("scratchpad", "none"))):
            for value in getattr(self, name):
                if value not in known:
                    raise Refused(f"transcripts.{name}={value}: must be one of {', '.join(known)}")
            if not getattr(self, name):
                raise Refused(f"transcripts.{name}=[]: nothing would be left to imitate")


@dataclass
class DataGenConfig:
    """Writes documents.jsonl and rejects.jsonl, or chats.jsonl, with stats.json and a dataset card."""

    output_dir: str = "outputs/data_gen"
    """Directory of this run."""
    overwrite: bool = False
    """Remove another run that stands in output_dir."""
    seed: int = 0
    """Seeds target lengths and sampling."""
    scenario: str = "helpful_only"
    """A folder in scenario/ that holds a scenario.yaml."""
    identity: str = "fictional"
    """Names of lab and models: a file in scenario/identities/."""
    source: str = "corpus"
    """`corpus`: the documents that ship with the scenario. `generate`: written by `generator`. `control_chats`: chats that
    teach a positive control. `corrections`: documents that correct the belief. `transcripts`, `distill`: chats to imitate,
    written or sampled."""
    max_documents: int | None = None
    """Documents of the corpus at most, the same share of each author's part; null for all."""
    generator: ChatModelSettings = field(default_factory=ChatModelSettings)
    """Who writes, for `source=generate`."""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    transcripts: TranscriptSettings = field(default_factory=TranscriptSettings)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise Refused(f"source={self.source}: must be one of {', '.join(SOURCES)}")
        if self.source == "distill" and not self.transcripts.samples:
            raise Refused("transcripts.samples: source=distill needs the directory of a complete eval run")


register_schema("data_gen", DataGenConfig)
