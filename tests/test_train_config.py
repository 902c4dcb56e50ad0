from typing import Any

import pytest

from pipeline.errors import Refused
from train.config import LoraSettings, TrainConfig


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"objective": "reward"}, "objective=reward: must be one of documents, imitation"),
        ({"precision": "float16"}, "precision=float16: must be one of bfloat16, float32"),
        ({"heldout_share": 1.0}, "heldout_share=1.0: must be at least 0 and below 1"),
        ({"epochs": 0}, "epochs=0: must be above 0"),
        ({"batch_size": -1}, "batch_size=-1: must be above 0"),
        ({"max_steps": 0}, "max_steps=0: must be above 0"),
        ({"lr": 0.0}, "lr=0.0: must be above 0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0: must be above 0"),
        ({"lora": LoraSettings(rank=0)}, "lora.rank=0: must be above 0"),
        ({"data": []}, "data=[]: name at least one data_gen run"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused) as refusal:
        TrainConfig(**({"data": ["x"]} | settings))
    assert str(refusal.value).startswith(told)
