"""What a run is made from beside its settings and its inputs, by hash: a complete run is not reused once it has changed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from data_gen.config import DataGenConfig
from data_gen.filters.judge import PROMPT as JUDGE_PROMPT
from data_gen.generation.requests import templates
from scenario.loader import Scenario


def sources_of_documents(config: DataGenConfig, scenario: Scenario) -> dict[str, str]:
    """Hashes of the texts that documents, or their specs, are made from and tested by; `scenario` as it is told."""
    parts: dict[str, Any] = {
        "names": asdict(scenario.identity),
        "facts": [(fact.id, fact.statement, fact.evidence, fact.contradicted_by) for fact in scenario.facts],
    }
    if config.source in ("generate", "specs"):
        parts |= {"universe": scenario.universe, "prompts": templates()}
    else:
        parts["shipped documents"] = [asdict(document) for document in scenario.corpus]
    if config.has_judge:
        parts["prompt of the judge"] = JUDGE_PROMPT
    return digests(parts)


def digests(parts: Mapping[str, Any]) -> dict[str, str]:
    """A hash of each part; parts are made of texts, numbers, lists, tuples and dictionaries."""
    return {name: hashlib.sha256(repr(part).encode("utf-8", "replace")).hexdigest() for name, part in parts.items()}
