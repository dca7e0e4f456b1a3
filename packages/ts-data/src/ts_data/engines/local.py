"""Runs jobs on this machine: in this process, and in worker processes that speak JSON lines over pipes.

Workers are started as `python -m ts_data.engines.worker`: nothing is forked (Arrow and torch have threads) or
pickled, and a script that calls `prepare` needs no `if __name__ == "__main__"`. A worker ends when its pipe closes,
so none outlives a killed parent for longer than its present job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ..errors import TsDataError
from .answers import result_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Engine"]


class Engine:
    """This process is the first worker; the others start on entering the context, at once, and serve until it ends."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._stack = ExitStack()
        self._idle: SimpleQueue[_Here | _Worker] = SimpleQueue()

    def __enter__(self) -> Engine:
        self._idle.put(_Here())
        for _ in range(self._workers - 1):
            self._idle.put(self._stack.enter_context(_Worker()))
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._workers))
        return self

    def __exit__(self, *problem: Any) -> None:
        self._stack.__exit__(*problem)

    def run(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Perform the jobs, `workers` at a time."""
        waiting = iter(enumerate(jobs))
        running: dict[Future[dict[str, Any]], int] = {}
        while True:
            while len(running) < self._workers and (following := next(waiting, None)):
                running[self._pool.submit(self._ask, following[1])] = following[0]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()

    def first_of(self, hashes: np.ndarray) -> np.ndarray:
        """One sort in this process: 2.7 million stories take about a second."""
        from ..dedup.exact import first_of

        return first_of(hashes)

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.perform(job)
        finally:
            self._idle.put(worker)


class _Here:
    """This process. Its libraries load with the first job."""

    def perform(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job."""
        from ..pipeline.tasks import perform

        return perform(job)


class _Worker:
    """One worker process and its two pipes."""

    def __enter__(self) -> _Worker:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ts_data.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            text=True,
            encoding="utf-8",
        )
        return self

    def perform(self, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job and wait for its result; an error of ours is raised here again as what it was."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise TsDataError(
                f"a worker process died (exit code {self._process.wait()}); is there too little memory? Run the same command "
                f"again to go on, with fewer workers."
            )
        return result_of(json.loads(line))

    def __exit__(self, *_: object) -> None:
        self._process.kill() if sys.exc_info()[0] else None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
