"""Which value has which colour where maps stand beside each other: three scales, each honest.

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

from pfv_widgets.methods.attribution.figures import has_sign, painted
from pfv_widgets.methods.comparison.cells import Cell

SCALES = ("each map", "each method", "all alike")

MEANING = {
    "each map": "Each map has its own scale: colours compare the places of one picture.",
    "each method": (
        "One scale for each method: its colours compare pictures too. "
        "Methods have different units, so rows do not compare."
    ),
    "all alike": (
        "By rank: a colour says which share of the picture's own pixels is weaker. "
        "Places compare in all pictures; how strong they are is not shown."
    ),
}


@dataclass(frozen=True)
class Ink:
    """How a map is coloured.

    Attributes
    ----------
    end
        The value that has the last colour; None: colours are ranks.
    signed
        Whether what speaks against the unit has colours of its own.
    """

    end: float | None
    signed: bool


def inks(cells: Sequence[Cell | None], scale: str) -> list[Ink | None]:
    """Return how each cell of one method is coloured; None for PFV, errors and what is missing."""
    maps = [cell.map for cell in cells if cell is not None and cell.map is not None]
    signed = any(has_sign(one) for one in maps)
    end = max((cell.end for cell in cells if cell is not None), default=0.0)
    found: list[Ink | None] = []
    for cell in cells:
        if cell is None or cell.map is None:
            found.append(None)
        elif scale == "all alike":
            found.append(Ink(None, signed))
        else:
            found.append(Ink(end if scale == "each method" else cell.end, signed))
    return found


def coloured(cell: Cell, ink: Ink | None) -> np.ndarray | None:
    """Return the colours of a cell, float in [0, 1], ``(H, W, 3)``; None where it failed.

    A map of zeros has the one colour of nothing.
    """
    if cell.values is None:
        return None
    if ink is None or cell.map is None:
        return cell.values.clamp(0, 1).numpy()
    values, end = cell.map, ink.end
    if end is None:
        values, end = ranked(values), 1.0
    colours: np.ndarray = painted(values[None], torch.tensor([end]), ink.signed)[0]
    return colours


def ranked(values: Tensor) -> Tensor:
    """Return each pixel's rank in [-1, 1]: the share of pixels that are weaker, with its sign.

    Where nothing is, the rank is 0; pixels of one strength have one rank.
    """
    strength = values.abs().flatten().contiguous()
    weaker = torch.searchsorted(strength.sort().values, strength).reshape(values.shape)
    return weaker / max(strength.numel() - 1, 1) * values.sign()
