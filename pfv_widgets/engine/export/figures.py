"""Figures of frames: tiles and a legend, each placed by the inch, drawn without pyplot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.validation import checked_columns

if TYPE_CHECKING:
    import numpy as np

    from pfv_widgets.engine.pipeline.frame import Frame
    from pfv_widgets.engine.pipeline.settings import Settings

# in inches
_SMALLEST, _LARGEST = 1.6, 4.0  # longer side of a tile
_HINTED = 1.08  # letters placed on whole pixels take that much more room
_ABREAST = 6.6  # few tiles grow until they fill this
_EDGE, _GAP, _HEAD, _LINE = 0.15, 0.1, 0.4, 0.45
_NAME, _NAME_SIZE, _TITLE_SIZE = 0.16, 6, 10  # height of a name; sizes in points


@dataclass(frozen=True)
class _Sheet:
    """Where things are, in inches from the upper left corner."""

    columns: int
    rows: int
    tile: tuple[float, float]  # width, height
    cell: tuple[float, float]  # with its name, without the gap
    width: float
    ramps: int  # in a row
    lines: int  # rows of ramps

    @property
    def below(self) -> float:
        return _HEAD + self.rows * (self.cell[1] + _GAP)

    @property
    def height(self) -> float:
        return self.below + self.lines * _LINE + _EDGE

    def axes(self, figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
        lower = 1 - (top + height) / self.height
        return figure.add_axes((left / self.width, lower, width / self.width, height / self.height))


def draw_frame(frame: Frame, columns: int | None = None) -> Figure:
    """Draw the tiles of a frame in a grid, and a colour ramp with its variance a component.

    Raises
    ------
    PFVValueError, PFVTypeError
        Unless ``columns`` is a whole number from 1, or None.
    """
    tiles = frame.composite()
    sheet = _planned(frame, tiles.shape, checked_columns(columns, "tiles"))
    figure = Figure(figsize=(sheet.width, sheet.height))
    rest = f" · {_what(frame.settings)}"
    room = 72 * (sheet.width - 2 * _EDGE) - _points(rest, _TITLE_SIZE)
    title = fitting(frame.layer or "activations", room, _TITLE_SIZE, middle=True) + rest
    above = 1 - _EDGE / sheet.height
    figure.suptitle(title, size=_TITLE_SIZE, y=above, va="top", parse_math=False)
    _draw_tiles(figure, sheet, frame, tiles)
    _draw_legend(figure, sheet, frame)
    return figure


def _what(settings: Settings) -> str:
    if settings.paints_similarity:
        return "similarity to pins"
    shared = "" if settings.sharing == "all" else f", {settings.sharing} colours"
    return f"{settings.weighting} weighting{shared}"


def _planned(frame: Frame, tiles: tuple[int, ...], columns: int | None) -> _Sheet:
    number, high, wide = frame.heatmaps.shape[:3]
    abreast = tiles[2] / wide  # pictures on a tile
    columns = min(columns or math.ceil(math.sqrt(number / abreast)), number)
    rows = math.ceil(number / columns)
    side = min(_LARGEST, max(_SMALLEST, _ABREAST / max(columns * abreast, rows)))
    tile = abreast * side * min(1, wide / high), side * min(1, high / wide)
    cell = max(tile[0], _SMALLEST / 2), tile[1] + (_NAME if frame.names else 0)
    width = max(columns * (cell[0] + _GAP) - _GAP + 2 * _EDGE, 4.6)
    shown = len(frame.legend())
    ramps = min(shown, int(width // 1.5))
    return _Sheet(columns, rows, tile, cell, width, ramps, math.ceil(shown / ramps))


def _draw_tiles(figure: Figure, sheet: _Sheet, frame: Frame, tiles: np.ndarray) -> None:
    (width, height), (pitch, below) = sheet.tile, (part + _GAP for part in sheet.cell)
    first = (sheet.width - sheet.columns * pitch + _GAP + sheet.cell[0] - width) / 2
    rings = frame.rings()
    for index, tile in enumerate(tiles):
        row, column = divmod(index, sheet.columns)
        axis = sheet.axes(figure, first + column * pitch, _HEAD + row * below, width, height)
        axis.set_axis_off()
        axis.imshow(tile, aspect="auto")
        for number, _, x, y in (ring for ring in rings if ring[1] == index):
            _draw_ring(axis, x, 1 - y, PIN_COLOURS[number])
        if frame.names:
            _draw_name(axis, fitting(frame.names[index], 72 * sheet.cell[0], _NAME_SIZE))


def _draw_ring(axis: Axes, x: float, y: float, colour: str) -> None:
    for edge, width in (("black", 3.2), ("white", 2.4), (colour, 1.6)):
        axis.plot(
            x, y, "o", transform=axis.transAxes, ms=7, mfc="none", mec=edge, mew=width,
            clip_on=False,
        )  # fmt: skip


def _draw_name(axis: Axes, name: str) -> None:
    axis.annotate(
        name,
        (0.5, 0),
        xytext=(0, -2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="top",
        size=_NAME_SIZE,
        annotation_clip=False,
        parse_math=False,
    )


def _draw_legend(figure: Figure, sheet: _Sheet, frame: Frame) -> None:
    pitch = (sheet.width - 2 * _EDGE + _GAP) / sheet.ramps
    for place, (label, ramp) in enumerate(frame.legend()):
        line, column = divmod(place, sheet.ramps)
        left, top = _EDGE + column * pitch, sheet.below + line * _LINE
        axis = sheet.axes(figure, left, top + 0.18, pitch - _GAP, _LINE - 0.25)
        axis.imshow(ramp[None], aspect="auto", extent=(0, 1, 0, 1), interpolation="bilinear")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        ends = ("0", "1") if frame.settings.paints_similarity else ("−", "+")
        axis.set_title(f"{ends[0]}  {label}  {ends[1]}", size=7, pad=2)


def fitting(text: str, room: float, size: float, *, middle: bool = False) -> str:
    """Return ``text`` as one line that the font can draw, cut to ``room`` points.

    The end is cut, or the middle, where both ends tell something.
    """
    line = _drawable(text)
    if _points(line, size) <= room:
        return line
    fits, too_many = 0, len(line)
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        inside = _points(_cut(line, kept, middle), size) <= room
        fits, too_many = (kept, too_many) if inside else (fits, kept)
    return _cut(line, fits, middle)


def _cut(line: str, kept: int, middle: bool) -> str:
    head = kept // 3 if middle else kept
    return f"{line[:head]}…{line[len(line) - (kept - head) :]}"


def _points(line: str, size: float) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(
        line, FontProperties(size=size), ismath=False
    )
    return float(width) * _HINTED


def _drawable(text: str) -> str:
    """Drop control characters, and put a box for what the font lacks."""
    fonts = [
        get_font(findfont(FontProperties(family=[family])))
        for family in FontProperties().get_family()
    ]
    line = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    return "".join(
        letter if any(font.get_char_index(ord(letter)) for font in fonts) else "□"
        for letter in line
    )
