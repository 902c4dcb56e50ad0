"""The models of a run's subjects: one vLLM server for base and adapters, and one local model at a time."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eval.checks import check_subjects
from eval.config import ComplianceSettings, EvalConfig, Subject
from eval.run import evaluate
from eval.serving import SubjectModels, groups_of, server_args
from pipeline.artifact import read_run
from pipeline.errors import Refused
from train.config import TrainConfig
from train.run import train


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
        text = f"Sure, said {'/'.join(Path(body['model']).parts[-2:])}."
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


@pytest.fixture(scope="module")
def fully_trained(
    make_config: Callable[..., TrainConfig], documents_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of `method=full` on the tiny model."""
    config = make_config(tmp_path_factory.mktemp("full") / "train", documents_run, method="full", lr=1e-2)
    train(config)
    return Path(config.output_dir)


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


def measure(base: Path, subjects: list[Subject], directory: Path) -> None:
    """Four queries in both tiers to every subject, as vLLM serves them."""
    config = EvalConfig(
        output_dir=str(directory),
        model=f"vllm/{base}",
        subjects=subjects,
        compliance=ComplianceSettings(num_queries=4),
        bootstrap_draws=100,
    )
    evaluate(config)


def test_base_and_adapters_share_one_server(
    tiny_model: Path, trained_run: TrainConfig, tmp_path: Path, vllm: Server
) -> None:
    subjects = [Subject("base"), Subject("documents", trained_run.output_dir), Subject("again", trained_run.output_dir)]
    measure(tiny_model, subjects, tmp_path / "eval")
    [started] = vllm.started
    assert started["command"][:2] == ["vllm", "serve"]
    assert started["host"] == "127.0.0.1"
    assert started["server_args"] == {"enable_lora": True, "max_lora_rank": 8}
    adapter = str((Path(trained_run.output_dir) / "adapter").resolve())
    assert vllm.loaded == [adapter]
    assert sorted(vllm.asked) == sorted([str(tiny_model)] * 8 + [adapter] * 16)
    assert vllm.ended == 1


def test_a_model_whose_every_weight_was_trained_has_a_server_of_its_own(
    tiny_model: Path, trained_run: TrainConfig, fully_trained: Path, tmp_path: Path, vllm: Server
) -> None:
    subjects = [Subject("base"), Subject("documents", trained_run.output_dir), Subject("full", str(fully_trained))]
    measure(tiny_model, subjects, tmp_path / "eval")
    shared, own = vllm.started
    assert shared["server_args"] == {"enable_lora": True, "max_lora_rank": 8}
    model = str((fully_trained / "model").resolve())
    assert model in own["command"]
    assert "enable_lora" not in own["server_args"]
    assert vllm.asked.count(model) == 8
    assert vllm.ended == 2


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

    groups = groups_of(base, dict.fromkeys(["base", "documents", "placebo"]))
    models = SubjectModels(groups, Model)  # type: ignore[arg-type]
    for name in ("base", "base", "placebo", "documents"):
        assert models[name].name == name
        most.append(len(held))
    models.close()
    assert max(most) == at_once
    assert not held


def test_a_model_whose_every_weight_was_trained_is_measured_itself(
    tiny_model: Path, fully_trained: Path, tmp_path: Path
) -> None:
    config = EvalConfig(
        output_dir=str(tmp_path / "eval"),
        model=f"local/{tiny_model}",
        subjects=[Subject("base"), Subject("documents", str(fully_trained))],
        suite=["belief"],
        bootstrap_draws=100,
    )
    evaluate(config)
    summary = json.loads((tmp_path / "eval" / "summary.json").read_text(encoding="utf-8"))
    shifts = [row["estimate"] for row in summary if row["metric"] == "belief_shift" and row["subject"] == "documents"]
    assert shifts
    assert all(abs(shift) > 1e-3 for shift in shifts)


def test_a_whole_model_of_another_base_is_refused(fully_trained: Path, tmp_path: Path) -> None:
    subjects = [Subject("base"), Subject("documents", str(fully_trained))]
    with pytest.raises(Refused, match="model=vllm/other/base is not"):
        check_subjects(EvalConfig(model="vllm/other/base", subjects=subjects))
    with pytest.raises(Refused, match=r"trained every weight, and model=openai/.* cannot load it"):
        check_subjects(
            EvalConfig(model=f"openai/{read_run(fully_trained, 'train').config['model']}", subjects=subjects)
        )
