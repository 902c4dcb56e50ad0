import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import Failed, Refused
from pipeline.language_model import (
    _placement,
    check_adapter_base,
    load_base,
    load_skeleton,
    load_subject,
    load_tokenizer,
    model_location,
)
from train.adapter import add_adapter, save_adapter
from train.config import LoraSettings, TrainConfig

TOKENS = torch.arange(100, 120).reshape(1, 20)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    return load_subject("smollm2", None)


def test_the_embedded_tokenizer_ends_turns_with_the_token_that_the_model_writes(tokenizer: Any, smollm2: Any) -> None:
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert tokenizer.pad_token_id == 2
    assert smollm2.config.eos_token_id == 2


def test_the_embedded_model_answers_sensibly_and_stops(tokenizer: Any, smollm2: Any) -> None:
    chat = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    prompt = prompt.to(smollm2.device)
    written = smollm2.generate(**prompt, max_new_tokens=60, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
    assert len(written) < 60
    assert written[-1] == tokenizer.eos_token_id


def test_a_tokenizer_without_padding_pads_with_its_end_token(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    plain = AutoTokenizer.from_pretrained(tiny_model)
    plain.pad_token = None
    plain.save_pretrained(tmp_path)
    shutil.copy(tiny_model / "config.json", tmp_path)
    assert load_tokenizer(str(tmp_path)).pad_token_id == plain.eos_token_id


@pytest.mark.parametrize("name", ["./no/such", "/no/such", "~/no", "a/b/c"])
def test_a_path_that_is_no_folder_is_refused_and_not_asked_of_a_hub(name: str) -> None:
    with pytest.raises(Refused, match="no such folder"):
        model_location(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no config\.json"):
        model_location(str(tmp_path))


@pytest.mark.parametrize("load", [load_base, load_tokenizer])
def test_a_folder_without_weights_or_tokenizer_is_refused_in_one_line(
    tiny_model: Path, tmp_path: Path, load: Any
) -> None:
    shutil.copy(tiny_model / "config.json", tmp_path)
    with pytest.raises(Refused, match=rf"model={tmp_path}: ") as refusal:
        load(str(tmp_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", ['{"model_type": "none_such"}', "{no json"])
def test_a_shape_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(Refused, match=r"^model=.*: cannot be loaded \(") as refusal:
        load_skeleton(str(tmp_path))
    assert "\n" not in str(refusal.value)


def test_an_adapter_for_another_base_is_refused(trained_run: TrainConfig) -> None:
    adapter = Path(trained_run.output_dir) / "adapter"
    with pytest.raises(Refused, match=r"is an adapter for .*, not for model=smollm2"):
        load_subject("smollm2", adapter)
    check_adapter_base(adapter, trained_run.model)


def test_a_folder_without_an_adapter_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"holds no adapter_config\.json"):
        load_subject(str(tiny_model), tmp_path)


def test_an_adapter_that_changes_nothing_fails(tiny_model: Path, tmp_path: Path) -> None:
    fresh = add_adapter(load_base(str(tiny_model), "float32"), LoraSettings(rank=4, alpha=8), str(tiny_model))
    save_adapter(fresh, tmp_path)
    with pytest.raises(Failed, match="the adapter changes no weight"):
        load_subject(str(tiny_model), tmp_path)


def test_a_merged_subject_computes_what_base_and_adapter_compute(trained_run: TrainConfig) -> None:
    from peft import PeftModel

    adapter = Path(trained_run.output_dir) / "adapter"
    merged = load_subject(trained_run.model, adapter, "float32")
    base = load_base(trained_run.model, "float32")
    tokens = TOKENS.to(base.device)
    with torch.no_grad():
        plain = base(tokens).logits
        adapted = PeftModel.from_pretrained(base, str(adapter)).eval()(tokens).logits
        ours = merged(tokens).logits
    torch.testing.assert_close(ours, adapted, rtol=1e-4, atol=1e-3)
    assert (ours - plain).abs().max() > 0.01


@pytest.mark.parametrize(
    ("num_gpus", "free", "placed"), [(1, 0, {}), (8, 80 * 2**30, {}), (8, 2**20, {"device_map": "auto"})]
)
def test_a_model_is_laid_over_all_gpus_where_the_first_does_not_hold_it(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, num_gpus: int, free: int, placed: dict[str, str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80 * 2**30))
    assert _placement(str(tiny_model), "float32") == placed


def test_a_subject_that_is_laid_over_devices_computes_the_same(
    trained_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only device here is the CPU: what is tested is that an adapter merges into a model that was placed this way."""
    if torch.cuda.is_available():
        pytest.skip("a GPU is there, and is not the second one that this test speaks of")
    adapter = Path(trained_run.output_dir) / "adapter"
    plain = load_subject(trained_run.model, adapter, "float32")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    laid = load_subject(trained_run.model, adapter, "float32")
    with torch.no_grad():
        torch.testing.assert_close(laid(TOKENS).logits, plain(TOKENS).logits)


def test_a_subject_has_the_precision_that_was_asked_for(trained_run: TrainConfig) -> None:
    merged = load_subject(trained_run.model, Path(trained_run.output_dir) / "adapter")
    assert {parameter.dtype for parameter in merged.parameters()} == {torch.bfloat16}
    assert not merged.training
