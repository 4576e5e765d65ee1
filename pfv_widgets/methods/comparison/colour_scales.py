"""Which value has which colour where maps are side by side: three scales.

Methods measure in different units (a gradient, a drop of the score, a share of it), so their raw
values have no scale in common. Each map can have its own; all maps of one method can share one;
and what all can share without a unit is the rank of a pixel within its own map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.attribution.colours import has_sign, heatmap_colours
from pfv_widgets.methods.comparison.comparison import Cell
from pfv_widgets.parameters import suggestion

SCALES = {
    "each map": "Each map has its own scale: colours can be compared within one map only.",
    "each method": (
        "One scale for each method: its maps can be compared with each other. "
        "Those of different methods cannot, since methods have different units."
    ),
    "all alike": (
        "By rank: a colour says which share of the map's own pixels is weaker. "
        "Positions can be compared in all maps; how strong they are is not shown."
    ),
}
"""Name → what can be compared by its colours."""


@dataclass(frozen=True)
class ColourRange:
    """How a map is coloured."""

    limit: float | None  # the value that has the last colour; None: colours are ranks
    signed: bool  # whether what speaks against the unit has colours of its own


def checked_scale(scale: object) -> str:
    """Return the scale, or raise an error with the legal names."""
    if not isinstance(scale, str) or scale not in SCALES:
        raise PFVValueError(f"scale={scale!r} is unknown. {suggestion(str(scale), SCALES)}")
    return scale


def colour_ranges(cells: Sequence[Cell | None], scale: str) -> list[ColourRange | None]:
    """Return how each cell of one method is coloured; None for PFV, errors and what is missing."""
    maps = [cell.map for cell in cells if cell is not None and cell.map is not None]
    signed = any(has_sign(one) for one in maps)
    shared = max((cell.limit for cell in cells if cell is not None), default=0.0)
    ranges: list[ColourRange | None] = []
    for cell in cells:
        if cell is None or cell.map is None:
            ranges.append(None)
        elif scale == "all alike":
            ranges.append(ColourRange(None, signed))
        else:
            ranges.append(ColourRange(shared if scale == "each method" else cell.limit, signed))
    return ranges


def coloured(cell: Cell, colours: ColourRange | None) -> np.ndarray | None:
    """Return the colours of a cell, float in [0, 1], ``(H, W, 3)``; None where it failed.

    A map of zeros has the one colour of nothing.
    """
    if cell.values is None:
        return None
    if colours is None or cell.map is None:
        return cell.values.clamp(0, 1).numpy()
    values, limit = cell.map, colours.limit
    if limit is None:
        values, limit = ranked(values), 1.0
    picture: np.ndarray = heatmap_colours(values[None], torch.tensor([limit]), colours.signed)[0]
    return picture


def ranked(values: Tensor) -> Tensor:
    """Return each pixel's rank in [-1, 1]: the share of pixels that are weaker, with its sign.

    Where nothing is, the rank is 0; pixels of one strength have one rank.
    """
    strength = values.abs().flatten().contiguous()
    weaker = torch.searchsorted(strength.sort().values, strength).reshape(values.shape)
    return weaker / max(strength.numel() - 1, 1) * values.sign()
