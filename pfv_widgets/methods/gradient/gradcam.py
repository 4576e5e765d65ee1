"""Grad-CAM: the channels of one layer, weighted by how much the score rises with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.backward_graph import depends
from pfv_widgets.engine.network.capture import (
    emptied,
    for_this_thread,
    hooked,
    modules_by_name,
)
from pfv_widgets.engine.network.default_layer import READ_OUT_POOLING
from pfv_widgets.engine.network.layers import Layer, LayerListing
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.method import Method, Report, Result, measured_evidence
from pfv_widgets.methods.core.target import Target, UnitScores, gradient, score_function
from pfv_widgets.parameters import in_words, toggle
from pfv_widgets.validation import text_or_none

_NONE = "Take a method that needs no feature map."


@dataclass(frozen=True)
class GradCAM(Method):
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
        True, label="Positive only", help="Show only what speaks for the unit, as in the paper."
    )

    label = "Grad-CAM"
    family = "deconvolutional"
    zero_reason = "no channel of the layer speaks for the unit"
    evidence = measured_evidence("passes", 0.11, 0.80, 0.10)
    usual = True

    def __post_init__(self) -> None:
        super().__post_init__()
        text_or_none("at", self.at, "a layer's name")

    def details(self, size: tuple[int, int]) -> tuple[str, ...]:  # noqa: ARG002 - of every method
        """Return the options in words; see :class:`Method`."""
        at = () if self.at is None else (f"at {self.at}",)
        return at if self.positive else (*at, *in_words(self, ("positive",)))

    def explain(self, network: nn.Module, batch: Tensor, target: Target, step: Report) -> Result:
        """Return the maps ``(N, H, W)``; see :class:`Method`."""
        step(0, 1)
        with torch.enable_grad():
            at_layer = self._at_layer(network, batch, target)
        assert at_layer.maps is not None
        assert at_layer.signal is not None
        layout, measured = at_layer.layer.layout, at_layer.measured
        maps, signals = (
            layout.maps(one.detach()).float() for one in (at_layer.maps, at_layer.signal)
        )
        weighted = (signals.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
        weighted = weighted.clamp(min=0) if self.positive else weighted
        enlarged = nn.functional.interpolate(weighted, size=batch.shape[2:], mode="bilinear")
        step(1, 1)
        return enlarged[:, 0], UnitScores(measured.scores.detach(), measured.units), ()

    def _at_layer(self, network: nn.Module, batch: Tensor, target: Target) -> LayerGradient:
        with torch.no_grad():
            listing = list_layers(network, batch[:1].clone(), run)
        layer = self._layer_at(listing) or _default(listing, target)
        first = layer_gradient(network, batch, target, layer)
        if self.at is not None and first.maps is None and target.layer is not None:
            raise PFVValueError(
                f"at={self.at!r} runs after the target's layer {target.layer!r}. "
                "Choose an earlier one."
            )
        if first.from_images and (first.useful or (self.at and first.signal is not None)):
            return first
        try:
            between = layers_between(network, batch, target, _until(listing, layer, self.at))
        except PFVValueError:
            if first.signal is None:
                raise
            return first  # its maps are known, if not how they depend on the images
        return self._replacement(
            first, between, lambda other: layer_gradient(network, batch, target, other)
        )

    def _layer_at(self, listing: LayerListing) -> Layer | None:
        if self.at is None:
            return None
        try:
            return listing[self.at]
        except PFVValueError as error:
            raise PFVValueError(f"at={str(error).removeprefix('layer=')}") from error

    def _replacement(
        self, first: LayerGradient, between: Between, again: Callable[[Layer], LayerGradient]
    ) -> LayerGradient:
        """Take the last layer between the images and the score, unless one was chosen."""
        if self.at is not None:
            last = between.layers[-1].name if between.layers else None
            fix = _NONE if last is None else f"Choose one that is, such as at={last!r}."
            raise PFVValueError(
                f"at={self.at!r} is not on the way from the images to the score. {fix}"
            )
        if not between.useful and first.from_images and first.signal is not None:
            return first
        if between.layers:
            return again((between.useful or between.layers)[-1])
        raise PFVValueError(
            f"at=None: no feature map lies on the way from the images to the score. {_NONE}"
        )


def _default(listing: LayerListing, target: Target) -> Layer:
    names = [layer.name for layer in listing.layers]
    if target.layer in names and names.index(listing.last) > names.index(target.layer):
        return listing[target.layer]
    return listing[listing.last]


def _until(listing: LayerListing, layer: Layer, at: str | None) -> list[Layer]:
    """Return the layers that may stand for one: those up to it, or all where it was chosen."""
    names = [one.name for one in listing.layers]
    end = len(names) if at is not None else names.index(layer.name) + 1
    return [one for one in listing.layers[:end] if one.kind not in READ_OUT_POOLING]


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """What a layer gave, and how the score rises with it.

    Attributes
    ----------
    layer
        The layer.
    measured
        What is explained.
    maps
        Its output; None where it did not run.
    signal
        The gradient, of the same shape; None where the score does not depend on the output.
    from_images
        Whether the output can be differentiated by the images.
    """

    layer: Layer
    measured: UnitScores
    maps: Tensor | None = None
    signal: Tensor | None = None
    from_images: bool = False

    @property
    def useful(self) -> bool:
        """Whether the score rises or falls with the map of any image."""
        signal = self.signal
        return signal is not None and bool(self.layer.layout.maps(signal).any())


def layer_gradient(
    network: nn.Module, batch: Tensor, target: Target, layer: Layer
) -> LayerGradient:
    """Run the images and differentiate the score by the layer's output."""
    pixels = batch.detach().clone().requires_grad_()
    with _layer_output(network, layer) as outputs:
        measured = score_function(network, target)(pixels)
    maps = outputs.get(layer.name)
    if maps is None:
        return LayerGradient(layer, measured)
    from_images = depends(maps, pixels)
    try:
        signal = gradient(measured, maps)
    except PFVValueError:
        return LayerGradient(layer, measured, maps, None, from_images)
    return LayerGradient(layer, measured, maps, signal, from_images)


@dataclass(frozen=True)
class Between:
    """The layers between the images and the score, in forward order.

    Attributes
    ----------
    layers
        Those whose output gets a gradient that runs on to the images.
    useful
        Those of them where it is not zero at every position.
    """

    layers: list[Layer] = field(default_factory=list)
    useful: list[Layer] = field(default_factory=list)


def layers_between(
    network: nn.Module, batch: Tensor, target: Target, layers: Iterable[Layer]
) -> Between:
    """Run the signal from the score back to the images, and see which layers it passes."""
    layers = list(layers)
    passed: dict[str, bool] = {}
    pixels = batch.detach().clone().requires_grad_()
    with _gradients_at(network, layers, passed):
        measured = score_function(network, target)(pixels)
    gradient(measured, pixels)
    between = [layer for layer in layers if layer.name in passed]
    return Between(between, [layer for layer in between if passed[layer.name]])


@contextmanager
def _layer_output(network: nn.Module, layer: Layer) -> Iterator[dict[str, Tensor]]:
    """Store the layer's output; the network goes on with a copy, which it may rewrite.

    Passes of other threads are left alone.
    """
    base, _, number = layer.name.partition("#")
    outputs: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()

    def store(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
        runs[base] += 1
        if runs[base] != int(number or 1):
            return None
        outputs[layer.name] = output
        return output.clone()

    handle = modules_by_name(network)[base].register_forward_hook(for_this_thread(store))
    try:
        with emptied(network, outputs, runs):
            yield outputs
    finally:
        handle.remove()


@contextmanager
def _gradients_at(
    network: nn.Module, layers: list[Layer], passed: dict[str, bool]
) -> Iterator[None]:
    """Note for each layer that a gradient passes whether it is more than zeros."""
    known = {layer.name: layer for layer in layers}
    bases = {name.partition("#")[0] for name in known}
    modules = modules_by_name(network)
    runs: Counter[str] = Counter()

    def note(layer: Layer, signal: Tensor) -> None:
        passed[layer.name] = bool(layer.layout.maps(signal).any())

    def see(_: nn.Module, base: str, __: tuple[object, ...], output: object) -> None:
        runs[base] += 1
        layer = known.get(base) or known.get(f"{base}#{runs[base]}")
        if layer is not None and isinstance(output, Tensor) and output.requires_grad:
            listen: Any = output.register_hook  # which has no types
            listen(lambda signal: note(layer, signal))

    with emptied(network, runs), hooked({base: modules[base] for base in bases}, see):
        yield
