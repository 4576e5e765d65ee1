"""A figure of reconstructions: images beside their photos, and the losses; without pyplot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pfv_widgets.validation import checked_columns

# in inches
_SIDE, _GAP, _EDGE, _HEAD, _NAME, _CURVE, _FOOT = 2.1, 0.1, 0.15, 0.4, 0.34, 0.7, 0.4
_NARROWEST = 4.2
_PER_INCH = 17  # letters of a name


def draw_reconstruction(
    tiles: np.ndarray,
    title: str,
    captions: Sequence[tuple[str, str]],
    losses: np.ndarray,
    columns: int | None = None,
) -> Figure:
    """Draw tiles ``(B, H, W, 3)`` with two lines below each, and the losses ``(B, steps)``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Unless ``columns`` is a whole number from 1, or None.
    """
    number, high, wide = tiles.shape[:3]
    tall, broad = _SIDE, _SIDE * wide / high
    columns = min(
        checked_columns(columns, "images") or math.ceil(math.sqrt(number * high / wide)), number
    )
    rows = math.ceil(number / columns)
    width = max(columns * (broad + _GAP) - _GAP + 2 * _EDGE, _NARROWEST)
    below = _HEAD + rows * (tall + _NAME + _GAP)
    height = below + _CURVE + _FOOT
    figure = Figure(figsize=(width, height))
    first = (width - columns * (broad + _GAP) + _GAP) / 2
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        lower = height - _HEAD - row * (tall + _NAME + _GAP) - tall
        left = first + column * (broad + _GAP)
        axis = figure.add_axes((left / width, lower / height, broad / width, tall / height))
        axis.imshow(tile, aspect="auto")
        axis.set_axis_off()
        for line, text in enumerate(_cut(captions[index], int(_PER_INCH * broad))):
            axis.text(0.5, -0.02 - line * 0.15 / tall, text, ha="center", va="top", size=7,
                      transform=axis.transAxes, parse_math=False)  # fmt: skip
    figure.suptitle(
        _plain(title, int(11 * width)), size=10, y=1 - 0.1 / height, va="top", parse_math=False
    )
    _draw_losses(figure, losses, height - below - _CURVE)
    return figure


def _cut(lines: tuple[str, str], most: int) -> list[str]:
    return [_plain(line, most) for line in lines]


def _draw_losses(figure: Figure, losses: np.ndarray, bottom: float) -> None:
    width, height = figure.get_size_inches()
    box = (0.6 / width, bottom / height, 1 - (0.6 + _EDGE) / width, _CURVE / height)
    axis = figure.add_axes(box)
    for row in losses:
        axis.plot(np.arange(1, len(row) + 1), row, lw=0.9)
    axis.tick_params(labelsize=6, length=2, pad=2)
    axis.set_xlabel("step", size=7, labelpad=1)
    axis.set_ylabel("loss", size=7, labelpad=2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.01)


def _plain(text: str, most: int) -> str:
    """Return one printable line of ASCII, Latin and Greek letters, cut to ``most`` characters."""
    kept = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(
        "".join(one if ord(one) < 0x2200 or one == "−" else "□" for one in kept).split()
    )
    return line if len(line) <= most else f"{line[: max(most - 1, 1)]}…"
