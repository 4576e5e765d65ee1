"""What a layer gives for a batch, as channels at places, so that it can be differentiated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.methods.core.read_out import at_layer, chosen_output, layout_of, vector
from pfv_widgets.methods.core.target import Target

# from a batch (B, 3, H, W) to values (B, C, h, w), or (B, C, 1, 1) where there are no places
Tap = Callable[[Tensor], Tensor]


def tapping(network: nn.Module, where: Target, example: Tensor) -> Tap:
    """Return what gives the values of a layer, or of the output, at least float32.

    It is called inside of :func:`pfv_widgets.engine.network.model_guard.guest`; the forward pass
    ends at the layer, and no hook stays behind.

    Parameters
    ----------
    network
        The guest, on the device of the batches.
    where
        Layer and output; the unit is ignored.
    example
        ``(1, 3, H, W)``: shows how the layer is laid out.

    Raises
    ------
    PFVValueError
        For an unknown layer or output, or one without channels or features.
    """
    if where.layer is None:
        return lambda batch: vector(
            chosen_output(run(network, batch.clone()), where.output, "the network"), len(batch)
        )[:, :, None, None]
    layout = layout_of(network, where.layer, where.output, example)

    def read(values: Tensor) -> Tensor:
        found = vector(values)[:, :, None, None] if layout is None else layout.maps(values)
        return found.to(torch.promote_types(found.dtype, torch.float32))

    return lambda batch: at_layer(network, where.layer or "", where.output, read, batch)
