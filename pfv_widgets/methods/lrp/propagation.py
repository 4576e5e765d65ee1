"""Relevance at the level of operations: which operation passes it by which rule.

The operations themselves are intercepted, as in ``relu_rules.py``: forward values stay those of the
network, and nothing of it is replaced or copied. What runs back is the relevance per unit of
value, ``s = R / x``, which sums, pooling, concatenation and reshaping pass like a gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pfv_widgets.engine.network.backward_graph import nodes_behind
from pfv_widgets.methods.core.read_out import at_least_float32
from pfv_widgets.methods.core.relu_operations import Args, Kwargs, Operation
from pfv_widgets.methods.core.relu_rules import keeping_values
from pfv_widgets.methods.lrp.operations import (
    CONVOLUTIONS,
    DENSE,
    GATES,
    NORMS,
    OWN_NORMS,
    PASSING,
    PRODUCTS,
    SHIFTS,
    WRITTEN,
    Kind,
    folded,
    layer_of,
    norm_of,
    own_norm_of,
    passed,
    product,
    scaling,
    shift_of,
)
from pfv_widgets.methods.lrp.rules import LinearMap


@dataclass(frozen=True, eq=False)
class Step:
    """One run of a linear map."""

    linear: LinearMap  # the map, with the BatchNorm behind it folded into it
    kind: Kind  # what it is in the network
    number: int = 0  # how many convolutions and dense layers ran before it
    first: bool = False  # whether it reads the pixels

    def wide(self) -> Step:
        """Return it for sums in float32 at least, as half precision overflows."""
        bias = None if self.linear.bias is None else at_least_float32(self.linear.bias)
        weight = at_least_float32(self.linear.weight)
        return replace(self, linear=replace(self.linear, weight=weight, bias=bias))


# ``rule(step, depth, values, signal)`` → signal at the values, and what goes straight to the pixels
Rule = Callable[[Step, float, Tensor, Tensor], tuple[Tensor | None, Tensor | None]]


@dataclass(frozen=True, eq=False)
class _LayerOutput:
    """What made a tensor, as long as nothing is written into that tensor."""

    step: Step
    values: Tensor
    version: int


class RelevanceMode(TorchFunctionMode):
    """Inside this context linear maps pass relevance by a rule; enter it for both passes.

    A BatchNorm behind a convolution or a dense layer is folded into it; elsewhere it is a scaling
    of each channel, as the linear map that it is. A ReLU passes the relevance whole, also one
    with an upper limit, and so does any other activation, which is counted.

    Parameters
    ----------
    rule
        Asked in the backward pass; depth is from 0, the first layer, to 1.
    direct
        ``(N, 3, H, W)``, zeros: its gradient is the relevance that rules of the first layer give
        to the pixels themselves.
    positive
        Whether a ReLU passes positive relevance only, as in deconvnet and guided
        backpropagation.

    Attributes
    ----------
    layers
        Number of convolutions and dense layers that ran so far.
    firsts
        How many of them read the pixels.
    foreign
        Operations that are passed although the rules are not made for them, by their names.
    """

    def __init__(self, rule: Rule, direct: Tensor, positive: bool = False) -> None:
        super().__init__()
        self.rule = rule
        self.direct = direct
        self.positive = positive
        self.layers = self.firsts = 0
        self.foreign: Counter[str] = Counter()

    def __torch_function__(
        self, func: Operation, types: Iterable[type], args: Args = (), kwargs: Kwargs | None = None
    ) -> Any:
        """Replace the operation if relevance passes it otherwise than a gradient."""
        del types
        if not torch.is_grad_enabled():
            return func(*args, **(kwargs or {}))
        with keeping_values():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Operation, args: Args, kwargs: Kwargs) -> Any:
        for known, handle in self._handlers:
            if func in known:
                outputs = handle(self, func, args, kwargs)
                if outputs is not None:
                    return outputs
        return func(*args, **kwargs)

    def _layer(self, func: Operation, args: Args, kwargs: Kwargs) -> Tensor | None:
        recognised = layer_of(func, args, kwargs)
        if recognised is None:
            return None
        values, linear, kind = recognised
        step = Step(linear, kind, self.layers)
        self.layers += 1
        outputs = self._apply(values, partial(func, *args, **kwargs), step)
        outputs.pfv_layer = _LayerOutput(step, values, outputs._version)  # type: ignore[attr-defined]
        return outputs

    def _norm(self, func: Operation, args: Args, kwargs: Kwargs) -> Tensor | None:
        recognised = norm_of(func, args, kwargs)
        if recognised is None:
            return None
        values, scale, shift = recognised
        run = partial(func, *args, **kwargs)
        origin = getattr(values, "pfv_layer", None)
        if isinstance(origin, _LayerOutput) and origin.version == values._version:
            whole = folded(origin.step.linear, scale, shift)
            if whole is not None:
                return self._apply(origin.values, run, replace(origin.step, linear=whole))
        return self._apply(values, run, Step(scaling(values, scale, shift), "scaling"))

    def _own_norm(self, func: Operation, args: Args, kwargs: Kwargs) -> Tensor | None:
        recognised = own_norm_of(func, args, kwargs)
        if recognised is None:
            return None
        self.foreign[OWN_NORMS[func]] += 1
        values, linear = recognised
        return self._apply(values, partial(func, *args, **kwargs), Step(linear, "scaling"))

    def _shift(self, func: Operation, args: Args, kwargs: Kwargs) -> Tensor | None:
        recognised = shift_of(func, args, kwargs)
        if recognised is None:
            return None
        values, linear = recognised
        before = values.clone() if func in WRITTEN else values
        run = partial(linear.apply, before, linear.weight, linear.bias)
        outputs = self._apply(before, run, Step(linear, "scaling"))
        return values.copy_(outputs) if func in WRITTEN else outputs

    def _apply(self, values: Tensor, run: Callable[[], Tensor], step: Step) -> Tensor:
        if step.kind != "scaling" and values.shape == self.direct.shape:
            step = replace(step, first=not _behind_a_layer(values))
            self.firsts += step.first
        return _Linear.apply(values, self.direct, run, step, self)  # type: ignore[no-any-return]

    def _gate(self, func: Operation, args: Args, kwargs: Kwargs) -> Tensor | None:
        gate: Tensor = func(*args, **kwargs)
        gate.pfv_gate = gate._version  # type: ignore[attr-defined]
        return gate

    _handlers = (
        (CONVOLUTIONS | DENSE, _layer),
        (NORMS, _norm),
        (OWN_NORMS, _own_norm),
        (SHIFTS, _shift),
        (PASSING, lambda mode, f, a, k: passed(f, a, k, mode.positive, mode.foreign)),
        (GATES, _gate),
        (PRODUCTS, lambda mode, f, a, k: product(f, a, k, mode.foreign)),
    )


class _Linear(torch.autograd.Function):
    """A linear map as the network computes it, whose signal passes by a rule."""

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd gives them by position
        ctx: Any,
        values: Tensor,
        direct: Tensor,
        run: Callable[[], Tensor],
        step: Step,
        mode: RelevanceMode,
    ) -> Tensor:
        del direct
        ctx.step, ctx.mode = step, mode
        ctx.save_for_backward(values)
        return run()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor | None, ...]:
        (values,) = ctx.saved_tensors
        depth = min(ctx.step.number / ctx.mode.layers, 1.0) if ctx.mode.layers else 0.0
        with torch._C.DisableTorchFunction():  # the rules run convolutions themselves
            passed, direct = ctx.mode.rule(
                ctx.step.wide(), depth, at_least_float32(values), at_least_float32(signals[0])
            )
        kind = values.dtype
        passed, direct = (one if one is None else one.to(kind) for one in (passed, direct))
        return passed, direct, None, None, None


def _behind_a_layer(values: Tensor) -> bool:
    """Whether a convolution or dense layer lies between the pixels and the values."""
    steps = (getattr(node, "step", None) for node in nodes_behind(values))
    return any(isinstance(step, Step) and step.kind != "scaling" for step in steps)
