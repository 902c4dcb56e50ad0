"""How fast documents are made, filtered and taken up again; `make bench-data-gen` runs all but the million.

Ratios are of rounds in which both sides ran one after the other on the same work; see `pipeline.benchmark`.
"""

import argparse
from collections.abc import Callable

from pipeline.benchmark import Comparison, write_benchmark

SIZES, SIZES_QUICK, MILLION = (10_000, 100_000), (4_000, 10_000), 1_000_000
PARTS = ("filtering", "duplicates", "continuing", "generating", "server")


def main() -> None:
    """The command."""
    arguments = _parser().parse_args()
    from data_gen.bench.continuing import bench_continuing
    from data_gen.bench.filtering import bench_duplicates, bench_filtering
    from data_gen.bench.generating import bench_generating, bench_server

    quick = arguments.quick
    sizes = (SIZES_QUICK if quick else SIZES) + ((MILLION,) if arguments.million else ())
    parts: dict[str, Callable[[], list[Comparison]]] = {
        "filtering": lambda: bench_filtering(sizes),
        "duplicates": lambda: [bench_duplicates(2_000 if quick else 100_000, rounds=1)],  # the rival takes minutes
        "continuing": lambda: [bench_continuing(1_000 if quick else 100_000)],
        "generating": lambda: bench_generating(arguments.rounds, is_quick=quick),
        "server": lambda: [bench_server(arguments.server, arguments.served, arguments.rounds)],
    }
    chosen = arguments.only or [part for part in parts if part != "server" or arguments.server]
    comparisons = [comparison for part in chosen for comparison in parts[part]()]
    write_benchmark("data_gen", comparisons, packages=["rensa", "datasketch"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data_gen.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute or two at small sizes: does it run?")
    parser.add_argument("--million", action="store_true", help="filter 1,000,000 documents as well (11 GB of disk)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison of tokens a second (3)")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, help="these parts; without it all, and server if it is named"
    )
    parser.add_argument("--server", metavar="URL", help="address of a running vLLM server, ending in /v1")
    parser.add_argument("--served", metavar="NAME", default="smollm2", help="the name of the model there (smollm2)")
    return parser
