"""The provider's batch mode, against a server on this machine that speaks OpenAI's batch protocol over HTTP.

Nothing here has been run against a provider: what is shown is that requests go out as batches and in no other way, that
replies come back to the requests they belong to, and that a run goes on after a batch that failed.
"""

import hashlib
import http.server
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model._providers.util import batch as inspect_batch

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings, Price
from data_gen.run import generate_data
from pipeline.artifact import read_jsonl, read_run
from pipeline.chat import ChatModelSettings
from pipeline.errors import Failed
from pipeline.replies import prompt_hash

MODEL = "gpt-4o-mini"


def answer_to(prompt: str) -> str:
    """Two lines for lists and one text for documents, from the prompt's hash."""
    mark = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    return f"text {mark}" if "Write this document" in prompt else f"first {mark}\nsecond {mark}"


class BatchServer(http.server.ThreadingHTTPServer):
    """Keeps files and batches. A batch is done when it is asked about a second time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.batches: dict[str, int] = {}
        self.tries: Counter[str] = Counter()
        self.num_direct = 0
        self.failing = ""
        """A prompt that holds this is answered with an error."""

    def results(self, requests: list[dict[str, Any]]) -> bytes:
        """In another order than the requests', as a provider may give them."""
        lines = []
        for request in reversed(requests):
            prompt = request["body"]["messages"][-1]["content"]
            self.tries[prompt] += 1
            failed = {"error": {"code": 500, "message": "try again"}}
            done = {"error": None, "response": {"status_code": 200, "body": completion(answer_to(prompt))}}
            is_failing = self.failing and self.failing in prompt
            lines.append({"custom_id": request["custom_id"]} | (failed if is_failing else done))
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """The four calls of the batch protocol; anything else is counted as asked directly."""

    server: BatchServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Says nothing: a test's output is its assertion."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/files":
            id = f"file-{len(self.server.files)}"
            lines = re.findall(rb'^\{"custom_id".*\}\r?$', body, re.MULTILINE)
            self.server.files[id] = [json.loads(line) for line in lines]
            self.reply({"id": id, "object": "file", "bytes": 1, "created_at": 1, "filename": "f", "purpose": "batch"})
        elif self.path == "/v1/batches":
            id = json.loads(body)["input_file_id"]
            self.server.batches[id] = 0
            self.reply(self.batch(id, "validating"))
        else:
            self.server.num_direct += 1
            self.reply(completion("not asked in a batch"))

    def do_GET(self) -> None:
        _, kind, id, *content = self.path.removeprefix("/v1").split("/")
        if content:
            self.reply(self.server.results(self.server.files[id.removeprefix("results-")]))
            return
        assert kind == "batches"
        self.server.batches[id] += 1
        self.reply(self.batch(id, "in_progress" if self.server.batches[id] == 1 else "completed"))

    def batch(self, id: str, status: str) -> dict[str, Any]:
        return {
            "id": id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": id,
            "completion_window": "24h",
            "created_at": 1,
            "status": status,
            "output_file_id": f"results-{id}" if status == "completed" else None,
        }

    def reply(self, content: dict[str, Any] | bytes) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for name in ("DEFAULT_BATCH_TICK", "DEFAULT_SEND_DELAY"):
        monkeypatch.setattr(inspect_batch, name, 0.05)  # seconds, of which the library waits 15
    started = BatchServer()
    threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield started
    started.shutdown()
    started.server_close()


def generating(directory: Path, server: BatchServer) -> DataGenConfig:
    model = ChatModelSettings(
        name=f"openai/{MODEL}",
        max_tokens=1536,
        batch=True,
        base_urls=[f"http://127.0.0.1:{server.server_port}/v1"],
        retry_wait=0.01,
        max_retries=1,
        model_args={"responses_api": False},
    )
    return DataGenConfig(
        output_dir=str(directory),
        scenario="placebo",
        source="generate",
        generator=model,
        generation=GenerationSettings(types_per_fact=2, ideas_per_type=2, facts=["reach", "battery"], world="facts"),
        filters=FilterSettings(length=False, facts_stated=False),
        prices={model.name: Price(input=1e6, output=1e6, batch=0.5, as_of="today", source="a test")},
    )


def test_documents_come_from_batches_and_are_matched_to_their_requests_by_id(
    server: BatchServer, tmp_path: Path
) -> None:
    generate_data(generating(tmp_path / "run", server))
    assert server.num_direct == 0
    assert [len(requests) for requests in server.files.values()] == [2, 4, 8]
    documents = {prompt_hash(prompt): answer_to(prompt) for prompt in server.tries if "Write this document" in prompt}
    written = read_jsonl(tmp_path / "run" / "documents.jsonl")
    assert {row["prompt_sha256"]: row["text"] for row in written} == documents
    assert read_run(tmp_path / "run").cost == pytest.approx(14 * 13 * 0.5)


def test_a_run_goes_on_after_a_batch_that_failed(server: BatchServer, tmp_path: Path) -> None:
    server.failing = "Write this document"
    with pytest.raises(Failed, match=r"requests for documents failed.*run the same command again"):
        generate_data(generating(tmp_path / "run", server))
    server.failing = ""
    generate_data(generating(tmp_path / "run", server))
    assert len(read_jsonl(tmp_path / "run" / "documents.jsonl")) == 8
    assert {count for prompt, count in server.tries.items() if "Write this document" not in prompt} == {1}
