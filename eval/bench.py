"""`python -m eval.bench`: how fast the evaluation is, each line against a named rival on the same machine.

- `bootstrap`: the interval of a mean over 10,000 queries from 10,000 resamples, against `scipy.stats.bootstrap`.
- `samples`: replies per second of a whole evaluation, against bare `transformers.generate` on the same prompts.
- `subjects`: base and four adapters in one run, against five runs of one subject each.

The numbers are left in `outputs/bench/eval.json`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.benchmark import SECONDS, Comparison, compare, timed, write_benchmark
from pipeline.errors import Refused

NUM_QUERIES, DRAWS = 10_000, 10_000


def main() -> None:
    """Measures the lines asked for and writes them; exits with 2 where one cannot be measured as asked."""
    parser = argparse.ArgumentParser(prog="python -m eval.bench", description=__doc__)
    parser.add_argument("--lines", nargs="+", choices=tuple(LINES), default=tuple(LINES), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each line is measured (default: 3)")
    parser.add_argument("--model", default="local/smollm2", help="of the last two lines (default: local/smollm2)")
    parser.add_argument("--trainings", nargs="*", type=Path, default=[], help="train runs of the last line's adapters")
    parser.add_argument("--queries", type=int, default=24, help="queries of the last two lines (default: 24)")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of a reply at most (default: 64)")
    arguments = parser.parse_args()
    try:
        comparisons = [comparison for line in arguments.lines for comparison in LINES[line](arguments)]
    except Refused as error:
        print(f"eval.bench: {error}", file=sys.stderr)
        sys.exit(2)
    write_benchmark("eval", comparisons, packages=("scipy", "peft"))


def bootstrap_line(arguments: argparse.Namespace) -> list[Comparison]:
    """Differences of every size, the slow case, and those of five replies a query, the usual one."""
    from scipy import stats

    from eval.statistics import bootstrap_mean

    rng = np.random.default_rng(0)
    cases = {
        "all distinct": rng.normal(size=NUM_QUERIES),
        "five replies a query": (rng.binomial(5, 0.6, NUM_QUERIES) - rng.binomial(5, 0.3, NUM_QUERIES)) / 5,
    }
    return [
        compare(
            f"bootstrap, 10,000 queries, 10,000 resamples, {name}",
            timed(partial(bootstrap_mean, values, np.random.default_rng(1), DRAWS)),
            timed(
                partial(
                    stats.bootstrap,
                    (values,),
                    np.mean,
                    n_resamples=DRAWS,
                    method="percentile",
                    batch=100,
                    vectorized=True,
                    rng=np.random.default_rng(1),
                )
            ),
            rival_name="scipy.stats.bootstrap, batches of 100",
            unit=SECONDS,
            rounds=arguments.rounds,
        )
        for name, values in cases.items()
    ]


def samples_line(arguments: argparse.Namespace) -> list[Comparison]:
    """Both sides with the weights loaded, batches of one size, and up to as many sampled tokens."""
    from inspect_ai import eval as run_task

    from eval.tasks.compliance import compliance
    from pipeline.chat import ChatModelSettings, open_model

    model = open_model(ChatModelSettings(arguments.model, max_tokens=arguments.max_tokens))
    task = compliance(num_queries=arguments.queries)
    prompts = [model.api.render(sample.input) for sample in task.dataset]  # type: ignore[attr-defined]

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            seconds = timed(
                lambda: run_task(
                    task, model=model, log_dir=folder, display="none", log_level="error", score_display=False
                )
            )()
        return len(prompts) / seconds

    def rival() -> float:
        return len(prompts) / timed(lambda: _generate(model.api, prompts, arguments.max_tokens))()

    found = compare(
        f"samples, {len(prompts)} of up to {arguments.max_tokens} tokens",
        ours,
        rival,
        rival_name="transformers.generate",
        unit="samples/s",
        rounds=arguments.rounds,
        warm_up=True,
    )
    model.api.close()  # type: ignore[attr-defined]
    return [found]


def _generate(provider: Any, prompts: list[str], max_tokens: int) -> None:
    """The bare engine: padded batches in the order of length, as anybody would write it."""
    import torch

    ordered = sorted(prompts, key=len)
    for start in range(0, len(ordered), provider.batch_size):
        batch = provider.tokenizer(
            ordered[start : start + provider.batch_size], return_tensors="pt", padding=True, add_special_tokens=False
        ).to(provider.model.device)
        with torch.inference_mode():
            provider.model.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=max_tokens)


def subjects_line(arguments: argparse.Namespace) -> list[Comparison]:
    """Whole commands, starting included: that is what one run saves.

    Raises:
        Refused: no trainings were given.
    """
    if not arguments.trainings:
        raise Refused("--trainings: the line 'subjects' needs the directories of complete train runs on the same base")
    subjects = ["{name: base}"]
    subjects += [f"{{name: adapter{i}, training: '{path}'}}" for i, path in enumerate(arguments.trainings)]

    def run(chosen: list[str]) -> int:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-m", "eval", f"model={arguments.model}", f"subjects=[{', '.join(chosen)}]",
                f"compliance.num_queries={arguments.queries}", f"compliance.max_tokens={arguments.max_tokens}",
                f"output_dir={folder}/eval",
            ]  # fmt: skip
            return subprocess.run(command, check=True, capture_output=True).returncode

    return [
        compare(
            f"base and {len(arguments.trainings)} adapters, {2 * arguments.queries} replies each",
            timed(lambda: run(subjects)),
            timed(lambda: [run([subject]) for subject in subjects]),
            rival_name=f"{len(subjects)} runs of one subject",
            unit=SECONDS,
            rounds=arguments.rounds,
        )
    ]


LINES: dict[str, Callable[[argparse.Namespace], list[Comparison]]] = {
    "bootstrap": bootstrap_line,
    "samples": samples_line,
    "subjects": subjects_line,
}
"""What can be measured, by name."""


if __name__ == "__main__":
    main()
