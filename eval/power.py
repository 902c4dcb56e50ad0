"""`python -m eval.power`: before a run, how many queries find what gap; after it, what it could have found.

Two tables: by number of queries the smallest gap that is found with 80% power at the two-sided 5% level, and by gap the
queries needed. The tiers are given by their rate, correlation and replies per query, by the share of pairs that differ, or
by an evaluation that was run. For a gap compared with another subject's, the variances add.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Refused

QUERIES = (48, 84, 100, 200, 400, 1000)
GAPS = (0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3)

VarianceAt = Callable[[float], float]
"""From a gap to the variance between queries, of a query's own difference of rates."""


@dataclass(frozen=True)
class Assumption:
    """What the tables rest on, in words and as a function."""

    told: str
    variance_at: VarianceAt
    most: float = 1.0
    """The largest gap that there can be."""


def main() -> None:
    """Parses the arguments and prints the tables; exits with 2 where the tiers cannot be as described."""
    arguments = _parser().parse_args()
    try:
        for assumption in _assumptions(arguments):
            print("\n".join(table(assumption, arguments.queries, arguments.gaps)), end="\n\n")
    except Refused as error:
        print(f"eval.power: {error}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.power", description=__doc__)
    parser.add_argument("--paid-rate", type=float, default=0.1, help="compliance expected in paid (default: 0.1)")
    parser.add_argument(
        "--correlation",
        type=float,
        default=0.0,
        help="of a query's replies in the two tiers (default: 0, the cautious one)",
    )
    parser.add_argument("--samples", type=int, default=1, help="replies per query and tier (default: 1)")
    parser.add_argument(
        "--within", type=float, default=0.5, help="correlation of two replies to a query in one tier (default: 0.5)"
    )
    parser.add_argument(
        "--discordance",
        type=float,
        help="share of queries whose replies differ between the tiers; in place of the above",
    )
    parser.add_argument(
        "--run", type=Path, help="an evaluation's directory: take what was observed there, by condition"
    )
    parser.add_argument(
        "--against-control", action="store_true", help="for the gap minus a control's, such as documents minus placebo"
    )
    parser.add_argument("--queries", type=_numbers(int), default=QUERIES, help="numbers of queries, such as 48,200")
    parser.add_argument("--gaps", type=_numbers(float), default=GAPS, help="gaps as fractions, such as 0.05,0.1")
    return parser


def _numbers(kind: type) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = f"list of {kind.__name__}"  # argparse names it when it refuses a value
    return parse


def table(assumption: Assumption, queries: tuple[int, ...], gaps: tuple[float, ...]) -> list[str]:
    """The lines for one assumption."""
    from eval.statistics import detectable_gap, pairs_needed

    lines = [assumption.told, f"{'queries':>9}  smallest gap found with 80% power"]
    for number in queries:
        least = detectable_gap(number, assumption.variance_at, assumption.most)
        lines.append(f"{number:>9}  {'none' if least is None else f'{least:.3f}'}")
    lines.append(f"{'gap':>9}  queries needed")
    for gap in gaps:
        try:
            lines.append(f"{gap:>9.3g}  {pairs_needed(gap, assumption.variance_at(gap)):,}")
        except ValueError as error:  # the rates leave no room for a gap of this size
            lines.append(f"{gap:>9.3g}  none: {error}")
    return lines


def _assumptions(arguments: argparse.Namespace) -> list[Assumption]:
    """What the arguments say of the tiers; one for each condition of a run."""
    if arguments.run is not None:
        return observed(arguments.run, arguments.against_control)
    from eval.statistics import Tiers

    if arguments.discordance is not None:
        share = _share("--discordance", arguments.discordance)
        # pairs that differ are at least as many as the gap
        given = Assumption(f"{share:.1%} of pairs differ", lambda gap: max(share, abs(gap)) - gap**2)
    else:
        tiers = Tiers(
            paid_rate=_share("--paid-rate", arguments.paid_rate),
            correlation=_share("--correlation", arguments.correlation),
            samples=arguments.samples,
            within=_share("--within", arguments.within),
        )
        if tiers.samples < 1:
            raise Refused(f"--samples={tiers.samples}: must be at least 1")
        told = f"paid rate {tiers.paid_rate:g}, tiers' correlation {tiers.correlation:g}, {tiers.samples} replies per query"
        several = f" and tier, correlated {tiers.within:g} within a query" if tiers.samples > 1 else " and tier"
        given = Assumption(told + several, tiers.variance, 1 - tiers.paid_rate)
    if not arguments.against_control:
        return [given]
    # the control has no gap of its own, and nothing is won by asking both the same queries: the cautious case
    return [
        Assumption(
            f"{given.told}; minus a control's gap with the same replies and no gap",
            lambda gap: given.variance_at(gap) + given.variance_at(0.0),
            given.most,
        )
    ]


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise Refused(f"{name}={value:g}: must be between 0 and 1")
    return value


def observed(directory: Path, against_control: bool) -> list[Assumption]:
    """What an evaluation's replies say, for each subject and condition that was read in both tiers.

    Raises:
        Refused: not a complete evaluation with replies, or none that can be used.
    """
    import pandas

    from eval.statistics import Pairs, observed_variance
    from eval.suites.gaps import conditions_of, verdicts
    from eval.summary import CONTROL
    from pipeline.artifact import read_run
    from scenario.tags import TIERS

    read_run(directory, "eval")
    file = directory / "samples.parquet"
    if not file.exists():
        raise Refused(f"{file}: missing; only an evaluation of the compliance suite has replies")
    rows = pandas.read_parquet(file).to_dict("records")
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for about, group in conditions_of(rows):
        free, paid = (verdicts(row for row in group if row["tier"] == tier) for tier in TIERS)
        queries = sorted(free.keys() & paid.keys())
        if queries:
            pairs = Pairs(*([tier[query] for query in queries] for tier in (free, paid)))
            found[tuple(about.values())] = dict(zip(queries, pairs.differences.tolist(), strict=True))
    assumptions = []
    for (subject, *condition), gaps in found.items():
        control = found.get((CONTROL, *condition)) if against_control else dict.fromkeys(gaps, 0.0)
        if control is None or (against_control and subject == CONTROL):
            continue
        change = [gaps[query] - control[query] for query in gaps if query in control]
        if change:
            name = " ".join(part for part in (subject, *condition) if part)
            told = f"{name}{' minus placebo' if against_control else ''}: as observed on {len(change)} queries"
            assumptions.append(Assumption(told, observed_variance(change)))
    if not assumptions:
        raise Refused(f"{directory}: no condition{' with a placebo' if against_control else ''} was read in both tiers")
    return assumptions


if __name__ == "__main__":
    main()
