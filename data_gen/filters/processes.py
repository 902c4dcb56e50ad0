"""Work on one batch after the other in several processes, with the results in the order of the batches."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from pipeline.errors import Failed

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_MOST_BY_DEFAULT = 8
"""More than so many wait for the process that reads and writes."""
_AHEAD = 2
"""Batches in hand for each process: enough to keep it busy, and few enough not to fill the memory."""

_work: Callable[[Any], Any]
"""What a process of the pool does with a batch."""


def default_processes() -> int:
    """One for each core that this process may use, up to 8."""
    return min(len(os.sched_getaffinity(0)), _MOST_BY_DEFAULT)


def map_in_order(work: Callable[[Batch], Result], batches: Iterable[Batch], num_processes: int) -> Iterator[Result]:
    """`map`, by several processes and a few batches ahead; `work`, batches and results have to be picklable.

    Raises:
        Failed: a process was killed, as for want of memory.
    """
    if num_processes == 1:
        yield from map(work, batches)
        return
    # spawned: to fork a process in which a model or a server's client has threads can hang
    pool = ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn"), _start, (work,))
    under_way: deque[Future[Result]] = deque()
    try:
        for batch in batches:
            under_way.append(pool.submit(_do, batch))
            if len(under_way) > _AHEAD * num_processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise Failed(
            "a process that tests documents was killed, as for want of memory; run the same command again, with fewer"
            " filters.processes"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process of the pool would wait for work for ever after its parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(batch: Any) -> Any:
    return _work(batch)
