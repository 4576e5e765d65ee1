"""ReLUs that are written with other operations: ``maximum`` with zero, masks of the sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Operation = Callable[..., Any]
Given = tuple[Any, ...]
Named = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Rectified:
    """An operation that turns out to be a ReLU.

    Attributes
    ----------
    values
        What is rectified.
    high
        The upper limit.
    inplace
        Whether the outputs are written into the values.
    """

    values: Tensor
    high: float = torch.inf
    inplace: bool = False


@dataclass(frozen=True, eq=False)
class _Sign:
    """A mask of where values are positive, or of where they are negative."""

    values: Tensor
    state: tuple[object, ...]
    positive: bool
    version: int  # of the mask itself


def _named(*names: str) -> frozenset[Any]:
    found = [getattr(home, name, None) for home in (torch, Tensor) for name in names]
    return frozenset(one for one in found if one is not None)


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


def note(func: Operation, args: Given, outputs: object) -> None:
    """Remember on a mask what it is the mask of."""
    if not isinstance(outputs, Tensor) or not args or not isinstance(args[0], Tensor):
        return
    if outputs is args[0]:  # a cast to what it is already: it may belong to the network
        return
    if func in _CASTS and is_mask(args[0]) and not outputs.requires_grad:
        sign = _sign_of(args[0])
        kept = sign and _Sign(sign.values, sign.state, sign.positive, outputs._version)
        outputs.pfv_mask = kept or outputs._version  # type: ignore[attr-defined]
    elif func in _SIGNS:
        outputs.pfv_mask = outputs._version  # type: ignore[attr-defined]
    elif func in _ABOVE | _BELOW and len(args) == 2 and constant(args[1], args[0]) == 0:
        values = args[0]
        sign = _Sign(values, _state(values), func in _ABOVE, outputs._version)
        outputs.pfv_mask = sign  # type: ignore[attr-defined]


def aside(func: Operation, args: Given, kwargs: Named, found: Rectified) -> Tensor:
    """Run an operation without a gradient, and on a copy where it works in place."""
    copy = found.values.detach()
    copy = copy.clone() if found.inplace else copy
    given = [copy if one is found.values else one for one in args]
    named = {name: copy if one is found.values else one for name, one in kwargs.items()}
    outputs = func(*given, **named)
    return copy if outputs is None else outputs


def mark(outputs: Tensor) -> None:
    """Remember that a tensor is what a ReLU gave."""
    outputs.pfv_rectified = outputs._version  # type: ignore[attr-defined]


def is_mask(value: object) -> bool:
    """Whether a tensor only says yes or no, as numbers or not."""
    if not isinstance(value, Tensor):
        return False
    noted = getattr(value, "pfv_mask", None)
    version = noted.version if isinstance(noted, _Sign) else noted
    return value.dtype == torch.bool or version == value._version


def as_rectified(func: Operation, args: Given, kwargs: Named) -> Rectified | None:
    """Return what is rectified where the operation amounts to a ReLU, else None."""
    for family, recognise in _FORMS:
        if func in family and torch.is_grad_enabled() and kwargs.get("out") is None:
            for found in recognise(args, kwargs):
                if is_active(found.values):
                    return Rectified(found.values, found.high, func in _IN_PLACE)
    return None


def is_active(value: object) -> bool:
    """Whether a gradient runs through a tensor."""
    return isinstance(value, Tensor) and value.requires_grad


def constant(value: object, values: Tensor) -> float | None:
    """Return the one number that a limit of ``values`` holds, None where there is none."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, Tensor) or value.requires_grad or not value.numel():
        return None
    first = value.flatten()[0]
    fits = _within(value.shape, values.shape) and not value.is_complex()
    fits = fits and torch.result_type(values, value) == values.dtype
    return float(first) if fits and bool((value == first).all()) else None


def _within(shape: torch.Size, whole: torch.Size) -> bool:
    """Whether a tensor that is brought to the shape of another leaves that as it is."""
    lengths = zip(reversed(shape), reversed(whole), strict=False)
    return len(shape) <= len(whole) and all(one in (1, other) for one, other in lengths)


def _state(values: Tensor) -> tuple[object, ...]:
    return (values.data_ptr(), values.shape, values.stride(), values._version)


def _sign_of(mask: object) -> _Sign | None:
    noted = getattr(mask, "pfv_mask", None)
    fresh = isinstance(noted, _Sign) and isinstance(mask, Tensor) and noted.version == mask._version
    return noted if fresh else None


def _is_sign(mask: object, values: object, positive: bool) -> bool:
    sign = _sign_of(mask)
    return (
        sign is not None
        and isinstance(values, Tensor)
        and sign.positive == positive
        and sign.state == _state(values)
    )


def _pairs(args: Given, kwargs: Named) -> Iterator[tuple[Tensor, Any]]:
    both = [*args, *(kwargs[name] for name in ("input", "other") if name in kwargs)]
    if len(both) == 2:
        for one, other in (both, both[::-1]):
            if isinstance(one, Tensor):
                yield one, other


def _maximum(args: Given, kwargs: Named) -> Iterator[Rectified]:
    for values, other in _pairs(args, kwargs):
        if isinstance(other, Tensor) and constant(other, values) == 0:
            yield Rectified(values)


def _minimum(args: Given, kwargs: Named) -> Iterator[Rectified]:
    for values, other in _pairs(args, kwargs):
        if isinstance(other, Tensor):
            yield from _behind(values, constant(other, values))


def _clamp(args: Given, kwargs: Named) -> Iterator[Rectified]:
    values, low, high = (*args, None, None, None)[:3]
    values = kwargs.get("input", values)
    low, high = kwargs.get("min", low), kwargs.get("max", high)
    bottom, top = constant(low, values), constant(high, values)
    if high is not None and top is None:
        return
    if bottom == 0 and (top is None or top > 0):
        yield Rectified(values, torch.inf if top is None else top)
    elif low is None or (bottom is not None and bottom <= 0):
        yield from _behind(values, top)


def _clamp_max(args: Given, kwargs: Named) -> Iterator[Rectified]:
    values, high = (*args, None)[:2]
    values = kwargs.get("input", values)
    yield from _behind(values, constant(kwargs.get("max", high), values))


def _behind(values: Tensor, high: float | None) -> Iterator[Rectified]:
    """Give an upper limit right behind a ReLU."""
    if getattr(values, "pfv_rectified", None) == values._version and (high or 0) > 0:
        yield Rectified(values, high or 0)


def _where(args: Given, kwargs: Named) -> Iterator[Rectified]:
    if len(args) != 3 or kwargs:
        return
    # the function takes the mask first, the method second
    mask, yes, no = args if is_mask(args[0]) else (args[1], args[0], args[2])
    for values, other, positive in ((yes, no, True), (no, yes, False)):
        if _is_sign(mask, values, positive) and constant(other, values) == 0:
            yield Rectified(values)


def _fill(args: Given, kwargs: Named) -> Iterator[Rectified]:
    given = dict(zip(("input", "mask", "value"), args, strict=False)) | dict(kwargs)
    values = given.get("input")
    negative = _is_sign(given.get("mask"), values, False)
    if isinstance(values, Tensor) and negative and constant(given.get("value"), values) == 0:
        yield Rectified(values)


def _product(args: Given, kwargs: Named) -> Iterator[Rectified]:
    for values, mask in _pairs(args, kwargs):
        if _is_sign(mask, values, True) and torch.result_type(values, mask) == values.dtype:
            yield Rectified(values)


_FORMS: tuple[tuple[frozenset[Any], Callable[[Given, Named], Iterator[Rectified]]], ...] = (
    (MAXIMUM, _maximum),
    (MINIMUM, _minimum),
    (CLAMP, _clamp),
    (CLAMP_MAX, _clamp_max),
    (WHERE, _where),
    (FILL | ASSIGN, _fill),
    (PRODUCT, _product),
)
