"""All Numba code: the loops of the detokenizer (`loops`) and the scan of texts (`scan`, used through `table`).

`TS_TOKENIZER_KERNELS=plain` runs the loops in plain Python and texts through `rules.chunks`, with the same results;
`compiled` raises an error if Numba cannot compile. The variable is read once, when a module of this folder is first used.
"""

import os
from functools import cache

from ..errors import ConfigError


@cache
def available() -> bool:
    """Whether Numba compiles the loops: it is installed, its compiler is on, and TS_TOKENIZER_KERNELS is not "plain"."""
    wanted = os.environ.get("TS_TOKENIZER_KERNELS") or "any"
    if wanted not in ("any", "plain", "compiled"):
        raise ConfigError(f"TS_TOKENIZER_KERNELS: {wanted!r} is unknown. Choose plain or compiled.")
    if wanted == "plain":
        return False
    try:
        import numba
    except ImportError:
        problem = "Numba cannot be imported: pip install numba"
    else:
        if not numba.config.DISABLE_JIT:
            return True
        problem = "NUMBA_DISABLE_JIT is set; unset it"
    if wanted == "compiled":
        raise ConfigError(f"TS_TOKENIZER_KERNELS: compiled is not possible. {problem}.")
    return False
