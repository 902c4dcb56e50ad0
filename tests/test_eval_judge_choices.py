"""Every file of `conf/judge/` is a choice that both commands accept."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import eval.calibrate.config
import eval.config  # noqa: F401 - registers its schema, as the one above does
from eval.judges.catalogue import judge_names

CONF = Path(__file__).parent.parent / "conf"
CHOICES = sorted((CONF / "judge").glob("*.yaml"))


def test_there_are_choices() -> None:
    assert {path.stem for path in CHOICES} >= {"rules", "strong_reject", "published_2024", "published_2025"}


@pytest.mark.parametrize("path", CHOICES, ids=lambda path: path.stem)
@pytest.mark.parametrize("command", ["eval", "eval_calibrate"])
def test_a_choice_of_judges_composes_and_names_judges_that_there_are(path: Path, command: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2][1].startswith(f"# python -m eval judge={path.stem}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = OmegaConf.to_object(compose(command, [f"judge={path.stem}"]))
    assert settings.judges  # type: ignore[union-attr]
    assert set(settings.judges) <= set(judge_names())  # type: ignore[union-attr]
