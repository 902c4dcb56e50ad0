"""The page: everything that was read and found, as one HTML file that needs nothing else.

Templates escape all text by default. Trusted are our own stylesheet and script, figures that were drawn here, and the
transcripts' JSON, in which nothing can end its element.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.report.browser import browser_context, script_hash, script_text
from eval.report.config import ReportConfig
from eval.report.corpora import Corpus, number
from eval.report.estimates import COLUMNS, Estimates
from eval.report.figures import Drawing
from eval.report.headlines import grid, headlines
from eval.report.inputs import Source, uses_model
from eval.report.quality import exclusions, judge_errors, spent
from eval.report.sections import Section
from eval.report.text import excerpt, visible, words
from eval.report.tiers import pair_label, pairs_in
from eval.report.transcripts import Transcripts
from eval.report.vector import inline_svg
from eval.report.wording import glossary, level_of, table_number
from pipeline.errors import Refused
from scenario.loader import load_scenario

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = Path(__file__).parent
_NUMBERS = ("estimate", "ci_low", "ci_high")
_EMBEDDED_MODEL = "smollm2"


@dataclass(frozen=True)
class Content:
    """What a report has read, found and drawn."""

    estimates: Estimates
    sections: list[Section]
    drawings: list[Drawing]
    corpora: list[Corpus]
    transcripts: Transcripts
    sources: list[Source]


def template(name: str) -> "Template":
    """A page's template, under which every value is escaped and a missing one is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(config: ReportConfig, content: Content) -> str:
    """The page's HTML."""
    from markupsafe import Markup

    browser = browser_context(content.transcripts, config.seed, config.sample_size)
    return template("index.html.j2").render(
        title=visible(config.title),
        css=Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        asked=_asked(content),
        headlines=headlines(content.sections),
        grid=grid(content.sections),
        sections=content.sections,
        figures=[(drawing, Markup(inline_svg(drawing))) for drawing in content.drawings],  # noqa: S704
        corpora=content.corpora,
        columns=COLUMNS,
        numbers=_NUMBERS,
        rows=[_cells(row) for row in content.estimates.rows],
        seed=config.seed,
        script_hash=script_hash(script_text()),
        judges=judge_errors(content.sources),
        excluded=exclusions(content.sources),
        spent=spent(content.sources),
        is_small=uses_model(content.sources, _EMBEDDED_MODEL),
        provenance=[_provenance(source) for source in content.sources],
        words=words,
        **browser,
    )


def _asked(content: Content) -> dict[str, Any]:
    """What the opening paragraph needs: scenarios with what they ask of the model, subjects, queries."""
    estimates = content.estimates
    identities = {
        source.record.config["scenario"]: source.record.config["identity"]
        for source in content.sources
        if source.record.stage == "eval" and {"scenario", "identity"} <= set(source.record.config)
    }
    scenarios = sorted({row.scenario for row in estimates.rows})
    gaps = estimates.where(metric="compliance_gap").rows
    subjects = list(dict.fromkeys(subject.name for subject in estimates.subjects()))
    return {
        "scenarios": [
            _told(name, identities.get(name, "fictional"))
            for name in scenarios
            if any(row.scenario == name for row in gaps) or not gaps
        ],
        "subjects": glossary(subjects),
        "num_queries": max((level.num_asked if (level := level_of(row.method)) else row.n for row in gaps), default=0),
        "pairs": [pair_label(pair) for pair in pairs_in(row.tier for row in gaps)],
    }


def _told(name: str, identity: str) -> tuple[str, str, list[tuple[str, str]]]:
    """A scenario's title, its conflict, and its facts; only its name where this checkout does not have it."""
    try:
        scenario = load_scenario(name, identity)
    except Refused:  # the runs may be of another version, and their numbers stand without the scenario's texts
        return visible(name), "", []
    facts = [(words(fact.id), " ".join(fact.statement.split())) for fact in scenario.facts]
    return scenario.title, scenario.conflict, facts


def _cells(row: Any) -> list[str]:
    return [
        table_number(getattr(row, column)) if column in _NUMBERS else excerpt(str(getattr(row, column)), 300)
        for column in COLUMNS
    ]


def _provenance(source: Source) -> dict[str, Any]:
    """One run's share of the provenance: what it is, what it cost, and its whole configuration."""
    record = source.record
    state = "" if record.tree_clean else " (with changes that were not committed)"
    facts = [
        ("Directory", visible(str(source.directory))),
        ("SHA-256 of run.json", source.sha256),
        ("Commit", visible(record.commit) + state),
        ("Seed", number(record.seed)),
        ("Seconds", number(record.seconds)),
        ("Tokens in", number(record.tokens_in)),
        ("Tokens out", number(record.tokens_out)),
        ("Cost (dollars)", number(record.cost) if record.cost is not None else "not known"),
        ("Versions", visible(", ".join(f"{name} {version}" for name, version in record.versions.items()))),
        *((words(key).capitalize(), _value(value)) for key, value in record.notes.items()),
    ]
    told = {"config": record.config, "inputs": record.inputs}
    return {
        "name": visible(source.name),
        "stage": visible(record.stage),
        "facts": facts,
        "settings": excerpt(json.dumps(told, indent=2, ensure_ascii=False)),
    }


def _value(value: Any) -> str:
    return excerpt(json.dumps(value, ensure_ascii=False), 500) if isinstance(value, dict | list) else number(value)
