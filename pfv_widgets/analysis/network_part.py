"""The part of a network behind a layer, and the class scores that it gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
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
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(part.features.shape, generator=generator).to(part.features)
    features = part.features.nan_to_num(0.0, 0.0, 0.0)
    spread = features.std() + features.abs().mean()
    others = part.run(features + spread * (noise - 0.5))
    if bool((others == part.scores).all()):
        raise PFVValueError(
            f"layer={layer.name!r}: the network's scores do not depend on it. Choose a layer that "
            "lies on the way to the output, or the output that depends on it with output=..."
        )
    return part


def mean_maps(features: Tensor, mean: Tensor) -> Tensor:
    """Return maps of the shape of ``features`` ``(N, C, h, w)`` that are the mean everywhere."""
    return mean.to(features)[None, :, None, None].expand_as(features)
