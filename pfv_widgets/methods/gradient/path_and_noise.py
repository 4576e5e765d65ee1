"""Gradients averaged over many inputs: along a path, or under noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.occluders import BASELINES, OCCLUDERS
from pfv_widgets.methods.core.read_out import at_least_float32
from pfv_widgets.methods.core.target import Target, UnitScores, score_function
from pfv_widgets.methods.gradient.backprop import differentiate
from pfv_widgets.parameters import choice, described, slider

TOGETHER = 16  # images in one pass
_TOLERATED = 0.05  # of the difference of scores


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Gradients along the straight path from a baseline, times the difference of the images.

    Sundararajan et al. 2017. The integral is taken by Gauss–Legendre quadrature; its sum is the
    difference of the scores of image and baseline, and a warning says where it is off by more
    than 5 %.
    """

    steps: int = slider(
        32, 2, 512, 1, label="Steps", help="Points on the path; more are more accurate and slower."
    )
    baseline: str = choice(
        "zero",
        BASELINES,
        label="Baseline",
        help="The image at which the path begins. "
        + described({name: OCCLUDERS[name] for name in BASELINES}),
    )

    label = "Integrated gradients"
    family = "deconvolutional"
    zero_reason = "no pixel changes the score on the way from the baseline"
    evidence = measured_evidence("passes", 0.03, 0.33, 0.08)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the attributions ``(N, 3, H, W)``; see :class:`Method`."""
        step(0, self.steps)
        measure = score_function(network, target)
        own = measure(batch)
        start = BASELINES[self.baseline](batch).contiguous()  # networks may write into it
        path = at_least_float32(batch - start)
        points, shares = np.polynomial.legendre.leggauss(self.steps)
        total = torch.zeros_like(path)
        together = max(1, TOGETHER // len(batch))
        for first in range(0, self.steps, together):
            part = slice(first, first + together)
            where = [(point + 1) / 2 for point in points[part].tolist()]
            copies = torch.cat([start + at * path for at in where]).to(batch.dtype)
            slopes, _ = differentiate(measure, copies, own.units.repeat(len(where)))
            parts = at_least_float32(slopes).reshape(len(where), *batch.shape)
            total += torch.einsum("s,snchw->nchw", torch.tensor(shares[part] / 2).to(parts), parts)
            step(min(first + together, self.steps), self.steps)
        warnings = _completeness(total * path, own, measure(start, own.units))
        return total * path, own, warnings


@dataclass(frozen=True)
class SmoothGrad(Method):
    """The gradient averaged over noisy copies of the image (Smilkov et al. 2017).

    All images get the same noise, scaled by their own range, so that a map does not depend on the
    rest of the batch.
    """

    samples: int = slider(
        16, 1, 256, 1, label="Samples", help="Noisy copies of each image; more give smoother maps."
    )
    noise: float = slider(
        0.15,
        0.0,
        1.0,
        0.01,
        label="Noise",
        help="Standard deviation, as a share of the image's range.",
    )
    seed: int = slider(0, 0, 9999, 1, label="Seed", help="The same seed gives the same noise.")

    label = "SmoothGrad"
    family = "deconvolutional"
    reduction = "magnitude"
    zero_reason = "no pixel changes the score: the unit is silent, or a ReLU on the path to it"
    evidence = measured_evidence("passes", 0.47, 0.54, 0.07)

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the mean gradient ``(N, 3, H, W)``; see :class:`Method`."""
        step(0, self.samples)
        measure = score_function(network, target)
        own = measure(batch)
        flat = batch.flatten(1).float()
        deviation = (self.noise * (flat.amax(1) - flat.amin(1)))[:, None, None, None]
        source = torch.Generator().manual_seed(self.seed)  # on the CPU: the same on any device
        total = torch.zeros_like(at_least_float32(batch))
        together = max(1, TOGETHER // len(batch))
        for first in range(0, self.samples, together):
            count = min(together, self.samples - first)
            noises = [torch.randn(batch.shape[1:], generator=source) for _ in range(count)]
            copies = [batch + deviation * noise.to(batch.device) for noise in noises]
            slopes, _ = differentiate(
                measure, torch.cat(copies).to(batch.dtype), own.units.repeat(count)
            )
            total += at_least_float32(slopes).reshape(count, *batch.shape).sum(0)
            step(first + count, self.samples)
        return total / self.samples, own, ()


def _completeness(values: Tensor, own: UnitScores, start: UnitScores) -> tuple[str, ...]:
    difference = own.scores - start.scores
    off = (values.flatten(1).sum(1) - difference).abs()
    scale = torch.maximum(own.scores.abs(), start.scores.abs())
    # beside the scores themselves: where both are nearly equal any error is large
    worst = float((off / torch.maximum(difference.abs(), 0.1 * scale).clamp(min=1e-6)).max())
    if not worst > _TOLERATED:  # there is another warning for NaN
        return ()
    off_by = f"The map adds up to the difference of the scores only within {100 * worst:.0f} %"
    return (f"{off_by}: take more steps.",)
