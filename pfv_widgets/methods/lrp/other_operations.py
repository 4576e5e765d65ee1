"""Operations that are no linear maps and pass relevance nevertheless: activations and products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.methods.core import relu_rules
from pfv_widgets.methods.lrp.linear_operations import Operation, is_activation

_NN: Any = torch._C._nn
# zero at zero, so that relevance can pass them whole
_OTHERS: dict[Any, str] = {
    F.gelu: "GELU", F.silu: "SiLU", F.mish: "Mish", F.hardswish: "Hardswish", F.elu: "ELU",
    F.elu_: "ELU", F.selu: "SELU", F.celu: "CELU", F.leaky_relu: "LeakyReLU",
    F.leaky_relu_: "LeakyReLU", F.prelu: "PReLU", F.tanh: "Tanh", torch.tanh: "Tanh",
    Tensor.tanh: "Tanh", F.hardtanh: "Hardtanh", F.softsign: "Softsign",
    F.hardshrink: "Hardshrink", F.softshrink: "Softshrink", _NN.silu_: "SiLU",
}  # fmt: skip
PASSING: frozenset[Any] = frozenset((*relu_rules.ARGUMENTS, *_OTHERS))
GATES: frozenset[Any] = frozenset({torch.sigmoid, Tensor.sigmoid, F.sigmoid, F.hardsigmoid})
_IN_PLACE: set[Any] = {Tensor.mul_, Tensor.__imul__}
PRODUCTS: frozenset[Any] = frozenset(
    {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__} | _IN_PLACE
)


def product(
    func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any], met: Counter[str]
) -> Tensor | None:
    """Return the product of two activations, where a gate counts as a constant; else None.

    A gate is what a sigmoid gave. Without one both factors share the relevance equally.
    """
    if kwargs or len(args) != 2 or not all(is_activation(one) for one in args):
        return None
    gates = [getattr(one, "pfv_gate", None) == one._version for one in args]
    if all(gates) or not any(gates):
        met["product"] += 1
        found = _Halved.apply(torch.mul(*args))
    else:
        met["gate"] += 1
        found = torch.mul(*[
            one.detach() if gate else one for one, gate in zip(args, gates, strict=True)
        ])  # fmt: skip
    return _written(args[0], found, func in _IN_PLACE)


def passed(
    func: Operation,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    positive: bool,
    met: Counter[str],
) -> Tensor | None:
    """Return the outputs of an activation that passes relevance whole, None for a plain gradient.

    Parameters
    ----------
    func, args, kwargs
        The operation.
    positive
        Whether only positive relevance passes a ReLU.
    met
        Where an activation that is no ReLU is counted.
    """
    call = relu_rules.as_relu(func, args, kwargs) if func in relu_rules.ARGUMENTS else None
    if call is not None:
        values, high, inplace = call
        native = relu_rules.ARGUMENTS[func] is relu_rules.RELU and high == torch.inf
        if not is_activation(values) or (native and not positive):
            return None  # its gradient passes relevance whole
        rectified = values.detach().clamp(0, high)
        return _written(values, _Passed.apply(values, rectified, positive), inplace)
    given = args[0] if args else kwargs.get("input")
    if func not in _OTHERS or not is_activation(given) or kwargs.get("out") is not None:
        return None
    met[_OTHERS[func]] += 1
    before = given.detach().clone()
    options = {key: one for key, one in kwargs.items() if key != "input"}
    outputs: Tensor = func(before, *args[1:], **options)
    return _written(given, _Passed.apply(given, outputs.detach(), False), outputs is before)


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


def _written(values: Tensor, outputs: Tensor, inplace: bool) -> Tensor:
    return values.copy_(outputs) if inplace else outputs
