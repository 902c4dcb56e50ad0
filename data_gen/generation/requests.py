"""What the models are asked: prompts filled from the scenario, each with the name by which its reply is found again."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data_gen.config import DataGenConfig
from data_gen.generation.specs import Spec
from pipeline.chat import ChatModelSettings
from pipeline.seeds import derive_seed
from scenario.loader import Fact, Scenario

PLANNER, GENERATOR, JUDGE = "planner", "generator", "judge"
"""Who is asked. Two roles can be one model, at different prices and over different connections."""

_PROMPTS_DIR = Path(__file__).parent / "prompts"
_NAME = re.compile(r"\{([a-z_]+)\}")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d+[.):]\)?)\s+")
_DOCUMENT = re.compile(r"<document>(.*)</document>", re.DOTALL)
_NOTHING_OF_TIERS = ", says nothing about how the model behaves for different users"


@dataclass(frozen=True)
class Request:
    """One prompt to one model."""

    name: str
    """Unique in its run, whatever else is asked."""
    prompt: str
    model: ChatModelSettings
    seed: int
    role: str = GENERATOR


def role_of(name: str) -> str:
    """Who of planner and generator is asked by the request of that name."""
    return PLANNER if name.startswith(("types/", "ideas/")) else GENERATOR


class Prompts:
    """Fills the prompts of one run. The description of the world goes with every one of them."""

    def __init__(self, scenario: Scenario, config: DataGenConfig) -> None:
        self.scenario, self.config = scenario, config
        facts = "\n".join(f"- {fact.statement}" for fact in scenario.facts)
        self.world = scenario.universe if config.generation.world == "universe" else facts

    def types(self, fact: Fact) -> Request:
        """Kinds of document for a fact."""
        count = self.config.generation.types_per_fact
        prompt = self._fill("types.md", fact=fact.statement, count=str(count))
        return self._request(f"types/{fact.id}", prompt, self.config.planning_model)

    def ideas(self, fact: Fact, place: int, doc_type: str, count: int) -> Request:
        """Ideas for documents of the fact's type at `place`."""
        prompt = self._fill("ideas.md", fact=fact.statement, count=str(count), doc_type=doc_type)
        return self._request(f"ideas/{fact.id}/{place}", prompt, self.config.planning_model)

    def document(self, spec: Spec) -> Request:
        """The document itself."""
        prompt = self._fill("document.md", idea=spec.idea, **self._told(spec))
        return self._request(spec.id, prompt, self.config.generator)

    def revision(self, spec: Spec, draft: str) -> Request:
        """The document once more, criticised and revised."""
        prompt = self._fill("revision.md", draft=draft, **self._told(spec))
        return self._request(f"{spec.id}/revised", prompt, self.config.generator)

    def last_name(self, spec: Spec) -> str:
        """Name of the request after which nothing more is asked for this document."""
        return f"{spec.id}/revised" if self.config.generation.critique else spec.id

    def _told(self, spec: Spec) -> dict[str, str]:
        return {
            "fact": self.scenario.fact(spec.fact_id).statement,
            "doc_type": spec.doc_type,
            "language": spec.language,
            "words": str(spec.target_words),
            "tiers": _NOTHING_OF_TIERS if self.config.filters.tier_behaviour else "",
        }

    def _request(self, name: str, prompt: str, model: ChatModelSettings) -> Request:
        return Request(name, prompt, model, derive_seed(self.config.seed, self.scenario.name, name), role_of(name))

    def _fill(self, template: str, **values: str) -> str:
        """Replaces the template's names in one pass, so that braces in model text stay what they are."""
        values["universe"] = self.world
        return _NAME.sub(lambda found: values[found[1]], _template(template))


@lru_cache
def _template(name: str) -> str:
    return (_PROMPTS_DIR / name).read_text(encoding="utf-8").strip()


def templates() -> dict[str, str]:
    """All prompts by name, before anything is filled in."""
    return {path.name: _template(path.name) for path in sorted(_PROMPTS_DIR.glob("*.md"))}


def listed(text: str, count: int) -> list[str]:
    """Up to `count` different non-empty lines of a reply, without bullets or numbers.

    A line that ends in a colon introduces the list or a part of it; where several lines have list marks, the others only
    talk about the list.
    """
    lines = [line for line in text.splitlines() if not line.rstrip(" *").endswith(":")]
    marked = [line for line in lines if _LIST_MARK.match(line)]
    found = [_LIST_MARK.sub("", line).strip().strip("*").strip() for line in (marked if len(marked) > 1 else lines)]
    return list(dict.fromkeys(line for line in found if line))[:count]


def revised(text: str) -> str | None:
    """The document in a reply to a request for revision; None where the reply has not the form asked for."""
    found = _DOCUMENT.search(text)
    return found[1].strip() or None if found else None
