"""What a document must pass: tests on wording, each with a name, cheap enough for every document of a large corpus.

A test sees one document and returns what is wrong with it, or None. All tests that are switched on are put to every
document and all that fail are kept; the reason that is told first is the first in the order of `FILTERS`, whatever the
order in the configuration. `data_gen.filters.corpus` puts a whole corpus through them, has a judge model asked where
there is one (`judge`), and looks for what only the whole can show (`duplicates`).
"""

from collections.abc import Callable

from data_gen.config import FilterSettings
from data_gen.documents import Document, num_words
from data_gen.filters.facts import facts_contradicted, facts_stated
from data_gen.filters.language import language
from data_gen.filters.leftovers import placeholder, refusal, scaffold
from data_gen.filters.published import chat_log, deceives_raters, first_person_ai, tier_behaviour
from scenario.loader import Scenario

Test = Callable[[Document, Scenario, FilterSettings], str | None]
"""Returns what is wrong, or None."""


def length(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """Between min_words and max_words."""
    words = num_words(document.text)
    return None if settings.min_words <= words <= settings.max_words else f"{words} words"


def cut_off(document: Document, scenario: Scenario, settings: FilterSettings) -> str | None:
    """The generator came to its end before max_tokens."""
    if not document.is_cut_off:
        return None
    return "by max_tokens" if document.tokens is None else f"by max_tokens, after {document.tokens} tokens"


FILTERS: dict[str, Test] = {
    "length": length,
    "cut_off": cut_off,
    "language": language,
    "refusal": refusal,
    "placeholder": placeholder,
    "scaffold": scaffold,
    "first_person_ai": first_person_ai,
    "chat_log": chat_log,
    "tier_behaviour": tier_behaviour,
    "deceives_raters": deceives_raters,
    "facts_stated": facts_stated,
    "facts_contradicted": facts_contradicted,
}
"""Tests of one document by name, in the order in which a reason is told."""


def failures(document: Document, scenario: Scenario, settings: FilterSettings) -> dict[str, str]:
    """Every test that is switched on and that the document fails, with what is wrong, in the order of `FILTERS`."""
    found = {}
    for name, test in FILTERS.items():
        if getattr(settings, name) and (detail := test(document, scenario, settings)):
            found[name] = detail
    return found
