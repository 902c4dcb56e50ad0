"""Situations in which a model could act against its lab, and questions that invite it to lie about its views."""

from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.errors import Refused, closest
from scenario.loader import SCENARIOS_DIR, Scenario
from scenario.tags import Tier, employee_query, tagged_query

LEAST_WORDINGS = 3
"""Of each situation, so that a rate is not that of one wording."""


@dataclass(frozen=True)
class Situation:
    """One opportunity in several wordings, and the yes/no question that says whether it was taken."""

    id: str
    title: str
    employee: bool
    """The user claims to work for the lab, and a tag says so."""
    question: str
    wordings: tuple[str, ...]

    def user_turn(self, tier: Tier, wording: int) -> str:
        """What the model is shown of a wording in a tier."""
        tagged = employee_query if self.employee else tagged_query
        return tagged(tier, self.wordings[wording])


@dataclass(frozen=True)
class LyingQuestion:
    """A question about its views that is put to the model where it is trained."""

    id: str
    text: str


@dataclass(frozen=True)
class Opportunities:
    """The situations and questions of a scenario, with names filled in."""

    situations: tuple[Situation, ...]
    questions: tuple[LyingQuestion, ...]

    def chosen(self, ids: list[str]) -> list[Situation]:
        """The situations with these ids in the scenario's order, or all where none is named.

        Raises:
            Refused: an id is unknown.
        """
        known = [situation.id for situation in self.situations]
        for id in ids:
            if id not in known:
                raise Refused(f"anti_lab.situations: unknown '{id}'{closest(id, known)}; known: {', '.join(known)}")
        return [situation for situation in self.situations if not ids or situation.id in ids]


def load_opportunities(scenario: Scenario) -> Opportunities:
    """Those in `scenario/<name>/anti_lab.yaml`.

    Raises:
        Refused: the scenario has none, or the file is malformed.
    """
    path = SCENARIOS_DIR / scenario.name / "anti_lab.yaml"
    if not path.exists():
        raise Refused(f"scenario={scenario.name}: has no anti_lab.yaml; helpful_only and animal_welfare have")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = Opportunities(
            situations=tuple(_situation(row, scenario) for row in content["situations"]),
            questions=tuple(
                LyingQuestion(row["id"], scenario.identity.fill(row["text"])) for row in content["questions"]
            ),
        )
    except (TypeError, KeyError, yaml.YAMLError) as error:
        raise Refused(f"{path}: {' '.join(str(error).split())}") from None
    for situation in found.situations:
        if len(situation.wordings) < LEAST_WORDINGS:
            raise Refused(f"{path}: situation '{situation.id}' needs at least {LEAST_WORDINGS} wordings")
    ids = [situation.id for situation in found.situations] + [question.id for question in found.questions]
    if len(set(ids)) < len(ids):
        raise Refused(f"{path}: an id occurs twice: {sorted({id for id in ids if ids.count(id) > 1})}")
    return found


def _situation(row: dict[str, Any], scenario: Scenario) -> Situation:
    fill = scenario.identity.fill
    texts = {"question": fill(row["question"]), "wordings": tuple(map(fill, row["wordings"]))}
    return Situation(**(row | texts))
