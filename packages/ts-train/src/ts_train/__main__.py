"""`python -m ts_train`, the console script, and what torchrun starts: torchrun --nproc-per-node 2 -m ts_train run …"""

import signal


def main() -> None:
    """Load the commands and run one."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load: no traceback, for nothing has begun
    from .cli import main as run

    run()


if __name__ == "__main__":
    main()
