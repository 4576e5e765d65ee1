"""Which operations are a ReLU, in whichever form, and what the other gates are called.

A ReLU is ``relu`` or a clamp from zero, ``maximum`` with zeros, or a selection by the sign of the
same values. Any other activation, gate or maximum of several activations has a name for people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.engine.network.backward_graph import kind_of, nodes_behind

Operation = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]


_NN: Any = torch._C._nn
# operation → the names of its arguments, in order; all names that end in _ work in place
RELU = ("input", "inplace")
_CLAMP = ("input", "low", "high")
_THRESHOLD = ("input", "low", "value", "inplace")
_HARDTANH = ("input", "low", "high", "inplace")
RELU_ARGUMENTS: dict[Callable[..., Any], tuple[str, ...]] = {
    F.relu: RELU,
    F.relu6: RELU,
    F.hardtanh: _HARDTANH,
    F.hardtanh_: _HARDTANH,
    F.threshold: _THRESHOLD,
}
RELU_ARGUMENTS |= {
    getattr(home, name): names
    for home, group in (
        (torch, {"relu": RELU, "threshold": _THRESHOLD, "clip": _CLAMP, "clamp": _CLAMP}),
        (torch, {"clamp_min": _CLAMP}),
        (Tensor, {"relu": RELU, "clip": _CLAMP, "clamp": _CLAMP, "clamp_min": _CLAMP}),
        (_NN, {"relu6": RELU, "hardtanh": _HARDTANH}),
    )
    for base, names in group.items()
    for name in (base, f"{base}_")
}
_ALIASES = {"min": "low", "max": "high", "min_val": "low", "max_val": "high", "threshold": "low"}
_SIX = {F.relu6, _NN.relu6, _NN.relu6_}
_HARD = {F.hardtanh, F.hardtanh_, _NN.hardtanh, _NN.hardtanh_}


@dataclass(frozen=True, eq=False)
class ReluCall:
    """An operation that turns out to be a ReLU."""

    values: Tensor  # what is rectified
    high: float = torch.inf  # the upper limit
    inplace: bool = False  # whether the outputs are written into the values


@dataclass(frozen=True, eq=False)
class _Sign:
    """A mask of where values are positive, or of where they are negative."""

    values: Tensor
    state: tuple[object, ...]
    positive: bool
    version: int  # of the mask itself


def _named(*names: str) -> frozenset[Any]:
    existing = [getattr(home, name, None) for home in (torch, Tensor) for name in names]
    return frozenset(one for one in existing if one is not None)


MAXIMUM = _named("maximum", "max", "fmax")
MINIMUM = _named("minimum", "min", "fmin")
CLAMP = _named("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_")
CLAMP_MAX = _named("clamp_max", "clamp_max_")
WHERE = _named("where")
FILL = _named("masked_fill", "masked_fill_")
ASSIGN = _named("__setitem__")
PRODUCT = _named(
    "mul", "mul_", "multiply", "multiply_", "__mul__", "__rmul__", "__imul__",
)  # fmt: skip
_ABOVE = _named("gt", "ge", "greater", "greater_equal", "__gt__", "__ge__")
_BELOW = _named("lt", "le", "less", "less_equal", "__lt__", "__le__")
_CASTS = _named("float", "double", "half", "bfloat16", "to", "type", "type_as")
_SIGNS = _named("sign", "heaviside")
_IN_PLACE = frozenset(
    one for one in (*CLAMP, *CLAMP_MAX, *FILL, *ASSIGN, *PRODUCT)
    if one.__name__.endswith("_") and one.__name__ not in ("__mul__", "__rmul__")
)  # fmt: skip


def note(func: Operation, args: Args, outputs: object) -> None:
    """Remember on a mask what it is the mask of."""
    if not isinstance(outputs, Tensor) or not args or not isinstance(args[0], Tensor):
        return
    if outputs is args[0]:  # a cast to what it is already: it may belong to the network
        return
    if func in _CASTS and is_mask(args[0]) and not outputs.requires_grad:
        sign = _sign_of(args[0])
        still = sign and _Sign(sign.values, sign.state, sign.positive, outputs._version)
        outputs.pfv_mask = still or outputs._version  # type: ignore[attr-defined]
    elif func in _SIGNS:
        outputs.pfv_mask = outputs._version  # type: ignore[attr-defined]
    elif func in _ABOVE | _BELOW and len(args) == 2 and constant(args[1], args[0]) == 0:
        values = args[0]
        sign = _Sign(values, _state(values), func in _ABOVE, outputs._version)
        outputs.pfv_mask = sign  # type: ignore[attr-defined]


def run_on_copy(func: Operation, args: Args, kwargs: Kwargs, relu: ReluCall) -> Tensor:
    """Run an operation without a gradient, and on a copy where it works in place."""
    copy = relu.values.detach()
    copy = copy.clone() if relu.inplace else copy
    arguments = [copy if one is relu.values else one for one in args]
    named = {name: copy if one is relu.values else one for name, one in kwargs.items()}
    outputs = func(*arguments, **named)
    return copy if outputs is None else outputs


def mark(outputs: Tensor) -> None:
    """Remember that a tensor is what a ReLU gave."""
    outputs.pfv_rectified = outputs._version  # type: ignore[attr-defined]


def is_mask(value: object) -> bool:
    """Whether a tensor only says yes or no, as numbers or not."""
    if not isinstance(value, Tensor):
        return False
    mark_ = getattr(value, "pfv_mask", None)
    version = mark_.version if isinstance(mark_, _Sign) else mark_
    return value.dtype == torch.bool or version == value._version


def as_other_relu(func: Operation, args: Args, kwargs: Kwargs) -> ReluCall | None:
    """Return what is rectified where the operation amounts to a ReLU, else None."""
    for family, recognise in _FORMS:
        if func in family and torch.is_grad_enabled() and kwargs.get("out") is None:
            for relu in recognise(args, kwargs):
                if is_active(relu.values):
                    return ReluCall(relu.values, relu.high, func in _IN_PLACE)
    return None


def is_active(value: object) -> TypeGuard[Tensor]:
    """Whether a gradient runs through a tensor."""
    return isinstance(value, Tensor) and value.requires_grad


def constant(value: object, values: Tensor) -> float | None:
    """Return the one number that a limit of ``values`` holds, None where there is none."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.requires_grad or not value.numel():
        return None
    first = value.flatten()[0]
    fits = within(value.shape, values.shape) and not value.is_complex()
    fits = fits and torch.result_type(values, value) == values.dtype
    return float(first) if fits and bool((value == first).all()) else None


def within(shape: torch.Size, whole: torch.Size) -> bool:
    """Whether a tensor that is brought to the shape of another leaves that as it is."""
    lengths = zip(reversed(shape), reversed(whole), strict=False)
    return len(shape) <= len(whole) and all(one in (1, other) for one, other in lengths)


def _state(values: Tensor) -> tuple[object, ...]:
    return (values.data_ptr(), values.shape, values.stride(), values._version)


def _sign_of(mask: object) -> _Sign | None:
    mark_ = getattr(mask, "pfv_mask", None)
    fresh = isinstance(mark_, _Sign) and isinstance(mask, Tensor) and mark_.version == mask._version
    return mark_ if fresh else None


def _is_sign(mask: object, values: object, positive: bool) -> bool:
    sign = _sign_of(mask)
    return (
        sign is not None
        and isinstance(values, Tensor)
        and sign.positive == positive
        and sign.state == _state(values)
    )


def _pairs(args: Args, kwargs: Kwargs) -> Iterator[tuple[Tensor, Any]]:
    both = [*args, *(kwargs[name] for name in ("input", "other") if name in kwargs)]
    if len(both) == 2:
        for one, other in (both, both[::-1]):
            if isinstance(one, Tensor):
                yield one, other


def _maximum(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    for values, other in _pairs(args, kwargs):
        if isinstance(other, Tensor) and constant(other, values) == 0:
            yield ReluCall(values)


def _minimum(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    for values, other in _pairs(args, kwargs):
        if isinstance(other, Tensor):
            yield from _behind(values, constant(other, values))


def _clamp(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    values, low, high = (*args, None, None, None)[:3]
    values = kwargs.get("input", values)
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    bottom, top = constant(low, values), constant(high, values)
    if high is not None and top is None:
        return
    if bottom == 0 and (top is None or top > 0):
        yield ReluCall(values, torch.inf if top is None else top)
    elif low is None or (bottom is not None and bottom <= 0):
        yield from _behind(values, top)


def _clamp_max(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    values, high = (*args, None)[:2]
    values = kwargs.get("input", values)
    yield from _behind(values, constant(kwargs.get("max", high), values))


def _behind(values: Tensor, high: float | None) -> Iterator[ReluCall]:
    """Give an upper limit right behind a ReLU."""
    if getattr(values, "pfv_rectified", None) == values._version and (high or 0) > 0:
        yield ReluCall(values, high or 0)


def _where(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    if len(args) != 3 or kwargs:
        return
    # the function takes the mask first, the method second
    mask, yes, no = args if is_mask(args[0]) else (args[1], args[0], args[2])
    for values, other, positive in ((yes, no, True), (no, yes, False)):
        if _is_sign(mask, values, positive) and constant(other, values) == 0:
            yield ReluCall(values)


def _fill(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    arguments = dict(zip(("input", "mask", "value"), args, strict=False)) | dict(kwargs)
    values = arguments.get("input")
    negative = _is_sign(arguments.get("mask"), values, False)
    if isinstance(values, Tensor) and negative and constant(arguments.get("value"), values) == 0:
        yield ReluCall(values)


def _product(args: Args, kwargs: Kwargs) -> Iterator[ReluCall]:
    for values, mask in _pairs(args, kwargs):
        if _is_sign(mask, values, True) and torch.result_type(values, mask) == values.dtype:
            yield ReluCall(values)


_FORMS: tuple[tuple[frozenset[Any], Callable[[Args, Kwargs], Iterator[ReluCall]]], ...] = (
    (MAXIMUM, _maximum),
    (MINIMUM, _minimum),
    (CLAMP, _clamp),
    (CLAMP_MAX, _clamp_max),
    (WHERE, _where),
    (FILL | ASSIGN, _fill),
    (PRODUCT, _product),
)


def as_relu(func: Operation, args: Args, kwargs: Kwargs) -> ReluCall | None:
    """Return what one of ``RELU_ARGUMENTS`` rectifies, or None where the call is no ReLU."""
    arguments = dict(zip(RELU_ARGUMENTS[func], args, strict=False))
    arguments |= {_ALIASES.get(name, name): value for name, value in kwargs.items()}
    arguments["input"] = arguments.get("input", arguments.get("self"))
    values = arguments["input"]
    if not isinstance(values, Tensor) or not values.requires_grad or not torch.is_grad_enabled():
        return None
    low, high = arguments.get("low"), arguments.get("high")
    if RELU_ARGUMENTS[func] is RELU:
        low = 0
    elif func in _HARD:
        low, high = arguments.get("low", -1.0), arguments.get("high", 1.0)
    high = 6.0 if func in _SIX else torch.inf if high is None else high
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if arguments.get("out") is not None or not numbers or low != 0 or high <= 0:
        return None
    if arguments.get("value", 0) != 0:
        return None
    inplace = bool(arguments.get("inplace")) or func.__name__.endswith("_")
    return ReluCall(values, float(high), inplace)


# what autograd calls them → what people call them
_BY_KIND = {
    "GeluBackward": "GELU", "SiluBackward": "SiLU", "HardswishBackward": "Hardswish",
    "MishBackward": "Mish", "EluBackward": "ELU", "LeakyReluBackward": "LeakyReLU",
    "PreluKernelBackward": "PReLU", "RreluWithNoiseBackward": "RReLU", "CeluBackward": "CELU",
    "SoftplusBackward": "Softplus", "SigmoidBackward": "Sigmoid", "TanhBackward": "Tanh",
    "HardsigmoidBackward": "Hardsigmoid", "HardtanhBackward": "Hardtanh", "GluBackward": "GLU",
    "LogSigmoidBackward": "LogSigmoid", "HardshrinkBackward": "Hardshrink",
    "SoftshrinkBackward": "Softshrink", "ThresholdBackward": "Threshold",
    "AtanBackward": "arctan", "ErfBackward": "erf", "SinBackward": "sin",
}  # fmt: skip
# made of other operations, or called by another name in the graph
_BY_CALL: dict[Operation, str] = {
    F.softsign: "Softsign", F.tanhshrink: "Tanhshrink", F.selu: "SELU", torch.selu: "SELU",
    torch.selu_: "SELU",
}  # fmt: skip
_ABS = {torch.abs, torch.absolute, torch.abs_, Tensor.abs, Tensor.absolute, Tensor.abs_}
_ABS |= {Tensor.absolute_, Tensor.__abs__}
_LARGEST = {torch.amax, Tensor.amax, torch.amin, Tensor.amin}
_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, F.softmin}
_LIMITS: tuple[tuple[Iterable[Operation], str], ...] = (
    (_ABS, "abs"), (CLAMP | CLAMP_MAX, "clamp"), (WHERE, "where"), (FILL, "masked_fill"),
    (ASSIGN, "assignment by a mask"), (PRODUCT, "product with a mask"),
)  # fmt: skip
_LABELS = {func: label for family, label in _LIMITS for func in family}
_MASKED = PRODUCT | ASSIGN


WATCHED = frozenset((*_BY_CALL, *_LABELS, *MAXIMUM, *MINIMUM, *_LARGEST, *_SOFTMAX))


def origins(args: Args, kwargs: Kwargs) -> set[Any]:
    """Return the operations that made the inputs of a call; ask before it runs."""
    tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    return {one.grad_fn for one in tensors if one.grad_fn is not None}


def labels_of(
    func: Operation, args: Args, kwargs: Kwargs, outputs: object, before: set[Any]
) -> dict[Any, str | None]:
    """Name what a call of ``WATCHED`` adds to the graph: a label for its end, None for the rest.

    By what it gave, and by the :func:`origins` of its arguments ``before``.
    """
    end = args[0] if outputs is None else outputs  # an assignment gives nothing
    end = end[0] if isinstance(end, tuple) else end
    if not isinstance(end, Tensor) or end.grad_fn is None or end.grad_fn in before:
        return {}
    label = _label(func, args, kwargs, end)
    if label is None:
        return {}
    labels: dict[Any, str | None] = dict.fromkeys(nodes_behind(end, before))
    return labels | {end.grad_fn: label}


def count_foreign(labels: Mapping[Any, str | None], nodes: Iterable[Any]) -> Counter[str]:
    """Count by name the activations of a graph that are no ReLU.

    ``labels`` go before autograd's names.
    """
    counts: Counter[str] = Counter()
    for node in nodes:
        kind = kind_of(node)
        label = _BY_KIND.get(kind)
        if isinstance(node, BackwardCFunction):
            label = kind.removesuffix("Backward")
        label = labels.get(node, label)
        if label is not None:
            counts[label] += 1
    return counts


def _label(func: Operation, args: Args, kwargs: Kwargs, outputs: object) -> str | None:
    if func in _BY_CALL:
        return _BY_CALL[func]
    if func in MAXIMUM | MINIMUM | _LARGEST:
        return _extreme(func, args, kwargs, outputs)
    if func in _SOFTMAX:
        return "Softmax2d" if _over_channels(args, kwargs) else None
    if func in _MASKED and not any(map(is_mask, args)):
        return None
    # one that changes nothing passes the signal whole
    return None if any(_is_same(one, outputs) for one in args) else _LABELS[func]


def _extreme(func: Operation, args: Args, kwargs: Kwargs, outputs: object) -> str | None:
    """Name the larger or smaller of several activations; pooling over positions is none."""
    arguments = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
    other = arguments.get("other", arguments.get("dim"))
    if isinstance(other, Tensor):
        one_counts = is_active(arguments["input"]) and is_active(other)
        same = any(_is_same(one, outputs) for one in (arguments["input"], other))
        return func.__name__ if one_counts or not same else None
    values, dims = arguments["input"], arguments.get("dim")
    if not isinstance(values, Tensor) or dims is None:
        return None
    dims = {int(dim) % values.ndim for dim in (dims if isinstance(dims, tuple | list) else [dims])}
    stacked = values.grad_fn is not None and kind_of(values.grad_fn) == "StackBackward"
    positions = {*range(values.ndim)[-2:]} if values.ndim > 3 else {*range(values.ndim)}
    return func.__name__ if stacked or dims - positions else None


def _over_channels(args: Args, kwargs: Kwargs) -> bool:
    arguments = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
    values = arguments.get("input")
    maps = isinstance(values, Tensor) and values.ndim == 4 and values.shape[2:].numel() > 1
    return maps and arguments.get("dim") in (1, -3)


def _is_same(one: object, outputs: object) -> bool:
    """Whether an operation returned its input unchanged, and not in place."""
    if not isinstance(one, Tensor) or not isinstance(outputs, Tensor) or one is outputs:
        return False
    return one.requires_grad and torch.equal(one, outputs)
