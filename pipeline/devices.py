"""Deals the GPUs of one machine out to the jobs of a sweep that run side by side."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` lists them; loads no CUDA."""
    listed = os.environ.get(VISIBLE)
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.split() if told.returncode == 0 else []  # without a driver its output is a complaint


def shares_of(gpus: list[str], num_jobs: int) -> list[list[str]]:
    """Splits the GPUs evenly among jobs; with more jobs than GPUs, one GPU each, and jobs have to wait.

    Args:
        gpus: names.
        num_jobs: that run side by side; -1 for as many as there are GPUs.
    """
    num_shares = len(gpus) if num_jobs < 0 else min(num_jobs, len(gpus))
    size = len(gpus) // max(1, num_shares)
    return [gpus[i * size : (i + 1) * size] for i in range(num_shares)]


@contextmanager
def gpus_for_job(job: int, num_jobs: int | None) -> Iterator[dict[str, str]]:
    """The environment of a job, with a share of the GPUs that no other job on this machine has meanwhile.

    A share is held by a lock on a file for each of its GPUs, so that shares of different sizes do not overlap; the system
    lets the locks go when the process ends in whatever way.

    Args:
        job: its number; where no share is free, it waits for the one that its number falls on.
        num_jobs: that run side by side; None for jobs that something else gives GPUs to.
    """
    gpus = visible_gpus() if num_jobs is not None else []
    if num_jobs is None or len(gpus) < 2:
        yield dict(os.environ)
        return
    shares = shares_of(gpus, num_jobs)
    order = [shares[(job + i) % len(shares)] for i in range(len(shares))]
    chosen, locks = next((found for share in order if (found := _claim(share, wait=False))), None) or _wait(order[0])
    try:
        yield os.environ | {VISIBLE: ",".join(chosen)}
    finally:
        locks.close()


def _wait(share: list[str]) -> tuple[list[str], ExitStack]:
    claimed = _claim(share, wait=True)
    assert claimed is not None  # locks that are waited for are had
    return claimed


def _claim(share: list[str], wait: bool) -> tuple[list[str], ExitStack] | None:
    folder = Path(tempfile.gettempdir()) / f"alignment-faking-sdf-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as locks:
        for name in sorted(share):  # in one order for all, so that no two wait for each other
            lock = locks.enter_context((folder / name.replace("/", "_")).open("w", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:  # another job has it
                return None
        return share, locks.pop_all()
