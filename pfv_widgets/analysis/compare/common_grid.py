"""Networks that run over the same photos, and their maps on a common grid of positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer, LayerListing
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.network.named_models import (
    NamedModels,
    images_by_network,
    images_that_fit,
)
from pfv_widgets.engine.progress import OnProgress, Progress
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.validation import plain

_SAMPLES = 600  # positions of all photos, unless one a photo is more
_FINEST = 7  # positions a side

Layers = Sequence[str] | Mapping[str, Sequence[str]] | None


@dataclass(frozen=True, eq=False)
class ComparedNetwork:
    """One network with its images and its layers."""

    name: str
    forward: Forward
    listing: LayerListing


def compared_networks(
    named: NamedModels, batch: ImageBatch, device: str | torch.device
) -> list[ComparedNetwork]:
    """Return each network with its photos, at a size and in the normalisation that it takes."""
    networks = []
    for name, images in images_by_network(named, batch).items():
        network = unwrap(named[name][0])
        fitting = images_that_fit(name, network, images, device)
        forward = Forward.of(network, fitting.tensor, device)
        try:
            layers = forward.list_layers()
        except PFVError as error:
            raise PFVValueError(f"models[{name!r}]: {error}") from error
        networks.append(ComparedNetwork(name, forward, layers))
    return networks


def chosen_layers(network: ComparedNetwork, layers: Layers) -> tuple[Layer, ...]:
    """Return the layers of one network that are compared, each once."""
    if layers is None:
        return tuple(one for one in network.listing.layers if one.same_as is None)
    names = layers
    if isinstance(layers, Mapping):
        if network.name not in layers:
            raise PFVValueError(
                f"layers={dict(layers)!r:.200} has no entry for {network.name!r}. Give the layers "
                "of each network."
            )
        names = layers[network.name]
    legal = "names of layers, or {network: names}"
    names = plain(names)
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise PFVTypeError(f"layers={layers!r:.200}: expected {legal}.")
    several = list(names)
    if not several or not all(isinstance(name, str) for name in several):
        raise PFVValueError(f"layers={layers!r:.200}: expected {legal}, at least one.")
    unique = dict.fromkeys(several)
    try:
        return tuple(network.listing[name] for name in unique)
    except PFVValueError as error:
        raise PFVValueError(
            f"layers of {network.name!r}: {error} Where the networks name them differently, give "
            "layers={network: names}."
        ) from error


def pooled_maps(
    network: ComparedNetwork,
    layers: Sequence[Layer],
    grid: int,
    chunk_size: int,
    on_progress: OnProgress,
) -> dict[str, Tensor]:
    """Run a network once and return its maps ``(N, C, grid, grid)``."""
    reduce = partial(on_grid, side=grid)
    layouts = {layer.name: (layer.layout, reduce) for layer in layers}

    def report(progress: Progress) -> None:
        stage = f"Running {network.name}"
        on_progress(Progress(stage, progress.done, progress.total, progress.unit))

    return network.forward.capture(layouts, {}, chunk_size, report)


def grid_side(photos: int) -> int:
    """Return how many positions a side each of so many photos is averaged to."""
    return min(_FINEST, max(1, int((_SAMPLES / photos) ** 0.5)))


def on_grid(maps: Tensor, side: int) -> Tensor:
    """Average maps ``(N, C, h, w)`` to ``(N, C, side, side)`` on the CPU; smaller ones repeat."""
    maps = maps.to("cpu", torch.promote_types(maps.dtype, torch.float32))
    return adaptive_avg_pool2d(maps, side)
