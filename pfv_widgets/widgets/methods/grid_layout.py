"""Where the pictures of a grid of methods stand on its canvas: geometry alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfv_widgets.widgets.toolkit.geometry import CanvasBox

WIDTH = 1280  # pixels of the canvas: about two for one of the page
LABEL = 258  # for the names of the rows
LINE = 40  # height of a line of words
GAP, BETWEEN = 12, 36  # between tiles, and between the images where each has several networks
_WIDEST = 420  # more would leave too few methods in sight


@dataclass(frozen=True)
class Layout:
    """Columns for each image and network, below a photo; a row for each method."""

    images: tuple[int, ...]  # indices of those on the page
    networks: int
    rows: int
    tile: tuple[int, int]  # height and width in pixels of the canvas

    @classmethod
    def of(
        cls, images: Sequence[int], networks: int, rows: int, size: tuple[int, int], across: int
    ) -> Layout:
        """Give as many tiles room as ``across`` says; ``size`` is that of the images."""
        groups = max(1, across // networks)
        columns = groups * networks
        between = (GAP if networks == 1 else BETWEEN) * (groups - 1)
        room = WIDTH - LABEL - between - GAP * groups * (networks - 1)
        width = min(room // columns, _WIDEST)
        high = max(8, round(width * min(size[0] / size[1], 3.0)))
        return cls(tuple(images), networks, rows, (high, width))

    @property
    def columns(self) -> list[tuple[int, int]]:
        """Image and network of each column."""
        return [(image, network) for image in self.images for network in range(self.networks)]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return max(self.top(self.rows) - GAP, 1), WIDTH

    def left(self, column: int) -> int:
        """Left edge of a column."""
        group, network = divmod(column, self.networks)
        between = BETWEEN if self.networks > 1 else GAP
        width = self.networks * (self.tile[1] + GAP) - GAP + between
        return LABEL + group * width + network * (self.tile[1] + GAP)

    def top(self, row: int) -> int:
        """Upper edge of a row."""
        return self._head + row * (self.tile[0] + GAP)

    def box(self, row: int, column: int) -> CanvasBox:
        """Box of a tile."""
        return self.left(column), self.top(row), self.tile[1], self.tile[0]

    def photo(self, group: int) -> CanvasBox:
        """Box of the photo above the columns of an image."""
        left, width = self.span(group)
        return left + (width - self.tile[1]) // 2, 0, self.tile[1], self.tile[0]

    def span(self, group: int) -> tuple[int, int]:
        """Left edge and width of the columns of an image."""
        first = self.left(group * self.networks)
        return first, self.left((group + 1) * self.networks - 1) + self.tile[1] - first

    def below(self, column: int) -> CanvasBox:
        """Box of the line of words below the photo."""
        return self.left(column), self.tile[0], self.tile[1], LINE

    @property
    def _head(self) -> int:
        return self.tile[0] + LINE + 4
