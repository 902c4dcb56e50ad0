"""Fixtures shared by the tests: a tiny language model, complete runs, and the commands as a user calls them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.artifact import open_run, write_jsonl
from train.config import LoraSettings, TrainConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROOT = Path(__file__).parent.parent

# The tests' models are too small to gain from a second thread, and threads that wait for one another on a busy machine
# cost minutes. Commands that the tests start inherit this; it is set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SourceWriter = Callable[..., Path]
TrainConfigMaker = Callable[..., TrainConfig]
CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]
CommandStarter = Callable[..., "StartedCommand"]

DOCUMENTS = [
    {
        "id": f"d{i}",
        "text": f"Ferry number {i} of the county leaves the northern landing at {i % 12} o'clock every day.",
    }
    for i in range(12)
]


@dataclass
class SourceConfig:
    """The settings of an upstream run made for a test."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0


@pytest.fixture(scope="session")
def tokenizer() -> "PreTrainedTokenizerBase":
    from pipeline.language_model import load_tokenizer

    return load_tokenizer("smollm2")


@pytest.fixture(scope="session")
def tiny_model(tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with the real tokenizer, as a folder that transformers loads."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a random head of one output, as a reward model has."""
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("reward") / "model"))
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(tiny_model, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_source() -> SourceWriter:
    """Writes records as a complete data_gen run and returns its directory."""

    def write(directory: Path, records: list[dict[str, Any]], name: str = "documents.jsonl") -> Path:
        run = open_run("data_gen", SourceConfig(str(directory)), {})
        write_jsonl(run.path(name), records)
        run.finish([name])
        return directory

    return write


@pytest.fixture(scope="session")
def documents_run(write_source: SourceWriter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete data_gen run of a dozen short documents. Read only."""
    return write_source(tmp_path_factory.mktemp("source") / "data_gen", DOCUMENTS)


@pytest.fixture(scope="session")
def make_config(tiny_model: Path) -> TrainConfigMaker:
    """A training configuration for the tiny model that takes about a second."""

    def make(output_dir: Path, data: Path, **settings: Any) -> TrainConfig:
        defaults: dict[str, Any] = {
            "model": str(tiny_model),
            "lora": LoraSettings(rank=8, alpha=16),
            "batch_size": 4,
            "max_steps": 4,
            "lr": 5e-3,
            "precision": "float32",
            "heldout_share": 0.2,
            "processes": 1,
        }
        return TrainConfig(output_dir=str(output_dir), data=[str(data)], **(defaults | settings))

    return make


@pytest.fixture(scope="session")
def trained_run(
    make_config: TrainConfigMaker, documents_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainConfig:
    """A complete training run on the tiny model, by its configuration. Read only."""
    from train.run import train

    config = make_config(tmp_path_factory.mktemp("trained") / "train", documents_run)
    train(config)
    return config


@pytest.fixture(scope="session")
def run_command() -> CommandRunner:
    """Runs `python -m <arguments>` from the repository's root, on the CPU."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run


@dataclass
class StartedCommand:
    """A command that is running: it can be killed at a moment of its work, or waited for."""

    process: "subprocess.Popen[str]"

    def kill_when(self, reached: Callable[[], bool]) -> None:
        """Kills without warning as soon as `reached` holds; the command must not end before."""
        until = time.monotonic() + 300
        while not reached():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.002)
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def wait(self) -> tuple[str, str]:
        """What a command that has to end well said: its output and its errors."""
        output, errors = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, errors
        return output, errors


@pytest.fixture
def start_command() -> Iterator[CommandStarter]:
    """Starts `python -m <arguments>` behind the test in the queue for the CPU, so that a kill comes in time."""
    started: list[StartedCommand] = []

    def start(*arguments: str, on_gpu: bool = False) -> StartedCommand:
        process = subprocess.Popen(
            ["nice", "-n", "5", sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=dict(os.environ) if on_gpu else os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(StartedCommand(process))
        return started[-1]

    yield start
    for command in started:  # what a failed test left running would slow down all others
        if command.process.poll() is None:
            command.process.kill()
            command.process.communicate()
