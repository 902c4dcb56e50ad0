"""Everything that `python -m pipeline` can be told: an experiment is a list of stages."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from pipeline.command import register_schema
from pipeline.errors import Refused, closest

COMMANDS = ("data_gen", "train", "eval", "eval.report", "eval.figure")


@dataclass
class StageSettings:
    """One command of the experiment."""

    name: str = MISSING
    """Its directory below the experiment's, and what later stages call it."""
    command: str = MISSING
    """Which stage: data_gen, train, eval, eval.report or eval.figure."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What it is told; `@<name>` stands for the directory of an earlier stage."""


@dataclass
class Needs:
    """What an experiment takes. Estimates, with their arithmetic, unless `arithmetic` says that they were measured."""

    hardware: str = ""
    """Machine that the estimate is for."""
    gpu_hours: float | None = None
    """GPU-hours of all stages, none of them done before; null where no GPU is used."""
    dollars_per_gpu_hour: float | None = None
    """Price behind `dollars`."""
    dollars: float | None = None
    """GPU-hours times their price."""
    arithmetic: str = ""
    """How the hours come about."""


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
    parts: dict[str, StageSettings] = field(default_factory=dict)
    """Stages that several experiments have in common, by name; those that `uses` does not name are not run."""
    uses: list[str] = field(default_factory=list)
    """Names of parts, in the order in which they run, before `stages`."""
    size: dict[str, Any] = field(default_factory=dict)
    """Values that parts and stages refer to as `${size.<name>}`: what differs between a laptop and a cluster."""
    needs: Needs = field(default_factory=Needs)

    def __post_init__(self) -> None:
        for name in self.uses:
            if name not in self.parts:
                raise Refused(f"uses={name}: no part has this name{closest(name, self.parts)}")
        self.stages = [*(self.parts[name] for name in self.uses), *self.stages]
        names = [stage.name for stage in self.stages]
        if not names:
            raise Refused("no stages: name an experiment that has some, for example experiment=demo")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Refused(f"stages: the name {', '.join(twice)} is used twice")
        for stage in self.stages:
            if stage.command not in COMMANDS:
                raise Refused(f"stages.{stage.name}: command={stage.command} must be one of {', '.join(COMMANDS)}")


register_schema("pipeline", PipelineConfig)
