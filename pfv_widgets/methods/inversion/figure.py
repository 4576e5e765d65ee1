"""Reconstructions on a figure: pictures, their photos, and how the losses fell; without pyplot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from pfv_widgets.validation import checked_columns

if TYPE_CHECKING:
    from pfv_widgets.methods.inversion.reconstruction import Reconstruction

# in inches
_SIDE, _GAP, _EDGE, _HEAD, _NAME, _CURVE, _FOOT = 2.1, 0.1, 0.15, 0.4, 0.34, 0.7, 0.4
_NARROWEST = 4.2
_PER_INCH = 17  # letters of a name


def draw_reconstruction(made: Reconstruction, columns: int | None = None) -> Figure:
    """Draw each picture, its photo to the left where there is one, and the losses below.

    Raises
    ------
    PFVValueError, PFVTypeError
        Unless ``columns`` is a whole number from 1, or None.
    """
    tiles = made.pixels
    if made.originals is not None:
        tiles = np.concatenate([made.originals, tiles], axis=2)
    number, high, wide = tiles.shape[:3]
    tall, broad = _SIDE, _SIDE * wide / high
    columns = min(
        checked_columns(columns, "pictures") or math.ceil(math.sqrt(number * high / wide)), number
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
        for line, text in enumerate(_lines(made, index, int(_PER_INCH * broad))):
            axis.text(0.5, -0.02 - line * 0.15 / tall, text, ha="center", va="top", size=7,
                      transform=axis.transAxes, parse_math=False)  # fmt: skip
    title = _title(made, int(11 * width))
    figure.suptitle(title, size=10, y=1 - 0.1 / height, va="top", parse_math=False)
    _draw_losses(figure, made, height - below - _CURVE)
    return figure


def _title(made: Reconstruction, room: int) -> str:
    what = "photo and reconstruction" if made.originals is not None else "made by the network"
    return _plain(f"{what} · {made.layer or 'output'}", room)


def _lines(made: Reconstruction, index: int, room: int) -> tuple[str, str]:
    runs = made.options.runs
    run = f", run {index % runs + 1}" if runs > 1 else ""
    value = float(made.scores[index])
    score = f"{made.scored} {value:.4g}".replace("-", "−")
    return _plain(made.names[index], room - len(run)) + run, score


def _draw_losses(figure: Figure, made: Reconstruction, bottom: float) -> None:
    width, height = figure.get_size_inches()
    box = (0.6 / width, bottom / height, 1 - (0.6 + _EDGE) / width, _CURVE / height)
    axis = figure.add_axes(box)
    for losses in made.losses.numpy():
        axis.plot(np.arange(1, len(losses) + 1), losses, lw=0.9)
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
