"""A comparison on paper: both pictures of each photo, with what they have in common."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from pfv_widgets.engine.export.image_grid import Bar, ImageGrid, Tile, draw_image_grid, tile_size
from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.widgets.compare.compare_tab import agreement_in_words

Frames = tuple[Frame, Frame]
_MOST_ROWS = 8  # photos below one another before there are two columns of pairs
_HEAD, _GAP = 20, 16  # pixels of a still picture


def figure_of(
    frames: Frames, titles: tuple[str, str], agreement: float | None, *, aligned: bool
) -> Figure:
    """Draw the two pictures of each photo beside one another."""
    pictures = [frame.composite() for frame in frames]
    number, height, wide = pictures[0].shape[:3]
    pairs = 1 + (number - 1) // _MOST_ROWS
    rows = -(-number // pairs)
    abreast = wide / frames[0].heatmaps.shape[2]  # pictures on a tile
    size = tile_size((height, wide / abreast), rows, 2 * pairs * abreast)
    tiles = [
        Tile(pictures[side][index], (frames[side].names[index],))
        for index in range(number)
        for side in range(2)
    ]
    colours = "colours of the second aligned to the first" if aligned else "each in its own colours"
    return draw_image_grid(
        ImageGrid(
            title=" and ".join(titles),
            tiles=tiles,
            columns=2 * pairs,
            size=(abreast * size[0], size[1]),
            headings=[*titles] * pairs,
            bars=[Bar(ramp, f"−  {label}  +") for label, ramp in frames[0].legend()],
            caption=f"{agreement_in_words(agreement)}; {colours}.",
        )
    )


def arrays_of(
    frames: Frames, titles: tuple[str, str], agreement: float | None
) -> dict[str, np.ndarray]:
    """Return the arrays of both frames, those of the second beginning with ``second_``."""
    arrays: dict[str, np.ndarray] = {"networks": np.array(titles)}
    arrays["agreement"] = np.array(np.nan if agreement is None else agreement)
    for side, frame in zip(("first", "second"), frames, strict=True):
        arrays |= {f"{side}_{name}": values for name, values in frame.arrays().items()}
    return arrays


def still_of(frames: Frames, titles: tuple[str, str], agreement: float | None) -> bytes:
    """Return a PNG of both pictures beside one another."""
    stills = [Image.open(io.BytesIO(still(frame))) for frame in frames]
    width = sum(one.width for one in stills) + _GAP
    canvas = Image.new("RGB", (width, 2 * _HEAD + max(one.height for one in stills)), "white")
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(13), 0
    draw.text((0, 2), agreement_in_words(agreement), fill="#555555", font=font)
    for picture, title in zip(stills, titles, strict=True):
        draw.text((left, _HEAD + 2), title, fill="#222222", font=font)
        canvas.paste(picture, (left, 2 * _HEAD))
        left += picture.width + _GAP
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
