"""Where small square pictures of a batch stand, in rows that may be scrolled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH = 540  # pixels of the canvas: twice those of the page, so that it is crisp
TRACK = 20  # pixels of the canvas beside the rows that are scrolled
BAR = 8  # pixels of the canvas: height of a bar, and of the space between tiles
_TALLEST = 464  # pixels of the canvas; more rows are scrolled


@dataclass(frozen=True)
class ThumbnailGrid:
    """Where each thumbnail stands on a grid of which a part is seen; pixels of the canvas."""

    number: int
    columns: int
    cell: int
    visible: int

    @classmethod
    def of(cls, number: int) -> ThumbnailGrid:
        """Arrange ``number`` thumbnails: the larger, the fewer they are."""
        for columns in (6, 9, 10):
            cell = WIDTH // columns
            height = math.ceil(number / columns) * (cell + BAR + 4)
            if height <= _TALLEST:
                return cls(number, columns, cell, height)
        return cls(number, 10, (WIDTH - TRACK) // 10, _TALLEST)

    @property
    def side(self) -> int:
        """Height and width of a thumbnail."""
        return self.cell - BAR

    @property
    def row(self) -> int:
        """Distance from one row to the next: thumbnail, bar and the space around it."""
        return self.cell + BAR + 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole grid."""
        return math.ceil(self.number / self.columns) * self.row, self.columns * self.cell

    @property
    def furthest(self) -> int:
        """How far it can be scrolled."""
        return max(0, self.size[0] - self.visible)

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of a thumbnail."""
        row, column = divmod(index, self.columns)
        return column * self.cell + BAR // 2, row * self.row + 4

    def at(self, x: float, y: float) -> int | None:
        """Index of the thumbnail, with its bar, at a point; None where there is none."""
        column, row = math.floor(x / self.cell), math.floor(y / self.row)
        index = row * self.columns + column
        return index if 0 <= column < self.columns and 0 <= index < self.number else None

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """Lay the middle squares of photos ``(N, H, W, 3)`` out on the whole grid."""
        grid = np.full((*self.size, 3), 128, np.uint8)
        for index, photo in enumerate(pixels):
            left, top = self.corner(index)
            grid[top : top + self.side, left : left + self.side] = _square(photo, self.side)
        return grid


def _square(photo: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a photo, ``(side, side, 3)``."""
    height, width = photo.shape[:2]
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    middle = Image.fromarray(np.ascontiguousarray(photo[top : top + length, left : left + length]))
    return np.asarray(middle.resize((side, side), Image.Resampling.LANCZOS))
