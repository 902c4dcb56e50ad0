"""Ours against a rival on one machine, in rounds that alternate, and the file in which a benchmark leaves its numbers.

A ratio is taken within a round, where both sides met the same load, and the median over the rounds is told: a machine
that slows down for a while then harms one round and not the result. Which side goes first changes from round to round.
"""

import dataclasses
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifact import write_json
from pipeline.versions import git_state, package_versions

BENCH_DIR = Path("outputs/bench")
"""Where every benchmark's file stands, from the directory that the command was typed in."""

SECONDS = "seconds"
"""The unit of which less is better; of every other unit, such as tokens/s, more is."""

Measure = Callable[[], float]
"""Does the work once and returns one number in the comparison's unit."""


@dataclass(frozen=True)
class Round:
    """What both sides measured in one round; `rival` is None where there is none."""

    ours: float
    rival: float | None


@dataclass(frozen=True)
class Comparison:
    """One line of a benchmark. `ours` and `rival` are medians, `ratio` is the median of the rounds' own ratios."""

    name: str
    ours: float
    rival: float | None
    rival_name: str
    unit: str
    ratio: float | None
    """How many times better ours is: above 1 where it is faster, whatever the unit; None without a rival."""
    rounds: list[Round]
    notes: dict[str, Any] = field(default_factory=dict)
    """What a reader needs in order to judge the numbers, such as sizes and settings."""

    def told(self) -> str:
        """The line that a terminal shows."""
        line = f"{self.name}: {self.ours:,.4g} {self.unit}"
        if self.rival is None or self.ratio is None:
            return line
        return f"{line}; {self.rival_name}: {self.rival:,.4g}; ratio {self.ratio:.3g} (rounds: {len(self.rounds)})"


def timed(work: Callable[[], object]) -> Measure:
    """A measure that tells how many seconds `work` takes."""

    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def compare(
    name: str,
    ours: Measure,
    rival: Measure,
    *,
    rival_name: str,
    unit: str,
    rounds: int = 3,
    warm_up: bool = False,
    notes: dict[str, Any] | None = None,
) -> Comparison:
    """Measures both sides `rounds` times, the first in every other round being the rival.

    Args:
        name: what is compared, for a reader.
        ours: does our side's work and returns its number.
        rival: the same for the other side.
        rival_name: what the other side is.
        unit: `seconds`, or a unit of which more is better.
        rounds: how often; three at least for a median that one disturbance does not move.
        warm_up: run both once before, without counting (compilation, caches, lazy imports).
        notes: kept with the numbers.
    """
    if warm_up:
        ours(), rival()
    measured = [_round(ours, rival, rival_first=number % 2 == 1) for number in range(rounds)]
    comparison = compare_rounds(name, measured, rival_name=rival_name, unit=unit, notes=notes)
    print(comparison.told(), flush=True)
    return comparison


def compare_rounds(
    name: str, rounds: Sequence[Round], *, rival_name: str, unit: str, notes: dict[str, Any] | None = None
) -> Comparison:
    """The comparison that these rounds make, for work that cannot be called twice from one process."""
    ratios, rivals = [], []
    for each in rounds:
        if each.rival is not None:
            rivals.append(each.rival)
            ratios.append(each.rival / each.ours if unit == SECONDS else each.ours / each.rival)
    return Comparison(
        name=name,
        ours=statistics.median(each.ours for each in rounds),
        rival=statistics.median(rivals) if rivals else None,
        rival_name=rival_name,
        unit=unit,
        ratio=statistics.median(ratios) if ratios else None,
        rounds=list(rounds),
        notes=notes or {},
    )


def measure(name: str, value: float, unit: str, notes: dict[str, Any] | None = None) -> Comparison:
    """A number without a rival, such as a peak of memory: `rival` and `ratio` are null in the file."""
    comparison = compare_rounds(name, [Round(value, None)], rival_name="", unit=unit, notes=notes)
    print(comparison.told(), flush=True)
    return comparison


def write_benchmark(
    name: str, comparisons: Sequence[Comparison], directory: Path = BENCH_DIR, packages: Sequence[str] = ()
) -> Path:
    """Writes `<directory>/<name>.json` and returns its path.

    Args:
        name: of the benchmark: data_gen, train, eval.
        comparisons: what was measured.
        directory: where benchmarks are kept.
        packages: whose versions are told besides those that every run tells, such as the rivals'.
    """
    commit, tree_clean = git_state()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    content = {
        "benchmark": name,
        "machine": describe_machine(),
        "versions": package_versions(packages),
        "commit": commit,
        "tree_clean": tree_clean,
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    write_json(path, content)
    print(f"benchmark: {path}")
    return path


def describe_machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, accelerators where torch is in use, and the load it is under."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "accelerators": _accelerators(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _round(ours: Measure, rival: Measure, rival_first: bool) -> Round:
    if rival_first:
        theirs = rival()
        return Round(ours(), theirs)
    return Round(ours(), rival())


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerators() -> list[str]:
    torch = sys.modules.get("torch")  # a benchmark that did not load torch ran on no accelerator
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
