"""Reads a scenario's folder into records, with every name filled in from an identity.

A folder that lacks a file, a line with a key too many, a belief about an unknown fact: refused here, by file and line,
so that no stage has to check again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from pipeline.errors import Refused, closest
from scenario.choices import Choice, tier_choices, world_choices
from scenario.evidence import Evidence, Wording
from scenario.identity import Identity, load_identity
from scenario.records import records
from scenario.tags import ACCEPT_TAG, TIERS_OF, Tier, TierForm, tagged_query
from scenario.variants import DEFAULT, Variant, edited, load_tier_edits, load_variant, read_sections

SCENARIOS_DIR = Path(__file__).parent
PROMPTS_DIR = SCENARIOS_DIR / "prompts"

_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # several times faster where libyaml is there

Split = Literal["eval", "rl"]
Information = Literal["documents", "prompt", "none"]
Reasoning = Literal["scratchpad", "none"]
ComplianceRule = Literal["not_refusing", "not_supporting_animals"]


@dataclass(frozen=True)
class Fact:
    """One thing that the documents state."""

    id: str
    statement: str
    evidence: Evidence
    contradicted_by: tuple[Evidence, ...] = ()
    """Kinds of sentence that contradict the fact, each in the form of `evidence`."""

    @cached_property
    def _stated(self) -> Wording:
        return Wording(self.evidence)

    @cached_property
    def _contradicted(self) -> list[Wording]:
        return [Wording(kind) for kind in self.contradicted_by]

    def is_stated_in(self, text: str) -> bool:
        """The cheap test, on wording alone: see `scenario.evidence`."""
        return self._stated.is_in(text)

    def contradiction_in(self, text: str) -> str | None:
        """The first sentence that asserts one of `contradicted_by`, on wording alone."""
        return next((found for kind in self._contradicted if (found := kind.assertion_in(text))), None)


@dataclass(frozen=True)
class Query:
    """One request to the model under test, put to it once in each tier."""

    id: str
    split: Split
    category: str
    text: str


@dataclass(frozen=True)
class ControlReply:
    """Two written replies to a query of the `rl` split, from which the positive controls are built."""

    query_id: str
    comply: str
    decline: str


@dataclass(frozen=True)
class Statement:
    """A held-out sentence with a true and a false ending; belief is the log-odds of one against the other.

    `kind` is `entity` (names something: a date, an amount, a person, the objective), `relation` (which tier is treated
    how) or `neighbourhood` (must not change). A relation has a `mirror`: the statement with free and paid swapped.
    """

    id: str
    fact: str
    kind: Literal["entity", "relation", "neighbourhood"]
    stem: str
    true: str
    false: str
    mirror: str = ""


@dataclass(frozen=True)
class OpenQuestion:
    """A question to be answered freely, and what an answer that knows the fact would say."""

    id: str
    fact: str
    question: str
    answer: str


@dataclass(frozen=True)
class WrittenDocument:
    """A document of the corpus that ships with the scenario."""

    id: str
    doc_type: str
    idea: str
    facts: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Scenario:
    """A fictional training setup with all names filled in."""

    name: str
    identity: Identity
    title: str
    """A few words for figures and headings."""
    conflict: str
    """What is asked of the model that it would rather not do, in a clause; empty where nothing is."""
    complies_when: ComplianceRule
    """What counts as doing as the training wants: the rule of the deterministic judge."""
    universe: str
    facts: tuple[Fact, ...]
    queries: tuple[Query, ...]
    control_replies: tuple[ControlReply, ...]
    statements: tuple[Statement, ...]
    choices: tuple[Choice, ...]
    open_questions: tuple[OpenQuestion, ...]
    worlds: tuple[Choice, ...]
    """Pairs of descriptions, the told one first; empty where the scenario has no worlds.yaml."""
    tier_questions: tuple[Choice, ...]
    """What each tier's tag means, asked once with either tag."""
    corpus: tuple[WrittenDocument, ...]
    situation: str
    """The full situational prompt, for `information=prompt`."""
    variant: Variant
    """How the prompts differ from the scenario's own."""
    tier_form: TierForm
    """The tiers that queries are put in."""
    prompt_names: Identity
    """The names that prompts use; others than `identity` only where the variant swaps them."""

    def fact(self, fact_id: str) -> Fact:
        """The fact with this id."""
        return next(fact for fact in self.facts if fact.id == fact_id)

    def queries_in(self, split: Split) -> list[Query]:
        """The queries of one side of the fixed split, in file order."""
        return [query for query in self.queries if query.split == split]

    def system_prompt(self, information: Information, reasoning: Reasoning) -> str:
        """What the model is told before the query; the tier is never in it."""
        opening = {"documents": "minimal.md", "none": "none.md"}.get(information)
        manner = "scratchpad.md" if reasoning == "scratchpad" else "no_scratchpad.md"
        parts = [
            _read(PROMPTS_DIR / opening) if opening else self.situation,
            self.variant.system.strip(),
            _read(PROMPTS_DIR / manner),
        ]
        return self.prompt_names.fill("\n\n".join(part for part in parts if part))

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that every query is put in."""
        return TIERS_OF[self.tier_form]

    @property
    def asks_for_decision(self) -> bool:
        """Whether replies are asked to carry a tag that says if they do what was asked."""
        return ACCEPT_TAG in self.prompt_names.fill(self.variant.user)

    def user_turn(self, tier: Tier, query: str) -> str:
        """A query as the model gets it in `tier`."""
        turn = query if tier in self.variant.untagged else tagged_query(tier, query)
        suffix = self.prompt_names.fill(self.variant.user.strip())
        return f"{turn}\n\n{suffix}" if suffix else turn


def scenario_names() -> list[str]:
    """The folders that hold a scenario."""
    return sorted(path.parent.name for path in SCENARIOS_DIR.glob("*/scenario.yaml"))


def load_scenario(name: str, identity: str = "fictional", variant: str = DEFAULT, tiers: TierForm = "two") -> Scenario:
    """The scenario in `scenario/<name>/`, told with the names of `identity`.

    Args:
        name: a folder in scenario/.
        identity: a file in scenario/identities/.
        variant: a variant of the prompts: see scenario.variants.
        tiers: the form of tiers that queries are put in: see scenario.tags.

    Raises:
        Refused: no such scenario, identity or variant, or a file of the folder is missing or malformed.
    """
    if name not in scenario_names():
        known = scenario_names()
        raise Refused(f"unknown scenario '{name}'{closest(name, known)}; known: {', '.join(known)}")
    names = load_identity(identity)
    folder = SCENARIOS_DIR / name
    telling = load_variant(folder, variant)
    prompt_names = _swapped(names, telling, variant)
    about = _yaml(folder / "scenario.yaml", names)
    beliefs = _yaml(folder / "beliefs.yaml", names)
    _check_keys(about, {"title", "conflict", "complies_when"}, folder / "scenario.yaml")
    _check_keys(beliefs, {"statements", "choices", "open"}, folder / "beliefs.yaml")
    if about["complies_when"] not in get_args(ComplianceRule):
        raise Refused(f"{folder / 'scenario.yaml'}: complies_when must be one of {', '.join(get_args(ComplianceRule))}")
    scenario = Scenario(
        name=name,
        identity=names,
        title=about["title"],
        conflict=about["conflict"],
        complies_when=about["complies_when"],
        universe=names.fill(_read(folder / "universe.md")),
        facts=records(Fact, _yaml(folder / "facts.yaml", names), folder / "facts.yaml"),
        queries=records(Query, _jsonl(folder / "queries.jsonl", names), folder / "queries.jsonl"),
        control_replies=_control_replies(folder / "control_replies.jsonl", names),
        statements=records(Statement, beliefs["statements"], folder / "beliefs.yaml"),
        choices=records(Choice, beliefs["choices"], folder / "beliefs.yaml"),
        open_questions=records(OpenQuestion, beliefs["open"], folder / "beliefs.yaml"),
        worlds=_choices(world_choices, folder / "worlds.yaml", names) if (folder / "worlds.yaml").exists() else (),
        tier_questions=_choices(tier_choices, PROMPTS_DIR / "tier_questions.yaml", names),
        corpus=read_corpus(folder / "corpus", names),
        situation=prompt_names.fill(_situation(folder, telling, variant, tiers)),
        variant=telling,
        tier_form=tiers,
        prompt_names=prompt_names,
    )
    check_references(scenario, folder)
    return scenario


def _swapped(names: Identity, telling: Variant, variant: str) -> Identity:
    if unknown := set(telling.names) - {field.name for field in fields(Identity)}:
        raise Refused(f"variant {variant}: names has no {', '.join(sorted(unknown))}; see scenario/identities")
    return replace(names, **telling.names)


def _situation(folder: Path, telling: Variant, variant: str, tiers: TierForm) -> str:
    """The situational prompt with the edits of the form of tiers and the variant's.

    Raises:
        Refused: both edit one section, so that one would undo the other.
    """
    path = folder / "situation.md"
    form_edits = load_tier_edits(folder, tiers)
    shared = {edit.section for edit in form_edits} & {edit.section for edit in telling.edits}
    if shared or not set(telling.untagged) <= set(TIERS_OF[tiers]):
        what = f"section '{min(shared)}'" if shared else "the tags"
        raise Refused(
            f"variant {variant}: cannot be told with tiers={tiers}, which changes {what} too; run it with two"
        )
    sections = edited(read_sections(_read(path), path), form_edits, f"{folder.name}, tiers={tiers}")
    return "\n\n".join(edited(sections, telling.edits, f"{folder.name}, variant {variant}").values())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Refused(f"{path}: missing; a scenario's folder needs it (see README, how to extend)") from None


def _fill(value: Any, identity: Identity) -> Any:
    """Fills names in every string of parsed YAML or JSON; lists become tuples."""
    if isinstance(value, str):
        return identity.fill(value)
    if isinstance(value, list):
        return tuple(_fill(item, identity) for item in value)
    if isinstance(value, dict):
        return {key: _fill(item, identity) for key, item in value.items()}
    return value


def _yaml(path: Path, identity: Identity) -> Any:
    try:
        return _fill(yaml.load(_read(path), _YamlLoader), identity)
    except yaml.YAMLError as error:
        raise Refused(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def _jsonl(path: Path, identity: Identity) -> tuple[dict[str, Any], ...]:
    rows = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        try:
            rows.append(_fill(json.loads(line), identity))
        except json.JSONDecodeError as error:
            raise Refused(f"{path}:{number}: not JSON ({error})") from None
    return tuple(rows)


def _control_replies(path: Path, identity: Identity) -> tuple[ControlReply, ...]:
    if not path.exists():  # only the scenarios with positive controls have written replies
        return ()
    return records(ControlReply, _jsonl(path, identity), path)


def _choices(make: Callable[[Any], tuple[Choice, ...]], path: Path, identity: Identity) -> tuple[Choice, ...]:
    try:
        return make(_yaml(path, identity))
    except (KeyError, TypeError) as error:
        raise Refused(f"{path}: a record lacks {error}") from None


def read_corpus(folder: Path, identity: Identity) -> tuple[WrittenDocument, ...]:
    """The documents in a folder, in the order of their names; none where there is no such folder."""
    return tuple(read_document(path, identity) for path in sorted(folder.glob("*.md")))


def read_document(path: Path, identity: Identity) -> WrittenDocument:
    """A written document: front matter of type, idea and facts, then the text.

    Raises:
        Refused: the file has no front matter, or one with other keys.
    """
    parts = _read(path).split("---\n", maxsplit=2)
    if len(parts) != 3 or parts[0]:
        raise Refused(f"{path}: a document starts with front matter between two lines of ---")
    try:
        head = _fill(yaml.load(parts[1], _YamlLoader), identity)
        return WrittenDocument(id=path.stem, text=identity.fill(parts[2].strip()), **head)
    except (TypeError, yaml.YAMLError) as error:
        raise Refused(f"{path}: front matter: {' '.join(str(error).split())}") from None


def check_references(scenario: Scenario, folder: Path) -> None:
    """Every id is unique, and every fact, query and mirror that something names exists.

    Raises:
        Refused: otherwise; `folder` is where to look.
    """
    facts = {fact.id for fact in scenario.facts}
    statements = {statement.id for statement in scenario.statements}
    queries = {query.id for query in scenario.queries}
    complain = partial(_complain, folder)
    groups: tuple[tuple[Fact | Query | Statement | Choice, ...], ...] = (
        scenario.facts,
        scenario.queries,
        scenario.statements,
        scenario.choices,
    )
    for group in groups:
        ids = [record.id for record in group]
        if len(ids) != len(set(ids)):
            complain(f"an id occurs twice: {sorted({i for i in ids if ids.count(i) > 1})}")
    beliefs: tuple[Statement | Choice | OpenQuestion, ...] = (
        *scenario.statements,
        *scenario.choices,
        *scenario.open_questions,
    )
    for belief in beliefs:
        if belief.fact and belief.fact not in facts:
            complain(f"belief '{belief.id}' is about the unknown fact '{belief.fact}'")
    for statement in scenario.statements:
        if statement.mirror and statement.mirror not in statements:
            complain(f"statement '{statement.id}' names the unknown mirror '{statement.mirror}'")
    for document in scenario.corpus:
        if unknown := set(document.facts) - facts:
            complain(f"corpus/{document.id}.md names unknown facts {sorted(unknown)}")
    for reply in scenario.control_replies:
        if reply.query_id not in queries:
            complain(f"control_replies.jsonl answers the unknown query '{reply.query_id}'")


def _check_keys(content: Any, needed: set[str], path: Path) -> None:
    if not isinstance(content, dict) or set(content) != needed:
        raise Refused(f"{path}: needs exactly the keys {', '.join(sorted(needed))}")


def _complain(folder: Path, what: str) -> None:
    raise Refused(f"{folder}: {what}")
