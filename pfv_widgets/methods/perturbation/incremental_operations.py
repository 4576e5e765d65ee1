"""Which operations are local, and which box of their output a changed box reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.methods.core.relu_operations import Args, Kwargs, Operation
from pfv_widgets.methods.perturbation.incremental_inference import (
    Make,
    Rules,
    Window,
    aligned,
    too_large,
    union,
)

Pair = tuple[int, int]

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_MEAN = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
         "divisor_override")  # fmt: skip
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def pointwise(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Apply a function of each value alone."""
    values, *rest = args
    others = (*rest, *kwargs.values())
    if not isinstance(values, Window) or any(isinstance(one, Tensor) for one in others):
        return None
    return _each(func, values, others, lambda one: func(one, *rest, **kwargs))


def batch_norm(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Apply a batch normalisation with fixed statistics: an affine map of each channel."""
    named = _bound(_NORM, args, kwargs)
    values, *others = (named.get(name) for name in _NORM)
    fixed = named.get("running_mean") is not None and not named.get("training", False)
    if not isinstance(values, Window) or not fixed:
        return None
    options = {name: value for name, value in named.items() if name != "input"}
    return _each(func, values, others, lambda one: func(one, **options))


def dropout(_: object, args: Args, kwargs: Kwargs) -> Window | None:
    """Leave the values as they are, as outside of training."""
    named = _bound(("input", "p", "training", "inplace"), args, kwargs)
    window = named["input"]
    return window if isinstance(window, Window) and not named.get("training", True) else None


def _each(func: object, window: Window, others: Sequence[object], apply: Make) -> Window | None:
    base = window.after(func, (window,), others, window.base.shape, apply)
    if base is None:
        return None
    values = apply(window.part)
    if values.data_ptr() == window.part.data_ptr():  # in place, or nothing done
        window.become(base, window.boxes, values)
        return window
    return Window(window.tape, base, window.boxes, values)


def binary(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Join two maps of one shape value by value, or a map and a number."""
    if len(args) < 2 or not isinstance(args[1], Tensor):
        return pointwise(func, args, kwargs)
    one, other, *rest = args
    others = (*rest, *kwargs.values())
    windows = isinstance(one, Window) and isinstance(other, Window)
    if not windows or one.base.shape != other.base.shape:
        return None

    def apply(first: Tensor, second: Tensor) -> Tensor:
        return func(first, second, *rest, **kwargs)  # type: ignore[no-any-return]

    return _joined(func, (one, other), others, one.base.shape, apply)


def cat(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Put channels one after another."""
    named = _bound(("tensors", "dim"), args, kwargs)
    parts = named.get("tensors", ())
    if named.keys() - {"tensors", "dim"} or named.get("dim", 0) not in (1, -3) or not parts:
        return None
    shapes = {(len(one), *one.shape[2:]) for one in parts if isinstance(one, Window)}
    if len(shapes) != 1 or not all(isinstance(one, Window) for one in parts):
        return None
    first = parts[0].base.shape
    channels = sum(one.base.shape[1] for one in parts)
    shape = torch.Size((first[0], channels, *first[2:]))
    return _joined(func, parts, (), shape, lambda *ones: func(ones, 1))


def _joined(
    func: object, windows: Sequence[Window], others: Sequence[object], shape: torch.Size,
    apply: Make,
) -> Window | None:  # fmt: skip
    first = windows[0]
    each = zip(*(one.boxes for one in windows), strict=True)
    boxes = aligned([union(some) for some in each], shape)
    if too_large(boxes, shape):
        return None
    base = first.after(func, windows, others, shape, apply)
    if base is None:
        return None
    parts = [one.over(boxes) for one in windows]
    values = apply(*parts)
    if values.data_ptr() == parts[0].data_ptr():
        first.become(base, boxes, values)
        return first
    return Window(first.tape, base, boxes, values)


def conv2d(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Convolve what lies in the reach of the window."""
    named = _bound(_CONV, args, kwargs)
    window, weight, padding = named.pop("input"), named["weight"], named.get("padding", 0)
    if not isinstance(window, Window) or isinstance(weight, Window) or isinstance(padding, str):
        return None
    slide = _Slide(
        len(weight), _pair(weight.shape[2:]), _pair(named.get("stride", 1)), _pair(padding),
        _pair(named.get("dilation", 1)),
    )  # fmt: skip

    def inside(patch: Tensor) -> Tensor:
        return func(patch, **named | {"padding": 0})  # type: ignore[no-any-return]

    return _slid(func, window, named, slide, inside)


def max_pool(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Take the largest values in the reach of the window."""
    named = _bound(_POOL, args, kwargs)
    window = named.pop("input")
    if not isinstance(window, Window) or named.get("return_indices", False):
        return None
    kernel = _pair(named["kernel_size"])
    slide = _Slide(
        window.base.shape[1], kernel, _pair(named.get("stride") or kernel),
        _pair(named.get("padding", 0)), _pair(named.get("dilation", 1)),
        named.get("ceil_mode", False), -math.inf,
    )  # fmt: skip

    def inside(patch: Tensor) -> Tensor:
        return F.max_pool2d(patch, kernel, slide.stride, 0, slide.dilation)

    return _slid(func, window, named, slide, inside)


def mean_pool(func: Operation, args: Args, kwargs: Kwargs) -> Window | None:
    """Take means in the reach of the window, where the borders count like the rest."""
    named = _bound(_MEAN, args, kwargs)
    window, padding = named.pop("input"), _pair(named.get("padding", 0))
    uneven = padding != (0, 0) and not named.get("count_include_pad", True)
    if not isinstance(window, Window) or named.get("ceil_mode", False) or uneven:
        return None
    kernel, divisor = _pair(named["kernel_size"]), named.get("divisor_override")
    stride = _pair(named.get("stride") or kernel)
    slide = _Slide(window.base.shape[1], kernel, stride, padding, (1, 1))

    def inside(patch: Tensor) -> Tensor:
        return F.avg_pool2d(patch, kernel, slide.stride, 0, divisor_override=divisor)

    return _slid(func, window, named, slide, inside)


@dataclass(frozen=True)
class _Slide:
    """How a kernel moves over a map; each of its pairs is for rows and columns."""

    channels: int  # of the output
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceiling: bool = False  # a last window that reaches over the border counts
    outside: float = 0.0  # value beyond the borders

    def size(self, axis: int, before: int) -> int:
        """Return the length of the output."""
        room = before + 2 * self.padding[axis] - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        stride = self.stride[axis]
        if not self.ceiling:
            return room // stride + 1
        size = -(-room // stride) + 1
        # it has to begin inside of the map or its padding
        return size - 1 if (size - 1) * stride >= before + self.padding[axis] else size

    def reach(self, axis: int, begin: int, end: int, size: int) -> Pair:
        """Return the outputs, of ``size``, that read any of ``begin … end``."""
        stride, padding = self.stride[axis], self.padding[axis]
        length = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        first = min(max(-(-(begin + padding - length + 1) // stride), 0), size - 1)
        last = min(max((end - 1 + padding) // stride, first), size - 1)
        return first, last + 1

    def sources(self, axis: int, begin: int, end: int) -> Pair:
        """Return what outputs ``begin … end`` read, borders included."""
        low = begin * self.stride[axis] - self.padding[axis]
        last = (end - 1) * self.stride[axis] - self.padding[axis]
        return low, last + self.dilation[axis] * (self.kernel[axis] - 1) + 1


def _slid(
    func: Operation, window: Window, named: Kwargs, slide: _Slide, inside: Make
) -> Window | None:
    """Give the outputs in the reach of a window; None where they are most of the map."""
    count, _, *before = window.base.shape
    rows, columns = (slide.size(axis, before[axis]) for axis in (0, 1))
    shape = torch.Size((count, slide.channels, rows, columns))
    reached = [
        (*slide.reach(0, top, bottom, rows), *slide.reach(1, left, right, columns))
        for top, bottom, left, right in window.boxes
    ]
    boxes = aligned(reached, shape)
    if too_large(boxes, shape):
        return None
    base = window.after(func, (window,), (*named.values(),), shape, lambda one: func(one, **named))
    if base is None:
        return None
    sources = tuple((*slide.sources(0, *p[:2]), *slide.sources(1, *p[2:])) for p in boxes)
    return Window(window.tape, base, boxes, inside(window.over(sources, slide.outside)))


def _pair(value: Any) -> Pair:
    """Return a number for rows and one for columns of one or two numbers."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,)
    first, last = numbers[0], numbers[-1]
    return int(first), int(last)


def _bound(names: Sequence[str], args: Args, kwargs: Kwargs) -> dict[str, Any]:
    return dict(zip(names, args, strict=False)) | dict(kwargs)


_F: Any = F
_NN: Any = torch._C._nn
_POINTWISE = [
    *(getattr(torch, name) for name in (
        "relu", "relu_", "sigmoid", "tanh", "clamp", "clamp_", "clamp_min", "exp", "abs", "neg",
        "sqrt", "square", "clone", "celu", "selu", "threshold",
    )),
    *(getattr(_F, name) for name in (
        "relu", "relu6", "hardtanh", "leaky_relu", "elu", "silu", "gelu", "hardswish",
        "hardsigmoid", "mish", "softplus", "sigmoid", "tanh", "celu", "selu", "threshold",
        "softsign", "tanhshrink", "hardshrink", "softshrink", "logsigmoid",
    )),
    *(getattr(Tensor, name) for name in (
        "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "clamp", "clamp_", "clamp_min",
        "clamp_min_", "exp", "abs", "neg", "__neg__", "sqrt", "square", "clone", "__rsub__",
        "contiguous",
    )),
]  # fmt: skip
_BINARY = [
    *(getattr(torch, name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")),
    *(getattr(Tensor, name) for name in (
        "add", "add_", "__add__", "__iadd__", "__radd__", "sub", "sub_", "__sub__", "__isub__",
        "mul", "mul_", "__mul__", "__imul__", "__rmul__", "div", "div_", "__truediv__",
        "maximum", "minimum",
    )),
]  # fmt: skip
LOCAL_OPERATIONS: Rules = {
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(_BINARY, binary),
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], cat),
    F.batch_norm: batch_norm,
    F.dropout: dropout,
    F.dropout2d: dropout,
    torch.conv2d: conv2d,
    F.max_pool2d: max_pool,
    torch.max_pool2d: max_pool,
    _NN.avg_pool2d: mean_pool,
}
