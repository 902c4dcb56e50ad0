"""Every YAML of `conf/` that names a command composes for that command and becomes its dataclass."""

import dataclasses
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write

from pipeline.run import stage_command

CONF = Path(__file__).parent.parent / "conf"
EXPERIMENTS = sorted((CONF / "experiment").rglob("*.yaml"))
STAGE_FILES = sorted(path for path in CONF.glob("*.yaml") if path.name != "run.yaml")
MULTIRUN_FLAGS = {"-m", "--multirun"}
COMMAND = re.compile(r"# python -m ([a-z_.]+)((?: \S+)*)")


@dataclasses.dataclass(frozen=True)
class Composed:
    """What a command starts with: the first job's settings, and whether there is a sweep and Hydra runs it."""

    settings: Any
    """The stage's dataclass; None where a mandatory value is missing."""
    has_sweep: bool
    is_multirun: bool


def name_of(path: Path) -> str:
    return path.relative_to(CONF).with_suffix("").as_posix()


def command_of(path: Path) -> tuple[str, list[str]]:
    """The module and the arguments in a file's first line; Hydra wants `# @package` to stand before any other."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if not line.startswith("# @"))
    found = COMMAND.fullmatch(first)
    assert found, f"{path}: the command that runs it must stand first, this is {first!r}"
    return found[1], shlex.split(found[2])


def options(override: Override) -> list[str]:
    """The single overrides that an override stands for: one for each value where it sweeps."""
    key = override.get_key_element()
    if override.is_interval_sweep():
        interval = override.value()
        assert isinstance(interval, IntervalSweep)
        return [f"{key}={interval.start}", f"{key}={interval.end}"]
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [str(override.input_line)]


def compose_command(module: str, arguments: list[str]) -> Composed:
    """Composes every job's settings once, each value of a sweep beside the first values of the others."""
    importlib.import_module(f"{module}.config")
    parser, name = OverridesParser.create(), module.replace(".", "_")
    given = [argument for argument in arguments if argument not in MULTIRUN_FLAGS]
    choices = [options(override) for override in parser.parse_overrides(given)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = compose(name, [values[0] for values in choices], return_hydra_config=True).hydra
        swept = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
        choices += [options(override) for override in parser.parse_overrides(swept)]
        first = [values[0] for values in choices]
        for position, values in enumerate(choices):
            for value in values[1:]:
                convert(name, [*first[:position], value, *first[position + 1 :]])
        return Composed(
            settings=convert(name, first),
            has_sweep=bool(swept) or any(len(values) > 1 for values in choices),
            is_multirun=hydra.mode == RunMode.MULTIRUN or bool(MULTIRUN_FLAGS.intersection(arguments)),
        )


def convert(name: str, overrides: list[str]) -> Any:
    """The dataclass that a stage would be handed, with Hydra's own settings at hand for those that refer to them."""
    config = compose(name, overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with read_write(config), open_dict(config):
        del config["hydra"]
    if OmegaConf.missing_keys(config):
        return None
    settings = OmegaConf.to_object(config)
    assert dataclasses.is_dataclass(settings)
    return settings


@pytest.fixture(autouse=True)
def _forget_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


def test_there_are_experiments() -> None:
    assert EXPERIMENTS


def test_there_is_a_file_for_each_stage() -> None:
    assert {name_of(path) for path in STAGE_FILES} >= {"data_gen", "train", "eval", "eval_report"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_an_experiment_composes_by_the_command_in_its_first_line(path: Path) -> None:
    module, arguments = command_of(path)
    assert f"experiment={path.relative_to(CONF / 'experiment').with_suffix('').as_posix()}" in arguments
    composed = compose_command(module, arguments)
    assert composed.is_multirun or not composed.has_sweep, "Hydra runs a sweep only with hydra.mode: MULTIRUN or -m"


PIPELINES = [path for path in EXPERIMENTS if command_of(path)[0] == "pipeline"]


def test_there_are_experiments_of_several_stages() -> None:
    assert PIPELINES


@pytest.mark.parametrize("path", PIPELINES, ids=name_of)
def test_every_stage_of_an_experiment_accepts_its_settings(path: Path) -> None:
    settings = compose_command(*command_of(path)).settings
    assert settings.stages
    for stage in settings.stages:
        _, _, module, *arguments = stage_command(settings, stage)
        assert compose_command(module, arguments).settings is not None, f"{stage.name}: a mandatory setting is missing"


@pytest.mark.parametrize("path", STAGE_FILES, ids=name_of)
def test_a_stage_composes_by_the_command_in_its_first_line(path: Path) -> None:
    module, arguments = command_of(path)
    assert module.replace(".", "_") == name_of(path)
    assert compose_command(module, arguments).settings is not None, "the command gives too little"
