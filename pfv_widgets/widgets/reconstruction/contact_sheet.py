"""Pictures that a network made, as one PNG file."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

_GAP = 4  # pixels between pictures


def as_png(pixels: np.ndarray) -> bytes:
    """Return pictures ``(B, H, W, 3)`` on one transparent sheet."""
    number, height, width, _ = pixels.shape
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    size = rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP
    sheet = np.zeros((*size, 4), np.uint8)
    for index, picture in enumerate(pixels):
        top, left = (
            at * (side + _GAP)
            for at, side in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width, :3] = picture
        sheet[top : top + height, left : left + width, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
