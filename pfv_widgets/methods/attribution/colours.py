"""Maps as colours: where a map's colours end, and the two colour scales."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

_SHARE = 0.995  # of the pixels that are not clipped
_MOST = 2**18  # pixels of one image that this quantile is taken of
COLOUR_MAPS = {False: "magma", True: "RdBu_r"}


def has_sign(maps: Tensor) -> bool:
    """Whether maps speak for and against: whether any value is negative."""
    return bool((maps < 0).any())


def limits(maps: Tensor) -> Tensor:
    """Return the value ``(N,)`` at which each map's colours end: 99.5 % of its pixels lie below.

    A map whose few pixels above zero are fewer than that ends at its largest value.
    """
    flat = maps.detach().float().abs().flatten(1)
    some = flat[:, :: math.ceil(flat.shape[1] / _MOST)]
    top = torch.quantile(some, _SHARE, dim=1)
    return torch.where(top > 0, top, flat.amax(1))


def heatmap_colours(
    maps: Tensor, ends: Tensor | None = None, signed: bool | None = None
) -> np.ndarray:
    """Return maps ``(N, H, W)`` as colours, float in [0, 1], ``(N, H, W, 3)``.

    Parameters
    ----------
    maps
        Never negative: from black over red to light yellow. With a sign: blue speaks against the
        unit, red for it, white is nothing.
    ends
        Value ``(N,)`` of each map that has the last colour; None: :func:`limits`.
    signed
        Which of the two scales; None: by the values.
    """
    signed = has_sign(maps) if signed is None else signed
    ends = (limits(maps) if ends is None else ends)[:, None, None]
    level = (maps.float() / torch.where(ends > 0, ends, torch.ones_like(ends))).numpy()
    level = (level + 1) / 2 if signed else level
    colours: np.ndarray = mpl.colormaps[COLOUR_MAPS[signed]](np.clip(level, 0, 1))[..., :3]
    return colours


def ramp(signed: bool) -> np.ndarray:
    """Return the colours of a bar ``(65, 3)`` in [0, 1]; zero is the middle one of a signed bar."""
    colours: np.ndarray = mpl.colormaps[COLOUR_MAPS[signed]](np.linspace(0, 1, 65))[:, :3]
    return colours
