"""Commands of the pages in docs/ that start several jobs, run as they are written but for their size."""

import http.server
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import read_jsonl, read_run

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]
DOCS = Path(__file__).parent.parent / "docs"
SMALL = [
    "generation.types_per_fact=1",
    "generation.ideas_per_type=1",
    "filters.length=false",
    "filters.facts_stated=false",
]


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers every request in OpenAI's chat protocol, with a text that no other prompt gets."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        """Says nothing."""

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"a text for {hash(prompt)}"}
        body = json.dumps(
            {
                **{"id": "x", "object": "chat.completion", "created": 1, "model": "m"},
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def written(page: str, heading: str) -> list[list[str]]:
    """The commands of the first block under a heading, each from its module on."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    block = re.search(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    return [shlex.split(line)[2:] for line in block[1].replace("\\\n", " ").splitlines()]


@pytest.mark.slow
def test_shards_are_written_and_merged_by_the_commands_of_the_page(
    run_command: RunCommand, address: str, tmp_path: Path
) -> None:
    commands = written("documents.md", "Write it in shards")
    assert len(commands) == 3
    served = ["generator.name=vllm/some/model", f"generator.base_urls=[{address}]"]
    for command in commands:
        moved = [word.replace("outputs/", f"{tmp_path}/") for word in command if not word.startswith("generator.name=")]
        done = run_command(*moved, *served, *SMALL)
        assert done.returncode == 0, done.stderr
    shards = [read_jsonl(tmp_path / "shards" / str(place) / "documents.jsonl") for place in range(4)]
    merged = read_jsonl(tmp_path / "documents" / "documents.jsonl")
    assert all(shards)
    assert {row["id"] for row in merged} == {row["id"] for shard in shards for row in shard}


@pytest.mark.slow
def test_a_sweep_of_the_page_has_a_run_for_each_job(
    run_command: RunCommand, documents_run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (command,) = written("training.md", "Sweeps")
    kept = [word for word in command if not word.startswith(("data=", "seed=", "lora.rank="))]
    moved = [word.replace("outputs/", f"{tmp_path}/") for word in kept]
    small = ["max_steps=1", "batch_size=2", "hydra.job.config.override_dirname.exclude_keys=[data,output_dir,model]"]
    done = run_command(*moved, "lora.rank=2,4", f"data=[{documents_run}]", f"model={tiny_model}", *small)
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "sweep").glob("*/run.json"))
    assert [read_run(run.parent).config["lora"]["rank"] for run in runs] == [2, 4]
    assert [run.parent.name.split(",")[1] for run in runs] == ["lora.rank=2", "lora.rank=4"]
