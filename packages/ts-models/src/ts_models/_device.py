"""Names of devices, checked before a model is read."""

from __future__ import annotations

import torch

from .errors import ConfigError

__all__ = ["check_device"]


def check_device(name: str | torch.device) -> torch.device:
    """The device of a name ("cpu", "cuda", "cuda:1", "mps"); ConfigError where this machine or this torch has none such."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".") if str(problem) else type(problem).__name__
        raise ConfigError(
            f"device {str(name)!r}: is not there ({reason[:160]}). Use cpu, or cuda where torch finds a GPU."
        ) from None
    return device
