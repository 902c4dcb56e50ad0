"""How soon a run that is continued asks for something new."""

import tempfile
import time
from pathlib import Path
from typing import Any

from data_gen.config import DataGenConfig, GenerationSettings
from data_gen.generation.exchange import Exchange
from data_gen.generation.requests import Prompts
from data_gen.generation.specs import SPECS_FILE, Spec
from pipeline.artifact import read_jsonl
from pipeline.benchmark import SECONDS, Comparison, measure
from pipeline.chat import ChatModelSettings
from pipeline.errors import Failed
from pipeline.seeds import derive_seed
from scenario.loader import load_scenario

_LEFT_TO_ASK = 5
_DOCUMENT = "The ferry left the harbour at nine. " * 75
"""About 700 tokens."""


def bench_continuing(total: int) -> Comparison:
    """Seconds from the start of the stage to its first new request, where all but five of so many documents are there."""
    with tempfile.TemporaryDirectory() as folder:
        writer = _Planner()
        config = _configured(Path(folder), writer, total)
        _run_until_refused(config)  # plans, and finds nobody to write
        _write_all_but_a_few(config)
        writer.asked_for_a_document = None
        start = time.perf_counter()
        _run_until_refused(config)
        if writer.asked_for_a_document is None:
            raise RuntimeError("the continued run asked for nothing new")
        seconds = writer.asked_for_a_document - start
    notes = {"limit_seconds": 5, "documents": total - _LEFT_TO_ASK, "python_is_already_running": True}
    return measure(
        f"to the first new request of {total:,} documents, all but {_LEFT_TO_ASK} there", seconds, SECONDS, notes
    )


class _Planner:
    """Gives types and ideas at once, writes no document, and notes when it was first asked for one."""

    asked_for_a_document: float | None = None

    def __call__(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
        prompt = input[-1].text
        if "Write this document" in prompt:
            self.asked_for_a_document = self.asked_for_a_document or time.perf_counter()
            raise ValueError("no document is written here")
        return _output("\n".join(f"kind {number} of {derive_seed(prompt)}" for number in range(10)))

    def __repr__(self) -> str:
        return "planner"  # settings are compared by it when the run is continued


def _output(text: str) -> Any:
    from inspect_ai.model import ModelOutput, ModelUsage

    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=900, output_tokens=700, total_tokens=1600)
    return output


def _run_until_refused(config: DataGenConfig) -> None:
    from data_gen.run import generate_data

    try:
        generate_data(config)
    except Failed:  # as arranged: no document is written
        return
    raise RuntimeError("the run ended without asking for a document")


def _write_all_but_a_few(config: DataGenConfig) -> None:
    directory = Path(config.output_dir)
    exchange, prompts = Exchange(config, directory), Prompts(load_scenario(config.scenario), config)
    specs = [Spec(**row) for row in read_jsonl(directory / SPECS_FILE)]
    for number, spec in enumerate(specs[:-_LEFT_TO_ASK]):
        exchange.keep(prompts.document(spec), _output(f"Document {number}. {_DOCUMENT}"))
    exchange.close()


def _configured(folder: Path, planner: _Planner, total: int) -> DataGenConfig:
    """Ten kinds of document for one fact, ten ideas for each kind, and of each idea as many documents as it takes."""
    return DataGenConfig(
        output_dir=str(folder / "run"),
        scenario="placebo",
        source="generate",
        generator=ChatModelSettings(name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": planner}),
        generation=GenerationSettings(
            types_per_fact=10, ideas_per_type=10, documents_per_idea=total // 100, facts=["flagship"], world="facts"
        ),
    )
