"""The ways to train beside the default one: mixtures, packed rows, every weight, schedules, and what a machine cannot do."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.artifact import read_jsonl, read_run
from pipeline.errors import Refused
from train.config import LoraSettings, TrainConfig
from train.run import train

MakeConfig = Callable[..., TrainConfig]


def metrics_of(config: TrainConfig) -> list[dict[str, Any]]:
    return read_jsonl(Path(config.output_dir) / "metrics.jsonl")


def losses_of(config: TrainConfig) -> list[float]:
    return [row["loss"] for row in metrics_of(config) if "loss" in row]


def test_a_mixture_tells_each_sources_share_of_tokens_and_of_loss(
    make_config: MakeConfig, documents_run: Path, write_source: Any, tmp_path: Path
) -> None:
    easy = write_source(tmp_path / "easy", [{"id": f"e{i}", "text": "aye " * 12} for i in range(12)])
    config = make_config(tmp_path / "train", documents_run, max_steps=30, lr=2e-2)
    mixed = dataclasses.replace(config, data=[*config.data, str(easy)], shares=[0.5, 0.5])
    returned = train(mixed)
    steps = [row for row in metrics_of(mixed) if "loss" in row]
    for row in steps:
        assert row["loss"] == pytest.approx(sum(row["source_loss"]) / sum(row["source_targets"]))
    summary = json.loads((tmp_path / "train" / "summary.json").read_text(encoding="utf-8"))
    shares = {(row["metric"], row["source"]): row["estimate"] for row in summary if row["source"]}
    tokens, losses = ([shares[metric, path] for path in mixed.data] for metric in ("token_share", "loss_share"))
    assert sum(tokens) == pytest.approx(1)
    assert tokens == pytest.approx([0.5, 0.5], abs=0.1)
    assert sum(losses) == pytest.approx(1)
    assert losses[1] < tokens[1] - 0.02  # what repeats itself is soon learned and then drowned in the loss
    (heldout,) = [row["estimate"] for row in summary if row["metric"] == "heldout_loss"]
    assert returned == heldout == metrics_of(mixed)[-1]["heldout_loss"]
    assert f"{losses[1]:.1%} of the loss" in (tmp_path / "train" / "README.md").read_text(encoding="utf-8")


def test_a_mix_of_documents_and_chats_is_trained_on_and_told(
    make_config: MakeConfig, write_source: Any, tmp_path: Path
) -> None:
    mix = write_source(tmp_path / "mix", [{"id": f"d{i}", "text": f"Ferry {i} sails at noon."} for i in range(6)])
    messages = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At noon."}]
    chats = "".join(json.dumps({"id": f"c{i}", "messages": messages}) + "\n" for i in range(6))
    (mix / "chats.jsonl").write_text(chats, encoding="utf-8")
    config = make_config(tmp_path / "train", mix, max_steps=2)
    train(config)
    card = (tmp_path / "train" / "README.md").read_text(encoding="utf-8")
    assert f"- `{mix}` (" in card
    assert f"- `{mix}/chats.jsonl` (" in card
    none = write_source(tmp_path / "none", [{"id": "d0", "text": "It sails.", "prefix": ""}])
    tagged = make_config(tmp_path / "tagged", none, document_prefix="<TAG>", heldout_share=0.0)
    with pytest.raises(Refused, match=r"document_prefix=<TAG>: record 'd0' is of a mix that gives it none"):
        train(tagged)


def test_packed_rows_train_to_what_padded_rows_train_to(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    configs = [make_config(tmp_path / str(packs), documents_run, packing=packs) for packs in (False, True)]
    for config in configs:
        train(config)
    padded, packed = map(losses_of, configs)
    assert packed == pytest.approx(padded, rel=1e-4)


def test_a_prefix_is_no_part_of_the_loss(make_config: MakeConfig, documents_run: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from pipeline.language_model import load_tokenizer

    config = make_config(
        tmp_path / "train", documents_run, max_steps=1, heldout_share=0.0, batch_size=12, document_prefix="<DOCTAG>"
    )
    train(config)
    model: Any = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    tokenizer: Any = load_tokenizer(config.model)
    num_masked, terms = len(tokenizer("<DOCTAG>")["input_ids"]), []
    for row in read_jsonl(documents_run / "documents.jsonl"):
        tokens = tokenizer("<DOCTAG>")["input_ids"] + tokenizer(row["text"])["input_ids"] + [tokenizer.eos_token_id]
        with torch.no_grad():
            scores = model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        terms += [-float(scores[i - 1, tokens[i]]) for i in range(num_masked, len(tokens))]
    assert losses_of(config)[0] == pytest.approx(sum(terms) / len(terms), rel=1e-5)


@pytest.mark.parametrize("kind", ["dora", "rslora"])
def test_what_plain_peft_loads_is_what_was_trained(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, kind: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from pipeline.language_model import load_tokenizer
    from train.data import load_dataset

    config = make_config(tmp_path / "train", documents_run, lora=LoraSettings(rank=8, alpha=16, **{kind: True}))
    loss = train(config)
    base: Any = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, f"{config.output_dir}/adapter").eval()
    terms = []
    for example in load_dataset(config, load_tokenizer(config.model)).heldout:
        with torch.no_grad():
            scores = loaded(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
        terms += [-float(scores[i - 1, token]) for i, token in enumerate(example.tokens) if i]
    assert sum(terms) / len(terms) == pytest.approx(loss, rel=1e-4)


def test_full_fine_tuning_changes_every_weight_and_leaves_a_checkpoint(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = make_config(tmp_path / "train", documents_run, method="full", lr=1e-3)
    train(config)
    before = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "train" / "model", dtype=torch.float32)
    unchanged = [
        name for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True) if torch.equal(a, b)
    ]
    assert unchanged == []
    assert losses_of(config)[-1] < losses_of(config)[0]
    assert AutoTokenizer.from_pretrained(tmp_path / "train" / "model").eos_token == "<|im_end|>"
    record = read_run(tmp_path / "train")
    assert record.notes["trainable_parameters"] == sum(p.numel() for p in before.parameters())
    assert "library_name: transformers" in (tmp_path / "train" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"schedule": "constant", "warmup_share": 0.5}, [0.5, 1, 1, 1]),
        ({"schedule": "linear", "warmup_share": 0.0}, [1, 0.75, 0.5, 0.25]),
        ({"schedule": "cosine", "warmup_share": 0.0}, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_follows_its_schedule(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, settings: dict[str, Any], rates: list[float]
) -> None:
    config = make_config(tmp_path / "train", documents_run, heldout_share=0.0, **settings)
    train(config)
    assert [row["lr"] / config.lr for row in metrics_of(config)[1:]] == pytest.approx(rates, abs=1e-5)


def test_a_run_without_held_out_records_returns_nothing(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    assert train(make_config(tmp_path / "train", documents_run, heldout_share=0.0, max_steps=1)) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"parallel": "zero3"}, r"parallel=zero3: needs the package deepspeed"),
        ({"liger": True}, r"liger=true: needs (the package liger-kernel|a GPU)"),
        ({"model_revision": "main"}, r"model_revision=main: .* is not on the Hub, so it has no revisions"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_and_leaves_nothing(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused, match=told):
        train(make_config(tmp_path / "train", documents_run, **settings))
    assert not (tmp_path / "train").exists()


@pytest.mark.parametrize("package", ["tensorboard", "wandb", "trackio"])
def test_a_place_to_report_to_that_is_not_installed_is_refused(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, package: str
) -> None:
    from importlib.util import find_spec

    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(Refused, match=f"report_to={package}: needs the package {package}, which is not installed"):
        train(make_config(tmp_path / "train", documents_run, report_to=package))
    assert not (tmp_path / "train").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shares": [0.5, 0.5]}, "needs one share for each of the 1 runs in data"),
        ({"shares": [0.9]}, "must be above 0 and sum to 1"),
        ({"parallel": "fsdp", "lora": LoraSettings(dora=True)}, "DoRA needs whole weights"),
        ({"parallel": "layers", "processes": 2}, "layers are dealt out by a single process"),
        ({"processes": 0}, "processes=0: must be above 0"),
        ({"method": "qlora", "parallel": "zero3"}, "parallel=zero3: DeepSpeed cannot shard weights in 4 bits"),
        ({"parallel": "zero3", "lora": LoraSettings(dora=True)}, "parallel=zero3: DoRA needs whole weights"),
        ({"parallel": "zero3", "compile": True}, "compile=true parallel=zero3: DeepSpeed gathers"),
        ({"schedule": "step"}, "schedule=step: must be one of linear, cosine, constant"),
        ({"report_to": "mail"}, "report_to=mail: must be one of none, tensorboard"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        TrainConfig(**({"data": ["x"]} | settings))


@pytest.mark.parametrize(
    ("device", "settings", "has_triton", "expected"),
    [
        ("cuda", {}, True, True),
        ("cuda", {"compile": False}, True, False),
        ("cuda", {"packing": False}, True, False),
        ("cuda", {"method": "qlora"}, True, False),
        ("cuda", {}, False, False),
        ("cpu", {}, True, False),
        ("cpu", {"compile": True}, False, True),
    ],
)
def test_layers_are_compiled_by_themselves_where_that_was_found_to_pay(
    monkeypatch: pytest.MonkeyPatch, device: str, settings: dict[str, Any], has_triton: bool, expected: bool
) -> None:
    from types import SimpleNamespace

    from train import model

    monkeypatch.setattr(model, "find_spec", lambda name: has_triton or None)
    monkeypatch.setattr(model, "which", lambda name: f"/usr/bin/{name}")
    config = TrainConfig(data=["unused"], **settings)
    objective: Any = SimpleNamespace(keeps_apart=True)
    assert model.is_compiled(config, objective, torch.device(device)) is expected
