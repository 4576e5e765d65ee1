"""Attributions as pictures: colours on one scale an image, and a figure, drawn without pyplot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pfv_widgets.validation import checked_columns

if TYPE_CHECKING:
    from pfv_widgets.methods.attribution.attribute import Attribution

_TOP = 0.995  # share of the pixels that are not clipped
_MOST = 2**18  # pixels of one image that are looked at for that
COLOUR_MAPS = {False: "magma", True: "RdBu_r"}
# in inches
_SIDE, _GAP, _EDGE, _HEAD, _NAME, _FOOT = 1.7, 0.1, 0.15, 0.4, 0.2, 0.5


def has_sign(maps: Tensor) -> bool:
    """Whether maps speak for and against: whether any value is negative."""
    return bool((maps < 0).any())


def limits(maps: Tensor) -> Tensor:
    """Return the value ``(N,)`` at which each map's colours end: 99.5 % of its pixels lie below.

    A map whose few pixels above zero are fewer than that ends at its largest value.
    """
    flat = maps.detach().float().abs().flatten(1)
    some = flat[:, :: math.ceil(flat.shape[1] / _MOST)]
    top = torch.quantile(some, _TOP, dim=1)
    return torch.where(top > 0, top, flat.amax(1))


def painted(maps: Tensor, ends: Tensor | None = None, signed: bool | None = None) -> np.ndarray:
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


def draw_attribution(attribution: Attribution, columns: int | None = None) -> Figure:
    """Draw each photo beside its map, and a bar of the colours.

    Raises
    ------
    PFVValueError, PFVTypeError
        Unless ``columns`` is a whole number from 1, or None.
    """
    tiles = painted(attribution.maps)
    if attribution.pixels is not None:
        tiles = np.concatenate([attribution.pixels / 255, tiles], axis=2)
    number, high, wide = tiles.shape[:3]
    square = math.ceil(math.sqrt(number * high / wide))
    columns = min(checked_columns(columns, "pairs") or square, number)
    rows = math.ceil(number / columns)
    tall = _SIDE
    broad = tall * wide / high
    width = max(columns * (broad + _GAP) - _GAP + 2 * _EDGE, 4.0)
    height = _HEAD + rows * (tall + _NAME + _GAP) + _FOOT
    figure = Figure(figsize=(width, height))
    first = (width - columns * (broad + _GAP) + _GAP) / 2
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        lower = height - _HEAD - row * (tall + _NAME + _GAP) - tall
        left = first + column * (broad + _GAP)
        axis = figure.add_axes((left / width, lower / height, broad / width, tall / height))
        axis.imshow(tile, aspect="auto")
        axis.set_axis_off()
        unit, score = int(attribution.units[index]), float(attribution.scores[index])
        name = attribution.names[index] if attribution.names else f"image {index + 1}"
        label = f"{_plain(name, int(22 * broad / tall))} · unit {unit}, score {score:.3g}"
        axis.text(0.5, -0.03, label, ha="center", va="top", size=6, transform=axis.transAxes,
                  parse_math=False)  # fmt: skip
    where = attribution.target.layer or "output"
    figure.suptitle(_plain(f"{attribution.method} of {where}", int(width * 14)), size=10,
                    y=1 - 0.1 / height, va="top", parse_math=False)  # fmt: skip
    _draw_bar(figure, has_sign(attribution.maps))
    return figure


def _draw_bar(figure: Figure, signed: bool) -> None:
    width, height = figure.get_size_inches()
    axis = figure.add_axes((0.5 - 1.2 / width, 0.12 / height, 2.4 / width, 0.1 / height))
    ramp = mpl.colormaps[COLOUR_MAPS[signed]](np.linspace(0, 1, 64))[None, :, :3]
    axis.imshow(ramp, aspect="auto", extent=(0, 1, 0, 1), interpolation="bilinear")
    axis.set(xticks=[], yticks=[])
    ends = "−  against      for the unit  +" if signed else "0      each image's strongest pixels"
    axis.set_title(ends, size=7, pad=3)


def _plain(text: str, most: int) -> str:
    """Return one printable line of ASCII and Latin letters, cut to ``most`` characters."""
    kept = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join("".join(one if ord(one) < 0x250 else "□" for one in kept).split())
    return line if len(line) <= most else f"{line[: max(most - 1, 1)]}…"
