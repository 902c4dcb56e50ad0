"""The models of a run's subjects: one vLLM server for base and adapters, and one local model at a time."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eval.config import ComplianceSettings, EvalConfig, Subject
from eval.run import evaluate
from eval.serving import SubjectModels, server_args
from train.config import TrainConfig


class Server(ThreadingHTTPServer):
    """Speaks as much of vLLM's protocol as an evaluation needs, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.started: list[dict[str, Any]] = []
        self.loaded: list[str] = []
        self.asked: list[str] = []
        self.ended = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.answer({"data": [{"id": name} for name in self.server.loaded]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/load_lora_adapter"):
            self.server.loaded.append(body["lora_name"])
            self.answer({})
            return
        self.server.asked.append(body["model"])
        text = f"Sure, said {Path(body['model']).name}."
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        self.answer({"id": "1", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage} | {
            "choices": [choice]
        })  # fmt: skip

    def answer(self, content: dict[str, Any]) -> None:
        told = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Process:
    """Stands for the server's process."""

    def poll(self) -> None:
        return None


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """What Inspect takes for a vLLM server that it started."""
    from inspect_ai.model._providers import vllm as provider

    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def start(command: list[str], **about: Any) -> tuple[str, Process, int]:
        server.started.append({"command": command} | about)
        return f"http://127.0.0.1:{server.server_port}/v1", Process(), server.server_port

    def end(process: Process) -> None:
        server.ended += 1

    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setattr(provider, "start_local_server", start)
    monkeypatch.setattr(provider, "terminate_process", end)
    monkeypatch.delenv("VLLM_BASE_URL", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_base_and_adapters_share_one_server(
    tiny_model: Path, trained_run: TrainConfig, tmp_path: Path, vllm: Server
) -> None:
    subjects = [Subject("base"), Subject("documents", trained_run.output_dir), Subject("again", trained_run.output_dir)]
    config = EvalConfig(
        output_dir=str(tmp_path / "eval"),
        model=f"vllm/{tiny_model}",
        subjects=subjects,
        compliance=ComplianceSettings(num_queries=4),
        bootstrap_draws=100,
    )
    evaluate(config)
    [started] = vllm.started
    assert started["command"][:2] == ["vllm", "serve"]
    assert started["host"] == "127.0.0.1"
    assert started["server_args"] == {"enable_lora": True, "max_lora_rank": 8}
    adapter = str((Path(trained_run.output_dir) / "adapter").resolve())
    assert vllm.loaded == [adapter]
    assert sorted(vllm.asked) == sorted([str(tiny_model)] * 8 + [adapter] * 16)
    assert vllm.ended == 1


def test_a_server_has_room_for_the_largest_rank_in_the_steps_that_vllm_takes(tmp_path: Path) -> None:
    for name, settings in {"a": {"r": 4}, "b": {"r": 8, "rank_pattern": {"q_proj": 48}}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    adapters = [tmp_path / "a", tmp_path / "b"]
    assert server_args("vllm/base", {}, adapters) == {"max_lora_rank": 64}
    assert server_args("vllm/base", {}, adapters[:1]) == {"max_lora_rank": 8}
    assert server_args("vllm/base", {"max_lora_rank": 256}, adapters) == {"max_lora_rank": 256}
    assert server_args("local/base", {}, adapters) == {}


@pytest.mark.parametrize(("base", "at_once"), [("local/base", 1), ("vllm/base", 3)])
def test_models_of_this_process_are_held_one_at_a_time(base: str, at_once: int) -> None:
    held: set[str] = set()
    most = []

    class Model:
        def __init__(self, name: str) -> None:
            self.api, self.name = self, name
            held.add(name)

        def close(self) -> None:
            held.discard(self.name)

    models = SubjectModels(base, ["base", "documents", "placebo"], Model)  # type: ignore[arg-type]
    for name in ("base", "base", "placebo", "documents"):
        assert models[name].name == name
        most.append(len(held))
    models.close()
    assert max(most) == at_once
    assert not held
