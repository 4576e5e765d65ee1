"""Deconvolutional methods: signals that run back from a unit to the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pfv_widgets.methods.method import Cancelled, Family, Progress, Reduction, Result, step
from pfv_widgets.methods.target import Measured, Target, gradient, measuring


@dataclass(frozen=True)
class Saliency:
    """The gradient of the score by each pixel (Simonyan et al. 2014)."""

    label: ClassVar[str] = "Gradient"
    family: ClassVar[Family] = "deconvolutional"
    reduction: ClassVar[Reduction] = "magnitude"
    needs_gradient: ClassVar[bool] = True

    def attribute(
        self,
        network: nn.Module,
        batch: Tensor,
        target: Target,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Result:
        """Return the gradient ``(N, 3, H, W)``; see :class:`Method`."""
        step(0, 1, None, cancelled)
        with torch.enable_grad():
            pixels = batch.detach().clone().requires_grad_()
            measured = measuring(network, target)(pixels)
            found = gradient(measured, pixels)
        step(1, 1, progress, None)
        return found, Measured(measured.scores.detach(), measured.units), ()
