"""One canvas of a page on arrays: what a browser draws, without its soft edges."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Window = tuple[slice, slice]
Box = Sequence[float]  # left, top, width, height
COMMANDS_PLAYED = {
    *("save", "restore", "beginPath", "rect", "clip", "clear", "clearRect"),
    *("fillRect", "strokeRect", "fillCircle", "strokeCircle", "strokeLine"),
}
_FRESH = {
    "global_alpha": 1.0,
    "global_composite_operation": "source-over",
    "fill_style": "#000000",
    "stroke_style": "#000000",
    "line_width": 1.0,
}


@dataclass
class State:
    """What ``save`` keeps of a canvas."""

    values: dict[str, Any] = field(default_factory=lambda: dict(_FRESH))
    clip: Mask | None = None


class Raster:
    """Pixels ``(H, W, 4)``: colours from 0 to 255 times their opacity, and opacity from 0 to 1.

    They lie in memory as four planes ``(4, H, W)``, which numpy works through faster.

    Parameters
    ----------
    size
        Height and width.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.resize()

    def resize(self, *, width: int | None = None, height: int | None = None) -> None:
        """Become blank, with the state of a new canvas, as browsers do even for the same size."""
        self.size = height or self.size[0], width or self.size[1]
        self._planes: Picture | None = None
        self.states = [State()]
        self._rectangles: list[Box] = []

    @property
    def planes(self) -> Picture:
        if self._planes is None:  # canvases are resized often, and drawn on later
            self._planes = np.zeros((4, *self.size), np.float32)
        return self._planes

    @property
    def pixels(self) -> Picture:
        return np.moveaxis(self.planes, 0, 2)

    def play(self, name: str, arguments: list[Any]) -> None:
        """Carry out a command by its name in the browser."""
        state = self.states[-1]
        if name == "save":
            self.states.append(State(dict(state.values), state.clip))
        elif name == "restore":
            self.states.pop()
        elif name == "beginPath":
            self._rectangles = []
        elif name == "rect":
            self._rectangles.append(arguments)
        elif name == "clip":
            inside = np.zeros(self.size, bool)
            for box in self._rectangles:
                window = self._window(0, box)
                inside[window] |= self._mask(window, 0, box)
            state.clip = inside if state.clip is None else inside & state.clip
        elif name in ("clear", "clearRect"):
            box: Box = arguments or [0, 0, *self.size[::-1]]
            window = self._window(0, box)
            mask = self._mask(window, 0, box)
            mask = mask if state.clip is None else mask & state.clip[window]
            self.planes[:, *window][:, mask] = 0
        else:
            self._shape(name, *arguments)

    @staticmethod
    def check(name: str, value: Any) -> None:
        """Raise where an attribute of the canvas is none that is played here."""
        assert name in _FRESH, f"a page of this test knows no {name}"
        assert value in ("source-over", "multiply") or name != "global_composite_operation"

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the canvas."""
        if name == "global_alpha" and not 0 <= value <= 1:
            return  # browsers ignore it
        self.states[-1].values[name] = value

    def put(self, file: bytes, left: float, top: float) -> None:
        """Draw an encoded picture at its own size."""
        picture = Image.open(io.BytesIO(file))
        rgba = np.moveaxis(np.asarray(picture.convert("RGBA")), 2, 0).astype(np.float32)
        rgba[3] /= 255
        rgba[:3] *= rgba[3]
        self.image(rgba, left, top, picture.width, picture.height)

    def draw(self, other: Raster, left: float, top: float, width: float, height: float) -> None:
        """Draw another canvas as it is now, scaled into a box."""
        self.image(other.planes, left, top, width, height)

    def image(self, source: Picture, left: float, top: float, width: float, height: float) -> None:
        """Draw planes of pixels, scaled into a box."""
        rows = self._seen(top, height, axis=0)
        columns = self._seen(left, width, axis=1)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        across, down = source.shape[2] / width, source.shape[1] / height
        box = (
            max((columns.start - left) * across, 0),
            max((rows.start - top) * down, 0),
            min((columns.stop - left) * across, source.shape[2]),
            min((rows.stop - top) * down, source.shape[1]),
        )
        scaled = _scaled(source, (columns.stop - columns.start, rows.stop - rows.start), box)
        self._blend(scaled, (rows, columns))

    def _shape(self, name: str, *numbers: float) -> None:
        values, line = self.states[-1].values, name.startswith("stroke")
        half = values["line_width"] / 2 if line else 0.0
        if name in ("fillRect", "strokeRect"):
            window = self._window(half, numbers)
            mask = self._mask(window, half, numbers)
            if line:
                mask = mask & ~self._mask(window, -half, numbers)
        elif name in ("fillCircle", "strokeCircle"):
            x, y, radius = numbers
            window = self._window(half, (x - radius, y - radius, 2 * radius, 2 * radius))
            rows, columns = self._centres(window)
            distance = np.hypot(rows - y, columns - x)
            mask = abs(distance - radius) <= half if line else distance <= radius
        else:
            x, y, right, bottom = numbers
            window = self._window(half, (x, y, right - x, bottom - y))
            mask = self._along(window, half, numbers)
        drawn = np.zeros((4, *mask.shape), np.float32)
        colour = (*_colour(values["stroke_style" if line else "fill_style"]), 1)
        drawn[:, mask] = np.array(colour, np.float32)[:, None]
        self._blend(drawn, window)

    def _along(self, window: Window, half: float, ends: Box) -> Mask:
        x1, y1, x2, y2 = ends
        rows, columns = self._centres(window)
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        along = ((columns - x1) * (x2 - x1) + (rows - y1) * (y2 - y1)) / length
        aside = ((columns - x1) * (y2 - y1) - (rows - y1) * (x2 - x1)) / length
        return (along >= 0) & (along <= length) & (abs(aside) <= half)

    def _centres(self, window: Window) -> tuple[Any, Any]:
        rows, columns = np.ogrid[window]
        return rows + 0.5, columns + 0.5

    def _window(self, more: float, box: Box) -> Window:
        """All pixels that a box touches that is ``more`` wider on each side."""
        left, top, width, height = box
        spans = []
        for start, length, most in ((top, height, self.size[0]), (left, width, self.size[1])):
            low, high = sorted((start, start + length))
            first = min(max(math.floor(low - more), 0), most)
            spans.append(slice(first, min(max(math.ceil(high + more), first), most)))
        return spans[0], spans[1]

    def _mask(self, window: Window, more: float, box: Box) -> Mask:
        """Pixels whose centres are in a box that is ``more`` wider on each side."""
        left, top, width, height = box
        rows, columns = self._centres(window)
        x1, x2 = sorted((left, left + width))
        y1, y2 = sorted((top, top + height))
        across = (columns >= x1 - more) & (columns < x2 + more)
        return across & (rows >= y1 - more) & (rows < y2 + more)

    def _seen(self, start: float, length: float, axis: int) -> slice:
        """Pixels along an axis that a box covers and the clip leaves."""
        first, last = math.ceil(start - 0.5), math.ceil(start + length - 0.5)
        clip = self.states[-1].clip
        inside = np.ones(1, bool) if clip is None else clip.any(axis=1 - axis)
        places = np.flatnonzero(np.broadcast_to(inside, self.size[axis]))
        if not len(places):
            return slice(0, 0)
        return slice(max(first, int(places[0])), min(last, int(places[-1]) + 1))

    def _blend(self, drawn: Picture, window: Window) -> None:
        values, clip = self.states[-1].values, self.states[-1].clip
        cover, below = np.float32(values["global_alpha"]), self.planes[:, *window]
        if clip is not None and not clip[window].all():
            drawn = drawn * (cover * clip[window])
        elif cover != 1:
            drawn = drawn * cover
        over, under = drawn[3], below[3]
        if values["global_composite_operation"] == "multiply":
            mixed = drawn * (1 - under) + (1 - over) * below + drawn * below / _WHITE
            mixed[3] = over + under - over * under
            below[...] = mixed
        elif over.size and over.min() == 1:
            below[...] = drawn
        else:
            below *= 1 - over
            below += drawn


_WHITE = np.array([255, 255, 255, 1], np.float32)[:, None, None]


def _scaled(source: Picture, size: tuple[int, int], box: tuple[float, float, float, float]) -> Any:
    left, top, right, bottom = box
    margin = math.ceil(max((right - left) / size[0], (bottom - top) / size[1])) + 2
    x, y = max(math.floor(left) - margin, 0), max(math.floor(top) - margin, 0)
    part = source[:, y : math.ceil(bottom) + margin, x : math.ceil(right) + margin]
    box = (left - x, top - y, right - x, bottom - y)
    inner = part[:, : size[1], : size[0]]
    if box == (0, 0, *size) and inner.shape[:0:-1] == size:
        return inner.copy()
    four = np.rint(part)
    four[3] = np.rint(part[3] * 255)
    # CMYK: four channels that are left as they are
    image = Image.fromarray(np.ascontiguousarray(np.moveaxis(four.astype(np.uint8), 0, 2)), "CMYK")
    resized = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
    planes = np.moveaxis(resized, 2, 0).astype(np.float32)
    planes[3] /= 255
    return planes


def _colour(text: str) -> list[int]:
    assert len(text) == 7, f"a page of this test reads no {text}"
    return [int(text[start : start + 2], 16) for start in (1, 3, 5)]
