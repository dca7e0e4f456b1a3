"""The other end of the pipe: a process that reads jobs as JSON lines, performs them, answers in JSON lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

import pyarrow as pa

from .._jobs import perform
from ..errors import TsDataError

__all__ = ["main"]


def main() -> None:
    """Serve until the pipe closes. One thread: the engine decides how many of us there are."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it closes the pipe
    pa.set_cpu_count(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to stderr, not into the protocol
    for line in sys.stdin:
        try:
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()
        except BrokenPipeError:  # the parent was killed; what was done lies on disk
            os._exit(1)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": perform(job)}
    except TsDataError as problem:
        return {"error": type(problem).__name__, "message": str(problem)}
    except OSError as problem:
        if problem.errno == 28:  # ENOSPC
            return {"error": "TsDataError", "message": f"{problem.filename or 'disk'}: no space left on the disk."}
        return {"error": "unexpected", "message": traceback.format_exc()}
    except Exception:
        return {"error": "unexpected", "message": traceback.format_exc()}


if __name__ == "__main__":
    main()
