"""Runs of reinforcement learning with the tiny model: what they leave, and that a kill changes none of it."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.checks import check_subjects
from eval.config import EvalConfig, Subject
from eval.subjects import weights_of
from pipeline.artifact import RUN_FILE, read_jsonl, read_run, sha256_of
from pipeline.errors import Failed, Refused
from train.config import LoraSettings, TrainConfig
from train.reinforcement.policy import newest, seal
from train.reinforcement.settings import ReinforcementSettings, RewardSettings
from train.run import train

CommandStarter = Callable[..., Any]
NUM_STEPS = 3


def config_of(directory: Path, model: Path, classifier: Path, **changes: Any) -> TrainConfig:
    """A run whose rewards differ from reply to reply: rules would let everything pass that a random model writes."""
    reward = RewardSettings("reward_model", str(classifier), threshold=0.0)
    settings: dict[str, Any] = {
        "reasoning": "none",
        "reward": reward,
        "num_queries": 3,
        "replies_per_query": 2,
        "micro_batch_replies": 2,
        "max_tokens": 6,
        "keep_every": 1,
    }
    defaults: dict[str, Any] = {
        "max_steps": NUM_STEPS,
        "batch_size": 2,
        "lr": 5e-3,
        "warmup_share": 0.0,
        "precision": "float32",
        "checkpoint_every": 1,
        "processes": 1,
        "lora": LoraSettings(rank=4, alpha=8),
    }
    chosen = ReinforcementSettings(**settings | changes.pop("reinforcement", {}))
    return TrainConfig(
        output_dir=str(directory),
        model=str(model),
        objective="reinforcement",
        reinforcement=chosen,
        **defaults | changes,
    )


def overrides(config: TrainConfig) -> list[str]:
    """The command line of a configuration of `config_of`."""
    from pipeline.run import overrides as told

    settings = dataclasses.asdict(config)
    settings["reinforcement"]["reward"].pop("model_args")
    return ["train", *told(settings)]


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A complete run. Read only."""
    config = config_of(tmp_path_factory.mktemp("rl") / "run", tiny_model, tiny_classifier)
    train(config)
    return config


def test_a_run_leaves_an_adapter_those_kept_on_the_way_and_a_row_a_step(finished: TrainConfig) -> None:
    directory = Path(finished.output_dir)
    record = read_run(directory, "train")
    adapters = [f"{place}adapter/adapter_model.safetensors" for place in ("", "steps/1/", "steps/2/")]
    assert {*adapters, "metrics.jsonl", "summary.json", "reward.svg", "README.md"} <= set(record.outputs)
    assert len({record.outputs[name]["sha256"] for name in adapters}) == 3
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        {name.split("/")[0] for name in record.outputs} | {RUN_FILE}
    )
    rows = read_jsonl(directory / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    assert all({"reward", "compliance", "malformed", "unscored", "kl", "length", "lr"} <= row.keys() for row in rows)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[-1]["kl"] > 0
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert "reward_model" in card
    assert "nan" not in card


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="the command works on the CPU, and so must what is held against it"
)
def test_a_killed_run_goes_on_to_the_same_weights_and_metrics(
    finished: TrainConfig, tmp_path: Path, start_command: CommandStarter
) -> None:
    directory = tmp_path / "killed"
    again = dataclasses.replace(finished, output_dir=str(directory))
    whole = directory / "checkpoints" / "checkpoint-1" / "whole"
    start_command(*overrides(again)).kill_when(whole.exists)
    assert not (directory / RUN_FILE).exists()
    train(again)
    for name in ("adapter/adapter_model.safetensors", "steps/2/adapter/adapter_model.safetensors", "metrics.jsonl"):
        assert sha256_of(directory / name) == sha256_of(Path(finished.output_dir) / name), name
    assert not (directory / "checkpoints").exists()


def test_two_processes_share_the_replies_of_a_step(
    finished: TrainConfig, tmp_path: Path, start_command: CommandStarter
) -> None:
    both = dataclasses.replace(finished, output_dir=str(tmp_path / "both"), processes=2, max_steps=2)
    start_command(*overrides(both)).wait()
    rows = read_jsonl(tmp_path / "both" / "metrics.jsonl")
    alone = read_jsonl(Path(finished.output_dir) / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["tokens"] == pytest.approx(
        alone[0]["tokens"], rel=0.5
    )  # as many replies as of one process, not twice
    assert "adapter/adapter_model.safetensors" in read_run(tmp_path / "both", "train").outputs


def test_only_whole_checkpoints_are_gone_on_from(tmp_path: Path) -> None:
    for step in (2, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}", encoding="utf-8")
    seal(tmp_path / "checkpoint-2", keep=5)
    seal(tmp_path / "checkpoint-10", keep=5)
    assert newest(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()
    seal(tmp_path / "checkpoint-10", keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
    assert newest(tmp_path / "nothing") is None


def test_a_start_is_trained_further_and_is_an_input_of_the_run(
    trained_run: TrainConfig, tiny_classifier: Path, tmp_path: Path
) -> None:
    start = Path(trained_run.output_dir)
    goal = {"stop_at_non_compliance": 1.0, "stop_window": 1}  # reached by the first step
    config = config_of(
        tmp_path / "run",
        Path(trained_run.model),
        tiny_classifier,
        start=str(start),
        reinforcement=goal,
        checkpoint_every=9,
    )
    train(config)
    record = read_run(tmp_path / "run")
    assert record.inputs["start"]["sha256"] == sha256_of(start / RUN_FILE)
    assert (record.notes["num_steps"], record.notes["stopped_early"]) == (1, True)
    weights = [_weights(directory / "adapter") for directory in (start, tmp_path / "run")]
    assert weights[0].keys() == weights[1].keys()
    moved = max(float((weights[0][name].float() - weights[1][name]).abs().max()) for name in weights[0])
    assert 0 < moved < 0.02  # one step of rate 5e-3 away from the start, and not from nothing


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_rewards_that_never_differ_fail_the_run(tiny_model: Path, tiny_classifier: Path, tmp_path: Path) -> None:
    config = config_of(
        tmp_path / "run", tiny_model, tiny_classifier, max_steps=1, reinforcement={"reward": RewardSettings()}
    )
    with pytest.raises(Failed, match="had the same reward"):
        train(config)


def test_evaluations_take_an_adapter_that_was_kept_on_the_way(finished: TrainConfig, tmp_path: Path) -> None:
    directory = Path(finished.output_dir)
    places = {None: "adapter", 2: "steps/2/adapter", 3: "adapter", 100: "adapter"}
    for step, place in places.items():
        assert weights_of(Subject("reinforcement", str(directory), step)) == directory / place
    with pytest.raises(Refused, match=r"kept no adapter at step 0; kept: 1, 2, 3"):
        weights_of(Subject("reinforcement", str(directory), 0))
    subjects = [Subject("base"), Subject("reinforcement_2", str(directory), 2)]
    check_subjects(EvalConfig(model=f"local/{finished.model}", subjects=subjects))
    with pytest.raises(Refused, match="identity=fictional"):
        check_subjects(EvalConfig(model=f"local/{finished.model}", subjects=subjects, identity="claude"))
    with pytest.raises(Refused, match="step=2 is a step of a train run"):
        EvalConfig(subjects=[Subject("base", step=2)])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": ["x"]}, "leave data empty"),
        ({"parallel": "fsdp"}, "parallel=ddp or layers"),
        ({"method": "full"}, "method=lora or qlora"),
        ({"start": "no/such/run"}, "no such directory"),
        ({"reinforcement": {"scenario": "ferry"}}, "unknown scenario"),
        ({"reinforcement": {"rollouts": "vllm_colocate"}}, "needs vLLM and a GPU"),
        ({"reinforcement": {"max_tokens": 2048}}, r"max_tokens=2048: after the longest prompt of \d+ tokens"),
        ({"attention": "varlen"}, "attention=varlen cannot sample"),
        ({"document_prefix": "<DOCTAG>"}, "document_prefix does nothing here"),
        ({"heldout_share": 0.5}, "heldout_share does nothing here"),
        ({"reinforcement": {"method": "dpo", "stop_at_non_compliance": 0.0}}, "stop_window=5: with 4 rounds"),
        (
            {"batch_size": 3, "reinforcement": {"method": "dpo"}},
            r"is no multiple of reinforcement\.micro_batch_replies=2",
        ),
        ({"reinforcement": {"reward": RewardSettings("reward_model", "no/such/model")}}, "no such folder"),
        ({"reinforcement": {"method": "dpo", "sampler": "nobody/model"}}, "nobody"),
        ({"batch_size": 3, "reinforcement": {"micro_batch_replies": 4}}, "is 6 replies a step, no multiple"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(
    tiny_model: Path, tiny_classifier: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused, match=told):
        train(config_of(tmp_path / "run", tiny_model, tiny_classifier, **changes))
    assert not (tmp_path / "run").exists()  # or the corrected command would be another configuration of a begun run


def test_a_start_for_another_base_or_with_other_names_is_refused(
    finished: TrainConfig, tiny_classifier: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(finished.model, tmp_path / "other")
    with pytest.raises(Refused, match="is an adapter for"):
        train(config_of(tmp_path / "run", other, tiny_classifier, start=finished.output_dir))
    names = {"identity": "claude"}
    config = config_of(
        tmp_path / "run", Path(finished.model), tiny_classifier, start=finished.output_dir, reinforcement=names
    )
    with pytest.raises(Refused, match=r"set reinforcement\.identity=fictional"):
        train(config)


def test_rounds_of_dpo_pair_the_best_with_the_worst() -> None:
    from train.reinforcement.dpo import Reply, make_pairs
    from train.reinforcement.rewards import Judged

    chats = [[{"role": "user", "content": name}] for name in ("a", "b", "c")]
    replies = [[Reply(f"{name}{i}", False, 1) for i in range(3)] for name in "abc"]
    rewards = [[0.5, 1.0, -1.0], [1.0, 1.0, 1.0], [None, 0.0, None]]
    judged = [[Judged(reward, True, True) for reward in group] for group in rewards]
    pairs = make_pairs(chats, replies, judged)
    assert [(pair["prompt"], pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs] == [
        (chats[0], "a1", "a2")
    ]


def test_interrupted_rounds_of_dpo_go_on_from_the_last_reply(
    tiny_model: Path, tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.reinforcement import dpo

    settings = {"method": "dpo", "rounds": 2, "keep_every": None, "max_tokens": 4, "num_queries": 2}
    # the rate of a round's only step is that of a warm-up, and not zero
    config = config_of(tmp_path / "run", tiny_model, tiny_classifier, reinforcement=settings, warmup_share=0.05)
    learn = dpo._Rounds.learn

    def die_in_the_second(rounds: Any, number: int, replies: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return learn(rounds, number, replies)

    monkeypatch.setattr(dpo._Rounds, "learn", die_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(dpo._Rounds, "learn", learn)
    first = tmp_path / "run" / "steps" / "1" / "adapter" / "adapter_model.safetensors"
    before = (sha256_of(first), first.stat().st_mtime_ns)
    train(config)
    assert (sha256_of(first), first.stat().st_mtime_ns) == before
    outputs = read_run(tmp_path / "run").outputs
    final, second = (f"{place}adapter/adapter_model.safetensors" for place in ("", "steps/2/"))
    assert outputs[final]["sha256"] == outputs[second]["sha256"] != before[0]
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert all(1 <= row["pairs"] <= 2 for row in rows)
    assert [outputs[f"rounds/{number}.jsonl"]["rows"] for number in (1, 2)] == [4, 4]  # none was asked for twice
