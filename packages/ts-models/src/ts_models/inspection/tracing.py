"""`trace`: read and change the tensors of a forward pass by dotted names.

A traced network runs another forward pass, set on the instance for the time of the block. The classes know nothing of it, so an
untraced pass executes no code of this module.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import load_entry

Change = Callable[[Tensor], Tensor]


class Trace:
    """The tensors of the last forward pass, by name. Not thread-safe.

    A tensor is the one that the rest of the pass reads: gradients flow through it, and after `backward` it has its `.grad`.
    """

    def __init__(self, names: dict[str, str], patterns: Sequence[str]) -> None:
        self.names = names
        """Every name of this network, with its shape."""
        self._wanted = {name for pattern in patterns for name in self.match(pattern)}
        self._changes: dict[str, list[Change]] = {}
        self._found: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._found:
            recorded = ", ".join(self._found) or "nothing yet: call the model inside of the block"
            raise ConfigError(f"trace: {name!r} is not recorded. Name it in trace(model, …). Recorded: {recorded}.")
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __repr__(self) -> str:
        return f"<Trace: {len(self._found)} of {len(self.names)} tensors recorded, {len(self._changes)} changed>"

    def replace(self, pattern: str, value: Tensor | float | Change, *, index: Any = None) -> None:
        """Put `value` in place of the tensors that match: a number, a tensor that broadcasts, or a function of the tensor.

        index: change this part alone, as in `tensor[index]`; `numpy.s_[:, 2]` is the third head of a tensor of heads.
        """
        self._add(pattern, value if callable(value) else lambda x: _broadcast(pattern, value, x), index)

    def scale(self, pattern: str, factor: Tensor | float, *, index: Any = None) -> None:
        """Multiply the tensors that match, or the part at `index`."""
        self._add(pattern, lambda x: x * _broadcast(pattern, factor, x), index)

    def ablate(self, pattern: str, *, index: Any = None) -> None:
        """Set the tensors that match, or the part at `index`, to zero."""
        self._add(pattern, torch.zeros_like, index)

    def needs(self, *names: str) -> bool:
        """Whether one of these is recorded or changed, so that it has to be computed."""
        return any(name in self._wanted or name in self._changes for name in names)

    def change(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor after all changes of this name."""
        for change in self._changes.get(name, ()):
            tensor = change(tensor)
        return tensor

    def record(self, name: str, tensor: Tensor) -> None:
        """Keep the tensor if its name is wanted."""
        if name in self._wanted:
            self._found[name] = tensor
            if tensor.requires_grad and not tensor.is_leaf:
                tensor.retain_grad()

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Change and record one tensor of the pass; returns what the pass continues with."""
        tensor = self.change(name, tensor)
        self.record(name, tensor)
        return tensor

    def _add(self, pattern: str, change: Change, index: Any) -> None:
        for name in self.match(pattern):
            self._changes.setdefault(name, []).append(change if index is None else _at(index, change))

    def match(self, pattern: str) -> list[str]:
        """The names that match a pattern, in the order of the pass. Raises ConfigError where none does."""
        found = [name for name in self.names if fnmatchcase(name, pattern)]
        if not found:
            near = difflib.get_close_matches(pattern, self.names, n=3, cutoff=0.4) or list(self.names)[:3]
            raise ConfigError(f"trace: no tensor is named {pattern!r}. Names of this network are {', '.join(near)}, …")
        return found


class Points(Protocol):
    """The named tensors of one kind of network. A network class names its points by the attribute `points`."""

    stream: str
    """Pattern of the tensors, one a layer, that the final norm and the output layer can read."""
    neurons: str
    """Pattern of the activations whose units are shown as neurons, one tensor a layer."""
    patterns: str | None
    """Pattern of attention patterns, one a layer; None for a network without attention."""

    def __init__(self, network: Any) -> None: ...

    def neuron_output(self, layer: int) -> Tensor | None:
        """What each neuron of a layer adds to the stream, [neurons, d]; None where it adds nothing to it directly."""

    def names(self) -> dict[str, str]:
        """Name → shape, in the order of the forward pass."""

    def methods(self, at: Trace) -> dict[str, Callable[..., Any]]:
        """The methods that replace the network's own while it is traced; they pass every tensor through `at(name, tensor)`."""


def _at(index: Any, change: Change) -> Change:
    """Change one part of a tensor, in a copy."""

    def part(x: Tensor) -> Tensor:
        x = x.clone()
        x[index] = change(x[index])
        return x

    return part


def _broadcast(name: str, value: Tensor | float, x: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    try:
        return tensor.expand_as(x)
    except RuntimeError:
        raise ConfigError(
            f"trace: a value of shape {list(tensor.shape)} does not fit {name}, which has {list(x.shape)}."
        ) from None


def points_of(network: Any) -> Points | None:
    """The points that a network's class names; None for one that names none."""
    entry = getattr(network, "points", None)
    return load_entry(entry)(network) if isinstance(entry, str) else None


@contextmanager
def trace(model: Any, *patterns: str) -> Iterator[Trace]:
    """Record the tensors whose names match (`*` stands for anything), and change tensors by name, in calls of the model.

        with ts_models.trace(model, "blocks.*.attention.pattern") as t:
            t.ablate("blocks.0.attention.z", index=numpy.s_[:, 2])
            model(ids)
        t["blocks.3.attention.pattern"]  # [batch, heads, time, time]

    model: a network, a LanguageModel, or any `nn.Module`, whose names are those of its modules and whose tensors their outputs.
    Generation inside the block is traced too, through the network's own forward. After the block the network is as before.
    Raises ConfigError for a name that the network does not have.
    """
    network = model if isinstance(model, nn.Module) else model.model
    if hasattr(network, "_orig_mod"):
        raise ConfigError("trace: the network is compiled, which hides its tensors; trace the network that was compiled.")
    if "_traced" in vars(network):
        raise ConfigError("trace: the network is being traced already; name all patterns in one trace.")
    points = points_of(network) or _Modules(network)
    found = Trace(points.names(), patterns)
    methods = {"_traced": True, **points.methods(found)}
    vars(network).update(methods)
    try:
        yield found
    finally:
        for name in methods:
            del vars(network)[name]


class _Modules:
    """Any module: the outputs of its parts, by the parts' names; of an output that is a tuple, its first tensor."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def names(self) -> dict[str, str]:
        return {name: "what the module gives" for name, _ in self.network.named_modules() if name}

    def methods(self, at: Trace) -> dict[str, Callable[..., Any]]:
        return {"forward": lambda *arguments, **options: self._forward(at, *arguments, **options)}

    def _forward(self, at: Trace, *arguments: Any, **options: Any) -> Any:
        def hook(name: str) -> Callable[..., Any]:
            def change(module: nn.Module, inputs: Any, output: Any) -> Any:
                if isinstance(output, Tensor):
                    return at(name, output)
                if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
                    return (at(name, output[0]), *output[1:])
                return None

            return change

        wanted = [(name, part) for name, part in self.network.named_modules() if name and at.needs(name)]
        handles = [part.register_forward_hook(hook(name)) for name, part in wanted]
        try:
            return type(self.network).forward(self.network, *arguments, **options)
        finally:
            for handle in handles:
                handle.remove()
