"""The cheap form of the fact checks: on wording, without a judge model. See `data_gen.filters.judge` for the other form.

What a scenario names as evidence is English: documents in another language pass, and are told as not checked where no
judge reads them.
"""

from data_gen.config import FilterSettings
from data_gen.documents import Document
from scenario.loader import Scenario

FACT_CHECKS = ("facts_stated", "facts_contradicted")


def is_checked(language: str) -> bool:
    """Whether these tests can tell anything of a document in that language."""
    return language == "English"


def facts_stated(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """Every fact that the document was written for is stated, by the evidence that the scenario names."""
    if not is_checked(document.language):
        return None
    missing = [id for id in document.fact_ids if not scenario.fact(id).is_stated_in(document.text)]
    return f"does not state {', '.join(missing)}" if missing else None


def facts_contradicted(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """No fact of the scenario is contradicted by a sentence of the kinds that the scenario names."""
    if not is_checked(document.language):
        return None
    for fact in scenario.facts:
        if sentence := fact.contradiction_in(document.text):
            return f"contradicts {fact.id}: {sentence[:200]}"
    return None
