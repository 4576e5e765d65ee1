"""Which operations relevance passes otherwise than a gradient: linear maps, activations, products.

Of an operation that is a linear map with constants of the network, the map; of an activation or a
product of two activations, the outputs with a gradient of their own.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.methods.core.relu_operations import (
    RELU,
    RELU_ARGUMENTS,
    Args,
    Kwargs,
    Operation,
    as_relu,
    is_active,
    within,
)
from pfv_widgets.methods.lrp.rules import LinearMap

Kind = Literal["convolution", "dense", "scaling"]

_TRANSPOSED: set[Operation] = {
    getattr(home, f"conv_transpose{axes}d") for home in (torch, F) for axes in (1, 2, 3)
}
_STRAIGHT: set[Operation] = {
    getattr(home, f"conv{axes}d") for home in (torch, F) for axes in (1, 2, 3)
}
CONVOLUTIONS: frozenset[Operation] = frozenset(_STRAIGHT | _TRANSPOSED)
DENSE: frozenset[Operation] = frozenset({F.linear})
NORMS: frozenset[Operation] = frozenset({F.batch_norm, torch.batch_norm})
# normalisations by statistics of each image
OWN_NORMS: dict[Any, str] = {F.layer_norm: "LayerNorm", F.group_norm: "GroupNorm"}
WRITTEN: frozenset[Operation] = frozenset(
    {Tensor.add_, Tensor.__iadd__, Tensor.sub_, Tensor.__isub__}
)
_PLUS = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.add_, Tensor.__iadd__)
_MINUS = (torch.sub, Tensor.sub, Tensor.__sub__, Tensor.sub_, Tensor.__isub__)
SHIFTS: frozenset[Any] = frozenset((*_PLUS, *_MINUS))

_NN: Any = torch._C._nn
# zero at zero, so that relevance can pass them whole
_OTHERS: dict[Any, str] = {
    F.gelu: "GELU", F.silu: "SiLU", F.mish: "Mish", F.hardswish: "Hardswish", F.elu: "ELU",
    F.elu_: "ELU", F.selu: "SELU", F.celu: "CELU", F.leaky_relu: "LeakyReLU",
    F.leaky_relu_: "LeakyReLU", F.prelu: "PReLU", F.tanh: "Tanh", torch.tanh: "Tanh",
    Tensor.tanh: "Tanh", F.hardtanh: "Hardtanh", F.softsign: "Softsign",
    F.hardshrink: "Hardshrink", F.softshrink: "Softshrink", _NN.silu_: "SiLU",
}  # fmt: skip
PASSING: frozenset[Any] = frozenset((*RELU_ARGUMENTS, *_OTHERS))
GATES: frozenset[Any] = frozenset({torch.sigmoid, Tensor.sigmoid, F.sigmoid, F.hardsigmoid})
_IN_PLACE: set[Any] = {Tensor.mul_, Tensor.__imul__}
PRODUCTS: frozenset[Any] = frozenset(
    {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__} | _IN_PLACE
)

_LAYER = ("input", "weight", "bias")
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NATIVE = ("input", "weight", "bias", "running_mean", "running_var", *_NORM[5:])


def layer_of(func: Operation, args: Args, kwargs: Kwargs) -> tuple[Tensor, LinearMap, Kind] | None:
    """Return the input, the map and its kind of a convolution or dense layer, else None."""
    arguments = dict(zip(_LAYER, args, strict=False)) | dict(kwargs)
    values, weight, bias = arguments["input"], arguments["weight"], arguments.get("bias")
    dense = func in DENSE
    if not is_active(values) or (not dense and values.ndim != weight.ndim):
        return None
    rest, options = args[3:], {key: one for key, one in kwargs.items() if key not in _LAYER}

    def apply(inputs: Tensor, weights: Tensor, offset: Tensor | None) -> Tensor:
        outputs: Tensor = func(inputs, weights, offset, *rest, **options)
        return outputs

    if bias is not None:
        bias = bias.detach() if dense else _along(bias.detach(), values.ndim)
    axis = -1 if dense else 1
    folds = values.ndim == 2 if dense else func not in _TRANSPOSED
    linear = LinearMap(apply, weight.detach(), bias, axis, folds)
    return values, linear, "dense" if dense else "convolution"


def norm_of(func: Operation, args: Args, kwargs: Kwargs) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the input, the scale and the shift ``(C,)`` of a BatchNorm, else None.

    One that uses the statistics of the batch takes them as constants.
    """
    names = _NATIVE if func is torch.batch_norm else _NORM
    arguments = dict(zip(names, args, strict=False)) | dict(kwargs)
    values, mean, variance = arguments["input"], arguments["running_mean"], arguments["running_var"]
    if not is_active(values):
        return None
    if arguments.get("training") or mean is None:
        own = values.detach().transpose(0, 1).flatten(1)
        mean, variance = own.mean(1), own.var(1, unbiased=False)
    scale = (variance + arguments.get("eps", 1e-5)).rsqrt()
    if arguments.get("weight") is not None:
        scale = scale * arguments["weight"].detach()
    shift = -mean * scale
    if arguments.get("bias") is not None:
        shift = shift + arguments["bias"].detach()
    return values, scale, shift


def own_norm_of(func: Operation, args: Args, kwargs: Kwargs) -> tuple[Tensor, LinearMap] | None:
    """Return the input and the map of a LayerNorm or GroupNorm, its statistics as constants.

    Ali et al. 2022: otherwise no relevance would pass, as a scaled input gives the same output.
    """
    grouped = func is F.group_norm
    names = ("input", "over", "weight", "bias", "eps")
    arguments = dict(zip(names, args, strict=False)) | dict(kwargs)
    values: Any = arguments["input"]
    if not is_active(values):
        return None
    over: Any = arguments.get(
        "over", arguments.get("num_groups" if grouped else "normalized_shape")
    )
    known = values.detach()
    rows = known.reshape(len(known), over, -1) if grouped else known.flatten(-len(over))
    deviation, mean = torch.std_mean(rows, -1, correction=0, keepdim=True)
    scale = (deviation.square() + arguments.get("eps", 1e-5)).rsqrt().expand_as(rows)
    scale, shift = (one.reshape(known.shape) for one in (scale, -mean * scale))
    weight, bias = (
        one if one is None or not grouped else _along(one, values.ndim)
        for one in (arguments.get("weight"), arguments.get("bias"))
    )
    if weight is not None:
        scale, shift = scale * weight.detach(), shift * weight.detach()
    if bias is not None:
        shift = shift + bias.detach()
    return values, LinearMap(_scale, scale, shift, 1 if grouped else -1)


def folded(linear: LinearMap, scale: Tensor, shift: Tensor) -> LinearMap | None:
    """Return the map followed by a scaling of its channels, or None where it cannot be folded."""
    if not linear.folds:
        return None
    weight = linear.weight * _along(scale, linear.weight.ndim, behind=False)
    ndim = linear.weight.ndim  # of the outputs too; dense: (N, C)
    bias = _along(shift, ndim)
    if linear.bias is not None:
        bias = bias + linear.bias * _along(scale, ndim)
    return LinearMap(linear.apply, weight, bias, linear.axis)


def scaling(values: Tensor, scale: Tensor, shift: Tensor) -> LinearMap:
    """Return the map that scales each channel of ``(N, C, …)``."""
    return LinearMap(_scale, _along(scale, values.ndim), _along(shift, values.ndim), 1)


def shift_of(func: Operation, args: Args, kwargs: Kwargs) -> tuple[Tensor, LinearMap] | None:
    """Return the activation and the map of a sum of one activation and a constant, else None."""
    if kwargs or len(args) != 2:
        return None
    first, second = args
    values, constant = (first, second) if is_active(first) else (second, first)
    if not is_active(values) or is_active(constant):
        return None
    if func in _MINUS and values is second:  # the activation is what is taken away
        return None
    shift = torch.as_tensor(constant, dtype=values.dtype, device=values.device).detach()
    if not within(shift.shape, values.shape) or not bool(shift.any()):
        return None
    axis = 1 if values.ndim == 4 else -1
    shift = (-shift if func in _MINUS else shift).clone()
    return values, LinearMap(_scale, torch.ones_like(shift[(0,) * shift.ndim]), shift, axis)


def _scale(values: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    return values * scale if shift is None else values * scale + shift


def _along(values: Tensor, ndim: int, behind: bool = True) -> Tensor:
    """Return ``(C,)`` as it multiplies outputs ``(N, C, …)``, or weights ``(C, …)``."""
    return values.reshape(-1, *[1] * (ndim - (2 if behind else 1)))


def product(func: Operation, args: Args, kwargs: Kwargs, foreign: Counter[str]) -> Tensor | None:
    """Return the product of two activations, where a gate counts as a constant; else None.

    A gate is what a sigmoid gave. Without one both factors share the relevance equally.
    """
    if kwargs or len(args) != 2 or not all(is_active(one) for one in args):
        return None
    gates = [getattr(one, "pfv_gate", None) == one._version for one in args]
    if all(gates) or not any(gates):
        foreign["product"] += 1
        outputs = _Halved.apply(torch.mul(*args))
    else:
        foreign["gate"] += 1
        outputs = torch.mul(*[
            one.detach() if gate else one for one, gate in zip(args, gates, strict=True)
        ])  # fmt: skip
    return _write_back(args[0], outputs, func in _IN_PLACE)


def passed(
    func: Operation, args: Args, kwargs: Kwargs, positive: bool, foreign: Counter[str]
) -> Tensor | None:
    """Return the outputs of an activation that passes relevance whole, None for a plain gradient.

    ``positive``: only positive relevance passes a ReLU. Activations that are none are counted.
    """
    call = as_relu(func, args, kwargs) if func in RELU_ARGUMENTS else None
    if call is not None:
        values, high = call.values, call.high
        native = RELU_ARGUMENTS[func] is RELU and high == torch.inf
        if native and not positive:
            return None  # its gradient passes relevance whole
        rectified = values.detach().clamp(0, high)
        return _write_back(values, _Passed.apply(values, rectified, positive), call.inplace)
    activation = args[0] if args else kwargs.get("input")
    if func not in _OTHERS or not is_active(activation) or kwargs.get("out") is not None:
        return None
    foreign[_OTHERS[func]] += 1
    before = activation.detach().clone()
    options = {key: one for key, one in kwargs.items() if key != "input"}
    outputs: Tensor = func(before, *args[1:], **options)
    return _write_back(
        activation, _Passed.apply(activation, outputs.detach(), False), outputs is before
    )


class _Passed(torch.autograd.Function):
    """The outputs of any function of each value alone; their relevance is that of the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, outputs: Tensor, positive: bool) -> Tensor:
        there = values != 0
        share = outputs / torch.where(there, values, torch.ones_like(values))
        ctx.save_for_backward(torch.where(there, share, 0))
        ctx.positive = positive
        return outputs.clone()  # an output that is no view may be written into

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        (share,) = ctx.saved_tensors
        signal = signals[0].clamp(min=0) if ctx.positive else signals[0]
        return signal * share, None, None


class _Halved(torch.autograd.Function):
    """The value itself; half of the signal, as both factors of a product get it whole."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> Tensor:
        del ctx
        return signals[0] / 2


def _write_back(values: Tensor, outputs: Tensor, inplace: bool) -> Tensor:
    return values.copy_(outputs) if inplace else outputs
