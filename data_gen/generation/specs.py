"""What each document is to be, settled before any is written: kept with the run, and shared by the arms that match.

A run without specs of its own takes over those of another run. Of the same scenario, whatever the arm, they are taken
unchanged: an idea says who writes to whom and does not say what the document claims, so the arms differ in what they
state and in nothing else. Another scenario, such as the placebo, has other facts, and an idea of the one makes no sense
in the other. There the types, the lengths, the languages and their counts are taken over, dealt to the facts in turn,
and the ideas are made anew.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from data_gen.config import DataGenConfig, GenerationSettings
from pipeline.artifact import read_jsonl, read_run
from pipeline.errors import Refused
from pipeline.seeds import derive_seed
from scenario.loader import Scenario

SPECS_FILE = "specs.jsonl"

TOKENS_PER_WORD, TOKENS_OF_CRITIQUE = 1.35, 150
"""Rules of thumb for English, and for what a revision says before its document."""


@dataclass(frozen=True)
class Spec:
    """What one document is asked to be, as it stands in specs.jsonl."""

    id: str
    scenario: str
    fact_id: str
    doc_type: str
    idea: str
    language: str
    target_words: int
    like: str | None = None
    """Id of the other scenario's spec whose type, length and language this one has."""

    def row(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Idea:
    """An idea for a document of one type about one fact, and its place among the fact's types and the type's ideas."""

    doc_type: str
    text: str
    type_place: int
    idea_place: int


def expand(
    scenario_name: str, fact_id: str, ideas: Sequence[Idea], settings: GenerationSettings, seed: int
) -> list[Spec]:
    """A fact's ideas as specs, in a fixed order; where a number of documents is asked for, every idea takes its turn."""
    if not ideas:
        return []
    in_turn = sorted(ideas, key=lambda idea: (idea.idea_place, idea.type_place))
    total = settings.documents_per_fact or len(ideas) * settings.documents_per_idea
    specs = []
    for k in range(total):
        copy, place = divmod(k, len(in_turn))
        idea = in_turn[place]
        id = f"{fact_id}-{idea.type_place:02d}-{idea.idea_place:02d}-{copy}"
        drawn = derive_seed(seed, "length", scenario_name, id) % (settings.max_words - settings.min_words + 1)
        specs.append(
            Spec(
                id=id,
                scenario=scenario_name,
                fact_id=fact_id,
                doc_type=idea.doc_type,
                idea=idea.text,
                language=settings.languages[(place + copy) % len(settings.languages)],
                target_words=settings.min_words + drawn,
            )
        )
    return specs


@dataclass(frozen=True)
class Loan:
    """Specs of one type about one fact of another scenario, lent to a fact of this one."""

    fact_id: str
    place: int
    specs: tuple[Spec, ...]

    @property
    def num_ideas(self) -> int:
        """How many ideas are to be made anew: as many as the specs had."""
        return len({spec.idea for spec in self.specs})

    def written_with(self, scenario_name: str, ideas: Sequence[str]) -> list[Spec]:
        """The lent specs with this scenario's ideas, which take turns where there are fewer."""
        old = list(dict.fromkeys(spec.idea for spec in self.specs))
        specs = []
        for place, spec in enumerate(self.specs if ideas else ()):
            idea = ideas[old.index(spec.idea) % len(ideas)]
            id = f"{self.fact_id}-{self.place:02d}-{place:03d}"
            specs.append(
                Spec(id, scenario_name, self.fact_id, spec.doc_type, idea, spec.language, spec.target_words, spec.id)
            )
        return specs


def deal(specs: Sequence[Spec], scenario: Scenario) -> list[Loan]:
    """Another scenario's specs, type by type, to this scenario's facts in turn."""
    groups: dict[tuple[str, str], list[Spec]] = {}
    for spec in specs:
        groups.setdefault((spec.fact_id, spec.doc_type), []).append(spec)
    facts = [fact.id for fact in scenario.facts]
    return [
        Loan(facts[place % len(facts)], place // len(facts), tuple(group))
        for place, group in enumerate(groups.values())
    ]


def read_specs(directory: str | Path) -> list[Spec]:
    """The specs of a complete run.

    Raises:
        Refused: the run is not complete or has no specs, or a line is not a spec.
    """
    record = read_run(directory, "data_gen")
    if SPECS_FILE not in record.outputs:
        raise Refused(f"specs={directory}: has no {SPECS_FILE}; name a run of source=specs or source=generate")
    path = Path(directory) / SPECS_FILE
    known = {item.name for item in fields(Spec)}
    specs = []
    for number, row in enumerate(read_jsonl(path), start=1):
        if set(row) != known:
            raise Refused(f"{path}:{number}: needs exactly the keys {', '.join(sorted(known))}")
        specs.append(Spec(**row))
    if not specs:
        raise Refused(f"specs={directory}: holds no spec; its planner thought of none")
    return specs


def check_lengths(config: DataGenConfig, longest: int) -> None:
    """Refuses documents of so many words where the generator's max_tokens would cut them off and they be rejected for it."""
    settings = config.generator
    needed = longest * TOKENS_PER_WORD + (TOKENS_OF_CRITIQUE if config.generation.critique else 0)
    if config.filters.cut_off and needed > settings.max_tokens:
        raise Refused(
            f"generator.max_tokens={settings.max_tokens}: documents of up to {longest} words need about {needed:.0f}; raise"
            " it, lower generation.max_words, or let documents that are cut off pass with filters.cut_off=false"
        )
