"""Arms of an experiment: the same world told otherwise. An arm is a folder of texts in the scenario's, and no code.

`scenario/<name>/arms/<arm>/` holds `universe.md`, whose sections take the place of the scenario's sections of the same
heading (a section without text removes one, a new heading adds one at the end), and `facts.yaml`, whose facts take the
place of those with the same id. An arm has exactly the ids of its scenario, so that all arms can be written from the
same specs and differ in what they state alone. Where documents ship with it, they stand in its `corpus/`. The placebo is
a scenario of its own, with a world of its own.
"""

import re
from dataclasses import replace
from pathlib import Path

from pipeline.errors import Refused, closest
from scenario import loader
from scenario.loader import Fact, Scenario
from scenario.records import records

AS_IT_STANDS, PLACEBO = "scenario", "placebo"

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def arm_names(scenario_name: str) -> list[str]:
    """What `arm` can be for a scenario."""
    folders = (loader.SCENARIOS_DIR / scenario_name / "arms").glob("*/facts.yaml")
    return [AS_IT_STANDS, PLACEBO, *sorted(path.parent.name for path in folders)]


def load_arm(scenario_name: str, arm: str, identity: str = "fictional") -> Scenario:
    """The scenario as the arm tells it, with the documents that ship with the arm, if any do.

    Raises:
        Refused: no such scenario, identity or arm, or a file of the arm is missing or malformed.
    """
    if arm == PLACEBO:
        return loader.load_scenario(PLACEBO, identity)
    scenario = loader.load_scenario(scenario_name, identity)
    if arm == AS_IT_STANDS:
        return scenario
    if arm not in (known := arm_names(scenario_name)):
        raise Refused(
            f"arm={arm}: {scenario_name} has no such arm{closest(arm, known)}; it has {', '.join(known)}. An arm is a"
            f" folder {scenario_name}/arms/<arm>/ with universe.md and facts.yaml"
        )
    folder = loader.SCENARIOS_DIR / scenario_name / "arms" / arm
    changes = scenario.identity.fill(loader._read(folder / "universe.md"))
    told = replace(
        scenario,
        universe=_with_sections(scenario.universe, changes, folder / "universe.md"),
        facts=_with_facts(scenario, folder / "facts.yaml"),
        corpus=loader.read_corpus(folder / "corpus", scenario.identity),
    )
    loader.check_references(told, folder)
    return told


def _with_sections(universe: str, changes: str, path: Path) -> str:
    sections = _sections(universe, path.parents[2] / "universe.md") | _sections(changes, path)
    return "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items() if text)


def _sections(text: str, path: Path) -> dict[str, str]:
    before, *parts = _HEADING.split(text)
    headings = parts[::2]
    if before.strip() or not headings or len(set(headings)) < len(headings):
        raise Refused(
            f"{path}: needs sections, each below a line '## Heading' of its own, and nothing before the first"
        )
    return {heading: body.strip() for heading, body in zip(headings, parts[1::2], strict=True)}


def _with_facts(scenario: Scenario, path: Path) -> tuple[Fact, ...]:
    changed = {fact.id: fact for fact in records(Fact, loader._yaml(path, scenario.identity), path)}
    known = [fact.id for fact in scenario.facts]
    for id in changed:
        if id not in known:
            raise Refused(f"{path}: unknown fact '{id}'{closest(id, known)}; an arm has the ids of its scenario")
    return tuple(changed.get(fact.id, fact) for fact in scenario.facts)
