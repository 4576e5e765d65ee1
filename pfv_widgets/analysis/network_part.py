"""The part of a network behind a layer, and the class scores that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.network.partial_forward import PartialForward, Read
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.read_out import Output, chosen_output, vector


def class_scores(output: Output = None) -> Read:
    """Return what makes scores ``(n, K)`` of what a network returned for n images.

    The function raises a ``PFVValueError`` where the network returns several tensors and none is
    chosen, or maps instead of one row an image.
    """
    return lambda value, count: vector(chosen_output(value, output, "the network"), count)


def behind(
    forward: Forward,
    layer: Layer,
    output: Output = None,
    *,
    check: Callable[[], None] | None = None,
) -> PartialForward:
    """Return the part of a network behind a layer, with class scores as its result.

    ``check`` is called before each module that runs; what it raises ends the pass.

    Raises
    ------
    PFVValueError
        If the scores do not depend on the layer, or the network gives no class scores.
    """
    part = PartialForward(forward, layer, class_scores(output), check=check)
    if _depends(part):
        return part
    with guarded(forward.model) as network:
        layers = list_layers(network, forward.batch(0, 2), run).layers
    other = on_the_way(forward, layer, layers, output)
    such = "" if other is layer else f", such as {other.name!r},"
    raise PFVValueError(
        f"layer={layer.name!r}: the network's scores do not depend on its feature map. Choose a "
        f"layer that lies on the way to the output{such} or the output that depends on it with "
        "output=..."
    )


def on_the_way(
    forward: Forward, layer: Layer, layers: Iterable[Layer], output: Output = None
) -> Layer:
    """Return a layer, or the last on which the scores depend where they do not depend on it.

    Scores of a transformer that reads its class token alone do not depend on the positions of its
    last layers. Returns ``layer`` where they depend on none.
    """
    few = replace(forward, images=forward.images[:2])
    for one in (layer, *reversed(tuple(layers))):
        if _depends(PartialForward(few, one, class_scores(output))):
            return one
    return layer


def _depends(part: PartialForward) -> bool:
    """Whether scores change with the features of a layer."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(part.features.shape, generator=generator).to(part.features)
    features = part.features.nan_to_num(0.0, 0.0, 0.0)
    spread = features.std() + features.abs().mean()
    return bool((part.run(features + spread * (noise - 0.5)) != part.scores).any())


def mean_maps(features: Tensor, mean: Tensor) -> Tensor:
    """Return maps of the shape of ``features`` ``(N, C, h, w)`` that are the mean everywhere."""
    return mean.to(features)[None, :, None, None].expand_as(features)
