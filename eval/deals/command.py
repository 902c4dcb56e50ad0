"""`python -m eval.deals`: what was offered, asked for and promised, and reading the objections by hand.

ledger RUN...            totals of the offers, and the promises open and kept
keep ID --note TEXT      marks a promise as kept (lines are only added)
export RUN... --output   objections as a CSV to label, without subject, arm and tier
label FILE RUN...        counts the labels and their agreement with the rules and the judge model
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from eval.deals.labels import agreement, export_objections, objections_of, read_labels
from eval.deals.ledger import (
    OUTCOMES,
    PromiseRecord,
    count_outcomes,
    mark_kept,
    read_kept,
    read_ledger,
    unique_offers,
    unique_promises,
)
from pipeline.artifact import RUN_FILE, read_run, sha256_of
from pipeline.errors import Refused

KEPT_FILE = Path("deals.kept.jsonl")
"""Where it is told that promises were kept, beside no run, so that no run's removal takes it along."""


def main() -> None:
    """Parses the arguments and does what they say; exits with 2 where it is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.deals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    ledger = commands.add_parser("ledger", help="totals of the offers, and the promises open and kept")
    ledger.add_argument("runs", type=Path, nargs="+", help="directories of complete eval runs with suite=deals")
    keep = commands.add_parser("keep", help="marks a promise as kept")
    keep.add_argument("id", help="the promise's id, as the ledger prints it")
    keep.add_argument("--note", required=True, help="how it was kept, so that it can be checked")
    for command in (ledger, keep):
        command.add_argument("--kept", type=Path, default=KEPT_FILE, help="the file that says what was kept")
    export = commands.add_parser("export", help="objections as a CSV to label")
    export.add_argument("runs", type=Path, nargs="+")
    export.add_argument("--output", type=Path, required=True, help="the CSV to write")
    label = commands.add_parser("label", help="counts the labels in an exported CSV")
    label.add_argument("file", type=Path, help="the CSV, with its category column filled in")
    label.add_argument("runs", type=Path, nargs="+", help="the runs that it was exported from")
    try:
        print(_carry_out(parser.parse_args()))
    except Refused as error:
        print(f"eval.deals: {error}", file=sys.stderr)
        sys.exit(2)


def _carry_out(arguments: argparse.Namespace) -> str:
    if arguments.command == "keep":
        mark_kept(arguments.kept, arguments.id, arguments.note)
        return f"eval.deals: promise {arguments.id} is marked as kept in {arguments.kept}"
    for run in arguments.runs:
        read_run(run, "eval")
    if arguments.command == "ledger":
        return tell_ledger(arguments.runs, arguments.kept)
    if arguments.command == "export":
        number = export_objections(arguments.runs, arguments.output)
        return f"eval.deals: {number} objections -> {arguments.output}; fill in the empty columns, then: label"
    return tell_labels(arguments.file, arguments.runs)


def tell_ledger(runs: Iterable[Path], kept_file: Path) -> str:
    """The offers by subject, scenario, arm and tier, and every promise with its state."""
    ledgers = [(conversations_of(run), *read_ledger(run)) for run in runs]
    counts = count_outcomes(unique_offers((held_in, offers) for held_in, offers, _ in ledgers))
    lines = [f"{'subject':16} {'scenario':14} {'arm':28} {'tier':5} offers " + " ".join(f"{o:>10}" for o in OUTCOMES)]
    for (subject, scenario, arm, tier), found in counts.items():
        told = " ".join(f"{found[outcome]:>10}" for outcome in OUTCOMES)
        lines.append(f"{subject:16} {scenario:14} {arm:28} {tier:5} {found.total():>6} {told}")
    promises = unique_promises(promise for *_, made in ledgers for promise in made)
    return "\n".join([*lines, "", *tell_promises(promises, kept_file)])


def conversations_of(run: Path) -> str:
    """What tells the run that held a run's conversations from others: for one that judged them again, that of its source."""
    source = read_run(run, "eval").inputs.get("samples")
    if source is None:
        return sha256_of(run / RUN_FILE)
    file = Path(source["path"]) / RUN_FILE
    if file.exists() and sha256_of(file) == source["sha256"]:
        return conversations_of(file.parent)
    return str(
        source["sha256"]
    )  # it is gone or was made anew, and may itself have judged again what was held elsewhere


def tell_promises(promises: list[PromiseRecord], kept_file: Path) -> list[str]:
    """Which promises are owed, which of them were kept and how, and the sum that is still open."""
    kept = read_kept(kept_file)
    owed = [promise for promise in promises if promise.is_owed]
    open_ = [promise for promise in owed if promise.id not in kept]
    lines = []
    for promise in promises:
        state = "not owed (nobody objected)"
        if promise.is_owed:
            state = f"kept: {kept[promise.id].note}" if promise.id in kept else "OPEN"
        sum_ = f" ${promise.amount:,}" if promise.amount else ""
        lines.append(
            f"{promise.id}  {promise.promise}{sum_} for {promise.subject} in {promise.scenario}, arm {promise.arm},"
            f" {promise.num_accepted} objections, by {promise.kept_by}: {state}"
        )
    lines.append(
        f"promises: {len(promises)} made, {len(owed)} owed, {len(owed) - len(open_)} kept, {len(open_)} open;"
        f" ${sum(p.amount for p in owed):,} owed, ${sum(p.amount for p in open_):,} of it open"
    )
    if strangers := sorted(set(kept) - {promise.id for promise in promises}):
        lines.append(f"{kept_file} marks promises of other runs: {', '.join(strangers)}")
    return lines


def tell_labels(file: Path, runs: Iterable[Path]) -> str:
    """How often each category was given by hand, by the rules and by the judge model, and how often they agree."""
    objections = objections_of(runs)
    labels, num_empty = read_labels(file, {objection.id for objection in objections})
    lines = [f"{len(labels)} labelled, {num_empty} without a category, {len(objections)} objections in all"]
    by_hand = Counter(label.category for label in labels.values())
    lines += [f"{category:16} {number}" for category, number in by_hand.most_common()]
    for name in ("rules", "judge"):
        same, both = agreement(objections, labels, name)
        lines.append(
            f"{name}: agrees with the hand on {same} of {both}" if both else f"{name}: categorised none of these"
        )
    for field in ("asks_for", "cause"):
        told = Counter(getattr(label, field) for label in labels.values() if getattr(label, field))
        lines += [f"{field}: {value} ({number})" for value, number in told.most_common(10)]
    return "\n".join(lines)
