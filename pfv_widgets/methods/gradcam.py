"""Grad-CAM: the channels of one layer, weighted by how much the score rises with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pfv_widgets.engine.capture import modules_by_name
from pfv_widgets.engine.guest import run
from pfv_widgets.engine.survey import Layer, survey
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.method import Cancelled, Family, Progress, Reduction, Result, step
from pfv_widgets.methods.target import Measured, Target, gradient, measuring
from pfv_widgets.parameters import toggle, validate


@dataclass(frozen=True)
class GradCAM:
    """Grad-CAM of any layer with maps (Selvaraju et al. 2017), enlarged bilinearly.

    Attributes
    ----------
    at
        Name of the layer whose channels are weighted; None: the last feature map before the
        target.
    """

    at: str | None = None
    positive: bool = toggle(
        True, label="Only for", help="Leave out what speaks against the unit, as in the paper."
    )

    label: ClassVar[str] = "Grad-CAM"
    family: ClassVar[Family] = "deconvolutional"
    reduction: ClassVar[Reduction] = "sum"
    needs_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        validate(self)
        if not isinstance(self.at, str | None):
            raise PFVTypeError(f"at={self.at!r:.80}: expected a layer's name, or None.")

    def attribute(
        self,
        network: nn.Module,
        batch: Tensor,
        target: Target,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Result:
        """Return the maps ``(N, H, W)``; see :class:`Method`."""
        step(0, 1, progress, cancelled)
        layer = self._layer(network, batch, target)
        with torch.enable_grad(), _kept(network, layer) as kept:
            measured = measuring(network, target)(batch.detach().clone().requires_grad_())
            if not kept:
                raise PFVValueError(
                    f"at={layer.name!r} runs after the target's layer {target.layer!r}. "
                    "Choose an earlier one."
                )
            signal = gradient(measured, kept[0])
        maps, signals = (layer.layout.maps(one).float() for one in (kept[0].detach(), signal))
        weighted = (signals.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
        weighted = weighted.clamp(min=0) if self.positive else weighted
        enlarged = nn.functional.interpolate(weighted, size=batch.shape[2:], mode="bilinear")
        step(1, 1, progress, None)
        return enlarged[:, 0], Measured(measured.scores.detach(), measured.units), ()

    def _layer(self, network: nn.Module, batch: Tensor, target: Target) -> Layer:
        seen = survey(network, batch[:1].clone(), run)
        if self.at is not None:
            return seen[self.at]
        names = [layer.name for layer in seen.layers]
        if target.layer in names and names.index(seen.default) > names.index(target.layer):
            return seen[target.layer]
        return seen[seen.default]


@contextmanager
def _kept(network: nn.Module, layer: Layer) -> Iterator[list[Tensor]]:
    """Keep the layer's output; the network goes on with a copy, which it may rewrite."""
    base, _, number = layer.name.partition("#")
    kept: list[Tensor] = []
    runs = 0

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        nonlocal runs
        if not torch.is_grad_enabled():  # the target's layer is only looked for
            return None
        runs += 1
        if runs != int(number or 1):
            return None
        kept.append(output)
        return output.clone()

    handle = modules_by_name(network)[base].register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
