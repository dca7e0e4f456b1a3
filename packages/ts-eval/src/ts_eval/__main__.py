"""`python -m ts_eval`: the same as the console script `ts-eval`."""

import signal


def main() -> None:
    """Load the commands and run one."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load: no traceback, for nothing has begun
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
