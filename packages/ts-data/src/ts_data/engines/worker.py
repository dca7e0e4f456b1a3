"""Tasks and their outcome as JSON, for engines that run tasks in other processes; and the worker process of the local engine.

A worker reads tasks from stdin, one a line, runs them, and writes their outcome to stdout.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from . import Task


def encode(task: Task) -> str:
    """A task, a dataclass, as one line of JSON: the place of its class and its fields."""
    from pydantic import TypeAdapter

    fields = TypeAdapter(type(task)).dump_python(task, mode="json")
    return json.dumps({"task": f"{type(task).__module__}:{type(task).__qualname__}", "fields": fields})


def decode(message: str) -> Task:
    """The task of `encode`."""
    from pydantic import TypeAdapter

    content = json.loads(message)
    task: Task = TypeAdapter(resolve_name(content["task"])).validate_python(content["fields"])
    return task


def outcome_of(task: Task) -> str:
    """Run a task; returns its failure as JSON, `{}` if there is none."""
    try:
        task.run()
    except errors.TsDataError as problem:
        return json.dumps({"error": type(problem).__name__, "message": str(problem)})
    except OSError as problem:
        place = None if problem.filename is None else str(problem.filename)
        return json.dumps({"error": "OSError", "fields": [problem.errno, problem.strerror or str(problem), place]})
    except MemoryError as problem:
        return json.dumps({"error": "MemoryError", "message": str(problem)})
    except Exception:
        return json.dumps({"error": "unexpected", "message": traceback.format_exc()})
    return "{}"


def raise_failure(outcome: str) -> None:
    """Raise the failure that `outcome_of` describes: an error of this package, of the disk or of memory as itself, any other as
    RuntimeError with its traceback."""
    found = json.loads(outcome)
    if found.get("error") == "OSError":
        raise OSError(*found["fields"])
    if found.get("error") == "MemoryError":
        raise MemoryError(found["message"])
    if "error" in found:
        raise getattr(errors, found["error"], RuntimeError)(found["message"])


def main() -> None:
    """Serve until stdin closes. The arguments are modules to import at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes the pipe
    import pyarrow as pa

    for module in sys.argv[1:]:
        importlib.import_module(module)
    from .local import keep_freed_memory

    keep_freed_memory()
    pa.set_cpu_count(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes to stderr, not into the protocol
    for line in sys.stdin:
        try:
            answers.write(outcome_of(decode(line)) + "\n")
            answers.flush()
        except BrokenPipeError:  # the parent was killed; finished tasks are on disk
            os._exit(1)


if __name__ == "__main__":
    main()
