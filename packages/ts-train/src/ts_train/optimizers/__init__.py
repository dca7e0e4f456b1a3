"""Optimizers: one per module; each builds a list of torch optimizers from a model and its config.

Every parameter group carries `initial_lr`, its peak; the loop multiplies it by the schedule's factor.
"""

from typing import Any

import torch
from torch import nn

from ts_models.registry import load_entry

from ..registry import OPTIMIZERS


class Optimizers:
    """Several torch optimizers that step together, and the views of fused matrices that some of them update."""

    def __init__(self, parts: list[torch.optim.Optimizer], views: list[tuple[nn.Parameter, nn.Parameter, slice]]) -> None:
        self.parts, self.views = parts, views
        for part in parts:
            for group in part.param_groups:
                group["initial_lr"] = group["lr"]

    @property
    def kind(self) -> str:
        """Names of the parts, as built: "muon+adamw-fused"."""
        names = dict.fromkeys(getattr(part, "label", type(part).__name__.lower()) for part in self.parts)
        return "+".join(names) + ("-fused" if any(part.defaults.get("fused") for part in self.parts) else "")

    def set_factor(self, factor: float) -> float:
        """Set every group to `factor` times its peak; returns the first group's learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                rate = group["initial_lr"] * factor
                if isinstance(group["lr"], torch.Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        return float(self.parts[0].param_groups[0]["initial_lr"] * factor)

    def keep_rates_on(self, device: torch.device) -> None:
        """Keep the learning rates in tensors, which a recorded step reads at every replay."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = torch.tensor(float(group["lr"]), device=device)
                if "capturable" in group:
                    group["capturable"] = device.type == "cuda"
                    part._warned_capturable_if_run_uncaptured = True  # its first step is not recorded

    def share_gradients(self) -> None:
        """Give each view of a fused matrix its rows of the gradient. Call after backward, before step."""
        for whole, view, rows in self.views:
            view.grad = None if whole.grad is None else whole.grad[rows]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        """All state tensors under stable names: `part.parameter.key`, in order of the groups."""
        return {
            f"{p}.{i}.{key}": value
            for p, part in enumerate(self.parts)
            for i, parameter in enumerate(_parameters(part))
            for key, value in part.state.get(parameter, {}).items()
            if isinstance(value, torch.Tensor)
        }

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the result of `tensors`."""
        for p, part in enumerate(self.parts):
            on_device = any(group.get("fused") or group.get("capturable") for group in part.param_groups)
            for i, parameter in enumerate(_parameters(part)):
                prefix = f"{p}.{i}."
                found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                part.state.pop(parameter, None)
                if found:
                    part.state[parameter] = {
                        # AdamW keeps its step on the CPU unless fused; other state is on the parameter's device.
                        key: value.clone() if key == "step" and not on_device else value.clone().to(parameter.device)
                        for key, value in found.items()
                    }


def build_optimizers(model: nn.Module, config: Any, *, vocab_size: int, precision: str = "fp32") -> Optimizers:
    """Build the optimizer `config.name`. `vocab_size` distinguishes output layers from hidden matrices; `precision` (fp32, fp16
    or bf16) is the run's, for an optimizer that multiplies matrices itself."""
    built: Optimizers = load_entry(OPTIMIZERS[config.name])(model, config, vocab_size, precision)
    return built


def _parameters(part: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in part.param_groups for parameter in group["params"]]
