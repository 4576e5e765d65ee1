"""What a layer gives for a batch, as channels at places, so that it can be differentiated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pfv_widgets.engine.capture import hooked, modules_by_name
from pfv_widgets.engine.guest import run
from pfv_widgets.engine.layout import Layout
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.reading import chosen_output, layout_of, split, vector
from pfv_widgets.methods.target import Target

# from a batch (B, 3, H, W) to values (B, C, h, w), or (B, C, 1, 1) where there are no places
Tap = Callable[[Tensor], Tensor]


def tapping(network: nn.Module, where: Target, example: Tensor) -> Tap:
    """Return what gives the values of a layer, or of the output, at least float32.

    It is called inside of :func:`pfv_widgets.engine.guest.guest`; the forward pass ends at the
    layer, and no hook stays behind.

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
    return lambda batch: _read(network, where, layout, batch)


class _Enough(BaseException):
    """Leaves a forward pass in which the layer was seen."""


def _read(network: nn.Module, where: Target, layout: Layout | None, batch: Tensor) -> Tensor:
    name, number = split(where.layer or "")
    seen: list[Tensor] = []
    runs = 0

    def see(_: nn.Module, __: str, ___: tuple[object, ...], output: object) -> None:
        nonlocal runs
        runs += 1
        if runs == (number or 1):
            # at once: a later in-place operation may rewrite the map
            values = chosen_output(output, where.output, f"layer {where.layer!r}")
            seen.append(vector(values)[:, :, None, None] if layout is None else layout.maps(values))
            raise _Enough

    with hooked({name: modules_by_name(network)[name]}, see):
        try:
            run(network, batch.clone())
        except _Enough:
            if len(seen[0]) == len(batch):
                return seen[0].to(torch.promote_types(seen[0].dtype, torch.float32))
    raise PFVValueError(
        f"layer={where.layer!r} did not run, or gives other than one row an image. "
        "Choose one of pfv.layers."
    )
