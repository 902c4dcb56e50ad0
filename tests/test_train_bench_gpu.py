"""The GPU benchmark itself, tried out on the CPU with a model of no size."""

from collections.abc import Sequence

import pytest

from pipeline.benchmark import Comparison
from train.bench_gpu import DOCUMENT, Setting, compare_on_gpu, flops_per_token
from train.config import TrainConfig
from train.memory import Shape, adapter_parameters

TINY = Shape(num_layers=1, hidden=16, intermediate=16, num_heads=2, num_key_value_heads=1, vocabulary=97)


def test_one_model_goes_through_the_settings_and_one_that_fails_ends_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written: list[list[str]] = []

    def write(lines: Sequence[Comparison]) -> None:
        written.append([line.name for line in lines])

    settings = (Setting(), Setting(attention="telepathy"), Setting(gradient_checkpointing=True, attention="sdpa"))
    lines = {line.name: line for line in compare_on_gpu(TINY, 100.0, write, on_cpu=True, settings=settings)}
    used = [lines[f"{settings[i].name}: model FLOP utilisation"] for i in (0, 2)]
    assert all(line.ours > 0 for line in used)
    assert [line.notes["attention"] for line in used] == ["varlen", "sdpa"]
    assert lines["settings that failed"].ours == 1
    assert "telepathy" in str(lines["settings that failed"].notes)
    assert [len(names) for names in written] == [3, 5, 6]  # written as they come
    assert "FAILED: Refused: attention=telepathy" in capsys.readouterr().out


def test_what_the_time_does_not_allow_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    compare_on_gpu(TINY, -1.0, len, on_cpu=True, settings=(Setting(compile=True),))
    assert "left out for lack of time: varlen, 2,048 tokens a pass, compile" in capsys.readouterr().out


def test_flops_are_four_a_frozen_weight_and_six_a_trained_one() -> None:
    adapter = 6 * adapter_parameters(TrainConfig(data=["unused"]), TINY)
    frozen = TINY.layer_parameters + 97 * 16
    assert flops_per_token(TINY) == 4 * frozen + adapter + 3 * 2 * 2 * 16 * DOCUMENT / 2
