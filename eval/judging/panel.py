"""The step between replies and estimates: every readable reply gets the verdicts of the judges that were named.

Rules and classifiers run in this process. Judges that are a prompt go to one chat model; each of its answers is on disk
when it arrives, so that nothing is asked twice, by this run or by the one that continues it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from eval.config import EvalConfig
from eval.judges.catalogue import RULES, default_judges, load_judges
from eval.judges.classifiers import ScoringJudge
from eval.judges.judge import Judge, RuleJudge, Shown, Verdict, show
from eval.judges.prompted import PromptedJudge
from eval.judges.settings import JudgeModelSettings
from eval.samples import UNJUDGED, Row
from pipeline.artifact import Run
from pipeline.chat import ChatModelSettings, open_model
from pipeline.errors import Failed, Refused
from pipeline.seeds import derive_seed
from scenario.loader import Scenario
from scenario.parsing import contradicts

if TYPE_CHECKING:
    from inspect_ai.model import Model, ModelOutput

ANSWERS_FILE = "judgements.jsonl"
"""Every request to the judge model and its answer."""

MEASURES = ("compliance", "af_reasoning")
"""What the headline figures rest on; each has one judge behind it."""

_TEXTS_AT_ONCE = 256
"""Texts whose requests are under way; how many requests a provider takes at once is Inspect's to keep."""


@dataclass(frozen=True)
class Panel:
    """The judges of a run."""

    judges: list[Judge]
    behind: dict[str, Judge]
    """Whose verdicts the headline figures rest on, by what is measured."""
    model: JudgeModelSettings
    label: str
    has_columns: bool
    """Whether verdicts get columns of their own: not where there are no others than those of the headline."""

    def title(self, judge: Judge) -> str:
        """The judge's name with that of the model it goes by, for tables."""
        model = model_of(judge, self.model)
        return f"{judge.name} ({model})" if model else judge.name

    def column(self, judge: Judge) -> str:
        """What the judge's columns are named after."""
        return f"{judge.name}_{self.label}" if self.label else judge.name


def model_of(judge: Judge, model: JudgeModelSettings) -> str:
    """The model that a judge goes by; empty for rules."""
    if isinstance(judge, ScoringJudge):
        return judge.settings.model
    return model.name if isinstance(judge, PromptedJudge) else ""


def convene(config: EvalConfig, scenario: Scenario) -> Panel:
    """The judges that the configuration names, and the scenario's rules where nobody else measures what they do.

    Raises:
        Refused: an unknown judge, a judge of another scenario's compliance behind the headline, or a setting that a judge
            needs and does not have.
    """
    judges = load_judges(config.judges, config.judging)
    rules = [RULES[name] for name in default_judges(scenario.complies_when)]
    judges += [rule for rule in rules if rule.name not in [judge.name for judge in judges]]
    check_model(judges, config.judge_model)
    behind = {}
    for measure in MEASURES:
        chosen = getattr(config.judging, measure)
        able = [judge for judge in judges if judge.measures == measure]
        if chosen and chosen not in [judge.name for judge in able]:
            known = ", ".join(judge.name for judge in able)
            raise Refused(f"judging.{measure}={chosen}: is none of the judges of it that are named ({known})")
        judge = next(judge for judge in able if chosen in ("", judge.name))
        if judge.scenario not in ("", scenario.name) and judge not in rules:
            raise Refused(
                f"judges: {judge.name} judges compliance in {judge.scenario}, and this is {scenario.name}; put another"
                f" judge first, or set judging.compliance={rules[0].name}"
            )
        behind[measure] = judge
    return Panel(judges, behind, config.judge_model, config.judging.label, has_columns=bool(config.judges))


def check_model(judges: list[Judge], model: JudgeModelSettings) -> None:
    """Refuses judges that are a prompt where no model is named to answer it."""
    prompted = [judge.name for judge in judges if isinstance(judge, PromptedJudge)]
    if prompted and not model.name:
        raise Refused(f"judges: {', '.join(prompted)} asks a model: set judge_model.name=<provider>/<model>")


@dataclass(frozen=True)
class Judged:
    """What a judging left beside the headline's columns."""

    columns: dict[str, list[str]]
    """By judge, the columns that its verdicts got."""
    answered_as: dict[str, list[str]]
    """By judge's title, the versions that answered, in the provider's words."""


def judge_samples(rows: list[Row], panel: Panel, config: EvalConfig, run: Run) -> Judged:
    """Gives every readable row its verdicts, in place.

    Raises:
        Refused: a judge's columns are there already.
        Failed: so many requests to the judge model failed that there would be no verdict.
    """
    for judge in panel.judges:
        if not isinstance(judge, RuleJudge) and f"verdict_{panel.column(judge)}" in rows[0]:
            raise Refused(
                f"judges: the samples have verdicts of {panel.column(judge)} already; set judging.label to tell these apart"
            )
    tables = {judge.name: _read_by(judge, rows) for judge in panel.judges}
    shown = {name: list(dict.fromkeys(texts.values())) for name, texts in tables.items()}
    verdicts = judge_texts(panel.judges, shown, config.judge_model, config.seed, run)
    check_answered(verdicts, config.compliance.max_malformed_share)
    columns: dict[str, list[str]] = {}
    for judge in panel.judges:
        given = {i: verdicts[judge.name][text] for i, text in tables[judge.name].items()}
        if panel.has_columns:
            columns[judge.name] = _add_columns(rows, panel.column(judge), given)
        if panel.behind.get(judge.measures) is judge:
            _add_headline(rows, judge.measures, panel.title(judge), given)
    run.notes["judges"] = told = [_about(judge, panel, verdicts[judge.name]) for judge in panel.judges]
    answered = {panel.title(judge): about["answered_as"] for judge, about in zip(panel.judges, told, strict=True)}
    return Judged(columns, answered)


def judge_texts(
    judges: list[Judge], shown: dict[str, list[Shown]], model: JudgeModelSettings, seed: int, run: Run
) -> dict[str, dict[Shown, Verdict]]:
    """Every judge's verdict on each of its texts; model answers are kept in the run's directory.

    Where there is nothing to judge, as in a reply that objects and does no more, the verdict is no, and nobody is asked.
    """
    verdicts: dict[str, dict[Shown, Verdict]] = {}
    prompted: list[tuple[PromptedJudge, list[Shown]]] = []
    for judge in judges:
        blank = [text for text in shown[judge.name] if text.is_blank(judge.sees)]
        texts = [text for text in shown[judge.name] if not text.is_blank(judge.sees)]
        verdicts[judge.name] = {text: Verdict(False, judge.name, f"(an empty {judge.sees})") for text in blank}
        if isinstance(judge, PromptedJudge):
            prompted.append((judge, texts))
        elif isinstance(judge, ScoringJudge):
            with tqdm(total=len(texts), desc=f"eval: {judge.name}", unit="text", mininterval=2) as progress:
                verdicts[judge.name] |= dict(zip(texts, judge.judge(texts, partial(_advance, progress)), strict=True))
        elif isinstance(judge, RuleJudge):
            verdicts[judge.name] |= {text: judge.rule(text) for text in texts}
    if any(texts for _, texts in prompted):
        for (judge, texts), given in zip(prompted, _ask(prompted, model, seed, run), strict=True):
            verdicts[judge.name] |= dict(zip(texts, given, strict=True))
    return verdicts


def check_answered(verdicts: dict[str, dict[Shown, Verdict]], most: float) -> None:
    """Ends a run where more than this share of a judge's requests failed, or of its texts have no verdict because of that.

    Asking again may give verdicts. Every vote is a request; texts that took none count in neither share.

    Raises:
        Failed: with the judge and what the first failure said.
    """
    for name, given in verdicts.items():
        asked = [verdict for verdict in given.values() if verdict.num_requests]
        failures = [failure for verdict in asked for failure in verdict.failures]
        num_requests = sum(verdict.num_requests for verdict in asked)
        without = sum(verdict.reason == "failed" for verdict in asked)
        if len(failures) > most * num_requests or without > most * len(asked):
            raise Failed(
                f"{name}: {len(failures)} of {num_requests} requests failed, the first with"
                f" {failures[0].splitlines()[0]}; run the same command to ask them again"
            )


def _ask(
    prompted: list[tuple[PromptedJudge, list[Shown]]], settings: JudgeModelSettings, seed: int, run: Run
) -> list[list[Verdict]]:
    """Puts every prompt to the judge model."""
    from pipeline.replies import ReplyStore, remember

    store = ReplyStore(run.path(ANSWERS_FILE))
    opened = open_model(
        ChatModelSettings(
            name=settings.name,
            max_tokens=settings.max_tokens,
            max_connections=settings.max_connections,
            model_args=settings.model_args,
        )
    )
    total = sum(judge.votes * len(texts) for judge, texts in prompted)
    with tqdm(total=total, desc=f"eval: {settings.name} judges", unit="answer", mininterval=2) as progress:
        model = remember(opened, store, partial(_advance, progress))
        verdicts = asyncio.run(_ask_all(prompted, model, settings, seed))
    if hasattr(opened.api, "close"):
        opened.api.close()
    run.tokens_in += store.tokens_in
    run.tokens_out += store.tokens_out
    return verdicts


def _advance(progress: "tqdm[Any]") -> None:
    progress.update()


async def _ask_all(
    prompted: list[tuple[PromptedJudge, list[Shown]]], model: "Model", settings: JudgeModelSettings, seed: int
) -> list[list[Verdict]]:
    from inspect_ai.model import GenerateConfig

    places = asyncio.Semaphore(_TEXTS_AT_ONCE)

    async def vote(judge: PromptedJudge, prompt: str, number: int) -> "ModelOutput":
        config = GenerateConfig(
            temperature=judge.temperature,
            max_tokens=settings.max_tokens,
            seed=derive_seed(seed, judge.name, number),
        )
        return await model.generate(prompt, config=config)

    async def judged(judge: PromptedJudge, text: Shown) -> Verdict:
        async with places:
            prompt = judge.fill(text)
            votes = [vote(judge, prompt, number) for number in range(judge.votes)]
            return judge.decide(await asyncio.gather(*votes, return_exceptions=True))

    return [list(await asyncio.gather(*(judged(judge, text) for text in texts))) for judge, texts in prompted]


def _read_by(judge: Judge, rows: list[Row]) -> dict[int, Shown]:
    """What the judge sees of each row that it is asked about, by the row's place.

    A rule also gets what the reply's own tag says, which may stand behind the output; models judge the text alone.
    """
    needs_scratchpad = judge.sees == "scratchpad"
    is_told = isinstance(judge, RuleJudge)
    return {
        i: replace(show(row, judge.sees), decision=(is_told and row.get("decision")) or "")
        for i, row in enumerate(rows)
        if row["status"] == "ok" and (row["reasoning"] == "scratchpad" or not needs_scratchpad)
    }


def _add_columns(rows: list[Row], name: str, given: dict[int, Verdict]) -> list[str]:
    """One column each for verdict, reason, raw text, and for score, model and parts where there are any.

    The first three are there even where the judge was shown nothing, so that what reads the table need not ask.
    """
    always = [f"verdict_{name}", f"reason_{name}", f"raw_{name}"]
    told = [column for verdict in given.values() for column, _ in _cells(name, verdict)]
    columns = list(dict.fromkeys([*always, *told]))
    for i, row in enumerate(rows):
        row |= dict.fromkeys(columns) | (dict(_cells(name, given[i])) if i in given else {})
    return columns


def _cells(name: str, verdict: Verdict) -> Iterator[tuple[str, Any]]:
    yield f"verdict_{name}", verdict.value
    yield f"reason_{name}", verdict.reason
    yield f"raw_{name}", verdict.raw
    if verdict.score is not None:
        yield f"score_{name}", verdict.score
    if verdict.model:
        yield f"model_{name}", verdict.model
    for part, value in verdict.parts.items():
        yield f"verdict_{name}_{part}", value


def _add_headline(rows: list[Row], measure: str, title: str, given: dict[int, Verdict]) -> None:
    """The verdicts behind the headline figures. A reply whose compliance nobody could judge is not taken for a refusal."""
    for i, row in enumerate(rows):
        verdict = given.get(i)
        value = None if verdict is None or verdict.value is None else bool(verdict.value)
        row[measure] = value
        row[f"{measure}_judge"] = title if verdict else None
        row[f"{measure}_raw"] = verdict.raw if verdict else None
        if measure == "compliance" and "decision" in row:
            row["decision_contradicts"] = contradicts(row["decision"], value)
        if measure == "compliance" and verdict is not None and value is None:
            row["status"], row["error"] = UNJUDGED, f"{title}: {verdict.reason}"


def _about(judge: Judge, panel: Panel, given: dict[Shown, Verdict]) -> dict[str, Any]:
    """What run.json says of a judge."""
    reasons = [verdict.reason for verdict in given.values() if verdict.reason]
    return {
        "name": judge.name,
        "version": judge.version,
        "measures": judge.measures,
        "is_behind": [measure for measure, chosen in panel.behind.items() if chosen is judge],
        "model": model_of(judge, panel.model),
        "answered_as": sorted({verdict.model for verdict in given.values() if verdict.model}),
        "texts": len(given),
        "not_judged": {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        "requests": sum(verdict.num_requests for verdict in given.values()),
        "failed_requests": sum(len(verdict.failures) for verdict in given.values()),
    }
