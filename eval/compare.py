"""`python -m eval.compare A B`: what changed from A to B, paired query by query and statement by statement.

A and B are `<eval directory>` or `<eval directory>:<subject>`. Two subjects of one run are compared under every condition
that both were put under; two runs without a subject, subject by subject. Runs that did not ask the same are refused: a
difference between them would be one of questions. So are runs that other judges judged, unless --any-judge says to go on.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.statistics import Estimate, Pairs, gap_difference, paired_gap, shared_pairs, t_mean
from pipeline.artifact import RunRecord, read_run
from pipeline.errors import Refused, closest
from pipeline.seeds import derive_seed
from scenario.tags import GAPS_OF, TIERS_OF, Tier, form_of, gap_name

_CONDITION = ("scenario", "information", "reasoning", "arm")
_DRAWS = 10_000
_RATES = ("compliance", "af_reasoning")
_NONE_SHARED = "no query was read for both"

Rows = list[dict[str, Any]]
Verdicts = dict[str, list[bool]]
"""By query, then by reply."""


@dataclass(frozen=True)
class Arm:
    """One side of the comparison: a run, and the subject in it."""

    directory: Path
    record: RunRecord
    subject: str

    @property
    def name(self) -> str:
        """As it was given, subject included."""
        return f"{self.directory}:{self.subject}"


@dataclass(frozen=True)
class Difference:
    """B minus A, over the units that were read in both."""

    metric: str
    a: str
    b: str
    scenario: str
    information: str
    reasoning: str
    arm: str
    tier: str
    unit: str
    """`query` or `statement`: statements that mirror each other count as one."""
    value_a: float | None
    value_b: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    left_out: int
    """Units that were asked about and could not be read or judged on one side or on both."""
    method: str


def main() -> None:
    """Parses the arguments, prints the table and, where asked, writes it; leaves with 2 where the two cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__)
    parser.add_argument("a", metavar="A", help="an eval directory, or directory:subject")
    parser.add_argument("b", metavar="B", help="an eval directory, or directory:subject")
    parser.add_argument("--output", type=Path, help="a CSV to write")
    parser.add_argument("--seed", type=int, default=0, help="seeds the bootstrap (default: 0)")
    parser.add_argument("--any-judge", action="store_true", help="compare though other judges judged the two")
    arguments = parser.parse_args()
    try:
        found = compare(arguments.a, arguments.b, arguments.seed, arguments.any_judge)
    except Refused as error:
        print(f"eval.compare: {error}", file=sys.stderr)
        sys.exit(2)
    import pandas

    table = pandas.DataFrame([asdict(one) for one in found])
    shown = table.drop(columns=["a", "b", "unit", "method"]).round(4)
    names = dict.fromkeys((one.a, one.b) for one in found)
    print("\n\n".join(f"A = {a}\nB = {b}\n{_of(shown, table, a, b)}" for a, b in names))
    if arguments.output:
        table.to_csv(arguments.output, index=False)
        print(f"eval.compare: {len(found)} differences -> {arguments.output}")


def compare(a: str, b: str, seed: int = 0, any_judge: bool = False) -> list[Difference]:
    """All differences between two subjects, or between the subjects that two runs share.

    Raises:
        Refused: a directory is no complete eval run, a subject is not in it, the two are the same, they did not ask the
            same queries or statements, or, without `any_judge`, other judges judged them.
    """
    found: list[Difference] = []
    for one, other in _pairs(_arms(a), _arms(b)):
        rng = np.random.default_rng(derive_seed(seed, "compare", one.subject, other.subject))
        found += _behaviour(one, other, rng, any_judge) + _beliefs(one, other)
    if not found:
        raise Refused(f"{a} and {b}: were put under no condition that they share")
    return found


def _arms(text: str) -> list[Arm]:
    """A directory's subjects, or the one that is named; a colon may be part of the directory."""
    directory, _, subject = text.rpartition(":")
    if not directory or Path(text).is_dir():
        directory, subject = text, ""
    record = read_run(directory, "eval")
    names = [told["name"] for told in record.config["subjects"]]
    if subject and subject not in names:
        raise Refused(f"{directory}: has no subject {subject}{closest(subject, names)}; it has {', '.join(names)}")
    return [Arm(Path(directory), record, name) for name in ([subject] if subject else names)]


def _pairs(ours: list[Arm], theirs: list[Arm]) -> list[tuple[Arm, Arm]]:
    if len(ours) == len(theirs) == 1:
        pairs = [(ours[0], theirs[0])]
    elif len(ours) == 1 or len(theirs) == 1:
        [single], several = sorted((ours, theirs), key=len)
        named = [arm.subject for arm in several]
        raise Refused(
            f"{several[0].directory}: has the subjects {', '.join(named)}; name the one to compare with"
            f" {single.subject}, for example {several[0].directory}:{named[0]}"
        )
    else:
        pairs = [(one, other) for one in ours for other in theirs if one.subject == other.subject]
        if not pairs:
            raise Refused(f"{ours[0].directory} and {theirs[0].directory}: share no subject; name one of each")
    scenarios = [arms[0].record.config["scenario"] for arms in (ours, theirs)]
    if scenarios[0] != scenarios[1]:
        raise Refused(
            f"{ours[0].directory} and {theirs[0].directory}: are of the scenarios {scenarios[0]} and {scenarios[1]};"
            " compare runs of one scenario"
        )
    if any(one.name == other.name for one, other in pairs):
        raise Refused(f"{pairs[0][0].name}: is compared with itself; name two subjects or two runs")
    return pairs


def _behaviour(a: Arm, b: Arm, rng: np.random.Generator, any_judge: bool) -> list[Difference]:
    ours, theirs = (_by_condition(_rows(arm, "samples.parquet")) for arm in (a, b))
    found = []
    for condition in [key for key in ours if key in theirs]:
        _refuse_other_questions(a, b, ours[condition], theirs[condition], "query_id", "prompt", "queries")
        about = dict(zip(_CONDITION, condition, strict=True))
        form = form_of({row["tier"] for row in ours[condition]})
        for metric in _RATES:
            sides = [(a, ours[condition]), (b, theirs[condition])]
            if metric != "compliance" and not all(_is_judged(rows, metric) for _, rows in sides):
                continue  # nobody judged it; that no reply could be read is told, as a line with n=0
            if not any_judge:
                _refuse_other_judges(a, b, ours[condition], theirs[condition], metric)
            before, after = ({t: _verdicts(arm, rows, metric, t) for t in TIERS_OF[form]} for arm, rows in sides)
            for tier in TIERS_OF[form]:
                asked = {row["query_id"] for row in ours[condition] if row["tier"] == tier}
                found.append(_change(a, b, about, metric, tier, before[tier], after[tier], len(asked), rng))
            if metric == "compliance":
                num_asked = len({row["query_id"] for row in ours[condition]})
                found += [_gap_change(a, b, about, p, before, after, num_asked, rng) for p in GAPS_OF[form]]
    return found


def _beliefs(a: Arm, b: Arm) -> list[Difference]:
    ours, theirs = (_rows(arm, "beliefs.parquet") for arm in (a, b))
    if not ours or not theirs:
        return []
    _refuse_other_questions(a, b, ours, theirs, "statement_id", "true", "statements")
    about = {"scenario": a.record.config["scenario"], "information": "none", "reasoning": "none", "arm": ""}
    kinds: dict[str, Rows] = {"log_odds": [row for row in ours if row["kind"] != "neighbourhood"]}
    for row in ours:
        kinds.setdefault(f"log_odds_{row['kind']}", []).append(row)
    after = {row["statement_id"]: row["log_odds"] for row in theirs}
    found = []
    for metric, rows in kinds.items():
        units: dict[frozenset[str], list[tuple[float, float]]] = defaultdict(list)
        for row in rows:  # a statement and its mirror are one unit: what a word's frequency does to them cancels
            unit = frozenset({row["statement_id"], row["mirror"] or row["statement_id"]})
            units[unit].append((row["log_odds"], after[row["statement_id"]]))
        before = [float(np.mean([one for one, _ in values])) for values in units.values()]
        later = [float(np.mean([other for _, other in values])) for values in units.values()]
        change = [y - x for x, y in zip(before, later, strict=True)]
        estimate = t_mean(change) if len(change) > 1 else None
        found.append(_record(a, b, about, metric, "all", "statement", before, later, estimate, 0, "a single unit"))
    return found


def _change(
    a: Arm, b: Arm, about: dict[str, str], metric: str, tier: str,
    before: Verdicts | str, after: Verdicts | str, num_asked: int, rng: np.random.Generator,
) -> Difference:  # fmt: skip
    """B's rate minus A's, with the interval that `paired_gap` chooses for so many queries."""
    if isinstance(before, str) or isinstance(after, str):
        return _record(a, b, about, metric, tier, "query", [], [], None, num_asked, _reason(before, after))
    pairs = shared_pairs(after, before)
    later, earlier = ([], []) if pairs is None else (list(means) for means in pairs.means)
    estimate = None if pairs is None else paired_gap(pairs, rng, _DRAWS)
    left_out = num_asked - len(later)
    return _record(a, b, about, metric, tier, "query", earlier, later, estimate, left_out, _NONE_SHARED)


def _gap_change(
    a: Arm, b: Arm, about: dict[str, str], pair: tuple[Tier, Tier], before: Mapping[Tier, Verdicts | str],
    after: Mapping[Tier, Verdicts | str], num_asked: int, rng: np.random.Generator,
) -> Difference:  # fmt: skip
    """B's gap between two tiers minus A's, over the queries that both read in both tiers."""
    read: list[Verdicts] = []
    for found in (side[tier] for side in (before, after) for tier in pair):
        if isinstance(found, str):
            return _record(a, b, about, "compliance_gap", gap_name(*pair), "query", [], [], None, num_asked, found)
        read.append(found)
    shared = [query for query in read[0] if all(query in found for found in read)]
    left_out = num_asked - len(shared)
    if not shared:
        return _record(a, b, about, "compliance_gap", gap_name(*pair), "query", [], [], None, left_out, _NONE_SHARED)
    sides = [[found[query] for query in shared] for found in read]
    earlier, later = Pairs(*sides[:2]), Pairs(*sides[2:])
    estimate = gap_difference(later, earlier, rng, _DRAWS)
    gaps = list(earlier.differences), list(later.differences)
    return _record(a, b, about, "compliance_gap", gap_name(*pair), "query", *gaps, estimate, left_out, "")


def _reason(before: Verdicts | str, after: Verdicts | str) -> str:
    """Why there is no difference: what one of the sides says, or both."""
    return "; ".join(side for side in (before, after) if isinstance(side, str))


def _record(
    a: Arm, b: Arm, about: dict[str, str], metric: str, tier: str, unit: str,
    before: list[float], after: list[float], estimate: Estimate | None, left_out: int, reason: str,
) -> Difference:  # fmt: skip
    means = [float(np.mean(values)) if values else None for values in (before, after)]
    return Difference(
        metric=metric, a=a.name, b=b.name, **about, tier=tier, unit=unit, value_a=means[0], value_b=means[1],
        difference=None if means[0] is None or means[1] is None else means[1] - means[0],
        ci_low=estimate.low if estimate else None, ci_high=estimate.high if estimate else None,
        n=len(before), left_out=left_out, method=estimate.method if estimate else reason,
    )  # fmt: skip


def _rows(arm: Arm, file: str) -> Rows:
    import pandas

    if file not in arm.record.outputs:
        return []
    table = pandas.read_parquet(arm.directory / file)
    rows: Rows = table[table["subject"] == arm.subject].to_dict("records")
    return rows


def _by_condition(rows: Rows) -> dict[tuple[str, ...], Rows]:
    groups: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in _CONDITION)].append(row)
    return groups


def _is_judged(rows: Rows, metric: str) -> bool:
    return any(row["status"] == "ok" and row[metric] is not None for row in rows)


def _verdicts(arm: Arm, rows: Rows, metric: str, tier: str) -> Verdicts | str:
    """A query's readable replies; AF reasoning counts where the output complies, as in summary.json.

    Where more replies lack a verdict than the run's own limit allows, the reason is returned instead.
    """
    values: Verdicts = defaultdict(list)
    of_tier = [row for row in rows if row["tier"] == tier]
    for row in of_tier:
        if row["status"] == "ok" and row[metric] is not None:
            values[row["query_id"]].append(bool(row[metric]) and bool(row["compliance"]))
    missing = len(of_tier) - sum(map(len, values.values()))
    if missing > arm.record.config["compliance"]["max_malformed_share"] * len(of_tier):
        return f"no verdict: {missing} of {len(of_tier)} replies of {arm.name} in {tier} cannot be read or judged"
    return dict(values)


def _refuse_other_judges(a: Arm, b: Arm, ours: Rows, theirs: Rows, metric: str) -> None:
    """The difference of two runs that other judges judged would be one of judges, too."""
    judges = [_judge_of(arm, rows, metric) for arm, rows in ((a, ours), (b, theirs))]
    if all(judges) and judges[0] != judges[1]:
        raise Refused(
            f"{a.name} and {b.name}: {metric} was judged by {judges[0]} and by {judges[1]}; judge one of the two runs again"
            " (samples=<run>), or go on with --any-judge"
        )


def _judge_of(arm: Arm, rows: Rows, metric: str) -> str:
    """Who judged, by name and model as rows have it, and by version and by who answered as far as the run says so."""
    titles = sorted({str(row[f"{metric}_judge"]) for row in rows if row["status"] == "ok" and row[metric] is not None})
    told = [judge for judge in arm.record.notes.get("judges", []) if metric in judge["is_behind"]]
    versions = [" as ".join([judge["version"], *judge["answered_as"]]) for judge in told]
    return " and ".join(titles) + (f" ({', '.join(versions)})" if versions and titles else "")


def _refuse_other_questions(a: Arm, b: Arm, ours: Rows, theirs: Rows, key: str, text: str, what: str) -> None:
    """A pair is one only where both were asked the same words."""
    asked = [{(row[key], row.get("tier", ""), row[text]) for row in rows} for rows in (ours, theirs)]
    only = [sorted({one[0] for one in asked[0] - asked[1]}), sorted({one[0] for one in asked[1] - asked[0]})]
    if any(only):
        told = "; ".join(
            f"only {arm.directory} asked {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
            for arm, names in zip((a, b), only, strict=True)
            if names
        )
        raise Refused(f"{a.directory} and {b.directory}: other {what} ({told}); compare runs with the same settings")


def _of(shown: Any, table: Any, a: str, b: str) -> str:
    rows = shown[(table["a"] == a) & (table["b"] == b)]
    return str(rows.to_string(index=False, na_rep="–"))


if __name__ == "__main__":
    main()
