"""How the outcome of a job crosses from a worker to the engine: JSON that holds a result, or an error by its name."""

from __future__ import annotations

import errno
import traceback
from typing import Any

from .. import errors

__all__ = ["answer", "result_of"]

Answer = dict[str, Any]

NO_SPACE = "no space"


def answer(job: dict[str, Any]) -> Answer:
    """Perform a job; whatever it raises becomes part of the answer."""
    from ..pipeline.tasks import perform  # here, because who only asks for results needs none of it

    try:
        return {"result": perform(job)}
    except errors.TsDataError as problem:
        return {"error": type(problem).__name__, "message": str(problem)}
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            return {"error": NO_SPACE}
        return {"error": "unexpected", "message": traceback.format_exc()}
    except Exception:  # a fault of ours: the traceback is raised again, as text, where it is seen
        return {"error": "unexpected", "message": traceback.format_exc()}


def result_of(found: Answer) -> dict[str, Any]:
    """The result in an answer; an error of ours is raised here again as what it was."""
    if found.get("error") == NO_SPACE:
        raise OSError(errno.ENOSPC, "no space left on the disk")
    if "error" in found:
        raise getattr(errors, found["error"], RuntimeError)(found["message"])
    result: dict[str, Any] = found["result"]
    return result
