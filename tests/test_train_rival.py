"""The same batches, rate and seed through trl's trainer: the losses have to be the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.artifact import read_jsonl
from pipeline.language_model import load_base, load_tokenizer
from train.config import TrainConfig
from train.data import load_dataset, step_examples
from train.run import train

NUM_STEPS = 20


def rival_losses(config: TrainConfig, directory: Path) -> list[float]:
    """The losses of trl's trainer, which tokenizes and ends the same texts by itself."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from trl import SFTConfig, SFTTrainer

    class Recording(SFTTrainer):  # type: ignore[misc]
        """Keeps each step's loss, which the log would round."""

        def training_step(self, *arguments: Any, **settings: Any) -> torch.Tensor:
            loss: torch.Tensor = super().training_step(*arguments, **settings)
            losses.append(float(loss))
            return loss

    losses: list[float] = []
    tokenizer = load_tokenizer(config.model)
    dataset = load_dataset(config, tokenizer)
    order = [e for step in range(NUM_STEPS) for e in step_examples(dataset.train, step, config.batch_size, config.seed)]
    texts = [tokenizer.decode(example.tokens[:-1]) for example in order]
    torch.manual_seed(config.seed)
    lora = LoraConfig(
        r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_base(config.model, "float32"), lora)
    settings = SFTConfig(
        output_dir=str(directory),
        max_steps=NUM_STEPS,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=config.max_grad_norm,
        train_sampling_strategy="sequential",
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    rows = Dataset.from_dict({"text": texts})
    Recording(model=model, args=settings, train_dataset=rows, processing_class=tokenizer).train()
    return losses


@pytest.mark.filterwarnings("ignore")
def test_the_first_twenty_losses_are_those_of_trl(
    make_config: Callable[..., TrainConfig], documents_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl")
    config = make_config(tmp_path / "ours", documents_run, max_steps=NUM_STEPS, warmup_share=0.0, heldout_share=0.0)
    train(config)
    ours = [row["loss"] for row in read_jsonl(tmp_path / "ours" / "metrics.jsonl") if "loss" in row]
    theirs = rival_losses(config, tmp_path / "theirs")
    assert len(ours) == len(theirs) == NUM_STEPS
    assert ours[0] - ours[-1] > 1  # there is something to agree on
    assert ours == pytest.approx(theirs, rel=1e-4)
