"""Number format of the forward and backward pass, chosen once at the start. Master weights stay float32."""

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import torch

from . import hardware

Name = Literal["fp32", "fp16", "bf16"]
_DTYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Precision:
    name: Name
    reason: str
    device_type: str

    @property
    def dtype(self) -> torch.dtype:
        return _DTYPES[self.name] or torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        dtype = _DTYPES[self.name]
        return contextlib.nullcontext() if dtype is None else torch.autocast(self.device_type, dtype=dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """A GradScaler, enabled for fp16 only: small gradients underflow there."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """`wanted`, or for "auto" the fastest format of the hardware; bf16 before fp16, because it needs no loss scaling."""
    if wanted != "auto":
        return Precision(wanted, "asked for", device.type)  # type: ignore[arg-type]
    if device.type == "cuda":
        if hardware.multiplies_bf16(device):
            return Precision("bf16", "this GPU multiplies bfloat16 natively, which needs no loss scaling", "cuda")
        return Precision("fp16", "this GPU has no native bfloat16, so float16 with loss scaling", "cuda")
    if device.type == "cpu" and hardware.multiplies_bf16(device):
        return Precision("bf16", "this CPU has AMX tiles for bfloat16", "cpu")
    if device.type == "cpu" and hardware.computes_bf16():
        reason = "this CPU's AVX-512 bfloat16 gains little or nothing over fp32 below some 5M parameters; --set precision=bf16 tries it"
        return Precision("fp32", reason, "cpu")
    return Precision("fp32", f"no half-precision matrix unit known on this {device.type}", device.type)


def precision_warnings(precision: Precision, dropout: float) -> list[str]:
    """Warnings about slow precision settings."""
    found = []
    if (
        precision.device_type == "cpu"
        and precision.name != "fp32"
        and not (precision.name == "bf16" and hardware.computes_bf16())
    ):
        found.append(
            f"{precision.name} autocast on a CPU without units for it costs 4 to 20 times the time of fp32; "
            "use --set precision=fp32 unless you test the half-precision path."
        )
    if precision.device_type == "cpu" and dropout > 0:
        found.append(
            f"dropout {dropout:g} on a CPU: drawing the masks can take a third of the time; --set model.dropout=0.0 leaves it out."
        )
    return found
