"""A frame as one picture, quickly: what a saved notebook shows where no widget can run."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.engine.pipeline.frame import Frame

_WIDEST = 840  # pixels
_GAP = 6
_BAR = 14  # height of a colour ramp
_PITCH = 206  # from one ramp with its label to the next


def still(frame: Frame) -> bytes:
    """PNG of all tiles with the legend below, about 840 pixels wide."""
    tiles, columns = _tiles(frame)
    number, height, width, _ = tiles.shape
    rows = math.ceil(number / columns)
    across = max(columns * (width + _GAP) - _GAP, 320)
    below = rows * (height + _GAP) + _GAP
    lines = math.ceil(len(frame.legend()) / max(1, across // _PITCH))
    canvas = Image.new("RGB", (across, below + lines * (_BAR + _GAP)), "white")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        canvas.paste(Image.fromarray(tile), (column * (width + _GAP), row * (height + _GAP)))
    for pin, tile, x, y in frame.rings():
        row, column = divmod(tile, columns)
        left, top = column * (width + _GAP) + x * width, row * (height + _GAP) + y * height
        _draw_ring(canvas, left, top, PIN_COLOURS[pin])
    _draw_legend(canvas, frame, below)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _tiles(frame: Frame) -> tuple[np.ndarray, int]:
    """Return the tiles at their size in the picture, and how many stand in a row."""
    tiles = frame.composite()
    number, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(number * height / width))
    room = (_WIDEST - _GAP * (columns - 1)) // columns
    if width > room:
        size = (room, max(1, round(height * room / width)))
        tiles = np.stack([np.asarray(Image.fromarray(tile).resize(size)) for tile in tiles])
    return tiles, columns


def _draw_ring(canvas: Image.Image, x: float, y: float, colour: str) -> None:
    draw = ImageDraw.Draw(canvas)
    for radius, edge, width in ((8, "black", 5), (7, "white", 3), (6, colour, 2)):
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, outline=edge, width=width)


def _draw_legend(canvas: Image.Image, frame: Frame, top: int) -> None:
    """Draw a ramp with its label for each component or pin that is shown."""
    columns = max(1, canvas.width // _PITCH)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for index, (label, ramp) in enumerate(frame.legend()):
        row, column = divmod(index, columns)
        left, above = column * _PITCH, top + row * (_BAR + _GAP)
        colours = np.rint(255 * ramp).astype(np.uint8)
        canvas.paste(Image.fromarray(colours[None]).resize((64, _BAR)), (left, above))
        draw.text((left + 70, above), label, fill="#555555", font=font)
