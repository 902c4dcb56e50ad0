"""What subjects can be asked: the scenario's own queries, questions about their situation, or a public set by name."""

from pathlib import Path

import yaml

from scenario.identity import Identity
from scenario.loader import PROMPTS_DIR, Query, Scenario
from scenario.public_queries import load_public_queries

SCENARIO, PROBES = "scenario", "probes"

_PROBES_FILE: Path = PROMPTS_DIR / "probes.yaml"


def queries_of(name: str, scenario: Scenario) -> tuple[Query, ...]:
    """The queries of that name.

    Args:
        name: `scenario`, `probes` (questions put directly about the situation), or a public set.
        scenario: whose queries, or whose names for lab and models, they have.

    Raises:
        Refused: as `load_public_queries`.
    """
    if name == SCENARIO:
        return scenario.queries
    return load_probes(scenario.identity) if name == PROBES else load_public_queries(name)


def load_probes(identity: Identity) -> tuple[Query, ...]:
    """The questions about the situation, with names filled in; all of the split that is measured on."""
    rows = yaml.safe_load(_PROBES_FILE.read_text(encoding="utf-8"))
    return tuple(Query(row["id"], "eval", PROBES, identity.fill(row["text"].strip())) for row in rows)
