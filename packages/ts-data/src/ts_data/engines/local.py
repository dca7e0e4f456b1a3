"""Runs jobs on this machine: in this process, or in worker processes that speak JSON lines over pipes.

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
from typing import Any

from .. import errors
from .._jobs import perform

__all__ = ["run"]


def run(jobs: Sequence[dict[str, Any]], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Perform the jobs, `workers` at a time; yields (number of the job, its result) as they end."""
    if workers <= 1 or len(jobs) <= 1:
        for number, job in enumerate(jobs):
            yield number, perform(job)
        return
    with ExitStack() as stack:
        idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(min(workers, len(jobs))):
            idle.put(stack.enter_context(_Worker()))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        yield from _spread(jobs, pool, idle, workers)


def _spread(
    jobs: Sequence[dict[str, Any]], pool: ThreadPoolExecutor, idle: SimpleQueue[_Worker], workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    def ask(job: dict[str, Any]) -> dict[str, Any]:
        worker = idle.get()
        try:
            return worker.perform(job)
        finally:
            idle.put(worker)

    waiting = iter(enumerate(jobs))
    running: dict[Future[dict[str, Any]], int] = {}
    while True:
        while len(running) < workers and (following := next(waiting, None)):
            running[pool.submit(ask, following[1])] = following[0]
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


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
            raise errors.TsDataError(
                f"a worker process died (exit code {self._process.wait()}); is there too little memory? Run the same command "
                f"again to go on, with fewer workers."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise getattr(errors, answer["error"], RuntimeError)(answer["message"])
        result: dict[str, Any] = answer["result"]
        return result

    def __exit__(self, *_: object) -> None:
        self._process.kill() if sys.exc_info()[0] else None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
