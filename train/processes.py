"""One process or many: joins what launched this process, or launches one process per GPU."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from pipeline.command import FAILED, REFUSED
from pipeline.errors import Failed, Refused

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

_OURS = "ALIGNMENT_FAKING_SDF_LAUNCHED"
"""Set for processes that `launch` started."""

_PATIENCE = timedelta(hours=12)
"""How long processes wait for the first one, which downloads, reads and writes large models alone. In any other exchange they
wait as long as torch has them by default, for who is late there has died."""

_KILLED_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int
    size: int
    device: "torch.device"
    patient: "torch.distributed.ProcessGroup | None" = None
    """In which the others wait for the first one, however long it takes."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def sum(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """The sum over all processes, in place."""
        import torch.distributed

        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def first(self, work: Callable[[], Result]) -> Result:
        """Does `work` on the first process alone and hands its result to all; what it refuses or fails at ends all."""
        import torch.distributed

        outcome: list[Result | Refused | Failed | None] = [None]
        if self.is_first:
            try:
                outcome = [work()]
            except (Refused, Failed) as error:  # told to the others, who would wait for ever
                outcome = [error]
        if self.size > 1:
            torch.distributed.broadcast_object_list(outcome, src=0, group=self.patient)
        if isinstance(outcome[0], Refused | Failed):
            raise outcome[0]
        return outcome[0]  # type: ignore[return-value]

    def leave(self) -> None:
        """Parts from the others, once all are through: left to the interpreter's end, threads that wait for them may abort it."""
        import torch.distributed

        if self.size > 1:
            torch.distributed.destroy_process_group()

    def wait_for_first(self) -> None:
        """Until the first process is here too, which may have read or written a large model meanwhile."""
        self.first(lambda: None)


def is_launched() -> bool:
    """Whether torchrun, accelerate, SLURM's srun or `launch` started this process as one of several."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def join() -> World:
    """This process's place, with the process group of all ready for use."""
    import torch
    from accelerate import PartialState

    if "LOCAL_RANK" not in os.environ and is_launched():
        os.environ.update(slurm_environment())
    if _OURS in os.environ:
        _die_with_parent()
    on_gpu = torch.cuda.is_available()
    state = PartialState(cpu=not on_gpu)
    several = state.num_processes > 1
    patient = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE) if several else None
    return World(state.process_index, state.num_processes, state.device if on_gpu else torch.device("cpu"), patient)


def slurm_environment() -> dict[str, str]:
    """What torch needs in order to meet the other tasks of a SLURM step, from SLURM's own variables."""
    from submitit.slurm.slurm import SlurmJobEnvironment

    job = SlurmJobEnvironment()
    return {
        "RANK": str(job.global_rank),
        "LOCAL_RANK": str(job.local_rank),
        "WORLD_SIZE": os.environ["SLURM_STEP_NUM_TASKS"],
        "LOCAL_WORLD_SIZE": str(int(os.environ["SLURM_STEP_NUM_TASKS"]) // job.num_nodes),
        "MASTER_ADDR": job.hostnames[0],
        # jobs that share a node must not meet one another
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(20000 + int(job.raw_job_id) % 20000)),
    }


def wanted_processes(processes: int | None, parallel: str) -> int:
    """How many processes this command should become; 1 where it has been launched by something, or one is enough."""
    import torch

    if is_launched() or parallel == "layers":
        return 1
    return processes or max(1, torch.cuda.device_count())


def launch(num_processes: int) -> None:
    """Runs this very command as `num_processes` processes on this machine, and ends this one as badly as they end.

    Raises:
        Failed: one of them was killed. What they themselves raise they have told; the exit code is passed on.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # our own line tells what went wrong
    os.environ[_OURS] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    where = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "max_restarts": 0}
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=num_processes, run_id=str(os.getpid()), **where)  # type: ignore[arg-type]
    try:
        elastic_launch(config, sys.executable)("-m", "train", *sys.argv[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            raise Failed(f"process {rank} of {num_processes} ended with {name}; the same command continues") from None
        sys.exit(REFUSED if failure.exitcode == REFUSED else FAILED)
    finally:
        del os.environ[_OURS]


def _die_with_parent() -> None:
    """Lets no process train on when the one that launched it was killed: the same command may be typed again at once."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_KILLED_WITH_PARENT, signal.SIGKILL)
