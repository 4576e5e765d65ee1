"""How a signal that runs back passes a ReLU, at the level of operations.

The operations themselves are intercepted, so that a rule holds for modules, in-place and reused
ones, and functions alike; nothing of the network is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from pfv_widgets.engine.network.backward_graph import kind_of, nodes_to_images
from pfv_widgets.methods.core.relu_operations import (
    ASSIGN,
    RELU_ARGUMENTS,
    WATCHED,
    Args,
    Kwargs,
    Operation,
    ReluCall,
    as_other_relu,
    as_relu,
    count_foreign,
    labels_of,
    mark,
    note,
    origins,
    run_on_copy,
)

ReluRule = Literal["deconvnet", "guided"]

_ESCAPED = "ReluBackward"
_PLAIN = "The map is the plain gradient"


class ReluMode(TorchFunctionMode):
    """Inside this context every ReLU passes the signal ``d`` that runs back by another rule.

    ``"deconvnet"`` ``d·(d > 0)`` (Zeiler and Fergus 2014); ``"guided"`` ``d·(x > 0)·(d > 0)``
    (Springenberg et al. 2015). A ReLU is ``relu``, ``relu6``, and ``clamp``, ``hardtanh`` and
    ``threshold`` from 0, as module, function or method, in place or not; so are ``maximum`` with
    zeros, and ``where``, ``masked_fill`` and products by the sign of the same values. Where it
    has an upper limit such as 6, also one right behind it, guided passes nothing at and above
    it, as the gradient does; deconvnet does not look at ``x`` at all. Forward values are
    untouched. Checkpointed parts keep their values.

    Attributes
    ----------
    relu_count
        Number of ReLUs that ran so far.
    """

    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule = rule
        self.relu_count = 0
        self._labels: dict[Any, str | None] = {}  # of operations in the graph

    def __torch_function__(
        self, func: Operation, types: Iterable[type], args: Args = (), kwargs: Kwargs | None = None
    ) -> Any:
        """Replace the operation if it is a ReLU that a gradient passes."""
        del types
        kwargs = kwargs or {}
        known = as_relu(func, args, kwargs) if func in RELU_ARGUMENTS else None
        with keeping_values():
            if known is not None:
                return self._rectify(known, partial(known.values.detach().clamp, 0, known.high))
            relu = as_other_relu(func, args, kwargs)
            if relu is not None:
                outputs = self._rectify(relu, partial(run_on_copy, func, args, kwargs, relu))
                return None if func in ASSIGN else outputs
            return self._watch(func, args, kwargs)

    def diagnostics(self, scores: Tensor) -> tuple[str, ...]:
        """Say which activations behind ``scores`` the rule did not reach, in words."""
        nodes = nodes_to_images(scores)
        foreign = count_foreign(self._labels, nodes)
        warnings = []
        if foreign:
            listed = ", ".join(f"{label} × {count}" for label, count in sorted(foreign.items()))
            what = "The plain gradient is used there" if self.relu_count else _PLAIN
            warnings.append(
                f"Not every activation is a ReLU that the {self.rule} rule recognises ({listed}). "
                f"{what}: write it as nn.ReLU if it is one, or prefer a method without such a "
                "rule, as integrated gradients."
            )
        escaped = sum(kind_of(node) == _ESCAPED for node in nodes)
        if escaped:
            warnings.append(
                f"{escaped} ReLUs lie inside traced or scripted parts, where the "
                f"{self.rule} rule cannot reach: those pass the gradient. Use the eager modules."
            )
        return tuple(warnings)

    def _rectify(self, relu: ReluCall, run: Callable[[], Tensor]) -> Tensor:
        self.relu_count += 1
        passed: Tensor = _ReluFunction.apply(relu.values, run, relu.high, self.rule == "guided")
        self._labels[passed.grad_fn] = None
        outputs = relu.values.copy_(passed) if relu.inplace else passed
        mark(outputs)
        return outputs

    def _watch(self, func: Operation, args: Args, kwargs: Kwargs) -> Any:
        if func not in WATCHED:
            outputs = func(*args, **kwargs)
            note(func, args, outputs)
            return outputs
        before = origins(args, kwargs)
        outputs = func(*args, **kwargs)
        self._labels |= labels_of(func, args, kwargs, outputs, before)
        return outputs


def keeping_values() -> saved_tensors_hooks:
    """Let the operation inside keep what its gradient needs, also in checkpointed parts.

    Those would run again in the backward pass, where a mode is out of reach.
    """
    return saved_tensors_hooks(_packed, _unpacked)


def _packed(values: Tensor) -> tuple[Tensor, int]:
    return values, values._version


def _unpacked(packed: tuple[Tensor, int]) -> Tensor:
    """Check what autograd leaves unchecked where values pass through hooks."""
    values, version = packed
    if values._version != version:
        raise RuntimeError("values that the gradient needs were rewritten by an in-place operation")
    return values


class _ReluFunction(torch.autograd.Function):
    """``min(max(x, 0), high)`` as the network computes it, whose signal passes by a rule."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, run: Callable[[], Tensor], high: float, guided: bool
    ) -> Tensor:
        if guided:  # the mask and not the values: an in-place operation may rewrite those
            ctx.save_for_backward((values > 0) & (values < high))
        return run()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        signal = signals[0].clamp(min=0)
        for mask in ctx.saved_tensors:
            signal = signal * mask
        return signal, None, None, None
