"""How soon a run that is continued asks for something new."""

import tempfile
import time
from pathlib import Path
from typing import Any

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings
from pipeline.benchmark import SECONDS, Comparison, measure
from pipeline.chat import ChatModelSettings
from pipeline.seeds import derive_seed

_LEFT_TO_ASK = 5
"""Requests that the first try of the continued run could not finish."""


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
