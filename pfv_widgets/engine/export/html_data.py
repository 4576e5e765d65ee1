"""What a page keeps of a frame: pictures and values as text, within bounds."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

if TYPE_CHECKING:
    from pfv_widgets.engine.pipeline.frame import Frame

_MOST_PIXELS = 12_000_000  # of all photos: about 240 of 224 × 224, 8 MB as text with their heatmaps
_MOST_VALUES = 1_000_000  # component values in all: 5 MB as text
_LONGEST_SIDE = 1024  # pixels of one photo
_LOSSLESS = 64 * 64  # pixels: a picture that is no larger is not worth the loss of a JPEG


def data(frame: Frame) -> str:
    """Scores of the components shown, in float32: what the page says are their digits."""
    components = list(frame.settings.shown)
    finite = torch.nan_to_num(frame.scores[:, components].detach().float().cpu(), 0.0, 0.0, 0.0)
    scores = adaptive_avg_pool2d(finite, grid(frame))
    largest = scores.abs().amax(dim=(0, 2, 3))
    return json.dumps(
        {
            "shape": list(scores.shape),
            "numbers": [index + 1 for index in components],
            "largest": largest.tolist(),
            "scores": base64.b64encode(scores.numpy().astype("<f4").tobytes()).decode(),
        }
    )


def grid(frame: Frame) -> tuple[int, int]:
    """Positions of which the page keeps the values, no more than all together may be."""
    high, wide = (int(side) for side in frame.scores.shape[2:])
    room = _MOST_VALUES / (len(frame) * len(frame.settings.shown))
    factor = min(1.0, math.sqrt(room / (high * wide)))
    return max(1, int(high * factor)), max(1, int(wide * factor))


def side(number: int, high: int, wide: int) -> tuple[int, int]:
    """Width and height of a picture in the page, in pixels."""
    factor = min(
        1.0, math.sqrt(_MOST_PIXELS / (number * high * wide)), _LONGEST_SIDE / max(high, wide)
    )
    return max(1, round(wide * factor)), max(1, round(high * factor))


def picture(pixels: np.ndarray, size: tuple[int, int], colours: int) -> str:
    """Encode one picture as the address of an image.

    ``colours`` 2 halves the resolution of colour, which shows except in a photo; 0 keeps it.
    """
    image = Image.fromarray(pixels)
    image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    if size[0] * size[1] <= _LOSSLESS:
        return png(image)
    return _address(image, "jpeg", quality=84, subsampling=colours, optimize=True)


def small_picture(pixels: np.ndarray, side: int) -> str:
    """Encode a photo of at most ``side`` pixels a side as the address of an image."""
    height, width = pixels.shape[:2]
    factor = min(1.0, side / max(height, width))
    return picture(pixels, (max(1, round(width * factor)), max(1, round(height * factor))), 2)


def png(image: Image.Image) -> str:
    """Encode a picture without loss, as the address of an image."""
    return _address(image, "png")


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
