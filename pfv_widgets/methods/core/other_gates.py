"""Operations that gate or bend a signal and are no ReLU: what they are called, where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.methods.core.backward_graph import kind_of
from pfv_widgets.methods.core.relu_forms import (
    ASSIGN,
    CLAMP,
    CLAMP_MAX,
    FILL,
    MAXIMUM,
    MINIMUM,
    PRODUCT,
    WHERE,
    Given,
    Named,
    Operation,
    is_active,
    is_mask,
)

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


def origins(args: Given, kwargs: Named) -> set[Any]:
    """Return the operations that made the inputs of a call; ask before it runs."""
    tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    return {one.grad_fn for one in tensors if one.grad_fn is not None}


def labels_of(
    func: Operation, args: Given, kwargs: Named, outputs: object, before: set[Any]
) -> dict[Any, str | None]:
    """Name what one call adds to the graph: a label for its end, None for its other parts.

    Parameters
    ----------
    func, args, kwargs
        One of ``WATCHED``, as it was called.
    outputs
        What it gave.
    before
        Its :func:`origins`.
    """
    end = args[0] if outputs is None else outputs  # an assignment gives nothing
    end = end[0] if isinstance(end, tuple) else end
    if not isinstance(end, Tensor) or end.grad_fn is None or end.grad_fn in before:
        return {}
    label = _label(func, args, kwargs, end)
    if label is None:
        return {}
    waiting: list[Any] = [end.grad_fn]
    labels: dict[Any, str | None] = {}
    while waiting:
        node = waiting.pop()
        if node is not None and node not in before and node not in labels:
            labels[node] = None
            waiting += [following for following, _ in node.next_functions]
    return labels | {end.grad_fn: label}


def counted(labels: Mapping[Any, str | None], nodes: Iterable[Any]) -> Counter[str]:
    """Count by name what of a graph is no ReLU; ``labels`` go before autograd's names."""
    met: Counter[str] = Counter()
    for node in nodes:
        kind = kind_of(node)
        label = _BY_KIND.get(kind)
        if isinstance(node, BackwardCFunction):
            label = kind.removesuffix("Backward")
        label = labels.get(node, label)
        if label is not None:
            met[label] += 1
    return met


def _label(func: Operation, args: Given, kwargs: Named, outputs: object) -> str | None:
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


def _extreme(func: Operation, args: Given, kwargs: Named, outputs: object) -> str | None:
    """Name the larger or smaller of several activations; pooling over places is none."""
    given = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
    other = given.get("other", given.get("dim"))
    if isinstance(other, Tensor):
        one_counts = is_active(given["input"]) and is_active(other)
        same = any(_is_same(one, outputs) for one in (given["input"], other))
        return func.__name__ if one_counts or not same else None
    values, dims = given["input"], given.get("dim")
    if not isinstance(values, Tensor) or dims is None:
        return None
    dims = {int(dim) % values.ndim for dim in (dims if isinstance(dims, tuple | list) else [dims])}
    stacked = values.grad_fn is not None and kind_of(values.grad_fn) == "StackBackward"
    places = {*range(values.ndim)[-2:]} if values.ndim > 3 else {*range(values.ndim)}
    return func.__name__ if stacked or dims - places else None


def _over_channels(args: Given, kwargs: Named) -> bool:
    given = dict(zip(("input", "dim"), args, strict=False)) | dict(kwargs)
    values = given.get("input")
    maps = isinstance(values, Tensor) and values.ndim == 4 and values.shape[2:].numel() > 1
    return maps and given.get("dim") in (1, -3)


def _is_same(one: object, outputs: object) -> bool:
    """Whether an operation gave what it was given, and not in place."""
    if not isinstance(one, Tensor) or not isinstance(outputs, Tensor) or one is outputs:
        return False
    return one.requires_grad and torch.equal(one, outputs)
