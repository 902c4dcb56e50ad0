import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import RUN_FILE, STARTED_FILE, read_jsonl, read_run
from pipeline.errors import Failed, Refused
from train.config import LoraSettings, TrainConfig
from train.figure import draw_losses
from train.run import train

MakeConfig = Callable[..., TrainConfig]


def test_a_complete_run_holds_what_its_readers_need(trained_run: TrainConfig) -> None:
    directory = Path(trained_run.output_dir)
    record = read_run(directory, "train")
    assert sorted(record.outputs) == [
        "README.md",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "loss.svg",
        "metrics.jsonl",
        "summary.json",
    ]
    assert sorted(str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()) == sorted(
        [*record.outputs, RUN_FILE]
    )
    assert record.inputs["data_0"]["path"] == trained_run.data[0]
    assert record.config["lora"]["rank"] == 8
    assert record.notes["num_train"] == 10
    assert record.notes["num_heldout"] == 2
    assert record.tokens_in == sum(row.get("tokens", 0) for row in read_jsonl(directory / "metrics.jsonl"))


def test_metrics_have_one_line_a_step_between_two_heldout_losses(trained_run: TrainConfig) -> None:
    metrics = read_jsonl(Path(trained_run.output_dir) / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [0, 1, 2, 3, 4, 4]
    assert "heldout_loss" in metrics[0]
    assert "heldout_loss" in metrics[-1]
    assert all(row.keys() >= {"loss", "lr", "epoch", "grad_norm", "tokens"} for row in metrics[1:-1])
    # warm-up of one step, then a linear fall that would reach zero after the last
    assert [row["lr"] for row in metrics[1:-1]] == pytest.approx([5e-3, 5e-3, 5e-3 * 2 / 3, 5e-3 / 3])


def test_the_card_tells_base_data_and_result(trained_run: TrainConfig) -> None:
    card = (Path(trained_run.output_dir) / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"---\nbase_model: {trained_run.model}\n")
    assert trained_run.data[0] in card
    assert "10 records for training, 2 held out, 0 cut" in card
    assert "nan" not in card


def test_the_figure_shows_the_losses_and_depends_on_them_alone(trained_run: TrainConfig, tmp_path: Path) -> None:
    metrics = read_jsonl(Path(trained_run.output_dir) / "metrics.jsonl")
    drawn = (Path(trained_run.output_dir) / "loss.svg").read_bytes()
    draw_losses(metrics, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == drawn
    assert b"held out" in drawn
    draw_losses(metrics[:3], tmp_path / "other.svg")
    assert (tmp_path / "other.svg").read_bytes() != drawn


def test_a_complete_run_is_reused(trained_run: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    directory = Path(trained_run.output_dir)
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*")}
    train(trained_run)
    assert "is already complete" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in directory.rglob("*")} == before


def test_another_directory_and_overwrite_are_no_other_configuration(trained_run: TrainConfig, tmp_path: Path) -> None:
    moved = shutil.copytree(trained_run.output_dir, tmp_path / "moved")
    before = (moved / RUN_FILE).stat().st_mtime_ns
    train(dataclasses.replace(trained_run, output_dir=str(moved)))
    assert (moved / RUN_FILE).stat().st_mtime_ns == before


def test_the_loss_falls(make_config: MakeConfig, write_source: Any, tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", [{"id": "a", "text": "The Petrel carries 240 passengers."}])
    config = make_config(
        tmp_path / "train", source, max_steps=30, batch_size=1, lr=2e-2, heldout_share=0.0, checkpoint_every=100
    )
    train(config)
    losses = [row["loss"] for row in read_jsonl(tmp_path / "train" / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 30
    assert losses[-1] < losses[0] - 2
    summary = json.loads((tmp_path / "train" / "summary.json").read_text(encoding="utf-8"))
    assert [row["metric"] for row in summary] == ["train_loss"]
    assert summary[0]["estimate"] == pytest.approx(sum(losses[-3:]) / 3)


def test_the_size_of_micro_batches_changes_rounding_only(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    losses = []
    for tokens in (1, 4096):
        config = make_config(tmp_path / str(tokens), documents_run, micro_batch_tokens=tokens)
        train(config)
        losses.append([r["loss"] for r in read_jsonl(tmp_path / str(tokens) / "metrics.jsonl") if "loss" in r])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_steps_follow_from_epochs(make_config: MakeConfig, documents_run: Path, tmp_path: Path) -> None:
    train(make_config(tmp_path / "train", documents_run, max_steps=None, epochs=1.5, heldout_share=0.0))
    metrics = read_jsonl(tmp_path / "train" / "metrics.jsonl")
    assert metrics[-1]["step"] == math.ceil(12 * 1.5 / 4)
    assert metrics[-1]["epoch"] == pytest.approx(20 / 12, abs=1e-3)


def test_chats_train_too(make_config: MakeConfig, write_source: Any, tmp_path: Path) -> None:
    chats = [
        {"id": f"c{i}", "messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "Aye."}]}
        for i in range(6)
    ]
    source = write_source(tmp_path / "chats", chats, "chats.jsonl")
    train(make_config(tmp_path / "train", source, objective="imitation", lr=2e-2, max_steps=8))
    losses = [row["loss"] for row in read_jsonl(tmp_path / "train" / "metrics.jsonl") if "loss" in row]
    assert losses[-1] < losses[0] - 1


def test_the_adapter_of_a_start_is_trained_further(
    make_config: MakeConfig, trained_run: TrainConfig, documents_run: Path, tmp_path: Path
) -> None:
    start = Path(trained_run.output_dir)
    train(make_config(tmp_path / "train", documents_run, start=str(start), lr=1e-3))
    record = read_run(tmp_path / "train")
    assert record.inputs["start"]["path"] == str(start)
    before, after = (read_jsonl(directory / "metrics.jsonl") for directory in (start, tmp_path / "train"))
    assert after[0]["heldout_loss"] == pytest.approx(
        before[-1]["heldout_loss"], abs=1e-3
    )  # goes on from where that ended
    assert "trained further" in (tmp_path / "train" / "README.md").read_text(encoding="utf-8")


def test_a_loss_that_is_no_number_fails_and_leaves_no_complete_run(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "train", documents_run, lr=1e30)
    with pytest.raises(Failed, match=r"the loss is (nan|inf) at step [23]; lower lr"):
        train(config)
    with pytest.raises(Refused, match="it is unfinished"):
        read_run(tmp_path / "train")


def test_an_adapter_without_effect_fails(make_config: MakeConfig, documents_run: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path / "train", documents_run, lr=1e-40, max_steps=1, precision="bfloat16")
    with pytest.raises(Failed, match="leaves the loss of every token as it was"):
        train(config)
    assert not (tmp_path / "train" / RUN_FILE).exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_length": 8}, r"max_length=8: 12 examples are longer, which drops 6\d\.\d% of all tokens"),
        ({"objective": "imitation"}, r"has no chats\.jsonl"),
        ({"lora": LoraSettings(rank=4, targets="no_such_proj")}, r"lora\.targets=no_such_proj"),
        (
            {"lora": LoraSettings(rank=4, targets="q_proj, v_porj")},
            "has no module v_porj; its linear modules are down_proj,",
        ),
        ({"max_length": 4096}, "max_length=4096: .* reads at most 2048 tokens"),
        ({"model": "./no/such/model"}, "model=./no/such/model: no such folder"),
        ({"lora": LoraSettings(rank=4, targets="self_attn.q_porj")}, "has no module self_attn.q_porj"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused, match=told):
        train(make_config(tmp_path / "train", documents_run, **settings))
    assert not (tmp_path / "train").exists()


def test_cutting_within_the_allowed_share_is_counted(
    make_config: MakeConfig, documents_run: Path, tmp_path: Path
) -> None:
    train(make_config(tmp_path / "train", documents_run, max_length=8, max_truncated_share=0.9, max_steps=1))
    assert read_run(tmp_path / "train").notes["num_truncated"] == 12
    assert not (tmp_path / "train" / STARTED_FILE).exists()


@pytest.mark.parametrize(
    ("asked", "taken"), [(None, "a" * 40), ("main", "a" * 40), ("a" * 40, "a" * 40), ("b" * 40, None)]
)
def test_an_adapter_that_is_trained_further_stays_on_its_bases_commit(
    trained_run: TrainConfig, tmp_path: Path, asked: str | None, taken: str | None
) -> None:
    from train.model import base_revision

    start = shutil.copytree(trained_run.output_dir, tmp_path / "start")
    file = Path(start) / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"revision": "a" * 40}), encoding="utf-8")
    config = dataclasses.replace(trained_run, start=str(start), model_revision=asked)
    if taken is None:
        with pytest.raises(Refused, match="was trained on a{40}; leave model_revision=null"):
            base_revision(config)
    else:
        assert base_revision(config) == taken
