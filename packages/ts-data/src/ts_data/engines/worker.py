"""A worker process of the local engine: reads tasks from stdin, one a line, runs them, and writes their outcome to stdout."""

from __future__ import annotations

import importlib
import os
import signal
import sys


def main() -> None:
    """Serve until stdin closes. The arguments are modules to import at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes the pipe
    import pyarrow as pa

    for module in sys.argv[1:]:
        importlib.import_module(module)
    from .local import keep_freed_memory
    from .messages import decode, outcome_of

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
