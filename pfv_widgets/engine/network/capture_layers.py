"""Feature maps of several layers and how active those before them are, from one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from pfv_widgets.engine.network.activity import Activity, channel_sum
from pfv_widgets.engine.network.capture import Reduce
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.layers import Layer

Captured = tuple[Tensor, list[Activity]]
Capture = Callable[[Mapping[str, tuple[Layout, Reduce | None]]], Mapping[str, Tensor]]

_CACHED, _FEW_THREADS = 5 << 20, 4  # bytes of a map for each thread, and how many count at least


def capture_layers(
    layers: Mapping[str, tuple[Layer, Sequence[Layer]]], capture: Capture
) -> dict[str, Captured]:
    """Return the feature maps of each layer, and how active its chain is.

    ``layers`` have the layer, and the earlier ones that weight it, by name; ``capture`` runs the
    network, and returns what it is asked for of each layer.
    """
    chained = {one.name: one for _, chain in layers.values() for one in chain}
    layouts: dict[str, tuple[Layout, Reduce | None]] = {
        name: (one.layout, channel_sum) for name, one in chained.items()
    }
    layouts |= {name: (layer.layout, None) for name, (layer, _) in layers.items()}
    captured = capture(layouts)
    sums = {  # now: the caller may overwrite the maps
        name: channel_sum(captured[name]) if name in layers else captured[name] for name in chained
    }
    return {
        name: (
            captured[name],
            [Activity.of_sums(sums[one.name], one.shape[0]) for one in chain],
        )
        for name, (_, chain) in layers.items()
    }


def images_at_once(layers: Iterable[Layer], device: torch.device, most: int) -> int:
    """Return how many images, from two to ``most``, to run at a time.

    On a processor no more than have their largest feature map in its cache. More are slower: their
    maps go through memory, which the system hands out and takes back anew for each operation.
    """
    if device.type != "cpu":
        return most
    largest = max(layer.nbytes for layer in layers)
    fitting = _CACHED * max(torch.get_num_threads(), _FEW_THREADS) // largest
    return min(max(fitting, 2), most)


def first_fitting(layers: Sequence[Layer], images: int, room: float) -> int:
    """Return how many layers, one at least, have their maps in ``room`` bytes."""
    sizes = accumulate(images * layer.nbytes for layer in layers)
    return max(sum(size <= room for size in sizes), 1)
