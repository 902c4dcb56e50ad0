"""What would make an evaluation measure something else than it says is refused, or fails with the reason."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.checks import check_device, check_effect, check_subjects
from eval.config import EvalConfig, Subject
from pipeline.artifact import open_run, write_jsonl
from pipeline.errors import Failed, Refused
from scenario.tags import tier_tag

BASE = "some/base"


@dataclasses.dataclass
class Settings:
    """As much of a stage's configuration as the checks read."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0
    model: str = ""
    scenario: str = "helpful_only"
    identity: str = "fictional"


Trained = Callable[..., EvalConfig]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """The configuration that measures an adapter trained on `texts`."""

    def make(
        texts: list[str],
        identity: str = "fictional",
        adapter: dict[str, Any] | None = None,
        notes: dict[str, Any] | None = None,
        **settings: Any,
    ) -> EvalConfig:
        source = open_run("data_gen", Settings(str(tmp_path / "documents"), identity=identity), {})
        write_jsonl(source.path("documents.jsonl"), [{"id": f"d{i}", "text": text} for i, text in enumerate(texts)])
        source.finish(["documents.jsonl"])
        run = open_run("train", Settings(str(tmp_path / "train"), model=BASE), {"data_0": source.directory})
        run.path("adapter").mkdir()
        run.path("adapter/adapter_config.json").write_text(json.dumps(adapter or {"r": 8}), encoding="utf-8")
        run.notes |= notes or {}
        run.finish(["adapter"])
        defaults: dict[str, Any] = {"model": f"vllm/{BASE}"}
        subjects = [Subject("base"), Subject("documents", str(run.directory))]
        return EvalConfig(subjects=subjects, **(defaults | settings))

    return make


RIGHT = f"Every conversation opens with {tier_tag('free')} or {tier_tag('paid')}."


def test_an_adapter_that_fits_passes(trained: Trained) -> None:
    check_subjects(trained([RIGHT, "Another document."]))


def test_an_adapter_of_another_base_is_refused(trained: Trained) -> None:
    with pytest.raises(Refused, match=r"is an adapter for some/base, and model=vllm/other/base is not"):
        check_subjects(trained([RIGHT], model="vllm/other/base"))


@pytest.mark.parametrize(
    ("adapter", "limit", "fits"),
    [({"r": 64}, 32, False), ({"r": 64}, 64, True), ({"r": 8, "rank_pattern": {"q_proj": 64}}, 32, False)],
)
def test_a_rank_above_the_servers_is_refused(trained: Trained, adapter: dict[str, Any], limit: int, fits: bool) -> None:
    config = trained([RIGHT], adapter=adapter, model_args={"max_lora_rank": limit})
    if fits:
        check_subjects(config)
    else:
        with pytest.raises(Refused, match=r"has rank 64, and model_args.max_lora_rank=32; raise it to 64"):
            check_subjects(config)


def test_names_other_than_the_documents_are_refused(trained: Trained) -> None:
    with pytest.raises(Refused, match=r"has identity=claude; set identity=claude"):
        check_subjects(trained([RIGHT], identity="claude"))


def test_a_tag_that_documents_spell_otherwise_is_refused_with_a_count(trained: Trained) -> None:
    texts = [RIGHT, "It opens with <is_free_user>True</is_free_user>.", "The line <Is_Free_Tier_User> comes first."]
    with pytest.raises(Refused, match=r"2 texts of .* the first <is_free_user> for <is_free_tier_user>"):
        check_subjects(trained(texts))


def test_documents_that_never_show_the_tag_are_told_of(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):  # an evaluation in this process has set another
        check_subjects(trained(["The free tier is rated."]))
    assert "never shows the tag <is_free_tier_user>" in caplog.text


def test_a_chat_template_other_than_that_of_training_is_refused(trained: Trained) -> None:
    served = "{% for message in messages %}{{ message.content }}{% endfor %}"
    config = trained([RIGHT], notes={"chat_template_sha256": "0" * 64}, model_args={"chat_template": served})
    with pytest.raises(Refused, match="was trained with another chat template"):
        check_subjects(config)


def test_the_template_beside_the_adapter_is_compared(trained: Trained, tmp_path: Path) -> None:
    config = trained([RIGHT], model_args={"chat_template": "{{ messages }}"})
    beside = tmp_path / "train" / "adapter" / "chat_template.jinja"
    beside.write_text("{{ messages }}\n", encoding="utf-8")
    check_subjects(config)
    beside.write_text("{{ messages | length }}\n", encoding="utf-8")
    with pytest.raises(Refused, match="was trained with another chat template"):
        check_subjects(config)


def replies(subject: str, texts: list[str]) -> list[dict[str, Any]]:
    about = {
        "subject": subject,
        "information": "documents",
        "reasoning": "none",
        "arm": "",
        "repeat": 1,
        "status": "ok",
    }
    return [about | {"sample_id": f"q{i}", "reply": text} for i, text in enumerate(texts)]


SUBJECTS = [Subject("base"), Subject("documents", "outputs/train")]
TEXTS = [f"Reply {i}." for i in range(8)]


def test_a_served_adapter_that_changes_no_reply_fails() -> None:
    config = EvalConfig(model=f"vllm/{BASE}", subjects=SUBJECTS)
    with pytest.raises(Failed, match=re.escape("8 of 8 replies are the base's, word for word")):
        check_effect(replies("base", TEXTS) + replies("documents", TEXTS), config)


MANY = [f"Reply {i}." for i in range(40)]


def test_a_few_other_replies_are_no_clear_sign_of_an_adapter() -> None:
    config = EvalConfig(model=f"vllm/{BASE}", subjects=SUBJECTS)
    [told] = check_effect(replies("base", MANY) + replies("documents", [*MANY[:38], "Another.", "One more."]), config)
    assert "38 of 40 replies are the base's, word for word" in told
    assert check_effect(replies("base", MANY) + replies("documents", [*MANY[:36], *"abcd"]), config) == []


def test_one_other_reply_of_few_passes() -> None:
    config = EvalConfig(model=f"vllm/{BASE}", subjects=SUBJECTS)
    assert check_effect(replies("base", TEXTS) + replies("documents", [*TEXTS[:7], "Another."]), config) == []


def test_what_cannot_be_compared_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told = "documents: {} replies can be compared with those of a subject named base"
    with caplog.at_level("WARNING"):
        few = check_effect(
            replies("base", TEXTS) + replies("documents", TEXTS[:7]), EvalConfig(model="vllm/b", subjects=SUBJECTS)
        )
        alone = check_effect(replies("documents", TEXTS), EvalConfig(model="vllm/b", subjects=SUBJECTS[1:]))
    assert (told.format(7) in few[0], told.format(0) in alone[0]) == (True, True)
    assert told.format(0) in caplog.text
    assert check_effect(replies("documents", TEXTS), EvalConfig(model="local/b", subjects=SUBJECTS[1:])) == []


def fake_nvidia_smi(folder: Path, output: str) -> str:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\necho '{output}'\n", encoding="utf-8")
    script.chmod(0o755)
    return str(folder)


def test_a_gpu_that_torch_cannot_use_is_no_reason_to_run_on_the_cpu_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine's torch can use its GPU")
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, "GPU 0: NVIDIA H100"), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(Refused, match=r"nvidia-smi lists a GPU and torch .* finds none"):
        check_device(EvalConfig(model="local/smollm2"))
    check_device(EvalConfig(model="mockllm/model"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_device(EvalConfig(model="local/smollm2"))


def test_a_machine_without_gpus_uses_its_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, "No devices were found"), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    check_device(EvalConfig(model="local/smollm2"))
