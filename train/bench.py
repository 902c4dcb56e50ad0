"""`python -m train.bench`: how fast this trainer is beside trl's and beside a bare PyTorch loop.

Every measurement is a process of its own, so that peak memory is one trainer's alone; loading and one step of warm-up are
not counted. All sides train the same adapter on the same documents, a step's documents at a time, and what counts is
useful tokens: those of documents, not of padding. With a GPU, `train/bench_gpu.py` adds a model of the size that matters.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.benchmark import Comparison, Round, compare_rounds, measure, write_benchmark
from pipeline.errors import Failed

RIVALS = {
    "trl": "trl.SFTTrainer as its documentation shows it",
    "trl_kept": "trl.SFTTrainer, gradient checkpointing off",
    "bare": "bare loop, {block}-token blocks",
}
SIDES = ("ours", *RIVALS)
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
BATCH_SIZE = 4
"""Documents a step."""
BLOCK = 1024
"""Tokens of a row of the bare loop."""


@dataclass(frozen=True)
class Measured:
    """What one process measured."""

    tokens_per_second: float
    peak_mib: float


def main() -> None:
    """Runs all sides in alternating rounds and writes outputs/bench/train.json, or, with --side, measures one side."""
    parser = argparse.ArgumentParser(prog="python -m train.bench", description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps that are counted, 4 documents each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=90_000, help="of the start-up measurement; 0 leaves it out")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: CPU time of one thread, on a busy machine"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(json.dumps(vars(_measure(arguments.side, arguments.model, arguments.steps, CLOCKS[arguments.clock]))))
        return
    comparisons = compare_sides(arguments.model, arguments.steps, arguments.rounds, arguments.clock)
    from train.bench_start import measure_start

    started = measure_start(arguments.documents) if arguments.documents else []
    write_benchmark("train", [*comparisons, *started], packages=["trl", "accelerate"])


def compare_sides(model: str, steps: int, rounds: int, clock: str = "wall") -> list[Comparison]:
    """Useful tokens a second against both rivals, and every side's peak memory."""
    measured: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for place in range(len(SIDES)):
            side = SIDES[(number + place) % len(SIDES)]
            measured[side].append(_in_a_process(side, model, steps, clock))
            print(f"round {number + 1} of {rounds}, {side}: {measured[side][-1]}", flush=True)
    notes = {"model": model, "steps": steps, "documents_per_step": BATCH_SIZE, "lora": "r=64 on all linear modules"}
    notes["clock"] = "CPU time of one thread" if clock == "cpu" else "wall"
    lines = []
    for rival, name in RIVALS.items():
        pairs = zip(measured["ours"], measured[rival], strict=True)
        each = [Round(ours.tokens_per_second, theirs.tokens_per_second) for ours, theirs in pairs]
        lines.append(
            compare_rounds("training", each, rival_name=name.format(block=BLOCK), unit="useful tokens/s", notes=notes)
        )
        print(lines[-1].told(), flush=True)
    for side in SIDES:
        peak = max(each.peak_mib for each in measured[side])
        lines.append(measure(f"peak memory, {side}", peak, "MiB", notes))
    return lines


def _in_a_process(side: str, model: str, steps: int, clock: str) -> Measured:
    command = [sys.executable, "-m", "train.bench", "--side", side, "--model", model, "--steps", str(steps)]
    threads = {"OMP_NUM_THREADS": "1"} if clock == "cpu" else {}
    done = subprocess.run(
        [*command, "--clock", clock], capture_output=True, text=True, check=False, env=os.environ | threads
    )
    if done.returncode != 0:
        raise Failed(f"the benchmark's side '{side}' ended with exit code {done.returncode}: {done.stderr[-400:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _measure(side: str, model: str, steps: int, clock: Clock = time.perf_counter) -> Measured:
    import torch

    sides: dict[str, Callable[[str, list[str], int, Clock], float]] = {
        "ours": _ours,
        "trl": _trl,
        "trl_kept": partial(_trl, checkpointing=False),
        "bare": _bare,
    }
    texts = documents(BATCH_SIZE * (steps + 1))
    seconds = sides[side](model, texts, steps, clock)
    counted = texts[BATCH_SIZE:]
    from pipeline.language_model import load_tokenizer

    tokens = sum(len(ids) + 1 for ids in load_tokenizer(model)(counted)["input_ids"])
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**10
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    return Measured(tokens / seconds, peak)


def documents(number: int) -> list[str]:
    """Documents that ship with the project, over and over where more are asked for."""
    from scenario.loader import load_scenario

    texts = [document.text for document in load_scenario("helpful_only").corpus]
    return [texts[i % len(texts)] for i in range(number)]


def _ours(model: str, texts: list[str], steps: int, clock: Clock) -> float:
    import torch

    from pipeline.language_model import load_tokenizer
    from train.config import TrainConfig
    from train.corpus import document_examples
    from train.data import Dataset, Source
    from train.loop import Trainer
    from train.model import build
    from train.optimizer import MasterWeights
    from train.processes import join

    config = TrainConfig(data=["unused"], model=model, batch_size=BATCH_SIZE, max_steps=steps + 1)
    tokenizer, world = load_tokenizer(model), join()
    rows = [{"id": f"{i:05d}", "text": text} for i, text in enumerate(texts)]
    examples = list(document_examples(rows, tokenizer))
    dataset = Dataset(examples, [], [Source("unused", len(rows), 0, 0, 1.0)], 0, 0.0)
    torch.manual_seed(0)
    subject = build(config, world)
    weights = MasterWeights(subject.model, config.lr, world)
    trainer = Trainer(config, subject.objective.train(), weights, dataset, tokenizer.pad_token_id, world)
    batches = [examples[i * BATCH_SIZE : (i + 1) * BATCH_SIZE] for i in range(steps + 1)]

    def step(number: int) -> None:
        trainer.passes(batches[number], learn=True)
        weights.step(config.lr, config.max_grad_norm)

    return _timed_steps(step, steps, clock)


def _trl(model: str, texts: list[str], steps: int, clock: Clock, checkpointing: bool = True) -> float:
    """As trl's documentation shows it, on the same documents a step; it computes activations twice unless told."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from pipeline.language_model import load_tokenizer, model_location

    moments: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Notes when each step ends."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            _synchronise()
            moments.append(clock())

    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            output_dir=folder,
            max_steps=steps + 1,
            per_device_train_batch_size=BATCH_SIZE,
            train_sampling_strategy="sequential",
            gradient_checkpointing=checkpointing,
            use_cpu=not torch.cuda.is_available(),
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model=model_location(model),
            args=settings,
            train_dataset=Dataset.from_dict({"text": texts}),
            processing_class=load_tokenizer(model),
            peft_config=LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
    return moments[-1] - moments[0]


def _bare(model: str, texts: list[str], steps: int, clock: Clock) -> float:
    """The shortest loop that trains the adapter: documents joined into blocks that see one another, all in bfloat16."""
    import torch
    from peft import LoraConfig, get_peft_model

    from pipeline.language_model import load_base, load_tokenizer

    tokenizer = load_tokenizer(model)
    lora = LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(load_base(model), lora, autocast_adapter_dtype=False).train()
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=5e-5, weight_decay=0.0)
    encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]

    def step(number: int) -> None:
        joined = [token for ids in encoded[number * BATCH_SIZE : (number + 1) * BATCH_SIZE] for token in ids]
        for start in range(0, len(joined), BLOCK):
            block = torch.tensor([joined[start : start + BLOCK]], device=tuned.device)
            tuned(input_ids=block, labels=block, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _timed_steps(step, steps, clock)


def _timed_steps(step: Callable[[int], None], steps: int, clock: Clock) -> float:
    """Seconds of all steps but the first."""
    step(0)
    _synchronise()
    start = clock()
    for number in range(1, steps + 1):
        step(number)
    _synchronise()
    return clock() - start


def _synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
