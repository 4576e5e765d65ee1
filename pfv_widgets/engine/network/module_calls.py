"""What each module took and gave in one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import hooked

_NEAR = 2  # dots in the names of modules whose outputs the root's forward may rewrite
_SMALL = 1 << 18  # numbers of an output that is copied at no cost

Run = Callable[[nn.Module, Tensor], object]
TensorKey = tuple[object, ...]
CallKey = tuple[str, int]  # a module's name and which of its runs, from 1
SeeCall = Callable[[CallKey, nn.Module, tuple[object, ...], object], None]


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """One run of one module.

    Attributes
    ----------
    base
        The module's dotted name.
    index
        Which of its runs this is, from 1.
    module
        The module.
    inputs
        Shape and key of each tensor that it took as a positional argument.
    output
        What it returned. Later operations may have rewritten it in place.
    copy
        Of a small output near the root, whose forward may rewrite it, as DenseNet's does.
    version
        Equal for outputs that were one tensor in one state when they were returned.
    """

    base: str
    index: int
    module: nn.Module
    inputs: tuple[tuple[torch.Size, TensorKey], ...]
    output: object
    version: TensorKey
    copy: Tensor | None = None

    @property
    def key(self) -> CallKey:
        """Which call this is, in every forward pass of the network."""
        return self.base, self.index

    @property
    def unchanged(self) -> bool:
        """Whether the output still is what the module returned."""
        return output_version(self.output) == self.version

    @property
    def result(self) -> Tensor | None:
        """The tensor that the module returned, as it was then; None where that is gone."""
        if isinstance(self.output, Tensor) and self.unchanged:
            return self.output
        return self.copy


@dataclass(frozen=True, eq=False)
class WatchedNetwork:
    """A network with the modules whose calls are of interest."""

    model: nn.Module  # the network
    modules: Mapping[str, nn.Module]  # dotted name → module
    run: Run  # calls the network with a batch

    def watch(self, batch: Tensor, see: SeeCall) -> object:
        """Run a batch, call ``see(key, module, inputs, output)`` after each call."""
        runs: Counter[str] = Counter()

        def count(module: nn.Module, base: str, inputs: tuple[object, ...], output: object) -> None:
            runs[base] += 1
            see((base, runs[base]), module, inputs, output)

        with hooked(self.modules, count):
            return self.run(self.model, batch)

    def record(self, batch: Tensor) -> tuple[list[ModuleCall], object]:
        """Run a batch; return the calls in the order in which they ended, and the output."""
        calls: list[ModuleCall] = []

        def see(
            key: CallKey, module: nn.Module, inputs: tuple[object, ...], output: object
        ) -> None:
            arguments = tuple((one.shape, tensor_key(one)) for one in tensors_in(inputs))
            version, copy = output_version(output), None
            if isinstance(output, Tensor) and key[0].count(".") < _NEAR and output.numel() < _SMALL:
                copy = output.detach().clone()
            calls.append(ModuleCall(*key, module, arguments, output, version, copy))

        return calls, self.watch(batch, see)


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            if isinstance(one, Tensor):
                yield one
            else:
                yield from tensors_in(one)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change every leaf of nested tuples, lists and dicts, which keep their types."""
    if isinstance(value, dict):
        return type(value)((key, mapped(one, change)) for key, one in value.items())
    if isinstance(value, list | tuple):
        parts = [mapped(one, change) for one in value]
        return getattr(type(value), "_make", type(value))(parts)
    return change(value)


def tensor_key(value: Tensor) -> TensorKey:
    """Equal for tensors that share memory, shape and strides, while one of them lives."""
    if value.layout is not torch.strided:
        return (id(value),)
    return (value.data_ptr(), tuple(value.shape), value.stride())


def output_version(output: object) -> TensorKey:
    """Equal for outputs that are one tensor in one state: in-place operations change it."""
    if not isinstance(output, Tensor) or output.is_quantized or output.is_inference():
        return (id(output),)
    return (*tensor_key(output), output._version)
