"""Activations of a layer or of the output as channels at positions, to be differentiated."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.methods.core.read_out import (
    at_layer,
    at_least_float32,
    chosen_output,
    layout_of,
    vector,
)
from pfv_widgets.methods.core.target import Target

# from a batch (B, 3, H, W) to values (B, C, h, w), or (B, C, 1, 1) where there are no positions
Activations = Callable[[Tensor], Tensor]


def activations_of(network: nn.Module, at: Target, example: Tensor) -> Activations:
    """Return a function from a batch to the values of a layer, or of the output, at least float32.

    It is called inside of :func:`pfv_widgets.engine.network.model_guard.guarded`; the forward pass
    ends at the layer, and no hook stays behind. An example ``(1, 3, H, W)`` shows how the layer is
    laid out.
    """
    if at.layer is None:
        return lambda batch: vector(
            chosen_output(run(network, batch), at.output, "the network"), len(batch)
        )[:, :, None, None]
    layout = layout_of(network, at.layer, at.output, example)

    def read(values: Tensor) -> Tensor:
        maps = vector(values)[:, :, None, None] if layout is None else layout.maps(values)
        return at_least_float32(maps)

    return lambda batch: at_layer(network, at.layer or "", at.output, read, batch)
