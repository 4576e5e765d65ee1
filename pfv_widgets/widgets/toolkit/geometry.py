"""Where the tiles of a page stand on the canvas: geometry alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pfv_widgets.engine.colouring.compositing import VIEWS

CanvasBox = tuple[float, float, float, float]  # left, top, width, height in pixels of the canvas

GAP = 12  # pixels of the canvas between tiles; divided evenly by every step of STEPS
STEPS = (6, 4, 3, 2, 1)  # a heatmap may be that many times smaller than its tile
STRIP = 24  # pixels of the canvas below a tile for its name, divided by STEPS as well
_LEGIBLE = 72  # pixels of the canvas that a tile has at least for a name below it
WIDE = 960  # pixels of the canvas for a full row: crisp on dense screens, quick to draw
_SCREEN = 2.2  # width to height of what a gallery across a screen has
_TALL = 4092  # pixels of the canvas that a tile may be high: browsers draw no endless canvas
_MOST_ON_A_ROW = 8  # tiles that a gallery starts with, at most
LEAST_WIDE = 700  # CSS pixels that a gallery may be wide, however low the window
_NAME_HIGH = 24  # CSS pixels of a row that are no picture
_HARDLY_SMALLER = 0.8


@dataclass(frozen=True)
class Spot:
    """A point of an image: its index, and fractions of its width and height in [0, 1]."""

    image: int
    x: float
    y: float


@dataclass(frozen=True)
class Grid:
    """Tiles in rows, of one size, with a gap between them, in pixels of the canvas."""

    number: int  # of tiles on the page
    columns: int
    tile: tuple[int, int]  # height and width
    strip: int = 0  # below each tile, for its name

    @classmethod
    def of(
        cls,
        number: int,
        size: tuple[int, int],
        columns: int | None = None,
        aspect: float = 1.0,
        *,
        named: bool = False,
    ) -> Grid:
        """Arrange ``number`` images of ``size`` (height, width); None: as square as it gets.

        A canvas of another ``aspect`` (width to height of its page) has as many pixels. Where
        they are ``named``, tiles that are wide enough have room for a name below them.
        """
        height, width = size
        columns = columns or square(number, size)
        across = (WIDE * math.sqrt(aspect) - GAP * (columns - 1)) / columns
        if columns == 1:
            across *= min(1, width / height)
        tile = _even(across, height / width)
        return cls(number, columns, tile, STRIP if named and tile[1] >= _LEGIBLE else 0)

    @property
    def rows(self) -> int:
        """Rows of the page."""
        return math.ceil(self.number / self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return self.rows * self._down - GAP, self.columns * self._across - GAP

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of a tile."""
        row, column = divmod(index, self.columns)
        return column * self._across, row * self._down

    def box(self, index: int) -> CanvasBox:
        """Box of a tile."""
        return (*self.corner(index), self.tile[1], self.tile[0])

    def name_box(self, index: int) -> CanvasBox:
        """Box below a tile, for its name."""
        left, top = self.corner(index)
        return left, top + self.tile[0], self.tile[1], self.strip

    def panes(self, index: int, view: str) -> list[CanvasBox]:
        """Boxes within a tile that each show the image once."""
        across, down = VIEWS[view].sides
        left, top, width, height = self.box(index)
        width, height = width / across, height / down
        return [
            (left + column * width, top + row * height, width, height)
            for row in range(down)
            for column in range(across)
        ]

    def gaps(self) -> list[CanvasBox]:
        """Boxes of the canvas that belong to no tile."""
        high, wide = self.size
        down, across, below = self._down, self._across, self.strip + GAP
        strips: list[CanvasBox] = [(c * across - GAP, 0, GAP, high) for c in range(1, self.columns)]
        strips += [(0, r * down - below, wide, below) for r in range(1, self.rows)]
        if self.strip:
            strips.append((0, high - self.strip, wide, self.strip))
        empty = self.rows * self.columns - self.number
        if empty:
            left, top = self.corner(self.number)
            strips.append((left, top, wide - left, self.tile[0]))
        return strips

    def at(self, x: float, y: float, view: str = "overlay") -> tuple[int, float, float] | None:
        """Tile at a point of the canvas, and the fractions of its image; None beside the tiles."""
        column, left = divmod(x, self._across)
        row, top = divmod(y, self._down)
        index = int(row * self.columns + column)
        height, width = self.tile
        on_tile = left < width and top < height and 0 <= column < self.columns
        if not on_tile or not 0 <= index < self.number:
            return None
        across, down = VIEWS[view].sides
        return index, left * across / width % 1.0, top * down / height % 1.0

    def step(self, width: float) -> int:
        """How many times smaller than its tile a heatmap is that is ``width`` pixels wide."""
        return next((step for step in STEPS if self.tile[1] / step >= width), 1)

    def atlas(self, tiles: np.ndarray) -> np.ndarray:
        """Lay tiles ``(N, h, w, 3)`` out as on the canvas, or that many times smaller.

        The gaps are filled with the edges of the tiles, so that nothing bleeds in when the
        browser enlarges the atlas.
        """
        pad, below = (side * tiles.shape[2] // self.tile[1] for side in (GAP, GAP + self.strip))
        half = pad // 2
        tiles = np.pad(tiles, ((0, 0), (half, below - half), (half, pad - half), (0, 0)), "edge")
        empty = self.rows * self.columns - len(tiles)
        tiles = np.pad(tiles, ((0, empty), (0, 0), (0, 0), (0, 0)))
        _, height, width, _ = tiles.shape
        laid = tiles.reshape(self.rows, self.columns, height, width, 3).swapaxes(1, 2)
        return laid.reshape(self.rows * height, self.columns * width, 3)

    @property
    def _across(self) -> int:
        """From one tile of a row to the next."""
        return self.tile[1] + GAP

    @property
    def _down(self) -> int:
        """From one row to the next."""
        return self.tile[0] + self.strip + GAP


@dataclass(frozen=True)
class Page:
    """Which images are on show: as many as fit from ``first``, ``columns`` in a row.

    ``anchor`` is the image that a page was chosen for: through pages of every size it stays.
    ``aspect`` is about how many times as wide as high it is. ``order`` has the images that are
    shown at all, in their order; None: all of them, as they came. ``first`` counts in it.
    ``named``: there is room for a name below each. ``fitted`` columns show all images in few
    rows, over the width of a window; 0: no number does so better than a square.
    """

    first: int
    columns: int
    anchor: int | None = field(default=None, compare=False)
    aspect: float = 1.0
    order: tuple[int, ...] | None = None
    named: bool = True
    fitted: int = 0

    @classmethod
    def start(cls, number: int, size: tuple[int, int]) -> Page:
        """Return the first page of ``number`` images of ``size`` (height, width)."""
        columns = max(square(number, size), 2)  # a single one would show one image alone
        return cls(0, min(columns, number, _MOST_ON_A_ROW))

    def indices(self, number: int, size: tuple[int, int]) -> Sequence[int]:
        """Images of the page; the last one begins earlier, so that it is as full as the others."""
        ranks = self.ranks(number, size)
        return ranks if self.order is None else self.order[ranks.start : ranks.stop]

    def ranks(self, number: int, size: tuple[int, int]) -> range:
        """Return which of the images that are shown at all are on the page, counted from 0."""
        capacity, count = self.capacity(size), self.count(number)
        first = min(self.first, max(0, count - capacity))
        return range(first, min(count, first + capacity))

    def count(self, number: int) -> int:
        """Return how many of ``number`` images are shown at all."""
        return number if self.order is None else len(self.order)

    def image(self, rank: int) -> int:
        """Return the image at a rank of the order."""
        return rank if self.order is None else self.order[min(rank, len(self.order) - 1)]

    def rank(self, image: int) -> int:
        """Return the rank of an image; 0 where it is not shown."""
        if self.order is None:
            return image
        return self.order.index(image) if image in self.order else 0

    def capacity(self, size: tuple[int, int]) -> int:
        """Most tiles on a page."""
        if self.columns == 1:
            return 1
        return self.columns * max(1, round(self.columns * size[1] / size[0] / self.aspect))

    def fitting(self, number: int, size: tuple[int, int], room: tuple[float, float]) -> Page:
        """Return the page in more columns where these make the images larger, or fit a window.

        Tiles become hardly smaller by that, if at all, and a row with gaps counts as smaller ones.
        ``room`` is the width and height in CSS pixels that the gallery may have.
        """
        ratio, (wide, high) = size[1] / size[0], room

        def tile(columns: int) -> float:
            rows = math.ceil(number / columns)
            return min(wide / columns, (high / rows - _NAME_HIGH) * ratio)

        def filled(columns: int) -> float:
            return number / (columns * math.ceil(number / columns))

        now = self.columns
        shape = now * ratio / math.ceil(number / now)
        width = min(wide, max(LEAST_WIDE, high * shape)) / now
        most = range(now + 1, min(number, 2 * _MOST_ON_A_ROW) + 1)
        best = max(most, key=lambda one: tile(one) * filled(one) ** 3, default=now)
        all_there = number <= self.capacity(size)
        fits = math.ceil(number / now) * (width / ratio + _NAME_HIGH) <= high
        least = width * (1 if fits else _HARDLY_SMALLER)
        if not all_there or best == now or tile(best) < least:
            return self
        return replace(self, columns=best, fitted=best)

    def across(self, number: int, size: tuple[int, int]) -> Page:
        """Return a page over the whole width of a screen, on which the tiles are largest."""
        ratio, number = size[1] / size[0], self.count(number)

        def tile(columns: int) -> float:
            return min(_SCREEN / columns, ratio / math.ceil(number / columns))

        most = 2 * _MOST_ON_A_ROW
        columns = max(range(1, min(number, most) + 1), key=tile)
        rows = min(math.ceil(number / columns), max(1, round(most * ratio / _SCREEN)))
        return replace(self, first=0, columns=columns, aspect=columns * ratio / rows)

    def holding(self, index: int, size: tuple[int, int]) -> Page:
        """Return the page of as many columns that shows an image."""
        capacity = self.capacity(size)
        return replace(self, first=self.rank(index) // capacity * capacity, anchor=index)


def square(number: int, size: tuple[int, int]) -> int:
    """Columns of a grid of ``number`` tiles of ``size`` that is as square as it gets."""
    return min(number, max(1, math.ceil(math.sqrt(number * size[0] / size[1]))))


def _even(across: float, ratio: float) -> tuple[int, int]:
    """Height and width near ``across`` that GAP divides, with the best of ratios nearby."""
    most = max(1, int(across // GAP))
    candidates = [
        (max(1, min(round(columns * ratio), _TALL // GAP)), columns)
        for columns in range(most, max(1, most - 2) - 1, -1)
    ]
    rows, columns = min(candidates, key=lambda one: abs(one[0] / one[1] / ratio - 1))
    return rows * GAP, columns * GAP
