"""Signals that run back from a unit to the pixels: gradients and the rules of ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.read_out import EVEN, STARTS
from pfv_widgets.methods.core.relu_rules import ReluMode, ReluRule
from pfv_widgets.methods.core.target import (
    ScoreFunction,
    Target,
    UnitScores,
    gradient,
    score_function,
)
from pfv_widgets.parameters import choice

_START = (
    "Where a unit has a map, the signal that starts at its positions. even: 1 at each; "
    "activation: the map itself, as in FeatureVis, so that strong positions count more; also where "
    "the output is the mean of a map."
)


_SILENT = "no pixel changes the score: the unit is silent, or a ReLU on the way to it"
_ALL_NEGATIVE = "a ReLU passes only positive signals, and none is left before the pixels"
_SHOWS_EDGES = (
    "fails the randomisation check: on large networks its maps hardly change where the upper "
    "layers' weights are made random, so they show edges of the photo rather than what was learned "
)


@dataclass(frozen=True)
class _Backpropagated(Method):
    """What methods share that let a signal run from a unit back to the pixels."""

    start: str = choice(EVEN, STARTS, label="Start", help=_START)

    family = "deconvolutional"
    reduction = "magnitude"
    usual = True

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - of every method
        """Return the options in words; see :class:`Method`."""
        return () if self.start == EVEN else ("the signal starts as the unit's own map",)


@dataclass(frozen=True)
class Saliency(_Backpropagated):
    """The gradient of the score by each pixel: backpropagation (Simonyan et al. 2014)."""

    label = "Gradient"
    zero_reason = _SILENT
    evidence = measured_evidence("passes", 0.44, 0.49, 0.09)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the gradient ``(N, 3, H, W)``; see :class:`Method`."""
        step(0, 1)
        signal, measured = differentiate(score_function(network, target, self.start), batch)
        step(1, 1)
        return signal, measured, ()


@dataclass(frozen=True)
class GradientTimesInput(Method):
    """The gradient times the normalised pixels (Shrikumar et al. 2016)."""

    label = "Gradient × input"
    family = "deconvolutional"
    zero_reason = _SILENT
    evidence = measured_evidence("passes", 0.03, 0.31, 0.07)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the products ``(N, 3, H, W)``; see :class:`Method`."""
        signal, measured, warnings = Saliency().explain(network, batch, target, step)
        return signal * batch, measured, warnings


@dataclass(frozen=True)
class _ByRule(_Backpropagated):
    """Backpropagation in which every ReLU passes the signal by another rule."""

    rule: ClassVar[ReluRule]
    zero_reason = _ALL_NEGATIVE

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the signal ``(N, 3, H, W)``; see :class:`Method` and :class:`ReluMode`."""
        step(0, 1)
        result = by_rule(self.rule, network, batch, target, self.start)
        step(1, 1)
        return result


@dataclass(frozen=True)
class Deconvnet(_ByRule):
    """A ReLU passes the positive signal, whatever came in: ``d·(d > 0)`` (Zeiler, Fergus 2014)."""

    rule = "deconvnet"
    label = "Deconvnet"
    caution = _SHOWS_EDGES + "(Nie et al. 2018; Sixt et al. 2020)"
    evidence = (
        "fails the randomisation check (Nie et al. 2018; Sixt et al. 2020); of most of 20 photos "
        "the map is zero everywhere with SqueezeNet, and with start='activation' insertion is 0.26 "
        "(high is right) and deletion 0.29 (low is right)"
    )


@dataclass(frozen=True)
class GuidedBackprop(_ByRule):
    """A ReLU passes the positive signal where it was active: ``d·(x > 0)·(d > 0)``.

    Springenberg et al. 2015.
    """

    rule = "guided"
    label = "Guided backpropagation"
    caution = _SHOWS_EDGES + "(Adebayo et al. 2018; Nie et al. 2018)"
    evidence = measured_evidence("fails", 0.83, 0.65, 0.06)


def by_rule(
    rule: ReluRule, network: nn.Module, batch: Tensor, target: Target, start: str = EVEN
) -> Result:
    """Return the signal at the pixels where every ReLU passes it by ``rule``."""
    with torch.enable_grad():
        pixels = batch.detach().clone().requires_grad_()
        with ReluMode(rule) as mode:
            measured = score_function(network, target, start)(pixels)
            warnings = mode.diagnostics(measured.scores)
            signal = gradient(measured, pixels)
    return signal, UnitScores(measured.scores.detach(), measured.units), warnings


def differentiate(
    measure: ScoreFunction, batch: Tensor, units: Tensor | None = None
) -> tuple[Tensor, UnitScores]:
    """Return the gradient ``(N, 3, H, W)`` of each score, and the scores, detached."""
    with torch.enable_grad():
        pixels = batch.detach().clone().requires_grad_()
        measured = measure(pixels, units)
        signal = gradient(measured, pixels)
    return signal, UnitScores(measured.scores.detach(), measured.units)
