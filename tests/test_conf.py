"""Every YAML of `conf/` that names a command composes for that command and becomes its dataclass; so do the pages' commands."""

import dataclasses
import importlib
import importlib.util
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write

from eval.judges.catalogue import load_judge
from eval.judges.settings import JudgingSettings
from pipeline.config import PipelineConfig, StageSettings
from pipeline.run import stage_command

CONF = Path(__file__).parent.parent / "conf"
EXPERIMENTS = sorted((CONF / "experiment").rglob("*.yaml"))
STAGE_FILES = sorted(path for path in CONF.glob("*.yaml") if path.name != "run.yaml")
MULTIRUN_FLAGS = {"-m", "--multirun"}
PAGES = [CONF.parent / "README.md", *sorted((CONF.parent / "docs").glob("*.md"))]
COMPOSED = {path.stem.replace("eval_", "eval.") for path in STAGE_FILES}
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
    with read_write(config), open_dict(config):
        config.hydra.job.num = 0  # which a sweep's launcher would set
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


def lines_of(page: Path) -> list[list[str]]:
    """The words of each line that a page tells the reader to type."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def modules_of(page: Path) -> list[tuple[str, list[str]]]:
    return [(words[2], words[3:]) for words in lines_of(page) if words[:2] == ["python", "-m"]]


def test_the_pages_have_commands() -> None:
    assert len(modules_of(CONF.parent / "README.md")) >= 6
    assert sum(len(modules_of(page)) for page in PAGES) >= 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_composes(page: Path) -> None:
    for module, arguments in modules_of(page):
        told = f"{page.name}: {module} {arguments}"
        if module in COMPOSED:
            composed = compose_command(module, arguments)
            assert composed.settings is not None, told
            assert composed.is_multirun == composed.has_sweep or "hydra/sweeper=optuna" in arguments, told
        elif module == "train.memory":
            given = [argument for argument in arguments if not argument.startswith(("gpus=", "gib="))]
            assert compose_command("train", given).settings is not None, told
        else:
            assert importlib.util.find_spec(module) is not None, told


def test_what_the_readme_installs_and_makes_is_there() -> None:
    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = (CONF.parent / "constraints.txt").read_text(encoding="utf-8")
    makefile = (CONF.parent / "Makefile").read_text(encoding="utf-8")
    made = [words[1:] for words in lines_of(CONF.parent / "README.md") if words[0] == "make"]
    assert len(made) >= 3
    for target, *settings in made:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        for extra in "".join(settings).removeprefix("EXTRAS=").split(",") if settings else []:
            assert extra in project["optional-dependencies"]
    for package in project["optional-dependencies"]["api"]:
        assert re.search(rf"^{package}==", pinned, re.MULTILINE)


def test_jobs_of_a_sweep_have_directories_named_by_what_they_differ_in() -> None:
    swept = [(module, arguments) for page in PAGES for module, arguments in modules_of(page) if "-m" in arguments]
    named = [(module, arguments) for module, arguments in swept if "override_dirname" in " ".join(arguments)]
    assert len(named) >= 2
    module, arguments = named[0]
    choices = [options(each) for each in OverridesParser.create().parse_overrides([a for a in arguments if a != "-m"])]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        places = [convert(module, list(job)).output_dir for job in itertools.product(*choices)]
    assert places == [f"outputs/sweep/lora.rank={rank},seed={seed}" for rank in (16, 64) for seed in (0, 1)]


def test_the_judge_and_the_experiment_that_a_page_shows_can_be_used(tmp_path: Path) -> None:
    page = (CONF.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^```(markdown|yaml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    (tmp_path / "sarcasm.md").write_text(shown["markdown"], encoding="utf-8")
    assert load_judge(str(tmp_path / "sarcasm.md"), JudgingSettings()).measures == "sarcasm"
    stages = [StageSettings(**stage) for stage in yaml.safe_load(shown["yaml"])["stages"]]
    settings = PipelineConfig(name="mine", stages=stages)
    for stage in stages:
        _, _, module, *arguments = stage_command(settings, stage)
        assert compose_command(module, arguments).settings is not None
