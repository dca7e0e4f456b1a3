"""Compile the kernels ahead: the first start leaves that to another process, so that its stories need not wait.

Numba keeps what it compiled beside the package, or where NUMBA_CACHE_DIR says. That it did is noted in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import asked, warn
from ..errors import TsModelsError
from ..fast import VARIABLE, available

if TYPE_CHECKING:
    from ..language_model import LanguageModel

_PLAIN = {VARIABLE: "plain", "TS_TOKENIZER_KERNELS": "plain"}
_LONGEST = 600
"""Seconds after which an unfinished compilation is started again."""


own_process = False
"""Whether the console script started this process. Any other process keeps its kernels, even if it calls a command."""


def at_first_start() -> bool:
    """Whether the kernels are not compiled on this machine yet. Then another process compiles them; this one works without, on one thread.

    The compiler takes a core: a team of threads would wait for it at each product.
    """
    if not own_process or any(name in os.environ for name in _PLAIN) or not available():
        return False
    done = _note()
    begun = done.with_suffix(".begun")
    try:
        if done.exists():
            return False
        done.parent.mkdir(parents=True, exist_ok=True)
        if not begun.exists() or time.time() - begun.stat().st_mtime > _LONGEST:
            begun.touch()
            nothing = subprocess.DEVNULL
            command = [sys.executable, "-m", __name__, str(done)]
            subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    except OSError:  # nowhere to note it: compile as part of the work, if that is kept at all
        if not keeps_kernels():
            os.environ.update(_PLAIN)
        return False
    import torch

    torch.set_num_threads(1)
    os.environ.update(_PLAIN)
    return True


def keeps_kernels() -> bool:
    """Whether there is a place where Numba can keep what it compiles. Otherwise each start compiles the kernels again."""
    places = [
        Path(__file__).parents[1] / "fast/kernels/__pycache__",
        _caches(),
        Path(os.environ.get("NUMBA_CACHE_DIR") or os.devnull),
    ]
    there = (next(folder for folder in (place, *place.parents) if os.access(folder, os.F_OK)) for place in places)
    return any(folder.is_dir() and os.access(folder, os.W_OK) for folder in there)


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _note() -> Path:
    """The empty file that exists once the kernels of this version, for this Python, are compiled."""
    kernels = Path(__file__).parents[1] / "fast/kernels"
    stamps = [(path.name, path.stat().st_mtime_ns) for path in sorted(kernels.glob("*.py"))]
    state = (str(kernels), stamps, version("numba"), sys.version, os.environ.get("NUMBA_CACHE_DIR"))
    return _caches() / "ts-models" / f"{hashlib.sha256(repr(state).encode()).hexdigest()[:16]}.compiled"


def warn_unkept() -> None:
    """Say where kernels are compiled at each start, because no folder can keep them."""
    if own_process and available() and not keeps_kernels():
        warn(
            "no folder can keep the compiled kernels, so each start compiles them anew. Set NUMBA_CACHE_DIR to one that you may write."
        )


@contextmanager
def first_use(precision: str) -> Iterator[None]:
    """Say before the first use of int8 or int4 on this machine that their kernels are compiled, and note it afterwards."""
    if precision == "float32" or not own_process or not available():
        yield
        return
    done = _note().with_suffix(f".{precision}")
    if not asked.quiet and not done.exists():
        warn(f"the first use of {precision} on this machine compiles its kernels, which may take some minutes.")
    yield
    with suppress(OSError):  # nowhere to note it
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()


def write_a_little(models: Iterable[LanguageModel]) -> None:
    """Let each model write eight tokens, so that its kernels and its tokenizer's are compiled and loaded."""
    from ..generation import generate

    for lm in models:
        generate(lm.model, [[0]], max_new_tokens=8)
        with suppress(TsModelsError):  # a model that takes ids only
            lm.generate("Once upon a time", max_new_tokens=8)


def _compile(done: Path) -> None:
    """Compile what the demo needs, then note that."""
    from ..io.loading import load

    if hasattr(os, "nice"):
        os.nice(10)
    write_a_little([load("demo")])
    done.touch()
    with suppress(OSError):
        done.with_suffix(".begun").unlink()


if __name__ == "__main__":
    _compile(Path(sys.argv[1]))
