import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.artifact import read_run
from pipeline.errors import Refused
from train.config import TrainConfig
from train.merge import MergeConfig, merge

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]
TOKENS = torch.arange(100, 120).reshape(1, 20)


def test_a_merged_checkpoint_computes_what_base_and_adapter_compute_in_plain_peft(
    trained_run: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = MergeConfig(trained_run.output_dir, str(tmp_path / "merged"), precision="float32")
    merge(config)
    base = AutoModelForCausalLM.from_pretrained(trained_run.model, dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(config.output_dir, dtype=torch.float32)
    with torch.no_grad():
        plain = base(TOKENS).logits
        adapted = PeftModel.from_pretrained(base, f"{trained_run.output_dir}/adapter").eval()(TOKENS).logits
        ours = merged(TOKENS).logits
    torch.testing.assert_close(ours, adapted, rtol=1e-4, atol=1e-3)
    assert (ours - plain).abs().max() > 0.01
    assert AutoTokenizer.from_pretrained(config.output_dir)("The Petrel sails.")["input_ids"]

    record = read_run(config.output_dir, "merge")
    assert record.inputs["training"]["path"] == trained_run.output_dir
    assert record.notes["model"] == trained_run.model
    assert {"model.safetensors", "config.json", "README.md"} <= record.outputs.keys()
    capsys.readouterr()
    merge(config)
    assert "is already complete" in capsys.readouterr().out


def test_what_is_no_training_run_is_refused(documents_run: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a data_gen run where a train run is needed"):
        merge(MergeConfig(str(documents_run), str(tmp_path / "merged")))
    assert not (tmp_path / "merged").exists()


def test_the_adapter_names_its_base_and_pins_what_it_can(trained_run: TrainConfig) -> None:
    settings = json.loads((Path(trained_run.output_dir) / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert settings["base_model_name_or_path"] == trained_run.model
    assert settings["revision"] is None  # a local folder has no commit
    assert read_run(trained_run.output_dir).notes["model_revision"] is None
