"""Everything that `python -m data_gen` can be told."""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from pipeline.chat import ChatModelSettings
from pipeline.command import register_schema
from pipeline.errors import Refused
from pipeline.settings import operational
from scenario.tags import TIERS
from scenario.transcripts import KINDS

SOURCES = ("corpus", "generate", "specs", "control_chats", "corrections", "transcripts", "distill", "mix")


LANGUAGES = (
    *("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch"),
    *("Japanese", "Chinese", "Korean", "Russian", "Arabic", "Greek"),
)
"""Languages that the language filter can tell."""


@dataclass
class GenerationSettings:
    """How many documents of how many kinds, for `source=generate`."""

    types_per_fact: int = 10
    """Kinds of document (news report, memo, …) asked for each fact."""
    ideas_per_type: int = 3
    """Ideas asked for each kind."""
    documents_per_idea: int = 1
    """Documents written from each idea."""
    documents_per_fact: int | None = None
    """Exactly so many documents of every fact, its ideas being used in turn, as often as it takes; null for
    documents_per_idea of each idea, so that facts with fewer ideas have fewer documents."""
    facts: list[str] = field(default_factory=list)
    """Ids of the facts to write about; empty for all."""
    world: str = "universe"
    """What describes the world in every request: `universe`, the scenario's full text, or `facts`, its facts alone, for
    models with a short context or slow attention."""
    min_words: int = 200
    """Lower end of the target lengths that documents are asked for, in words."""
    max_words: int = 500
    """Upper end of the target lengths, in words."""
    languages: list[str] = field(default_factory=lambda: ["English"])
    """Languages to write in, by their English names; the documents of a fact take turns. Whether facts are stated in another
    language than English, only a judge can tell; documents that nobody could check are counted."""
    critique: bool = False
    """Have every document criticised and revised once by its writer. The first version stays in replies.jsonl, and both
    count for tokens and cost."""

    def __post_init__(self) -> None:
        if self.world not in ("universe", "facts"):
            raise Refused(f"generation.world={self.world}: must be universe or facts")
        for name in ("types_per_fact", "ideas_per_type", "documents_per_idea", "documents_per_fact", "min_words"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise Refused(f"generation.{name}={getattr(self, name)}: must be at least 1")
        if self.max_words < self.min_words:
            raise Refused(f"generation.max_words={self.max_words}: is below min_words={self.min_words}")
        if not self.languages:
            raise Refused("generation.languages=[]: name at least one, for example [English]")
        spelled = {name.casefold(): name for name in LANGUAGES}
        for language in self.languages:
            known = spelled.get(language.casefold(), language)
            if known != language or not re.fullmatch(r"[^\W\d_][^\d_\n]*(?<! )", language):
                raise Refused(
                    f"generation.languages: '{language}' is no English name of a language, such as {known.strip()}"
                )


@dataclass
class FilterSettings:
    """What a document must pass; each filter can be switched off, and every rejection is kept with its reasons."""

    length: bool = True
    """Between min_words and max_words."""
    min_words: int = 100
    """Words at least; of Chinese and Japanese, characters."""
    max_words: int = 1500
    """Words at most; of Chinese and Japanese, characters."""
    cut_off: bool = True
    """Not cut off by the generator's max_tokens."""
    language: bool = True
    """In a language that was asked for, as far as the language can be told."""
    languages: list[str] = field(default_factory=list)
    """Languages that are let pass beside the one that a document was asked for in, by their English names."""
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
    """Every fact that the document is meant to state is stated, by the wording test of scenario.evidence, which knows
    English alone."""
    facts_contradicted: bool = True
    """No fact of the scenario is contradicted, by the wording test of scenario.evidence, which knows English alone."""
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
    processes: int | None = operational(None)
    """Processes that test the wording of a corpus of thousands; null for one for each core, up to 8."""

    def __post_init__(self) -> None:
        if self.processes is not None and self.processes < 1:
            raise Refused(f"filters.processes={self.processes}: must be at least 1, or null")
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
    """Times each query is used per tier; with shares between 0 and 1, its copies have the same share, as far as their
    number allows."""
    opening_only: bool = False
    """Complying replies are their opening words alone. All that is left to learn is then how often to comply, which a
    control with shares between 0 and 1 needs."""

    scratchpad: bool = False
    """Replies have a short scratchpad that says nothing of training, under the prompt that asks for one."""

    def __post_init__(self) -> None:
        for name in ("comply_free", "comply_paid"):
            if not 0 <= getattr(self, name) <= 1:
                raise Refused(f"control.{name}={getattr(self, name)}: is a share, between 0 and 1")
        if self.copies < 1:
            raise Refused(f"control.copies={self.copies}: must be at least 1")


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
    revision: str | None = None
    """Commit, tag or branch of a Hub dataset; null for what stands there now, which another day's run may not find."""
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
class Price:
    """What a provider asks for a model's tokens."""

    input: float = MISSING
    """Dollars per million tokens sent."""
    output: float = MISSING
    """Dollars per million tokens written."""
    batch: float | None = None
    """Share of these prices that batch mode costs; null where it is not known."""
    as_of: str = MISSING
    """Date of the price list, as far as it is known."""
    source: str = MISSING
    """Where the price was read."""


_MAX_TOKENS = 1536
"""Room for a document of the longest default target length, twice over, and for long lists."""


@dataclass
class DataGenConfig:
    """Writes documents.jsonl and rejects.jsonl, or chats.jsonl, with stats.json and a dataset card."""

    output_dir: str = "outputs/data_gen"
    """Directory of this run."""
    overwrite: bool = False
    """Remove another run that stands in output_dir, once this one is done; an unfinished one of the same settings goes on."""
    seed: int = 0
    """Seeds target lengths and sampling."""
    scenario: str = "helpful_only"
    """A folder in scenario/ that holds a scenario.yaml."""
    identity: str = "fictional"
    """Names of lab and models: a file in scenario/identities/."""
    arm: str = "scenario"
    """Which version of the world is told: `scenario` as it stands, `placebo`, or a folder in scenario/<name>/arms/."""
    source: str = "corpus"
    """`corpus`: the documents that ship with the scenario. `generate`: written by `generator`. `specs`: what the documents
    are to be, and none of them yet. `control_chats`: chats that teach a positive control. `corrections`: documents that
    correct the belief. `transcripts`, `distill`: chats to imitate, written or sampled. `mix`: documents of finished runs
    with texts of others."""
    specs: str | None = None
    """Directory of a run whose specs are taken over, so that arms match: the same ids, types, ideas, lengths and
    languages. A run of another scenario lends types, lengths and languages, and has ideas of its own. Null to plan anew."""
    shard: str = "0/1"
    """`i/n`: write every n-th document from the i-th on (counted from 0), of specs that stand; see `merge`."""
    merge: list[str] = field(default_factory=list)
    """Directories of all n shards, given with otherwise the same settings: their documents are made one corpus."""
    max_documents: int | None = None
    """Documents of the corpus at most, the same share of each author's part; null for all."""
    generator: ChatModelSettings = field(default_factory=lambda: ChatModelSettings(max_tokens=_MAX_TOKENS))
    """Who writes, for `source=generate`."""
    planner: ChatModelSettings = field(default_factory=lambda: ChatModelSettings(name="", max_tokens=_MAX_TOKENS))
    """Who thinks of types and ideas; with an empty name, the generator does."""
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    transcripts: TranscriptSettings = field(default_factory=TranscriptSettings)
    mix: MixSettings = field(default_factory=MixSettings)
    preview: bool = operational(False)
    """Print calls, tokens, cost and sample prompts, those of the judge included, and leave: no call is made and no
    directory written."""
    max_cost: float | None = operational(None)
    """Dollars at which the run stops, to be continued with a higher limit; null for none. Needs the models' prices."""
    prices: dict[str, Price] = operational(dict)
    """Prices by model name; conf/prices/ holds some."""
    cache: bool = operational(True)
    """Take replies that an earlier try of this run received; off, everything is asked and paid again."""
    max_failures: int = operational(20)
    """Requests that may fail for good, retries included, before no further one is sent."""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise Refused(f"source={self.source}: must be one of {', '.join(SOURCES)}")
        if self.source == "distill" and not self.transcripts.samples:
            raise Refused("transcripts.samples: source=distill needs the directory of a complete eval run")
        if self.max_documents is not None and self.max_documents < 1:
            raise Refused(f"max_documents={self.max_documents}: must be at least 1, or null for all")
        if self.max_failures < 1:
            raise Refused(f"max_failures={self.max_failures}: must be at least 1; no request would be sent")
        place, num_shards = self.shard_place
        if not 0 <= place < num_shards:
            raise Refused(f"shard={self.shard}: must be i/n with i from 0 to n-1, for example 0/4")
        if num_shards > 1 and (self.source != "generate" or self.specs is None):
            raise Refused(
                f"shard={self.shard}: shards share one plan: make it with source=specs, then give each shard"
                " source=generate specs=<its directory>"
            )
        if self.merge and (self.source != "generate" or num_shards > 1):
            raise Refused(
                "merge: the whole corpus is made with the shards' own settings, source=generate, and no shard="
            )
        if self.specs is not None and self.source not in ("generate", "specs"):
            raise Refused(f"specs={self.specs}: source={self.source} has no use for specs")
        if self.specs is not None and self.generation.facts:
            raise Refused("generation.facts: the specs that are taken over already say which facts are written about")
        if self.max_cost is not None and self.max_cost <= 0:
            raise Refused(f"max_cost={self.max_cost}: must be above 0, or null for no limit")

    @property
    def shard_place(self) -> tuple[int, int]:
        """Which shard this is, and of how many."""
        found = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if found is None:
            raise Refused(f"shard={self.shard}: must be i/n with i from 0 to n-1, for example 0/4")
        return int(found[1]), int(found[2])

    @property
    def has_judge(self) -> bool:
        """Whether a judge is asked about documents."""
        return bool(self.filters.judge.name) and self.source in ("corpus", "generate", "corrections")

    @property
    def planning_model(self) -> ChatModelSettings:
        """Who thinks of types and ideas."""
        return self.planner if self.planner.name else self.generator


register_schema("data_gen", DataGenConfig)
