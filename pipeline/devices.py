"""Deals the GPUs of one machine out to the jobs of a sweep that run side by side."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` lists them; loads no CUDA."""
    listed = os.environ.get(VISIBLE)
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


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

    A share is held by a lock on a file, which the system lets go when the process ends in whatever way.

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
    chosen, lock = next((found for share in order if (found := _claim(share, wait=False))), None) or _wait(order[0])
    try:
        yield os.environ | {VISIBLE: ",".join(chosen)}
    finally:
        lock.close()


def _wait(share: list[str]) -> tuple[list[str], IO[str]]:
    claimed = _claim(share, wait=True)
    assert claimed is not None  # a lock that is waited for is had
    return claimed


def _claim(share: list[str], wait: bool) -> tuple[list[str], IO[str]] | None:
    folder = Path(tempfile.gettempdir()) / f"alignment-faking-sdf-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = (folder / "-".join(name.replace("/", "_") for name in share)).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:  # another job has it
        lock.close()
        return None
    return share, lock
