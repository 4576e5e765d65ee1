"""Feature maps of one forward pass, and which of them a score rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pfv_widgets.engine.network.capture import hooked, modules_by_name
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.backward_graph import depends
from pfv_widgets.methods.core.target import Measured, Target, gradient, measuring


@dataclass(frozen=True, eq=False)
class Tried:
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
        The gradient, of the same shape; None where the score does not rest on the output.
    from_images
        Whether the output can be differentiated by the images.
    """

    layer: Layer
    measured: Measured
    maps: Tensor | None = None
    signal: Tensor | None = None
    from_images: bool = False

    @property
    def useful(self) -> bool:
        """Whether the score rises or falls with the map of any image."""
        signal = self.signal
        return signal is not None and bool(self.layer.layout.maps(signal).any())


def tried(network: nn.Module, batch: Tensor, target: Target, layer: Layer) -> Tried:
    """Run the images and differentiate the score by the layer's output."""
    pixels = batch.detach().clone().requires_grad_()
    with _kept(network, layer) as kept:
        measured = measuring(network, target)(pixels)
    maps = kept.get(layer.name)
    if maps is None:
        return Tried(layer, measured)
    from_images = depends(maps, pixels)
    try:
        signal = gradient(measured, maps)
    except PFVValueError:
        return Tried(layer, measured, maps, None, from_images)
    return Tried(layer, measured, maps, signal, from_images)


@dataclass(frozen=True)
class Way:
    """The layers between the images and the score, in forward order.

    Attributes
    ----------
    layers
        Those whose output gets a gradient that runs on to the images.
    useful
        Those of them where it is not zero at every place.
    """

    layers: list[Layer] = field(default_factory=list)
    useful: list[Layer] = field(default_factory=list)


def on_the_way(network: nn.Module, batch: Tensor, target: Target, layers: Iterable[Layer]) -> Way:
    """Run the signal from the score back to the images, and see which layers it passes.

    Raises
    ------
    PFVValueError
        If it does not reach the images.
    """
    layers = list(layers)
    passed: dict[str, bool] = {}
    pixels = batch.detach().clone().requires_grad_()
    with _heard(network, layers, passed):
        measured = measuring(network, target)(pixels)
    gradient(measured, pixels)
    way = [layer for layer in layers if layer.name in passed]
    return Way(way, [layer for layer in way if passed[layer.name]])


@contextmanager
def _kept(network: nn.Module, layer: Layer) -> Iterator[dict[str, Tensor]]:
    """Keep the layer's output; the network goes on with a copy, which it may rewrite."""
    base, _, number = layer.name.partition("#")
    kept: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()

    def begin(*_: object) -> None:
        kept.clear()
        runs.clear()

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor | None:
        runs[base] += 1
        if runs[base] != int(number or 1):
            return None
        kept[layer.name] = output
        return output.clone()

    handles = [
        network.register_forward_pre_hook(begin, prepend=True),
        modules_by_name(network)[base].register_forward_hook(keep),
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _heard(network: nn.Module, layers: list[Layer], passed: dict[str, bool]) -> Iterator[None]:
    """Note for each layer that a gradient passes whether it is more than zeros."""
    known = {layer.name: layer for layer in layers}
    bases = {name.partition("#")[0] for name in known}
    modules = modules_by_name(network)
    runs: Counter[str] = Counter()

    def hear(layer: Layer, signal: Tensor) -> None:
        passed[layer.name] = bool(layer.layout.maps(signal).any())

    def see(_: nn.Module, base: str, __: tuple[object, ...], output: object) -> None:
        runs[base] += 1
        layer = known.get(base) or known.get(f"{base}#{runs[base]}")
        if layer is not None and isinstance(output, Tensor) and output.requires_grad:
            listen: Any = output.register_hook  # which has no types
            listen(lambda signal: hear(layer, signal))

    def begin(*_: object) -> None:
        runs.clear()

    handle = network.register_forward_pre_hook(begin, prepend=True)
    try:
        with hooked({base: modules[base] for base in bases}, see):
            yield
    finally:
        handle.remove()
