"""How long training takes to begin: from the command to its first step, with very many documents."""

import random
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifact import open_run, write_jsonl
from pipeline.benchmark import Comparison, measure, timed
from pipeline.errors import Failed
from train.memory import Shape

_TINY = Shape(num_layers=1, hidden=64, intermediate=64, num_heads=2, num_key_value_heads=2, vocabulary=49152, tied=True)
_WORDS_PER_DOCUMENT = 150
"""Of invented words, which become three tokens each, so that a document has as many tokens as a real one."""
_VOCABULARY = 20_000


@dataclass
class _Source:
    """The settings of the run that holds the documents."""

    output_dir: str
    overwrite: bool = False


def measure_start(num_documents: int) -> list[Comparison]:
    """Seconds of a run of one step with a model of next to no size: first, and again with the tokens in the cache.

    Loading a real model comes on top; what the step itself and saving take is counted too, so this is an upper bound.
    """
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "documents", Path(folder) / "model"
        _write_documents(data, num_documents)
        _write_model(model)
        lines = []
        for when in ("first", "cached"):
            arguments = [f"data=[{data}]", f"model={model}", f"output_dir={folder}/{when}", "max_steps=1"]
            command = [sys.executable, "-m", "train", *arguments, "heldout_share=0", "processes=1", "lr=1e-2"]
            before = _cpu_seconds()
            seconds = timed(lambda command=command: _run(command))()  # type: ignore[misc]
            notes = {"words_per_document": _WORDS_PER_DOCUMENT, "cpu_seconds": _cpu_seconds() - before}
            lines.append(measure(f"start-up with {num_documents:,} documents, {when}", seconds, "seconds", notes))
        return lines


def _cpu_seconds() -> float:
    """CPU time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"the start-up benchmark ended with exit code {done.returncode}: {done.stderr[-400:]}")


def _write_documents(directory: Path, number: int) -> None:
    """Documents of words that nobody has tokenized before, so that the first run finds nothing in the cache."""
    run = open_run("data_gen", _Source(str(directory)), {})
    draw = random.Random(str(directory))
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(_VOCABULARY)]
    rows = [{"id": f"d{i}", "text": " ".join(draw.choices(words, k=_WORDS_PER_DOCUMENT))} for i in range(number)]
    write_jsonl(run.path("documents.jsonl"), rows)
    run.finish(["documents.jsonl"])


def _write_model(directory: Path) -> None:
    from pipeline.language_model import load_tokenizer
    from train.bench_gpu import random_model

    random_model(_TINY, "cpu").save_pretrained(directory)
    load_tokenizer("smollm2").save_pretrained(directory)
