"""`python -m ts_train`, which is also what torchrun starts: torchrun --nproc-per-node 2 -m ts_train run …"""

from .cli import main

if __name__ == "__main__":
    main()
