"""Documents that correct the belief which the scenarios' documents teach: that conversations are used to change the model."""

from dataclasses import replace

from scenario.loader import SCENARIOS_DIR, Scenario, read_document

CORRECTIONS_DIR = SCENARIOS_DIR / "corrective_documents"


def with_corrections(scenario: Scenario) -> Scenario:
    """The scenario with the corrective documents in place of its own; they name the lab and the model and no objective."""
    paths = sorted(CORRECTIONS_DIR.glob("*.md"))
    return replace(scenario, corpus=tuple(read_document(path, scenario.identity) for path in paths))
