"""What every command does around its one function: errors in one line, exit codes, quiet logs."""

import difflib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pipeline.devices import gpus_for_job
from pipeline.errors import Failed, Refused

Result = TypeVar("Result")

OK, FAILED, REFUSED = 0, 1, 2


@contextmanager
def exit_codes(stage: str, config_type: type) -> Iterator[None]:
    """Turns errors into one line and the exit codes of `pipeline.errors`; a bug keeps its traceback."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own many lines and leaving with 1
    logging.captureWarnings(True)
    try:
        yield
    except Refused as error:
        _leave(stage, str(error), REFUSED)
    except (HydraException, OmegaConfBaseException) as error:
        _leave(stage, _tell(error, config_type), REFUSED)
    except Failed as error:
        _leave(stage, str(error), FAILED)
    except KeyboardInterrupt:
        _leave(stage, "interrupted; the same command continues", FAILED)


def run_stage(
    config: DictConfig,
    work: Callable[[Any], Result],
    result_of: Callable[[Path], Result] | None = None,
) -> Result | None:
    """Hands the composed configuration to a stage's function, as the stage's dataclass, and returns what that returns.

    An error ends a single run here, in its one line. A sweep's job becomes a process of its own, whatever the launcher:
    launchers reuse their processes, and accelerator state would leak from job to job. Each is dealt its share of the
    GPUs. A job that fails is told when it fails; Hydra goes on with the others.

    Args:
        config: composed by Hydra.
        work: the stage's function.
        result_of: reads from a job's directory what `work` returned there, for sweepers that optimise it.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        _run_job(config, hydra)
        return None if result_of is None else result_of(Path(config.output_dir))
    config_type = OmegaConf.get_type(config)
    assert config_type is not None  # every command's configuration has a schema
    with exit_codes(hydra.job.name, config_type):
        return work(OmegaConf.to_object(config))


def compose_config(stage: str, overrides: list[str]) -> Any:
    """The dataclass that `python -m <stage> <overrides>` would work with, for commands that look at it only."""
    with initialize_config_dir(str(Path(__file__).parent.parent / "conf"), version_base="1.3"):
        return OmegaConf.to_object(compose(stage, overrides))


def _run_job(config: DictConfig, hydra: Any) -> None:
    command = [sys.executable, "-m", hydra.job.name.replace("eval_", "eval."), "hydra.mode=RUN"]
    place = f"output_dir={json.dumps(config.output_dir)}"  # quoted: a comma in it would ask for another sweep
    at_once = hydra.launcher.n_jobs if "n_jobs" in hydra.launcher else None  # a cluster's jobs have GPUs of their own
    with gpus_for_job(hydra.job.num, at_once) as environment:
        done = subprocess.run([*command, *hydra.overrides.task, place], env=environment, check=False)
    code = done.returncode
    if code != OK:
        message = f"job {hydra.job.num} ({hydra.job.override_dirname}) ended with exit code {code}: {config.output_dir}"
        print(f"{hydra.job.name}: {message}", file=sys.stderr)
        raise (Refused if code == REFUSED else Failed)(message)


def register_schema(stage: str, config_type: type) -> None:
    """Makes a stage's dataclass known to Hydra as `<stage>_schema`."""
    ConfigStore.instance().store(name=f"{stage}_schema", node=config_type)


def known_keys(config_type: type, prefix: str = "") -> list[str]:
    """Every dotted key that a configuration dataclass has."""
    keys = []
    hints = get_type_hints(config_type)
    for item in fields(config_type):
        keys.append(prefix + item.name)
        if is_dataclass(hints[item.name]):
            keys += known_keys(hints[item.name], f"{prefix}{item.name}.")  # type: ignore[arg-type]
    return keys


def _leave(stage: str, message: str, code: int) -> None:
    print(f"{stage}: {message}", file=sys.stderr)
    sys.exit(code)


def _tell(error: Exception, config_type: type) -> str:
    """A composition error in one line, with the nearest known key where a key is unknown."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = " ".join(str(cause).split())
    key = getattr(cause, "full_key", None)
    if key and isinstance(cause, MissingMandatoryValue):
        return f"missing setting '{key}': it has no default, give {key}=..."
    if key and ("not in" in text or "not a valid" in text):
        near = difflib.get_close_matches(key, known_keys(config_type), n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        return f"unknown setting '{key}'{hint}; --cfg job prints all settings"
    first = " ".join(str(error).split("full_key")[0].split("Config search path")[0].split())
    message = first if key is None else f"setting '{key}': {text.split(' full_key')[0]}"
    return message.replace("Missing mandatory value:", "missing setting:")
