from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from pipeline.errors import Failed, Refused
from train.adapter import add_adapter, check_effect, save_adapter, token_losses
from train.checkpoint import checkpoints, load_checkpoint, remove_checkpoints, save_checkpoint
from train.config import LoraSettings
from train.loss import Objective, summed_loss
from train.optimizer import MasterWeights

TOKENS = torch.arange(100, 140).reshape(2, 20)


@pytest.fixture
def base(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)


def make_adapter(base: Any, **settings: Any) -> PeftModel:
    torch.manual_seed(0)
    return add_adapter(base, LoraSettings(**({"rank": 4, "alpha": 8} | settings)), "some-model")


def updates(model: PeftModel, weights: MasterWeights, number: int) -> None:
    for _ in range(number):
        weights.backward(summed_loss(model, TOKENS, TOKENS) / 38)
        weights.step(lr=1e-2, max_norm=1.0)


def test_only_the_adapter_can_be_trained(base: Any) -> None:
    model = make_adapter(base)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name for name in names)


def test_all_linear_means_every_linear_module_of_the_layers_and_not_the_head(base: Any) -> None:
    model = make_adapter(base)
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_layers_before_the_first_get_no_adapter(base: Any) -> None:
    model = make_adapter(base, first_layer=1)
    names = [name for name, _ in model.named_parameters() if "lora_A" in name]
    assert names
    assert all(".layers.1." in name for name in names)


def test_named_targets_get_an_adapter_alone(base: Any) -> None:
    model = make_adapter(base, targets="q_proj,v_proj")
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}


def test_a_target_may_be_named_with_its_parent(base: Any) -> None:
    model = make_adapter(base, targets="self_attn.q_proj, mlp.up_proj")
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "up_proj"}


def test_an_unknown_target_is_refused(base: Any) -> None:
    with pytest.raises(Refused, match=r"lora\.targets=no_such_proj: ") as refusal:
        make_adapter(base, targets="no_such_proj")
    assert "\n" not in str(refusal.value)


def test_a_first_layer_beyond_the_last_is_refused(base: Any) -> None:
    with pytest.raises(Refused, match=r"lora\.first_layer=2: some-model has only 2 layers"):
        make_adapter(base, first_layer=2)


def test_the_adapter_stays_in_the_precision_of_its_base(base: Any) -> None:
    model = make_adapter(base.to(torch.bfloat16))
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.bfloat16}


def test_small_updates_add_up_though_bfloat16_loses_each(base: Any) -> None:
    model = make_adapter(base.to(torch.bfloat16))
    weights = MasterWeights(model, lr=1.0)
    before = [parameter.detach().clone() for parameter in weights.working]
    grown = [(p.float() * (1 + 2**-10)).to(torch.bfloat16) for p in before]
    assert all(torch.equal(a, b) for a, b in zip(before, grown, strict=True))
    for _ in range(16):
        for master in weights.masters:
            master.data *= 1 + 2**-10
        weights._round()
    changed = [not torch.equal(p, b) for p, b in zip(weights.working, before, strict=True) if b.abs().max() > 0]
    assert changed
    assert all(changed)


def test_a_step_caps_the_gradient_and_tells_its_norm_before(base: Any) -> None:
    weights = MasterWeights(make_adapter(base), lr=1e-3)
    for parameter in weights.working:
        parameter.grad = torch.full_like(parameter, 2.0)
    count = sum(parameter.numel() for parameter in weights.working)
    assert weights.step(lr=1e-3, max_norm=1.0) == pytest.approx(2.0 * count**0.5, rel=1e-4)
    assert all(parameter.grad is None for parameter in weights.working)


def test_training_a_model_without_trainable_parameters_fails(base: Any) -> None:
    with pytest.raises(Failed, match="no trainable parameter"):
        MasterWeights(base.requires_grad_(False), lr=1e-3)


def test_the_state_of_the_optimizer_survives_a_checkpoint(base: Any, tmp_path: Path, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = make_adapter(base)
    weights = MasterWeights(model, lr=1e-2)
    updates(model, weights, 3)
    save_checkpoint(tmp_path, weights, 3)
    other = make_adapter(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32))
    restored = MasterWeights(other, lr=1e-2)
    assert load_checkpoint(tmp_path, restored) == 3
    for number in (0, 2):  # at once, and after further updates, which the moments decide
        updates(model, weights, number)
        updates(other, restored, number)
        ours, theirs = dict(weights.state()), dict(restored.state())
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(torch.equal(a, b) for a, b in zip(weights.working, restored.working, strict=True))


def test_gradients_of_several_passes_add_up_in_float32(base: Any) -> None:
    weights = MasterWeights(make_adapter(base.to(torch.bfloat16)), lr=1e-3)
    for gradient in (256.0, 1.0, 1.0):  # in bfloat16 the ones would be lost
        for parameter in weights.working:
            parameter.grad = torch.full_like(parameter, gradient)
        weights._gather()
    assert all((master.grad == 258).all() for master in weights.masters)


@pytest.mark.parametrize(("keep", "left"), [(1, ["0000010"]), (2, ["0000009", "0000010"])])
def test_the_newest_whole_checkpoints_are_kept(base: Any, tmp_path: Path, keep: int, left: list[str]) -> None:
    model = make_adapter(base)
    weights = MasterWeights(model, lr=1e-2)
    updates(model, weights, 1)
    (tmp_path / "partial-checkpoint").mkdir()  # what a kill while writing leaves
    for step in (8, 9, 10):
        save_checkpoint(tmp_path, weights, step, keep)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [f"checkpoint-{step}" for step in left]
    assert load_checkpoint(tmp_path, weights) == 10
    remove_checkpoints(tmp_path)
    assert checkpoints(tmp_path) == []
    assert load_checkpoint(tmp_path, weights) == 0


def effect_of(model: PeftModel, num_updates: int) -> float:
    objective = Objective(model)
    before = token_losses(objective, TOKENS)
    updates(model, MasterWeights(model, lr=1e-2), num_updates)
    return check_effect(before, token_losses(objective, TOKENS))


def test_a_fresh_adapter_has_no_effect_and_that_fails(base: Any) -> None:
    with pytest.raises(Failed, match="leaves the loss of every token as it was"):
        effect_of(make_adapter(base), 0)


def test_an_adapter_that_is_no_number_fails(base: Any) -> None:
    model = make_adapter(base)
    before = token_losses(Objective(model), TOKENS)
    next(p for n, p in model.named_parameters() if "lora_B" in n).data.fill_(float("nan"))
    with pytest.raises(Failed, match="no finite numbers"):
        check_effect(before, token_losses(Objective(model), TOKENS))


@pytest.mark.parametrize("settings", [{}, {"rslora": True}, {"dora": True}])
def test_the_effect_of_a_trained_adapter_is_measured(base: Any, settings: dict[str, bool]) -> None:
    model = make_adapter(base, **settings)
    assert effect_of(model, 2) > 0


def test_rank_stabilised_scaling_divides_by_the_root_of_the_rank(base: Any) -> None:
    scales = [m.scaling for m in make_adapter(base, rank=16, alpha=8, rslora=True).modules() if hasattr(m, "lora_A")]
    assert scales
    assert all(scale == {"default": 2.0} for scale in scales)


def test_dora_learns_magnitudes(base: Any) -> None:
    names = [name for name, p in make_adapter(base, dora=True).named_parameters() if p.requires_grad]
    assert any("lora_magnitude_vector" in name for name in names)


@pytest.mark.filterwarnings("error:Unable to fetch remote file")
def test_a_saved_adapter_names_the_base_as_the_user_did_and_loads_again(
    base: Any, tmp_path: Path, tiny_model: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = make_adapter(base)
    updates(model, MasterWeights(model, lr=1e-2), 2)
    save_adapter(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert '"base_model_name_or_path": "some-model"' in (tmp_path / "adapter_config.json").read_text(encoding="utf-8")
    assert all("lora_" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    fresh = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    again = PeftModel.from_pretrained(fresh, str(tmp_path)).eval()
    with torch.no_grad():
        expected = model.eval()(TOKENS).logits
        torch.testing.assert_close(again(TOKENS).logits, expected)
        in_transformers = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        in_transformers.load_adapter(str(tmp_path))
        torch.testing.assert_close(in_transformers.eval()(TOKENS).logits, expected)
