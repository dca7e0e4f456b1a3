"""`python -m ts_data`: the same as the console script `ts-data`."""

from .cli import main

if __name__ == "__main__":
    main()
