"""`python -m eval.collect <directory>`: every complete run below a directory, joined into one tidy CSV.

One row per estimate, one column per setting that differs between the runs, those of the trainings behind an evaluation
included as `<subject>.<setting>`. A sweep's job that is missing or unfinished is a hole; the table is refused unless
`--allow-missing`, and each hole is named either way. What jobs there should be is read from Hydra's multirun.yaml, which
its SLURM launcher writes too; for an array that was submitted otherwise, `--grid` says it.
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifact import RUN_FILE, STARTED_FILE, RunRecord, flatten, read_run, sha256_of
from pipeline.directories import is_aside
from pipeline.errors import Refused, closest

_MOST_ROWS, _MOST_COLUMNS = 60, 24
"""What a terminal is shown of the table; the file has all of it."""
_ALWAYS_SHOWN = ("run", "metric", "subject", "tier", "arm", "estimate", "ci_low", "ci_high", "n")
"""Columns that are left where there are too many: runs of several experiments differ in almost every setting."""
_NOT_SWEPT = ("output_dir", "overwrite")


def main() -> None:
    """Parses the arguments, writes `<directory>/results.csv`, and exits with 2 where the table would have holes."""
    parser = argparse.ArgumentParser(prog="python -m eval.collect", description=__doc__)
    parser.add_argument("directory", type=Path, help="holds the run directories of a sweep, at any depth")
    parser.add_argument("--allow-missing", action="store_true", help="write the table though jobs are missing")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="values that jobs should have, e.g. seed=0,1,2",
    )
    parser.add_argument("--output", type=Path, help="the CSV to write (default: <directory>/results.csv)")
    arguments = parser.parse_args()
    output = arguments.output or arguments.directory / "results.csv"
    try:
        table, holes = collect(arguments.directory, arguments.grid)
        for hole in holes:
            print(f"eval.collect: missing: {hole}", file=sys.stderr)
        if holes and not arguments.allow_missing:
            raise Refused(f"{len(holes)} jobs are missing; finish them, or allow holes with --allow-missing")
    except Refused as error:
        print(f"eval.collect: {error}", file=sys.stderr)
        sys.exit(2)
    import pandas

    frame = pandas.DataFrame(table)
    frame.to_csv(output, index=False)
    is_wide = len(frame.columns) > _MOST_COLUMNS
    shown = frame[[name for name in frame.columns if name in _ALWAYS_SHOWN]] if is_wide else frame
    print(shown.to_string(max_colwidth=40, max_rows=_MOST_ROWS))
    print(f"eval.collect: {len(table)} estimates, {len(frame.columns)} columns -> {output}")


def collect(directory: Path, grid: Sequence[str] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, and what is missing from it.

    Args:
        directory: holds the runs, at any depth.
        grid: `key=value,value` for every swept key, where no multirun.yaml says so.

    Raises:
        Refused: there is no complete run with a summary below `directory`, one was edited since it ended, or `grid` is
            not of its form or names a setting that no run has.
    """
    runs = []
    for file in sorted(directory.rglob(RUN_FILE)):
        if not is_aside(file) and (file.parent / "summary.json").exists():
            record = read_run(file.parent)
            estimates = json.loads((file.parent / "summary.json").read_text(encoding="utf-8"))
            runs.append((file.parent, flatten(record.config) | _upstream(record), estimates))
    if not directory.is_dir():
        raise Refused(f"{directory}: no such directory")
    if not runs:
        raise Refused(f"{directory}: holds no complete run with a summary.json")
    keys = [key for key in dict.fromkeys(key for _, settings, _ in runs for key in settings) if key not in _NOT_SWEPT]
    swept = [key for key in keys if len({repr(settings.get(key)) for _, settings, _ in runs}) > 1]
    rows = [
        {"run": str(run.relative_to(directory))}
        | estimate
        | {key: settings.get(key) for key in swept if key not in estimate}  # an estimate knows its own scenario better
        for run, settings, estimates in runs
        for estimate in estimates
    ]
    return rows, _holes(directory, [settings for _, settings, _ in runs], grid)


def _upstream(record: RunRecord) -> dict[str, Any]:
    """Settings of the runs that this one read, by role, as far as they are still there; their hash says if unchanged."""
    settings: dict[str, Any] = {}
    for role, told in record.inputs.items():
        file = Path(told["path"]) / RUN_FILE
        if file.exists() and sha256_of(file) == told["sha256"]:
            settings |= flatten(read_run(file.parent).config, f"{role}.")
    return settings


def _holes(directory: Path, complete: list[dict[str, Any]], grid: Sequence[str]) -> list[str]:
    """Unfinished run directories, and jobs of the sweep's grid that never began."""
    started = sorted(file for file in directory.rglob(STARTED_FILE) if not is_aside(file))
    unfinished = [f"{file.parent} is unfinished" for file in started]
    begun = [flatten(json.loads(file.read_text(encoding="utf-8"))["config"]) for file in started]
    file = directory / "multirun.yaml"
    params = _given(grid, complete) or (_of_hydra(file) if file.exists() else {})
    source = "--grid" if grid else str(file)
    never = [
        f"the job {','.join(f'{key}={value}' for key, value in job.items())} of {source} left no directory"
        for job in _jobs(params)
        if not any(_belongs(settings, job) for settings in [*complete, *begun])
    ]
    return unfinished + never


def _given(grid: Sequence[str], complete: list[dict[str, Any]]) -> dict[str, str]:
    """What `--grid` says, by key."""
    params = {}
    for text in grid:
        key, sign, values = text.partition("=")
        if not sign or not values:
            raise Refused(f"--grid {text}: must be KEY=VALUES, for example seed=0,1,2")
        if not any(key in settings for settings in complete):
            raise Refused(f"--grid {text}: no run has the setting {key}{closest(key, complete[0])}")
        params[key] = values
    return params


def _of_hydra(file: Path) -> dict[str, str]:
    """The parameters of a Hydra sweep."""
    # Hydra leaves the sweep's own settings beside its jobs; the command line goes before the experiment's file
    hydra = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
    given = (hydra.get("overrides") or {}).get("task") or []
    params = (hydra["sweeper"]["params"] or {}) | dict(override.lstrip("+").split("=", 1) for override in given)
    return {key: str(values) for key, values in params.items() if len(_values(str(values))) > 1}


def _jobs(params: dict[str, str]) -> list[dict[str, str]]:
    """The keys and values of every job: the product of the parameters; none where nothing is swept."""
    if not params:
        return []
    values = [_values(text) for text in params.values()]
    return [dict(zip(params, job, strict=True)) for job in itertools.product(*values)]


def _values(text: str) -> list[str]:
    """The values of one swept parameter: `1,2`, `[a,b],[c]`, `choice(1,2)`, `range(0,3)`."""
    function = re.fullmatch(r"(choice|range)\((.*)\)", text)
    if function is not None and function[1] == "range" and re.fullmatch(r"[-\d, ]+", function[2]):
        return [str(value) for value in range(*map(int, function[2].split(",")))]
    inner = text if function is None else function[2]
    return [value.strip() for value in re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|\"[^\"]*\"|'[^']*'|[^,])+", inner)]


def _belongs(settings: dict[str, Any], job: dict[str, str]) -> bool:
    """Whether a run has the job's settings; a key that is no setting, such as a group's, cannot tell and is passed over."""
    return all(_is_value(settings[key], text) for key, text in job.items() if key in settings)


def _is_value(setting: Any, text: str) -> bool:
    try:
        return bool(setting == yaml.safe_load(text)) or bool(setting == float(text))
    except ValueError:  # the text is no number
        return False


if __name__ == "__main__":
    main()
