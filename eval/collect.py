"""`python -m eval.collect <directory>`: every complete run below a directory, joined into one tidy CSV.

One row per estimate, one column per setting that differs between the runs. A sweep's job that is missing or unfinished is
a hole; the table is refused unless `--allow-missing`, and each hole is named either way.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifact import RUN_FILE, STARTED_FILE, flatten, read_run
from pipeline.errors import Refused

_NOT_SWEPT = ("output_dir", "overwrite")


def main() -> None:
    """Parses the arguments, writes `<directory>/results.csv`, and exits with 2 where the table would have holes."""
    parser = argparse.ArgumentParser(prog="python -m eval.collect", description=__doc__)
    parser.add_argument("directory", type=Path, help="holds the run directories of a sweep, at any depth")
    parser.add_argument("--allow-missing", action="store_true", help="write the table though jobs are missing")
    parser.add_argument("--output", type=Path, help="the CSV to write (default: <directory>/results.csv)")
    arguments = parser.parse_args()
    output = arguments.output or arguments.directory / "results.csv"
    try:
        table, holes = collect(arguments.directory)
        for hole in holes:
            print(f"eval.collect: missing: {hole}", file=sys.stderr)
        if holes and not arguments.allow_missing:
            raise Refused(f"{len(holes)} jobs are missing; finish them, or allow holes with --allow-missing")
    except Refused as error:
        print(f"eval.collect: {error}", file=sys.stderr)
        sys.exit(2)
    import pandas

    pandas.DataFrame(table).to_csv(output, index=False)
    print(pandas.DataFrame(table).to_string(max_colwidth=40))
    print(f"eval.collect: {len(table)} estimates -> {output}")


def collect(directory: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what is missing from it.

    Raises:
        Refused: there is no complete run with a summary below `directory`, or one was edited since it ended.
    """
    runs = []
    for file in sorted(directory.rglob(RUN_FILE)):
        if (file.parent / "summary.json").exists():
            record = read_run(file.parent)
            estimates = json.loads((file.parent / "summary.json").read_text(encoding="utf-8"))
            runs.append((file.parent, flatten(record.config), estimates))
    if not runs:
        raise Refused(f"{directory}: holds no complete run with a summary.json")
    keys = [key for key in runs[0][1] if key not in _NOT_SWEPT]
    swept = [key for key in keys if len({repr(settings.get(key)) for _, settings, _ in runs}) > 1]
    rows = [
        {"run": str(run.relative_to(directory))} | estimate | {key: settings.get(key) for key in swept}
        for run, settings, estimates in runs
        for estimate in estimates
    ]
    return rows, _holes(directory, {run for run, _, _ in runs})


def _holes(directory: Path, complete: set[Path]) -> list[str]:
    """Unfinished run directories, and jobs of the sweep's grid that never began."""
    unfinished = [f"{file.parent} is unfinished" for file in sorted(directory.rglob(STARTED_FILE))]
    grid = directory / "multirun.yaml"
    if not grid.exists():
        return unfinished
    # Hydra leaves the sweep's own settings beside its jobs; the grid is the product of its parameters
    params = yaml.safe_load(grid.read_text(encoding="utf-8"))["hydra"]["sweeper"]["params"] or {}
    expected = 1
    for values in params.values():
        expected *= len(str(values).split(","))
    found = len(complete) + len(unfinished)
    never = [f"{expected - found} of {expected} jobs of {grid} left no directory"] if found < expected else []
    return unfinished + never


if __name__ == "__main__":
    main()
