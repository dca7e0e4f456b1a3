"""Runs tasks on this machine: in this process, and in worker processes that speak JSON lines over pipes.

Workers start as `python -m ts_data.engines.worker`. Nothing is forked (Arrow and torch have threads) or pickled, and a script that calls
`prepare` needs no `if __name__ == "__main__"`. A worker ends when its pipe closes, so it outlives a killed parent by one task at most.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from ..errors import TsDataError
from .worker import encode, raise_failure

if TYPE_CHECKING:
    import numpy as np

    from . import Task

_WARM_UP = ("ts_data.pipeline.tasks",)
"""Modules that a worker imports while this process imports the same."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Let glibc reuse large pieces that this process frees. It returns them to the system otherwise, which costs a seventh of the time."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)
    mallopt(_M_TRIM_THRESHOLD, 1 << 26)


class Engine(ExitStack):
    """This process is the first worker. The others start when the context is entered."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._workers = workers
        self._idle: SimpleQueue[Callable[[Task], None]] = SimpleQueue()

    def __enter__(self) -> Self:
        keep_freed_memory()
        self._idle.put(lambda task: task.run())
        for _ in range(self._workers - 1):
            self._idle.put(self.enter_context(_Worker()).run)
        self._pool = self.enter_context(ThreadPoolExecutor(self._workers))
        return self

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        """Run the tasks, `workers` at a time."""
        waiting = iter(enumerate(tasks))
        running: dict[Future[None], int] = {}
        while True:
            while len(running) < self._workers and (following := next(waiting, None)):
                running[self._pool.submit(self._run_one, following[1])] = following[0]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)

    def first_occurrence(self, hashes: np.ndarray) -> np.ndarray:
        """One sort in this process: 2.7 million stories take about a second."""
        from ..dedup.exact import first_occurrence

        return first_occurrence(hashes)

    def _run_one(self, task: Task) -> None:
        run = self._idle.get()
        try:
            run(task)
        finally:
            self._idle.put(run)


class _Worker:
    """A worker process and its two pipes."""

    def __enter__(self) -> Self:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "ts_data.engines.worker", *_WARM_UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._tasks, self._outcomes = process.stdin, process.stdout
        return self

    def run(self, task: Task) -> None:
        """Send a task and wait for its outcome; its error is raised here."""
        try:
            self._tasks.write(encode(task) + "\n")
            self._tasks.flush()
            line = self._outcomes.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise TsDataError(
                f"a worker process died (exit code {self._process.wait()}), perhaps for lack of memory. Run the same command again to "
                f"resume, with fewer workers."
            )
        raise_failure(line)

    def __exit__(self, *_: object) -> None:
        self._process.kill() if sys.exc_info()[0] else None
        self._tasks.close()
        self._outcomes.close()
        self._process.wait()
