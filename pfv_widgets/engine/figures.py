"""Figures of frames: tiles and a legend, drawn without pyplot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.engine.colour import legend

if TYPE_CHECKING:
    from pfv_widgets.engine.frame import Frame

_TILE = 1.6  # inches
_MOST_NAME = 22  # characters that fit under a tile


def draw_frame(frame: Frame, columns: int | None = None) -> Figure:
    """Draw the tiles of a frame in a grid, and a colour ramp with its variance a component."""
    tiles = frame.composite()
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    width = max(columns * _TILE + 0.3, 4.6)
    ramps = min(len(frame.settings.shown), int(width // 1.5))
    lines = math.ceil(len(frame.settings.shown) / ramps)
    heights = [rows * (_TILE * tiles.shape[1] / tiles.shape[2] + 0.22) + 0.55, 0.42 * lines + 0.15]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=heights, squeeze=False).flat
    title = f"{frame.layer or 'activations'} · {frame.settings.weighting} weighting"
    upper.suptitle(title, size=10, parse_math=False)
    _draw_tiles(upper.subplots(rows, columns, squeeze=False).flat, tiles, frame.names)
    _draw_legend(lower.subplots(lines, ramps, squeeze=False).flat, frame)
    return figure


def _draw_tiles(axes: Iterable[Axes], tiles: np.ndarray, names: Sequence[str]) -> None:
    for index, axis in enumerate(axes):
        axis.set_axis_off()
        if index < len(tiles):
            axis.imshow(tiles[index])
            if names:
                name = _short(names[index])
                axis.set_title(name, size=6, y=-0.14, va="top", pad=0, parse_math=False)


def _draw_legend(axes: Iterable[Axes], frame: Frame) -> None:
    shown = frame.settings.shown
    ramps = legend(frame.settings.colour_map, len(shown)).numpy()
    ratios = frame.basis.explained_variance_ratio.tolist()
    for place, axis in enumerate(axes):
        if place >= len(shown):
            axis.set_axis_off()
            continue
        axis.imshow(ramps[place][None], aspect="auto", extent=(0, 1, 0, 1))
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_visible(False)
        share = 100 * ratios[shown[place]]
        axis.set_title(f"−  component {shown[place] + 1} ({share:.1f} %)  +", size=7, pad=2)


def _short(name: str) -> str:
    """Return a name as one line, cut to what fits."""
    line = " ".join(name.split())
    return line if len(line) <= _MOST_NAME else line[: _MOST_NAME - 1] + "…"
