"""How a signal that runs back passes a ReLU, at the level of operations.

The operations themselves are intercepted, so that a rule holds for modules, in-place and reused
ones, and functions alike; nothing of the network is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows
from torch.overrides import TorchFunctionMode

ReluRule = Literal["deconvnet", "guided"]

_NN: Any = torch._C._nn
# operation → the names of its arguments, in order; all names that end in _ work in place
RELU = ("input", "inplace")
_CLAMP = ("input", "low", "high")
_THRESHOLD = ("input", "low", "value", "inplace")
_HARDTANH = ("input", "low", "high", "inplace")
ARGUMENTS: dict[Callable[..., Any], tuple[str, ...]] = {
    F.relu: RELU,
    F.relu6: RELU,
    F.hardtanh: _HARDTANH,
    F.hardtanh_: _HARDTANH,
    F.threshold: _THRESHOLD,
}
ARGUMENTS |= {
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

# what autograd calls them → what people call them
_FOREIGN = {
    "GeluBackward": "GELU", "SiluBackward": "SiLU", "HardswishBackward": "Hardswish",
    "MishBackward": "Mish", "EluBackward": "ELU", "LeakyReluBackward": "LeakyReLU",
    "PreluKernelBackward": "PReLU", "RreluWithNoiseBackward": "RReLU",
    "SoftplusBackward": "Softplus", "SigmoidBackward": "Sigmoid", "TanhBackward": "Tanh",
    "HardsigmoidBackward": "Hardsigmoid", "HardtanhBackward": "Hardtanh", "GluBackward": "GLU",
    "LogSigmoidBackward": "LogSigmoid", "HardshrinkBackward": "Hardshrink",
    "SoftshrinkBackward": "Softshrink",
}  # fmt: skip
_ESCAPED = "ReluBackward"


class ReluMode(TorchFunctionMode):
    """Inside this context every ReLU passes the signal ``d`` that runs back by another rule.

    ``"deconvnet"`` ``d·(d > 0)`` (Zeiler and Fergus 2014); ``"guided"`` ``d·(x > 0)·(d > 0)``
    (Springenberg et al. 2015). A ReLU is ``relu``, ``relu6``, and ``clamp``, ``hardtanh`` and
    ``threshold`` from 0, as module, function or method, in place or not. Where it has an upper
    limit such as 6, guided passes nothing at and above it, as the gradient does; deconvnet does
    not look at ``x`` at all. Forward values are untouched. Checkpointed parts keep their values.

    Attributes
    ----------
    caught
        Number of ReLUs that were met so far.
    """

    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule = rule
        self.caught = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace the operation if it is a ReLU on the way of a gradient."""
        del types
        call = as_relu(func, args, kwargs or {}) if func in ARGUMENTS else None
        with keeping_values():
            if call is None:
                return func(*args, **(kwargs or {}))
            values, high, inplace = call
            self.caught += 1
            passed = _Rectified.apply(values, high, self.rule == "guided")
            return values.copy_(passed) if inplace else passed

    def told(self, scores: Tensor) -> tuple[str, ...]:
        """Say which activations on the way to ``scores`` the rule did not reach, in words."""
        met = Counter(names_behind(scores))
        foreign = {label: met[name] for name, label in _FOREIGN.items() if met[name]}
        warnings = []
        if foreign:
            listed = ", ".join(f"{label} × {count}" for label, count in foreign.items())
            what = "The map is the plain gradient" if not self.caught else "Those pass the gradient"
            warnings.append(
                f"Not every activation is a ReLU ({listed}), and the {self.rule} rule is one for "
                f"ReLUs. {what}: prefer a method without such a rule, as integrated gradients."
            )
        if met[_ESCAPED]:
            warnings.append(
                f"{met[_ESCAPED]} ReLUs lie inside traced or scripted parts, where the "
                f"{self.rule} rule cannot reach: those pass the gradient. Use the eager modules."
            )
        return tuple(warnings)


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


class _Rectified(torch.autograd.Function):
    """``min(max(x, 0), high)``, whose signal passes by a rule."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, high: float, guided: bool) -> Tensor:
        if guided:  # the mask and not the values: an in-place operation may rewrite those
            ctx.save_for_backward((values > 0) & (values < high))
        return values.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        signal = signals[0].clamp(min=0)
        for mask in ctx.saved_tensors:
            signal = signal * mask
        return signal, None, None


def as_relu(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Tensor, float, bool] | None:
    """Return the values, the upper limit and whether it works in place, or None for no ReLU."""
    given = dict(zip(ARGUMENTS[func], args, strict=False))
    given |= {_ALIASES.get(name, name): value for name, value in kwargs.items()}
    given["input"] = given.get("input", given.get("self"))
    values = given["input"]
    if not isinstance(values, Tensor) or not values.requires_grad or not torch.is_grad_enabled():
        return None
    low, high = given.get("low"), given.get("high")
    if ARGUMENTS[func] is RELU:
        low = 0
    elif func in _HARD:
        low, high = given.get("low", -1.0), given.get("high", 1.0)
    high = 6.0 if func in _SIX else torch.inf if high is None else high
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if given.get("out") is not None or not numbers or low != 0 or high <= 0:
        return None
    if given.get("value", 0) != 0:
        return None
    return values, float(high), bool(given.get("inplace")) or func.__name__.endswith("_")


def names_behind(scores: Tensor) -> Iterable[str]:
    """Name each operation that the gradient of ``scores`` passes, without its number."""
    waiting, seen = [scores.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node.name().rpartition("::")[2].rstrip("0123456789")
        waiting += [following for following, _ in node.next_functions]
