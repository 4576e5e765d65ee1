"""A frame as one picture, quickly: what a saved notebook shows where no widget can run."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pfv_widgets.engine.colour import legend
from pfv_widgets.engine.frame import Frame

_WIDEST = 840  # pixels
_GAP = 6
_BAR = 14  # height of a colour ramp


def still(frame: Frame) -> bytes:
    """PNG of all tiles with the legend below, about 840 pixels wide."""
    tiles = _tiles(frame)
    number, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(number * height / width))
    rows = math.ceil(number / columns)
    across = max(columns * (width + _GAP) - _GAP, 320)
    below = rows * (height + _GAP) + _GAP
    lines = math.ceil(len(frame.settings.shown) / max(1, across // 150))
    page = Image.new("RGB", (across, below + lines * (_BAR + _GAP)), "white")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        page.paste(Image.fromarray(tile), (column * (width + _GAP), row * (height + _GAP)))
    _draw_legend(page, frame, below)
    buffer = io.BytesIO()
    page.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _tiles(frame: Frame) -> np.ndarray:
    tiles = frame.composite()
    number, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(number * height / width))
    room = (_WIDEST - _GAP * (columns - 1)) // columns
    if width <= room:
        return tiles
    size = (room, max(1, round(height * room / width)))
    return np.stack([np.asarray(Image.fromarray(tile).resize(size)) for tile in tiles])


def _draw_legend(page: Image.Image, frame: Frame, top: int) -> None:
    """Draw a ramp for each component shown, with its number and share of the variance."""
    shown = frame.settings.shown
    ramps = (255 * legend(frame.settings.colour_map, len(shown), 64)).round().byte().numpy()
    ratios = frame.basis.explained_variance_ratio.tolist()
    columns = max(1, page.width // 150)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for place, index in enumerate(shown):
        row, column = divmod(place, columns)
        left, above = column * 150, top + row * (_BAR + _GAP)
        page.paste(Image.fromarray(ramps[place][None]).resize((64, _BAR)), (left, above))
        label = f"{index + 1}: {100 * ratios[index]:.1f} %"
        draw.text((left + 70, above), label, fill="#555555", font=font)
