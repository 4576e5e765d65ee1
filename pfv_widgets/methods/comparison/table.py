"""Tables of pictures: equal tiles, headings above, words below, a bar of each colour scale."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.engine.export.figure_table import fitting

# in inches
_LONGEST, _GAP, _EDGE = 1.5, 0.08, 0.15
_TITLE, _HEAD, _BELOW, _LABEL, _FOOT = 0.36, 0.22, 0.2, 1.1, 0.5
_BAR = 2.2
_SMALL, _PLAIN, _LARGE = 6.5, 8.0, 10.0  # points
_MUTED = "#666666"


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with the words below it, or words in its place.

    Attributes
    ----------
    picture
        ``(H, W, 3)``, float in [0, 1] or uint8; None: an empty frame.
    below
        One line below it.
    note
        Words upon it, such as why it is empty.
    """

    picture: np.ndarray | None = None
    below: str = ""
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A ramp of colours: name of matplotlib's colour map, and what stands at its ends."""

    colours: str
    low: str
    high: str


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of tiles of one size.

    Attributes
    ----------
    rows
        Tiles of each row, as many in each.
    headings
        Above the columns.
    labels
        Beside the rows; none: no room is kept.
    size
        Height and width of the images in pixels.
    """

    title: str
    rows: Sequence[Sequence[Tile]]
    headings: Sequence[str]
    size: tuple[int, int]
    labels: Sequence[str] = ()
    bars: Sequence[Bar] = ()
    caption: str = ""


def draw_table(table: Table) -> Figure:
    """Draw a table, each thing placed by the inch, without pyplot."""
    return _Drawn(table).figure


class _Drawn:
    def __init__(self, table: Table) -> None:
        self.table = table
        high, wide = (side * _LONGEST / max(table.size) for side in table.size)
        self.tile = max(high, 0.3), max(wide, 0.3)
        self.label = _LABEL if table.labels else 0.0
        columns = len(table.headings)
        worded = any(tile.below for row in table.rows for tile in row)
        self.pitch = self.tile[0] + (_BELOW if worded else _GAP), self.tile[1] + _GAP
        inner = self.label + columns * self.pitch[1] - _GAP
        self.width = max(inner, len(table.bars) * (_BAR + 0.3), 4.0) + 2 * _EDGE
        self.left = (self.width - inner) / 2 + self.label
        self.top = _TITLE + _HEAD
        self.caption = textwrap.wrap(table.caption, int((self.width - 2 * _EDGE) * 17))
        self.foot = (_FOOT if table.bars else 0.0) + 0.13 * len(self.caption)
        self.height = self.top + len(table.rows) * self.pitch[0] + self.foot + _EDGE
        self.figure = Figure(figsize=(self.width, self.height))
        self._write(_EDGE, 0.22, table.title, _LARGE, self.width - 2 * _EDGE, ha="left")
        for column, heading in enumerate(table.headings):
            middle = self.left + column * self.pitch[1] + self.tile[1] / 2
            self._write(middle, self.top - 0.07, heading, _PLAIN, self.tile[1])
        for row, tiles in enumerate(table.rows):
            self._draw_row(row, tiles)
        self._draw_foot()

    def _draw_row(self, row: int, tiles: Sequence[Tile]) -> None:
        top = self.top + row * self.pitch[0]
        if self.table.labels:
            lines = textwrap.wrap(self.table.labels[row], 16)[:3]
            first = top + self.tile[0] / 2 + 0.04 - 0.14 * (len(lines) - 1) / 2
            for number, words in enumerate(lines):
                self._write(
                    self.left - 0.08, first + 0.14 * number, words, _PLAIN, self.label - 0.1,
                    ha="right",
                )  # fmt: skip
        for column, tile in enumerate(tiles):
            left = self.left + column * self.pitch[1]
            middle, room = left + self.tile[1] / 2, self.tile[1]
            axis = self._axes(left, top, self.tile[1], self.tile[0])
            if tile.picture is not None:
                axis.imshow(tile.picture, aspect="auto", interpolation="antialiased")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(color="#bbbbbb", linewidth=0.5, visible=tile.picture is None)
            if tile.note:
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
                lines = textwrap.wrap(tile.note, int(room * 17))[:6]
                first = top + self.tile[0] / 2 + 0.04 - 0.11 * (len(lines) - 1) / 2
                for number, line in enumerate(lines):
                    self._write(middle, first + 0.11 * number, line, _SMALL, room - 0.1, bbox=box)
            if tile.below:
                self._write(middle, top + self.tile[0] + 0.13, tile.below, _SMALL, room)

    def _draw_foot(self) -> None:
        top = self.height - self.foot - _EDGE
        start = (self.width - len(self.table.bars) * (_BAR + 0.3) + 0.3) / 2
        for place, bar in enumerate(self.table.bars):
            left = start + place * (_BAR + 0.3)
            axis = self._axes(left, top + 0.28, _BAR, 0.1)
            ramp = mpl.colormaps[bar.colours](np.linspace(0, 1, 64))[None, :, :3]
            axis.imshow(ramp, aspect="auto", extent=(0, 1, 0, 1), interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            self._write(left, top + 0.22, bar.low, _SMALL, _BAR / 2, ha="left")
            self._write(left + _BAR, top + 0.22, bar.high, _SMALL, _BAR, ha="right")
        for line, words in enumerate(reversed(self.caption)):
            self._write(
                self.width / 2, self.height - _EDGE + 0.02 - 0.13 * line, words, _SMALL,
                self.width - 2 * _EDGE, color=_MUTED,
            )  # fmt: skip

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        lower = 1 - (top + height) / self.height
        return self.figure.add_axes(
            (left / self.width, lower, width / self.width, height / self.height)
        )

    def _write(
        self, x: float, y: float, words: str, size: float, room: float, **style: Any
    ) -> None:
        """Write one line with its foot at ``y`` inches from above, cut to ``room`` inches."""
        given: dict[str, Any] = {"ha": "center", "va": "baseline", **style}
        line = fitting(words, 72 * room, size)
        self.figure.text(
            x / self.width, 1 - y / self.height, line, size=size, parse_math=False, **given
        )
