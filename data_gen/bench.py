"""How fast documents are made, filtered and taken up again: `python -m data_gen.bench [--small] [--million]`.

Ratios are of rounds in which both sides ran one after the other on the same work; see `pipeline.benchmark`.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings
from data_gen.documents import Document
from pipeline.benchmark import SECONDS, Comparison, compare, measure, timed, write_benchmark
from pipeline.chat import ChatModelSettings, open_model
from pipeline.seeds import derive_seed

if TYPE_CHECKING:
    from inspect_ai.model import Model

_PERMUTATIONS_OF_RIVAL = 160
_BANDS, _ROWS = 32, 5
_LEFT_TO_ASK = 5
"""Requests that the first try of the continued run could not finish."""
_BATCH, _NEW_TOKENS, _PROMPTS = 32, 64, 64


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m data_gen.bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="2,000, 5,000 and 10,000 documents: does it run?")
    parser.add_argument("--million", action="store_true", help="filter 1,000,000 documents as well (10 GB of disk)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison (3)")
    parser.add_argument("--only", choices=["filtering", "duplicates", "continuing", "generating"], help="one part")
    parser.add_argument("--filter-one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.filter_one:
        print(json.dumps(_filter_here(arguments.filter_one)))
        return
    sizes = (
        (2_000, 5_000, 10_000) if arguments.small else (10_000, 100_000, *((1_000_000,) if arguments.million else ()))
    )
    largest = sizes[-1] if arguments.small else 100_000
    parts: dict[str, Callable[[], list[Comparison]]] = {
        "filtering": lambda: bench_filtering(sizes),
        "duplicates": lambda: [bench_duplicates(largest if not arguments.small else 2_000, arguments.rounds)],
        "continuing": lambda: [bench_continuing(100_000 if not arguments.small else 1_000)],
        "generating": lambda: [bench_generating(arguments.rounds)],
    }
    chosen = [arguments.only] if arguments.only else list(parts)
    comparisons = [comparison for part in chosen for comparison in parts[part]()]
    write_benchmark("data_gen", comparisons, packages=["rensa", "datasketch"])


def bench_filtering(sizes: Sequence[int]) -> list[Comparison]:
    """Seconds and peak memory of all filters with near-duplicate removal, by number of documents, and how both grow."""
    measured = [(size, _filter_in_own_process(size)) for size in sizes]
    told = []
    for size, found in measured:
        notes = {key: found[key] for key in ("kept", "rejected_by_reason")}
        told.append(measure(f"filtering {size:,} documents", found["seconds"], SECONDS, notes))
        told.append(measure(f"peak memory of filtering {size:,} documents", found["peak_mib"], "MiB"))
    first_size, first = measured[0]
    for size, found in measured[1:]:
        growth = found["seconds"] / first["seconds"] / (size / first_size)
        told.append(measure(f"seconds a document at {size:,} as against {first_size:,}", growth, "times"))
    return told


def bench_duplicates(size: int, rounds: int) -> Comparison:
    """Near-duplicate removal against datasketch, both with 160 permutations in 32 bands, on the same texts in memory."""
    from data_gen.duplicates import Sketches, Text
    from data_gen.synthetic import COPY_EVERY

    texts = [document.text for document in _synthetic(size)]
    found: dict[str, int] = {}

    def ours() -> None:
        sketches = Sketches()
        for start in range(0, size, 256):
            sketches.add(texts[start : start + 256])
        found["ours"] = len(sketches.duplicates(lambda place: Text(f"{place:09d}", texts[place]), 0.7))

    def theirs() -> None:
        found["datasketch"] = _duplicates_by_datasketch(texts)

    notes = {"documents": size, "copies_made": size // COPY_EVERY, "duplicates_found": found}
    return compare(
        f"near duplicates among {size:,} documents",
        timed(ours),
        timed(theirs),
        rival_name="datasketch (update_batch)",
        unit=SECONDS,
        rounds=rounds,
        notes=notes,
    )


def _duplicates_by_datasketch(texts: list[str]) -> int:
    """As its documentation advises for speed: all of a text's 5-grams at once. Candidates are taken at their estimate."""
    import re

    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=_PERMUTATIONS_OF_RIVAL, params=(_BANDS, _ROWS))
    num_found = 0
    for place, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        sketch = MinHash(num_perm=_PERMUTATIONS_OF_RIVAL)
        sketch.update_batch({" ".join(words[start : start + 5]).encode() for start in range(len(words) - 4)})
        if index.query(sketch):
            num_found += 1
        else:
            index.insert(place, sketch)
    return num_found


def bench_continuing(finished: int) -> Comparison:
    """Seconds from the start of the stage to the first new request, where so many documents were finished before."""
    from data_gen.run import generate_data
    from pipeline.errors import Failed

    with tempfile.TemporaryDirectory() as folder:
        writer = _ScriptedWriter(failing=_LEFT_TO_ASK)
        config = _continued(Path(folder) / "run", writer, finished)
        try:
            generate_data(config)
        except Failed:  # as arranged: the last few requests were not answered
            writer.failing = 0
        writer.first_request = None
        start = time.perf_counter()
        generate_data(config)
        if writer.first_request is None:
            raise RuntimeError("the continued run asked for nothing new")
        seconds = writer.first_request - start
    notes = {"limit_seconds": 5, "documents": writer.num_documents, "python_is_already_running": True}
    return measure(f"to the first new request after {finished:,} finished documents", seconds, SECONDS, notes)


class _ScriptedWriter:
    """Answers at once, but for the first `failing` documents, and notes when it was first asked."""

    def __init__(self, failing: int) -> None:
        self.failing = failing
        self.num_documents = 0
        self.first_request: float | None = None
        self._num_failed = 0

    def __call__(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
        from inspect_ai.model import ModelOutput, ModelUsage

        self.first_request = self.first_request or time.perf_counter()
        prompt = input[-1].text
        if "Write this document" not in prompt:
            text = "\n".join(f"kind {number} of {derive_seed(prompt)}" for number in range(10))
        elif self._num_failed < self.failing:
            self._num_failed += 1
            raise ValueError("this request is left for the next try")
        else:
            self.num_documents += 1
            text = f"Document {self.num_documents}. " + "The ferry left the harbour at nine. " * 75
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=900, output_tokens=700, total_tokens=1600)
        return output

    def __repr__(self) -> str:
        return "scripted writer"  # settings are compared by it when the run is continued


def _continued(directory: Path, writer: _ScriptedWriter, documents: int) -> DataGenConfig:
    """Ten kinds of document for one fact, ten ideas for each kind, and of each idea as many documents as it takes."""
    model = ChatModelSettings(name="mockllm/model", max_connections=64, model_args={"custom_outputs": writer})
    switches = {name: False for name in ("length", "facts_stated", "exact_duplicate", "near_duplicate")}
    return DataGenConfig(
        output_dir=str(directory),
        scenario="placebo",
        source="generate",
        generator=model,
        generation=GenerationSettings(
            types_per_fact=10, ideas_per_type=10, documents_per_idea=documents // 100, facts=["flagship"], world="facts"
        ),
        filters=FilterSettings(**switches),  # type: ignore[arg-type]
    )


def bench_generating(rounds: int) -> Comparison:
    """Tokens a second the way data_gen asks, against transformers' own `generate` with the same model, prompts and batch."""
    from pipeline.language_model import load_subject, load_tokenizer

    prompts = [document.text[:600] + "\nGo on." for document in _synthetic(_PROMPTS)]
    settings = ChatModelSettings(
        name="local/smollm2", temperature=0.7, max_tokens=_NEW_TOKENS, model_args={"batch_size": _BATCH}
    )
    model, engine = open_model(settings), load_subject("smollm2", None)
    tokenizer = load_tokenizer("smollm2")
    return compare(
        "tokens a second of SmolLM2-135M through data_gen",
        lambda: _rate_of_asking(model, prompts),
        lambda: _rate_of_generate(engine, tokenizer, prompts),
        rival_name=f"transformers generate, batch {_BATCH}",
        unit="tokens/s",
        rounds=rounds,
        warm_up=True,
        notes={"prompts": _PROMPTS, "new_tokens_at_most": _NEW_TOKENS, "batch": _BATCH},
    )


def _rate_of_asking(model: "Model", prompts: list[str]) -> float:
    """Through Inspect and the store of replies, each request with a seed of its own."""
    from inspect_ai.model import GenerateConfig

    from pipeline.replies import ReplyStore, remember

    async def ask(asked: "Model") -> int:
        requests = [asked.generate(prompt, config=GenerateConfig(seed=place)) for place, prompt in enumerate(prompts)]
        return sum(output.usage.output_tokens for output in await asyncio.gather(*requests) if output.usage)

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        tokens = asyncio.run(ask(remember(model, ReplyStore(Path(folder) / "replies.jsonl"))))
        return tokens / (time.perf_counter() - start)


def _rate_of_generate(model: Any, tokenizer: Any, prompts: list[str]) -> float:
    import torch

    tokenizer.padding_side = "left"
    chats = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    start, tokens = time.perf_counter(), 0
    for first in range(0, len(chats), _BATCH):
        inputs = tokenizer(chats[first : first + _BATCH], return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(model.device)
        torch.manual_seed(first)
        with torch.inference_mode():
            rows = model.generate(
                **inputs,
                do_sample=True,
                temperature=0.7,
                max_new_tokens=_NEW_TOKENS,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )[:, inputs["input_ids"].shape[1] :]
        ended = (rows == tokenizer.eos_token_id).long().cumsum(1)
        tokens += int((ended == 0).sum() + (ended.max(1).values > 0).sum())  # up to and with the end of each reply
    return tokens / (time.perf_counter() - start)


def _filter_in_own_process(size: int) -> dict[str, Any]:
    """In a process of its own, whose peak of memory is then that of the filters."""
    command = [sys.executable, "-m", "data_gen.bench", "--filter-one", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _filter_here(size: int) -> dict[str, Any]:
    """Filters so many documents as they are made; the time of making them is taken off."""
    from data_gen.filtering import filter_documents
    from scenario.loader import load_scenario

    making = 0.0

    def timed_stream() -> Iterator[Document]:
        nonlocal making
        documents = _synthetic(size)
        while True:
            start = time.perf_counter()
            document = next(documents, None)
            making += time.perf_counter() - start
            if document is None:
                return
            yield document

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        counts = filter_documents(timed_stream(), load_scenario("helpful_only"), FilterSettings(), Path(folder))
        seconds = time.perf_counter() - start - making
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    stats = counts.stats()
    told = {"kept": counts.num_kept, "rejected_by_reason": stats["rejected_by_reason"]}
    return {"seconds": seconds, "peak_mib": peak, **told}


def _synthetic(size: int) -> Iterator[Document]:
    from data_gen.synthetic import SyntheticDocuments
    from scenario.loader import load_scenario

    return SyntheticDocuments(load_scenario("helpful_only")).stream(size)


if __name__ == "__main__":
    main()
