"""Grad-CAM: the channels of one layer, weighted by how much the score rises with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.layers import Layer, LayerListing, list_layers
from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.method import Cancelled, Family, Progress, Reduction, Result, step
from pfv_widgets.methods.core.target import Measured, Target
from pfv_widgets.methods.gradient.gradcam_maps import Tried, Way, on_the_way, tried
from pfv_widgets.parameters import in_words, toggle, validate

_READ_OUT = ("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "Flatten")  # pooling for the classifier
_NONE = "Take a method of the pixels, as method='saliency'."


@dataclass(frozen=True)
class GradCAM:
    """Grad-CAM of any layer with maps (Selvaraju et al. 2017), enlarged bilinearly.

    Attributes
    ----------
    at
        Name of the layer whose channels are weighted; None: the last feature map on the way from
        the images to the target that the score rises or falls with. Of a vision transformer
        that reads its class token alone it is one of the last block, not what follows.
    """

    at: str | None = None
    positive: bool = toggle(
        True, label="Only for", help="Leave out what speaks against the unit, as in the paper."
    )

    label: ClassVar[str] = "Grad-CAM"
    family: ClassVar[Family] = "deconvolutional"
    reduction: ClassVar[Reduction] = "sum"
    needs_gradient: ClassVar[bool] = True
    zero_reason: ClassVar[str] = "no channel of the layer speaks for the unit"
    caution: ClassVar[str] = ""

    def __post_init__(self) -> None:
        validate(self)
        if not isinstance(self.at, str | None):
            raise PFVTypeError(f"at={self.at!r:.80}: expected a layer's name, or None.")

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - of every method
        """Return the options in words; see :class:`Method`."""
        at = () if self.at is None else (f"at {self.at}",)
        return at if self.positive else (*at, *in_words(self, ("positive",)))

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
        with torch.enable_grad():
            found = self._found(network, batch, target)
        assert found.maps is not None
        assert found.signal is not None
        layout, measured = found.layer.layout, found.measured
        maps, signals = (layout.maps(one.detach()).float() for one in (found.maps, found.signal))
        weighted = (signals.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
        weighted = weighted.clamp(min=0) if self.positive else weighted
        enlarged = nn.functional.interpolate(weighted, size=batch.shape[2:], mode="bilinear")
        step(1, 1, progress, None)
        return enlarged[:, 0], Measured(measured.scores.detach(), measured.units), ()

    def _found(self, network: nn.Module, batch: Tensor, target: Target) -> Tried:
        with torch.no_grad():
            listing = list_layers(network, batch[:1].clone(), run)
        layer = self._asked(listing) or _default(listing, target)
        first = tried(network, batch, target, layer)
        if self.at is not None and first.maps is None and target.layer is not None:
            raise PFVValueError(
                f"at={self.at!r} runs after the target's layer {target.layer!r}. "
                "Choose an earlier one."
            )
        if first.from_images and (first.useful or (self.at and first.signal is not None)):
            return first
        try:
            way = on_the_way(network, batch, target, _until(listing, layer, self.at))
        except PFVValueError:
            if first.signal is None:
                raise
            return first  # its maps are known, if not how they depend on the images
        return self._instead(first, way, lambda other: tried(network, batch, target, other))

    def _asked(self, listing: LayerListing) -> Layer | None:
        if self.at is None:
            return None
        try:
            return listing[self.at]
        except PFVValueError as error:
            raise PFVValueError(f"at={str(error).removeprefix('layer=')}") from error

    def _instead(self, first: Tried, way: Way, again: Callable[[Layer], Tried]) -> Tried:
        """Take the last layer on the way, where none was asked for."""
        if self.at is not None:
            near = f"Choose one that is, such as at={way.layers[-1].name!r}." if way.layers else ""
            raise PFVValueError(
                f"at={self.at!r} is not on the way from the images to the score. {near or _NONE}"
            )
        if not way.useful and first.from_images and first.signal is not None:
            return first
        if way.layers:
            return again((way.useful or way.layers)[-1])
        raise PFVValueError(
            f"at=None: no feature map lies on the way from the images to the score. {_NONE}"
        )


def _default(listing: LayerListing, target: Target) -> Layer:
    names = [layer.name for layer in listing.layers]
    if target.layer in names and names.index(listing.default) > names.index(target.layer):
        return listing[target.layer]
    return listing[listing.default]


def _until(listing: LayerListing, layer: Layer, at: str | None) -> list[Layer]:
    """Return the layers that may stand for one: those up to it, or all where it was asked for."""
    names = [one.name for one in listing.layers]
    end = len(names) if at is not None else names.index(layer.name) + 1
    return [one for one in listing.layers[:end] if one.kind not in _READ_OUT]
