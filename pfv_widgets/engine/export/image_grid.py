"""Grids of images with words around them, in inches: what every figure is drawn with."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.gridspec import GridSpec, SubplotSpec
from matplotlib.textpath import text_to_path

from pfv_widgets.engine.export.notebook_figure import NotebookFigure

SMALL, PLAIN, LARGE = 6.5, 7.5, 10.0  # points
NO_BREAK = "\N{NO-BREAK SPACE}"
# in inches
_NARROWEST = 4.6
_EDGE, _GAP, _TITLE, _LABELS = 0.15, 0.1, 0.3, 1.1
_CELL = 0.8  # of words below a narrow tile
_BAR, _BAR_WORDS, _BAR_SHORTEST, _BAR_LONGEST = 0.18, 0.22, 1.4, 3.0
_BAR_GAP = 0.3
_ABOVE_PLOT, _BELOW_PLOT = 0.15, 0.4  # room for its words
_BESIDE_PLOT = 0.45  # for the labels on its left
_PER_INCH = 17  # letters of small print
_ASCENT = 0.76  # of the font's tall letters, in sizes
_LEADING = 1.25  # height of a line in sizes of its letters
_HINTED = 1.08  # letters set on whole pixels take that much more room
_MUTED = "#666666"
_MOST_LINES, _HEADING_LINES, _LABEL_LINES = 6, 3, 5  # of a note, a heading, a row's label


@dataclass(frozen=True)
class Ring:
    """A ring on a tile: x and y as fractions of its width and height, y from above."""

    x: float
    y: float
    colour: str


@dataclass(frozen=True, eq=False)
class Tile:
    """One cell of a grid.

    Attributes
    ----------
    picture
        ``(H, W, 3)``, float in [0, 1] or uint8; None: an empty frame.
    below
        Lines below it; the middle is cut of those that are wider than the tile: names of files
        often differ at their ends.
    note
        Words upon it, such as why it is empty.
    rings
        Marks upon it.
    draw
        Draws on the axes instead of a picture, such as bars.
    """

    picture: np.ndarray | None = None
    below: tuple[str, ...] = ()
    note: str = ""
    rings: tuple[Ring, ...] = ()
    draw: Callable[[Axes], None] | None = None


@dataclass(frozen=True, eq=False)
class Bar:
    """A ramp of colours ``(steps, 3)`` in [0, 1] with words above its middle and its ends."""

    ramp: np.ndarray
    label: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True, eq=False)
class ImageGrid:
    """Tiles row by row with words around them.

    Attributes
    ----------
    title
        One line above; its middle is cut where it is too long, never ``subtitle``, which
        follows it.
    tiles
        Row by row; the last row may be shorter.
    columns
        How many tiles a row has.
    size
        Width and height of a tile in inches.
    headings
        Above the columns, in up to three lines.
    labels
        Beside the rows.
    widths
        Of the columns in inches; none: all as wide as a tile.
    bars
        Colour bars below the tiles.
    plot
        Draws on axes of this height in inches below the tiles.
    caption
        Small print at the foot.
    """

    title: str
    tiles: Sequence[Tile]
    columns: int
    size: tuple[float, float]
    subtitle: str = ""
    headings: Sequence[str] = ()
    labels: Sequence[str] = ()
    widths: Sequence[float] = ()
    bars: Sequence[Bar] = ()
    plot: tuple[float, Callable[[Axes], None]] | None = None
    caption: str = ""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return math.ceil(len(self.tiles) / self.columns)


def draw_image_grid(grid: ImageGrid) -> Figure:
    """Draw a grid; all tiles have exactly the size that it asks for."""
    return _Drawing(grid).figure


def tile_size(
    picture: Sequence[int], rows: int, columns: float, *, smallest: float = 1.6, largest: float = 4
) -> tuple[float, float]:
    """Width and height in inches of tiles ``(H, W)``: few ones grow until they fill a page."""
    height, width = picture[:2]
    side = min(largest, max(smallest, 6.6 / max(columns, rows)))
    return side * min(1, width / height), side * min(1, height / width)


class _Drawing:
    """A figure whose grid has a row or column of its own for all that takes room, in inches."""

    def __init__(self, grid: ImageGrid) -> None:
        self.grid = grid
        self.widths = list(grid.widths) or [max(grid.size[0], _CELL)] * grid.columns
        across = self._across()
        self.inner = sum(across) - 2 * _EDGE
        self.caption = textwrap.wrap(grid.caption, int(self.inner * _PER_INCH))
        self.headings = [
            _wrapped(words, width, PLAIN, _HEADING_LINES)
            for words, width in zip(grid.headings, self.widths, strict=False)
        ]
        self.abreast = max(1, min(len(grid.bars), int(self.inner // _BAR_SHORTEST)))
        down = self._down()
        self.figure = NotebookFigure(figsize=(sum(across), sum(down)))
        self.spec = GridSpec(len(down), len(across), self.figure, 0, 0, 1, 1, 0, 0, across, down)
        self._write_title()
        self._draw_tiles()
        self._draw_foot()

    def _across(self) -> list[float]:
        """Widths: the edge, the labels, each column and the gap behind it, the edge."""
        labels = _LABELS if self.grid.labels else 0.0
        columns = [width for one in self.widths for width in (one, _GAP)][:-1]
        slack = max(0.0, _NARROWEST - 2 * _EDGE - labels - sum(columns)) / 2
        return [_EDGE + slack, labels, *columns, _EDGE + slack]

    def _down(self) -> list[float]:
        """Heights: title, headings, each row and what is below it, bars, plot, caption, edge."""
        grid = self.grid
        below = _lines(max((len(tile.below) for tile in grid.tiles), default=0), SMALL)
        rows = [height for _ in range(grid.rows) for height in (grid.size[1], below + _GAP)]
        lines = math.ceil(len(grid.bars) / self.abreast)
        bars = [height for _ in range(lines) for height in (_BAR_WORDS, _BAR)]
        plot = [_ABOVE_PLOT, grid.plot[0], _BELOW_PLOT] if grid.plot else []
        caption = _lines(len(self.caption), SMALL)
        headings = _lines(max(map(len, self.headings), default=0), PLAIN)
        return [_EDGE + _TITLE, headings, *rows, *bars, *plot, caption, _EDGE]

    def _write_title(self) -> None:
        rest = self.grid.subtitle
        room = 72 * self.inner - points(rest, LARGE)
        words = fitting(self.grid.title, room, LARGE, middle=True) + rest
        above = 1 - _EDGE / self.figure.get_figheight()
        self.figure.suptitle(words, size=LARGE, y=above, va="top", parse_math=False)

    def _draw_tiles(self) -> None:
        grid = self.grid
        for index, tile in enumerate(grid.tiles):
            row, column = divmod(index, grid.columns)
            width = self.widths[column]
            axis = self._axes(self.spec[2 + 2 * row, 2 + 2 * column])
            if row == 0 and self.headings:
                heading = "\n".join(self.headings[column])
                axis.set_title(heading, size=PLAIN, pad=3, parse_math=False)
            if column == 0 and grid.labels:
                fits = int(grid.size[1] / _lines(1, PLAIN))
                _write_label(axis, grid.labels[row], max(1, min(fits, _LABEL_LINES)))
            _draw_tile(axis, tile, width)

    def _draw_foot(self) -> None:
        grid, start = self.grid, 2 + 2 * self.grid.rows
        length = min(_BAR_LONGEST, (self.inner + _BAR_GAP) / self.abreast - _BAR_GAP)
        fits = all(points(bar.label, PLAIN) <= 72 * length for bar in grid.bars)
        size = PLAIN if fits else SMALL
        for index, bar in enumerate(grid.bars):
            line, column = divmod(index, self.abreast)
            side = (self.figure.get_figwidth() - self.abreast * (length + _BAR_GAP) + _BAR_GAP) / 2
            bars = [length, _BAR_GAP] * self.abreast
            parts = [side, *bars[:-1], side]
            row = self.spec[start + 2 * line + 1, :].subgridspec(
                1, len(parts), wspace=0, width_ratios=parts
            )
            axis = self._axes(row[1 + 2 * column])
            box = (0, 1, 0, 1)
            axis.imshow(bar.ramp[None], aspect="auto", extent=box, interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            for words, at in ((bar.low, "left"), (bar.label, "center"), (bar.high, "right")):
                axis.set_title(words, loc=at, size=size, pad=2, parse_math=False)  # type: ignore[arg-type] # one of three
        if grid.plot:
            widths = _BESIDE_PLOT, self.inner - _BESIDE_PLOT
            row = self.spec[-4, 1:-1].subgridspec(1, 2, wspace=0, width_ratios=widths)
            grid.plot[1](self._axes(row[1]))
        self.figure.text(
            0.5, _EDGE / self.figure.get_figheight(), "\n".join(self.caption), size=SMALL,
            color=_MUTED, ha="center", va="bottom", parse_math=False, linespacing=_LEADING,
        )  # fmt: skip

    def _axes(self, where: SubplotSpec) -> Axes:
        return self.figure.add_subplot(where)


def _lines(number: int, size: float) -> float:
    """Height of lines in inches, with a little room above them."""
    return number * _LEADING * size / 72 + (0.05 if number else 0)


def _draw_tile(axis: Axes, tile: Tile, width: float) -> None:
    if tile.draw is not None:
        tile.draw(axis)
        return
    axis.set(xticks=[], yticks=[])
    if tile.picture is not None:
        axis.imshow(tile.picture, interpolation="antialiased")
    axis.spines[:].set(color="#bbbbbb", linewidth=0.5, visible=tile.picture is None)
    for ring in tile.rings:
        _draw_ring(axis, ring)
    if tile.note:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        words = "\n".join(_wrapped(tile.note, width, SMALL, _MOST_LINES))
        axis.text(
            0.5, 0.5, words, size=SMALL, ha="center", va="center", bbox=box, parse_math=False,
            transform=axis.transAxes,
        )  # fmt: skip
    if tile.below:
        lines = [fitting(line, 72 * width, SMALL, middle=True) for line in tile.below]
        single = len(lines) == 1  # stands on its baseline: the top is that of its own letters
        axis.set_xlabel(
            "\n".join(lines), size=SMALL, labelpad=2 + single * _ASCENT * SMALL, parse_math=False,
            linespacing=_LEADING, va="baseline" if single else "top",
        )  # fmt: skip


def _draw_ring(axis: Axes, ring: Ring) -> None:
    for edge, width in (("black", 3.2), ("white", 2.4), (ring.colour, 1.6)):
        axis.plot(
            ring.x, 1 - ring.y, "o", transform=axis.transAxes, ms=7, mfc="none", mec=edge,
            mew=width, clip_on=False,
        )  # fmt: skip


def _write_label(axis: Axes, label: str, most: int) -> None:
    lines = _wrapped(label, _LABELS - 0.1, PLAIN, most)
    axis.set_ylabel(
        "\n".join(lines), size=PLAIN, rotation=0, ha="right", va="center", labelpad=4,
        parse_math=False,
    )  # fmt: skip


def _wrapped(text: str, width: float, size: float, most: int) -> list[str]:
    """Return lines of ``width`` inches; the last of ``most`` holds the ends of what is longer."""
    letters = max(8, int(width * _PER_INCH * SMALL / size))
    lines = textwrap.wrap(drawable(text), letters, break_long_words=False)
    lines[most - 1 :] = [" ".join(lines[most - 1 :])] if len(lines) >= most else []
    return [fitting(line, 72 * width, size, middle=True) for line in lines]


def fitting(text: str, room: float, size: float, *, middle: bool = False) -> str:
    """Return ``text`` as one line that the font can draw, cut to ``room`` points.

    The end is cut, or the middle, where both ends tell something.
    """
    line = drawable(text)
    if points(line, size) <= room:
        return line
    fits, too_many = 0, len(line)
    while too_many - fits > 1:
        length = (fits + too_many) // 2
        inside = points(_cut(line, length, middle), size) <= room
        fits, too_many = (length, too_many) if inside else (fits, length)
    return _cut(line, fits, middle)


def _cut(line: str, length: int, middle: bool) -> str:
    head = length // 3 if middle else length
    return f"{line[:head]}…{line[len(line) - (length - head) :]}"


def points(line: str, size: float) -> float:
    """Width of a line in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        line, FontProperties(size=size), ismath=False
    )
    return float(width) * _HINTED


def drawable(text: str) -> str:
    """Drop control characters, and put a box for what the font lacks; no-break spaces stay."""
    fonts = [
        get_font(findfont(FontProperties(family=[family])))
        for family in FontProperties().get_family()
    ]
    words = re.split(rf"[^\S{NO_BREAK}]+", text.strip())
    line = "".join(one for one in " ".join(words) if one.isprintable() or one == NO_BREAK)
    return "".join(
        letter if any(font.get_char_index(ord(letter)) for font in fonts) else "□"
        for letter in line
    )
