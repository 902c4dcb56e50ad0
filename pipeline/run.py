"""Runs an experiment: each stage is a command that can also be typed by hand, and is printed as such.

A stage is a process of its own, so nothing of one model's state reaches the next; a stage that is complete says so at
once, and an interrupted experiment goes on where it was.
"""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.command import OK, REFUSED
from pipeline.config import PipelineConfig, StageSettings
from pipeline.errors import Failed, Refused, closest

_DIRECTORY = re.compile(r"@([\w-]+)")
_PLAIN_WORD = re.compile(r"(?!(?i:null|true|false|inf|nan)\Z)[A-Za-z_./][\w./-]*", re.ASCII)
"""Texts that Hydra reads as themselves without quotes."""


def run_pipeline(config: PipelineConfig) -> None:
    """Runs every stage; stops at the first that fails, with its name and its command."""
    commands = [stage_command(config, stage) for stage in config.stages]
    for place, (stage, command) in enumerate(zip(config.stages, commands, strict=True), start=1):
        told = shlex.join(["python", *command[1:]])
        print(f"[{place}/{len(commands)}] {stage.name}: {told}", flush=True)
        started = time.monotonic()
        code = subprocess.run(command, check=False).returncode
        if code == REFUSED:
            raise Refused(f"stage '{stage.name}' was refused; nothing of it was run")
        if code != OK:
            raise Failed(f"stage '{stage.name}' ended with exit code {code}; the same command continues from here")
        print(f"[{place}/{len(commands)}] {stage.name}: {time.monotonic() - started:.0f} s", flush=True)


def stage_command(config: PipelineConfig, stage: StageSettings) -> list[str]:
    """The stage's command line: interpreter, module, and one override per setting."""
    earlier = [other.name for other in config.stages[: config.stages.index(stage)]]
    settings = {"output_dir": str(directory_of(config, stage.name)), "overwrite": config.overwrite}
    resolved = _resolve(stage.settings, config, stage.name, earlier)
    return [sys.executable, "-m", stage.command, *overrides(settings | resolved)]


def directory_of(config: PipelineConfig, stage: str) -> Path:
    """Where a stage of the experiment writes."""
    return Path(config.root) / config.name / stage


def overrides(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """Nested settings as Hydra overrides with dotted keys; `model_args` is open to new keys and so takes a `+`."""
    told = []
    for key, value in settings.items():
        if key == "model_args":
            told += [f"+{prefix}{key}.{name}={override_value(item)}" for name, item in value.items()]
        elif isinstance(value, dict):
            told += overrides(value, f"{prefix}{key}.")
        else:
            told.append(f"{prefix}{key}={override_value(value)}")
    return told


def override_value(value: Any) -> str:
    """A value in Hydra's override grammar; texts are quoted unless they are plain words."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{override_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(override_value, value)) + "]"
    if isinstance(value, str):
        return value if _PLAIN_WORD.fullmatch(value) else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """In quotes as Hydra reads them: a backslash escapes only before a quote, anywhere else it is itself."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda end: end[1] * 2 + end[2].replace('"', '\\"'), text) + '"'


def _resolve(value: Any, config: PipelineConfig, stage: str, earlier: list[str]) -> Any:
    """Replaces `@name` by the directory of the earlier stage of that name."""
    if isinstance(value, dict):
        return {key: _resolve(item, config, stage, earlier) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, config, stage, earlier) for item in value]
    if isinstance(value, str) and (found := _DIRECTORY.fullmatch(value)):
        if found[1] not in earlier:
            raise Refused(f"stages.{stage}: '{value}' names no earlier stage{closest(found[1], earlier)}")
        return str(directory_of(config, found[1]))
    return value
