"""How relevance passes a linear map: the rules, for weights and inputs of any sign.

All rules give an input a share in proportion to its value ``x``, so that what runs back is the
relevance *per unit of input*, ``s = R / x``: nothing is ever divided by an input, and sums,
pooling, concatenation and reshaping pass ``s`` as they pass a gradient. The relevance of an output
is ``R = s·z``. A bias has no input of its own: what it would get, and what ε takes, is the rest,
which :func:`redistributed` gives to the inputs of the position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-12  # below any contribution that matters; keeps 0 / 0 away
Apply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Pull = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``apply(x, weight, bias)``: a convolution, a dense layer, or a scaling of each channel.

    Attributes
    ----------
    apply
        The map; linear in ``x`` and in the weights.
    weight, bias
        Its numbers; the bias can be added to its outputs as it is, or is None.
    axis
        Which axis of the outputs is the channels.
    folds
        Whether a scaling of its channels scales the first axis of its weights.
    """

    apply: Apply
    weight: Tensor
    bias: Tensor | None
    axis: int
    folds: bool = False

    @property
    def offset(self) -> Tensor:
        """The bias, or zero."""
        return self.weight.new_zeros(()) if self.bias is None else self.bias

    def at(self, values: Tensor, weight: Tensor) -> tuple[Tensor, Pull]:
        """Return the outputs for other weights, without bias, and the transposed map."""
        with torch.enable_grad():
            probe = values.detach().requires_grad_()
            outputs = self.apply(probe, weight, None)
        return outputs.detach(), lambda signal: torch.autograd.grad(outputs, probe, signal)[0]

    def parts(self, values: Tensor) -> tuple[Tensor, Pull, Tensor, Pull]:
        """Return the sums of the positive and of the negative contributions, each with its pull."""
        weight = self.weight
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        signed = bool((values < 0).any())
        with torch.enable_grad():
            probe = values.detach().requires_grad_()
            above = probe.clamp(min=0)
            positive, negative = self.apply(above, up, None), self.apply(above, down, None)
            if signed:
                below = probe.clamp(max=0)
                positive = positive + self.apply(below, down, None)
                negative = negative + self.apply(below, up, None)

        def pull(of: Tensor) -> Pull:
            return lambda signal: torch.autograd.grad(of, probe, signal, retain_graph=True)[0]

        return positive.detach(), pull(positive), negative.detach(), pull(negative)


# signal at the inputs, relevance of the outputs, and the part of it that no input got
Passed = tuple[Tensor, Tensor, Tensor]


def epsilon_rule(linear: LinearMap, values: Tensor, signal: Tensor, epsilon: float) -> Passed:
    """``R_in = x ⊙ Wᵀ(R / (z + ε·sign z))`` (Bach et al. 2015, equation 58)."""
    outputs, pull = linear.at(values, linear.weight)
    whole = outputs + linear.offset
    size = whole.abs()
    carried = signal * size / (size + epsilon).clamp(min=_TINY)
    relevance = signal * whole
    return pull(carried), relevance, relevance - carried * outputs


def gamma_rule(linear: LinearMap, values: Tensor, signal: Tensor, gamma: float) -> Passed:
    """Contributions of the output's own sign count ``1 + γ`` times (Montavon et al. 2019).

    For an output below zero these are the negative ones, so that no denominator can vanish
    (Andéol et al. 2021).
    """
    positive, pull_positive, negative, pull_negative = linear.parts(values)
    bias = linear.offset
    outputs = positive + negative + bias
    above = outputs >= 0
    more = torch.where(above, positive + bias.clamp(min=0), negative + bias.clamp(max=0))
    relevance = signal * outputs
    carried = _divided(relevance, outputs + gamma * more)
    up, down = carried * (1 + gamma * above), carried * (1 + gamma * ~above)
    rest = relevance - up * positive - down * negative
    return pull_positive(up) + pull_negative(down), relevance, rest


def alpha_beta_rule(linear: LinearMap, values: Tensor, signal: Tensor, alpha: float) -> Passed:
    """``R_in = Σ (α·(xw)⁺/z⁺ − β·(xw)⁻/z⁻)·R``, ``β = α − 1`` (Bach et al. 2015, equation 60).

    ``z⁺`` and ``z⁻`` are the sums of the positive and of the negative contributions, with the
    bias; ``α = 1`` is the z⁺ rule (Montavon et al. 2017).
    """
    positive, pull_positive, negative, pull_negative = linear.parts(values)
    bias = linear.offset
    relevance = signal * (positive + negative + bias)
    up = alpha * _divided(relevance, positive + bias.clamp(min=0))
    passed, rest = pull_positive(up), relevance - up * positive
    if alpha > 1:
        down = (1 - alpha) * _divided(relevance, negative + bias.clamp(max=0))
        passed, rest = passed + pull_negative(down), rest - down * negative
    return passed, relevance, rest


def scaling_rule(linear: LinearMap, values: Tensor, signal: Tensor) -> Passed:
    """Each output has one input: it gets all but the part of the bias."""
    outputs, pull = linear.at(values, linear.weight)
    return pull(signal), signal * (outputs + linear.offset), signal * linear.offset


def redistributed(linear: LinearMap, values: Tensor, relevance: Tensor, rest: Tensor) -> Tensor:
    """Return the signal that gives the rest of each position to the inputs of this position.

    The rests of all channels of a position are added up first. Each unit there takes of them as it
    did of the relevance, ``|R − rest|``, and divides it by the size of its contributions,
    ``|xw| / Σ|xw|``. Where all inputs of a position are zero, those of the whole image get it.
    """
    sizes, pull = linear.at(values.abs(), linear.weight.abs())
    weight = torch.where(sizes > 0, (relevance - rest).abs(), torch.zeros_like(sizes))
    whole = weight.sum(linear.axis, keepdim=True)
    rest = rest.expand_as(relevance).sum(linear.axis, keepdim=True)
    everywhere = tuple(range(1, whole.ndim))
    unassigned = torch.where(whole > _TINY, 0, rest).sum(everywhere, keepdim=True)
    ratio = _divided(rest, whole) + _divided(unassigned, whole.sum(everywhere, keepdim=True))
    return values.sign() * pull(_divided(weight, sizes) * ratio)


def box_rule(linear: LinearMap, values: Tensor, signal: Tensor) -> Tensor:
    """Return the relevance of pixels by z^B, for inputs in a range (Montavon et al. 2017).

    The range is that of each channel of each image, with zero.
    """
    up, down = linear.weight.clamp(min=0), linear.weight.clamp(max=0)
    positions = tuple(range(2, values.ndim))
    low = values.amin(positions, keepdim=True).clamp(max=0).expand_as(values)
    high = values.amax(positions, keepdim=True).clamp(min=0).expand_as(values)
    outputs, pull = linear.at(values, linear.weight)
    lower, pull_low = linear.at(low, up)
    upper, pull_high = linear.at(high, down)
    relevance = signal * (outputs + linear.offset)
    carried = _divided(relevance, outputs - lower - upper)
    return values * pull(carried) - low * pull_low(carried) - high * pull_high(carried)


def flat_rule(linear: LinearMap, values: Tensor, signal: Tensor) -> Tensor:
    """Return the relevance of pixels where each gets the same (Lapuschkin et al. 2019)."""
    outputs, _ = linear.at(values, linear.weight)
    number, pull = linear.at(torch.ones_like(values), torch.ones_like(linear.weight))
    return pull(_divided(signal * (outputs + linear.offset), number))


def _divided(values: Tensor, by: Tensor) -> Tensor:
    """Divide; by zero gives zero."""
    there = by.abs() > _TINY
    return torch.where(there, values / torch.where(there, by, torch.ones_like(by)), 0)
