"""What goes wrong on a long night: servers that fail, a process that dies, a disk that is full, a file that is broken.

The server is a real one over HTTP on this machine; its replies depend on nothing but the prompt.
"""

import asyncio
import hashlib
import http.server
import json
import multiprocessing
import multiprocessing.process
import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings
from data_gen.run import generate_data
from pipeline.artifact import RUN_FILE, read_jsonl, read_run, sha256_of
from pipeline.chat import ChatModelSettings
from pipeline.command import FAILED
from pipeline.errors import Failed, Refused

FAULTS = ("429", "500", "garbage", "other json", "half a body", "nothing")
OUTPUTS = ("documents.jsonl", "rejects.jsonl", "specs.jsonl", "stats.json", "README.md")


def answer_to(prompt: str) -> str:
    """Two lines for lists and one text for documents, from the prompt's hash."""
    mark = hashlib.sha256(prompt.encode()).hexdigest()[:12]
    return f"text {mark}" if "Write this document" in prompt else f"first {mark}\nsecond {mark}"


class Server(http.server.ThreadingHTTPServer):
    """Speaks OpenAI's chat protocol. Every prompt meets the faults that are listed, one try each, before its reply."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: tuple[str, ...] = ()
        self.tries: Counter[str] = Counter()
        self.num_answered = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request, well or as its fault says."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Says nothing: a test's output is its assertion."""

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        with self.server.lock:
            number = self.server.tries[prompt]
            self.server.tries[prompt] += 1
            fault = self.server.faults[number] if number < len(self.server.faults) else ""
            self.server.num_answered += not fault
        body = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": answer_to(prompt)},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
            }
        ).encode()
        if fault == "nothing":
            self.close_connection = True
            return
        body = {"garbage": b"<html>no {", "other json": b'{"a": 1}'}.get(fault, body)
        self.send_response(int(fault) if fault.isdigit() else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "half a body" else body)
        self.close_connection = fault == "half a body"


@pytest.fixture
def servers() -> Iterator[Callable[[], Server]]:
    """Starts a server for each call, and ends them all."""
    started: list[Server] = []

    def start() -> Server:
        started.append(Server())
        threading.Thread(target=started[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return started[-1]

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def config(directory: Path, generator: ChatModelSettings, **settings: Any) -> DataGenConfig:
    defaults: dict[str, Any] = {
        "scenario": "placebo",
        "source": "generate",
        "generation": GenerationSettings(types_per_fact=2, ideas_per_type=2, facts=["reach", "battery"], world="facts"),
        "filters": FilterSettings(length=False, facts_stated=False),
    }
    return DataGenConfig(output_dir=str(directory), generator=generator, **(defaults | settings))


def served(*urls: str, **settings: Any) -> ChatModelSettings:
    return ChatModelSettings(
        name="vllm/some/model", base_urls=list(urls), **({"max_tokens": 1536, "retry_wait": 0.001} | settings)
    )


def test_every_fault_of_a_server_is_retried_and_changes_nothing(servers: Callable[[], Server], tmp_path: Path) -> None:
    well, ill = servers(), servers()
    ill.faults = FAULTS
    generate_data(config(tmp_path / "well", served(well.url)))
    generate_data(config(tmp_path / "ill", served(ill.url)))
    for name in OUTPUTS:
        assert sha256_of(tmp_path / "ill" / name) == sha256_of(tmp_path / "well" / name), name
    assert well.num_answered == ill.num_answered == 2 + 4 + 8
    assert set(ill.tries.values()) == {len(FAULTS) + 1}
    records = [read_run(tmp_path / name) for name in ("well", "ill")]
    assert records[0].tokens_out == records[1].tokens_out == 14 * 3


def test_retries_are_bounded_and_what_was_answered_is_not_sent_again(
    servers: Callable[[], Server], tmp_path: Path
) -> None:
    server = servers()
    server.faults = ("500",) * 3
    with pytest.raises(Failed) as failed:
        generate_data(config(tmp_path / "run", served(server.url, max_retries=1)))
    assert "2 of 2 requests for types failed" in str(failed.value)
    assert "InternalServerError" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert set(server.tries.values()) == {2}
    errors = [row["error"] for row in read_jsonl(tmp_path / "run" / "replies.jsonl")]
    assert len(errors) == 2
    assert all("InternalServerError" in error for error in errors)
    server.faults = ()
    generate_data(config(tmp_path / "run", served(server.url, max_retries=1)))  # the servers may be others, too
    assert server.num_answered == 14
    assert json.loads((tmp_path / "run" / "stats.json").read_text(encoding="utf-8"))["num_failed_requests"] == 2
    assert "| num_failed_requests | 2 |" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_servers_share_the_work_and_a_dead_one_is_done_without(servers: Callable[[], Server], tmp_path: Path) -> None:
    one, other = servers(), servers()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        generate_data(config(tmp_path / "run", served(dead, one.url, other.url)))
    assert one.num_answered + other.num_answered == 14
    assert min(one.num_answered, other.num_answered) >= 3
    assert not set(one.tries) & set(other.tries)


def test_a_run_whose_only_server_is_dead_continues_on_another(servers: Callable[[], Server], tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(
            Failed, match=r"2 of 2 requests for types failed, .*Connection.* run the same command again"
        ):
            generate_data(config(tmp_path / "run", served(dead, max_retries=1)))
    server = servers()
    generate_data(config(tmp_path / "run", served(server.url)))
    assert server.num_answered == 14
    assert len(read_jsonl(tmp_path / "run" / "documents.jsonl")) == 8


async def in_process(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
    """The server's replies without a server, slowly enough to be killed between two of them."""
    await asyncio.sleep(0.004)
    output = ModelOutput.from_content("mockllm/model", answer_to(input[-1].text))
    output.usage = ModelUsage(input_tokens=10, output_tokens=3, total_tokens=13)
    return output


def many(directory: Path) -> DataGenConfig:
    """A run of more than 300 requests to a model in this process, one after the other."""
    model = ChatModelSettings(
        name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": in_process}, max_connections=1
    )
    generation = GenerationSettings(types_per_fact=2, ideas_per_type=2, documents_per_idea=6, world="facts")
    return config(directory, model, generation=generation)


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "inspect_ai.model", "data_gen.run"])


def generate_many(directory: Path) -> None:
    os.nice(5)  # the parent has to be in time
    generate_data(many(directory))


def generate_many_on_a_small_disk(directory: Path, told: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # no file may grow beyond
    try:
        generate_many(directory)
    except Failed as error:
        told.write_text(str(error), encoding="utf-8")
        sys.exit(FAILED)


def begin(work: Callable[..., None], *arguments: Path) -> multiprocessing.process.BaseProcess:
    """Does `work` in a process of its own, forked from one where everything is loaded and nothing runs."""
    child = FORKS.Process(target=work, args=arguments)
    child.start()
    return child


def exit_code(child: multiprocessing.process.BaseProcess) -> int | None:
    child.join(timeout=240)
    return child.exitcode


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_killed_twenty_times_ends_like_one_that_was_not(tmp_path: Path) -> None:
    undisturbed, directory = tmp_path / "undisturbed", tmp_path / "killed"
    assert exit_code(begin(generate_many, undisturbed)) == 0
    rng = np.random.default_rng(0)
    replies, num_kills = directory / "replies.jsonl", 0
    while num_kills < 20:
        wanted = num_lines(replies) + int(rng.integers(0, 9))
        child = begin(generate_many, directory)
        until = time.monotonic() + 120
        while num_lines(replies) < wanted and child.is_alive():
            assert time.monotonic() < until
            time.sleep(0.0005)
        if (directory / RUN_FILE).exists():
            break
        time.sleep(float(rng.uniform(0, 0.003)))  # a kill may come at any point between two replies
        child.kill()
        child.join()
        num_kills += 1
    assert num_kills == 20
    assert exit_code(begin(generate_many, directory)) == 0
    for name in OUTPUTS:
        assert sha256_of(directory / name) == sha256_of(undisturbed / name), name
    rows, whole = read_jsonl(replies), read_jsonl(undisturbed / "replies.jsonl")
    assert len(rows) == len(whole) == 12 + 24 + 288
    for key in ("key", "name"):
        assert sorted(row[key] for row in rows) == sorted(row[key] for row in whole)
        assert len({row[key] for row in rows}) == len(rows)
    assert read_run(directory).tokens_out == read_run(undisturbed).tokens_out == 324 * 3


def test_a_full_disk_is_told_in_one_line_and_leaves_whole_lines_to_continue_from(tmp_path: Path) -> None:
    directory, told = tmp_path / "run", tmp_path / "told.txt"
    assert exit_code(begin(generate_many_on_a_small_disk, directory, told)) == FAILED
    message = told.read_text(encoding="utf-8")
    assert "run: writing failed (File too large); free some space and run the same command again" in message
    assert "\n" not in message
    kept = read_jsonl(directory / "replies.jsonl")
    assert len(kept) > 5
    assert exit_code(begin(generate_many, directory)) == 0
    rows = read_jsonl(directory / "replies.jsonl")
    assert rows[: len(kept)] == kept
    assert len({row["name"] for row in rows}) == len(rows) == 324


def test_a_broken_line_among_the_replies_is_named_by_file_and_line(tmp_path: Path) -> None:
    model = ChatModelSettings(name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": in_process})
    made = config(tmp_path / "run", model, source="specs")
    generate_data(made)
    replies = tmp_path / "run" / "replies.jsonl"
    lines = replies.read_text(encoding="utf-8").splitlines()
    (tmp_path / "run" / RUN_FILE).rename(tmp_path / "run" / "run.started.json")  # as if it had not been finished
    started = {"stage": "data_gen", "seconds": 0.0}
    record = json.loads((tmp_path / "run" / "run.started.json").read_text(encoding="utf-8"))
    started |= {key: record[key] for key in ("config", "inputs")}
    (tmp_path / "run" / "run.started.json").write_text(json.dumps(started), encoding="utf-8")
    replies.write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]) + "\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"replies\.jsonl:2: not a reply of this run"):
        generate_data(made)
    replies.write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    generate_data(made)
    asked = [[row["key"] for row in rows] for rows in (read_jsonl(replies), map(json.loads, lines))]
    assert sorted(asked[0]) == sorted(asked[1])
    assert asked[0][-1] == asked[1][1]


def test_a_broken_line_in_specs_is_named_by_file_and_line(tmp_path: Path) -> None:
    model = ChatModelSettings(name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": in_process})
    generate_data(config(tmp_path / "plan", model, source="specs"))
    specs = tmp_path / "plan" / "specs.jsonl"
    lines = specs.read_text(encoding="utf-8").splitlines()
    for broken, told in (('{"id": "x', "not JSON"), ('{"id": "x"}', "needs exactly the keys")):
        specs.write_text("\n".join([*lines[:2], broken, *lines[3:]]) + "\n", encoding="utf-8")
        record = json.loads((tmp_path / "plan" / RUN_FILE).read_text(encoding="utf-8"))
        record["outputs"]["specs.jsonl"]["sha256"] = sha256_of(specs)  # else it is refused as edited
        (tmp_path / "plan" / RUN_FILE).write_text(json.dumps(record), encoding="utf-8")
        generation = GenerationSettings(world="facts")
        with pytest.raises(Refused, match=rf"specs\.jsonl:3: {told}"):
            generate_data(config(tmp_path / "run", model, specs=str(tmp_path / "plan"), generation=generation))
