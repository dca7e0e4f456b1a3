"""The other end of the pipe: a process that reads jobs as JSON lines, performs them, answers in JSON lines."""

from __future__ import annotations

import json
import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Serve until the pipe closes. One thread: the engine decides how many of us there are."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business, from the first moment; it closes the pipe
    import pyarrow as pa

    from ..pipeline import tasks  # noqa: F401 - loaded now, while the parent loads the same, not with the first job
    from .answers import answer

    pa.set_cpu_count(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to stderr, not into the protocol
    for line in sys.stdin:
        try:
            answers.write(json.dumps(answer(json.loads(line))) + "\n")
            answers.flush()
        except BrokenPipeError:  # the parent was killed; what was done lies on disk
            os._exit(1)


if __name__ == "__main__":
    main()
