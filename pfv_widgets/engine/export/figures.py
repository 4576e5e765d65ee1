"""The figure of a frame: its tiles and a colour bar for each component or pin."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.engine.export.image_grid import (
    Bar,
    ImageGrid,
    Ring,
    Tile,
    draw_image_grid,
    tile_size,
)
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.validation import checked_columns


def draw_frame(frame: Frame, columns: int | None = None) -> Figure:
    """Draw the tiles of a frame in a grid, and a colour ramp with its variance a component."""
    pictures = frame.composite()
    number, high, wide = pictures.shape[:3]
    abreast = wide / frame.heatmaps.shape[2]  # pictures on a tile
    columns = min(
        checked_columns(columns, "tiles") or math.ceil(math.sqrt(number / abreast)), number
    )
    rows = math.ceil(number / columns)
    size = tile_size((high, wide / abreast), rows, columns * abreast)
    rings = frame.rings()
    tiles = [
        Tile(
            picture,
            (frame.names[index],) if frame.names else (),
            rings=tuple(Ring(x, y, PIN_COLOURS[pin]) for pin, tile, x, y in rings if tile == index),
        )
        for index, picture in enumerate(pictures)
    ]
    low, high_end = ("0", "1") if frame.settings.shows_similarity else ("−", "+")
    bars = [Bar(ramp, f"{low}  {label}  {high_end}") for label, ramp in frame.legend()]
    return draw_image_grid(
        ImageGrid(
            title=frame.layer or "activations",
            subtitle=f" · {_what(frame.settings)}",
            tiles=tiles,
            columns=columns,
            size=(abreast * size[0], size[1]),
            bars=bars,
        )
    )


def _what(settings: Settings) -> str:
    if settings.shows_similarity:
        return "similarity to pins"
    shared = "" if settings.sharing == "all" else f", {settings.sharing} colours"
    return f"{settings.weighting} weighting{shared}"
