"""One canvas of a page on arrays: what a browser draws, without its soft edges."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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


@dataclass(frozen=True)
class State:
    """What ``save`` keeps of a canvas."""

    values: Mapping[str, Any] = field(default_factory=lambda: _FRESH)
    clip: tuple[tuple[Box, ...], ...] = ()  # what is drawn lies in one box of each

    @property
    def covers(self) -> bool:
        """Whether nothing of what was there shines through something solid."""
        plain = self.values["global_composite_operation"] == "source-over"
        return plain and self.values["global_alpha"] == 1 and not self.clip


class Content:
    """Pixels of a canvas at some time: what they were before, and a change of them.

    Nothing is drawn before someone asks for the pixels, and nothing at all that was covered.
    """

    def __init__(
        self,
        size: tuple[int, int],
        before: Content | None = None,
        change: Callable[[Picture], None] | None = None,
        *,
        solid: bool = False,
    ) -> None:
        self.size, self.solid = size, solid
        self.before, self.change = before, change

    @cached_property
    def planes(self) -> Picture:
        changes, content = [], self
        while content is not None and "planes" not in vars(content):
            changes.append(content.change)
            content = content.before
        planes = content.planes.copy() if content else np.zeros((4, *self.size), np.float32)
        for change in filter(None, reversed(changes)):
            change(planes)
        self.before = self.change = None
        return planes


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
        self.content = Content(self.size)
        self.states = [State()]
        self._rectangles: list[Box] = []

    @property
    def pixels(self) -> Picture:
        return np.moveaxis(self.content.planes, 0, 2)

    def play(self, name: str, arguments: list[Any]) -> None:
        """Carry out a command by its name in the browser."""
        state = self.states[-1]
        if name == "save":
            self.states.append(state)
        elif name == "restore":
            self.states.pop()
        elif name == "beginPath":
            self._rectangles = []
        elif name == "rect":
            self._rectangles.append(arguments)
        elif name == "clip":
            self.states[-1] = replace(state, clip=(*state.clip, tuple(self._rectangles)))
        elif name in ("clear", "clearRect"):
            self._clear(arguments or [0, 0, *self.size[::-1]], state)
        else:
            self._shape(name, arguments, state)

    @staticmethod
    def check(name: str, value: Any) -> None:
        """Raise where an attribute of the canvas is none that is played here."""
        assert name in _FRESH, f"a page of this test knows no {name}"
        assert value in ("source-over", "multiply") or name != "global_composite_operation"

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the canvas."""
        if name == "global_alpha" and not 0 <= value <= 1:
            return  # browsers ignore it
        state = self.states[-1]
        self.states[-1] = replace(state, values={**state.values, name: value})

    def put(self, file: bytes, left: float, top: float) -> None:
        """Draw an encoded picture at its own size."""
        with Image.open(io.BytesIO(file)) as picture:
            size, solid = picture.size[::-1], picture.mode in ("RGB", "L")

        def decode(planes: Picture) -> None:
            rgba = np.asarray(Image.open(io.BytesIO(file)).convert("RGBA"))
            planes[...] = np.moveaxis(rgba, 2, 0)
            planes[3] /= 255
            planes[:3] *= planes[3]

        self._image(Content(size, change=decode, solid=solid), left, top, *size[::-1])

    def draw(self, other: Raster, left: float, top: float, width: float, height: float) -> None:
        """Draw another canvas as it is now, scaled into a box."""
        self._image(other.content, left, top, width, height)

    def _image(self, source: Content, left: float, top: float, width: float, height: float) -> None:
        """Draw a picture, scaled into a box."""
        state = self.states[-1]
        window = rows, columns = tuple(
            _covered(start, length, most, [_span(boxes, axis) for boxes in state.clip])
            for axis, start, length, most in (
                (1, top, height, self.size[0]),
                (0, left, width, self.size[1]),
            )
        )
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        across, down = source.size[1] / width, source.size[0] / height
        box = (
            max((columns.start - left) * across, 0),
            max((rows.start - top) * down, 0),
            min((columns.stop - left) * across, source.size[1]),
            min((rows.stop - top) * down, source.size[0]),
        )
        size = (columns.stop - columns.start, rows.stop - rows.start)

        def blend(planes: Picture) -> None:
            _blend(planes, _scaled(source.planes, size, box), window, state)

        everywhere = size == self.size[::-1]
        self._change(blend, hides=source.solid and everywhere and state.covers)

    def _change(
        self, change: Callable[[Picture], None], *, hides: bool = False, clears: bool = False
    ) -> None:
        """Change the pixels; what ``hides`` all that was there is solid, ``clears`` makes holes."""
        solid = hides or (self.content.solid and not clears)
        self.content = Content(self.size, None if hides else self.content, change, solid=solid)

    def _clear(self, box: Box, state: State) -> None:
        left, top, width, height = box
        window = _covered(top, height, self.size[0], []), _covered(left, width, self.size[1], [])
        if not state.clip and window == (slice(0, self.size[0]), slice(0, self.size[1])):
            self.content = Content(self.size)
            return

        def clear(planes: Picture) -> None:
            part = planes[:, *window]
            part *= ~_inside(planes, state.clip)[window] if state.clip else 0

        self._change(clear, clears=True)

    def _shape(self, name: str, numbers: Box, state: State) -> None:
        values, line = state.values, name.startswith("stroke")
        half = values["line_width"] / 2 if line else 0.0
        colour = (*_colour(values["stroke_style" if line else "fill_style"]), 1)

        def shape(planes: Picture) -> None:
            window, mask = self._covered_by(planes, name, half, numbers)
            drawn = np.zeros((4, *mask.shape), np.float32)
            drawn[:, mask] = np.array(colour, np.float32)[:, None]
            _blend(planes, drawn, window, state)

        self._change(shape)

    def _covered_by(
        self, planes: Picture, name: str, half: float, numbers: Box
    ) -> tuple[Window, Mask]:
        """Pixels that a shape covers, within a window of the canvas."""
        line = name.startswith("stroke")
        if name in ("fillRect", "strokeRect"):
            window = self._window(planes, half, numbers)
            mask = self._mask(window, half, numbers)
            return window, mask & ~self._mask(window, -half, numbers) if line else mask
        if name in ("fillCircle", "strokeCircle"):
            x, y, radius = numbers
            window = self._window(planes, half, (x - radius, y - radius, 2 * radius, 2 * radius))
            rows, columns = self._centres(window)
            distance = np.hypot(rows - y, columns - x)
            return window, abs(distance - radius) <= half if line else distance <= radius
        x, y, right, bottom = numbers
        window = self._window(planes, half, (x, y, right - x, bottom - y))
        return window, self._along(window, half, numbers)

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

    def _window(self, planes: Picture, more: float, box: Box) -> Window:
        """All pixels that a box touches that is ``more`` wider on each side."""
        left, top, width, height = box
        spans = []
        for start, length, most in ((top, height, planes.shape[1]), (left, width, planes.shape[2])):
            low, high = sorted((start, start + length))
            first = min(max(math.floor(low - more), 0), most)
            spans.append(slice(first, min(max(math.ceil(high + more), first), most)))
        return spans[0], spans[1]

    def _mask(self, window: Window, more: float, box: Box) -> Mask:
        """Pixels whose centres are in a box that is ``more`` wider on each side."""
        return _contains(*self._centres(window), box, more)


def _covered(start: float, length: float, most: int, clips: list[tuple[float, float]]) -> slice:
    """Pixels along an axis that a box covers and clips leave."""
    low = max(start, 0, *(first for first, _ in clips))
    high = min(start + length, most, *(last for _, last in clips))
    return slice(math.ceil(low - 0.5), max(math.ceil(low - 0.5), math.ceil(high - 0.5)))


def _span(boxes: tuple[Box, ...], axis: int) -> tuple[float, float]:
    """First and last coordinate of boxes along an axis: 0 for x, 1 for y."""
    ends = [(box[axis], box[axis] + box[axis + 2]) for box in boxes]
    return min(map(min, ends), default=0), max(map(max, ends), default=0)


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


def _blend(planes: Picture, drawn: Picture, window: Window, state: State) -> None:
    cover, below = np.float32(state.values["global_alpha"]), planes[:, *window]
    if state.clip:
        drawn = drawn * (cover * _inside(planes, state.clip)[window])
    elif cover != 1:
        drawn = drawn * cover
    over, under = drawn[3], below[3]
    if state.values["global_composite_operation"] == "multiply":
        mixed = drawn * (1 - under) + (1 - over) * below + drawn * below / _WHITE
        mixed[3] = over + under - over * under
        below[...] = mixed
    elif over.size and over.min() == 1:
        below[...] = drawn
    else:
        below *= 1 - over
        below += drawn


def _inside(planes: Picture, clip: tuple[tuple[Box, ...], ...]) -> Mask:
    """Pixels whose centres lie in a box of each clip."""
    inside = np.ones(planes.shape[1:], bool)
    rows, columns = (axis + 0.5 for axis in np.ogrid[: inside.shape[0], : inside.shape[1]])
    for boxes in clip:
        inside &= np.logical_or.reduce([_contains(rows, columns, box) for box in boxes])
    return inside


def _contains(rows: Any, columns: Any, box: Box, more: float = 0) -> Mask:
    """Whether points are in a box that is ``more`` wider on each side."""
    left, top, width, height = box
    x1, x2 = sorted((left, left + width))
    y1, y2 = sorted((top, top + height))
    across = (columns >= x1 - more) & (columns < x2 + more)
    return across & (rows >= y1 - more) & (rows < y2 + more)


def _colour(text: str) -> list[int]:
    assert len(text) == 7, f"a page of this test reads no {text}"
    return [int(text[start : start + 2], 16) for start in (1, 3, 5)]
