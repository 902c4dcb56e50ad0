"""Everything that `python -m pipeline` can be told: an experiment is a list of stages."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from pipeline.command import register_schema
from pipeline.errors import Refused

COMMANDS = ("data_gen", "train", "eval", "eval.report")


@dataclass
class StageSettings:
    """One command of the experiment."""

    name: str = MISSING
    """Its directory below the experiment's, and what later stages call it."""
    command: str = MISSING
    """Which stage: data_gen, train, eval or eval.report."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What it is told; `@<name>` stands for the directory of an earlier stage."""


@dataclass
class PipelineConfig:
    """Runs an experiment's stages in order, each as a process of its own, reusing what is complete."""

    name: str = MISSING
    """The experiment's name; its directory is below `root`."""
    root: str = "outputs"
    """Where experiments are kept."""
    overwrite: bool = False
    """Run every stage again."""
    stages: list[StageSettings] = field(default_factory=list)
    """The stages, each after those that it reads from."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names:
            raise Refused("no stages: name an experiment that has some, for example experiment=demo")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Refused(f"stages: the name {', '.join(twice)} is used twice")
        for stage in self.stages:
            if stage.command not in COMMANDS:
                raise Refused(f"stages.{stage.name}: command={stage.command} must be one of {', '.join(COMMANDS)}")


register_schema("pipeline", PipelineConfig)
