"""One canvas of a page on arrays: what a browser draws, without its soft edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.float32]
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
    clip: npt.NDArray[np.bool_] | None = None


class Raster:
    """Pixels ``(H, W, 4)``: colours from 0 to 255 times their opacity, and opacity from 0 to 1.

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
        self.pixels: Picture = np.zeros((*self.size, 4), np.float32)
        self.states = [State()]
        self._rectangles: list[list[float]] = []

    def play(self, name: str, arguments: list[Any]) -> None:
        """Carry out a command by its name in the browser."""
        state = self.states[-1]
        if name == "save":
            self.states.append(State(dict(state.values), state.clip))
        elif name == "restore":
            assert len(self.states) > 1, "restored what was not saved"
            self.states.pop()
        elif name == "beginPath":
            self._rectangles = []
        elif name == "rect":
            self._rectangles.append(arguments)
        elif name == "clip":
            inside = [self._mask(0, *one) for one in self._rectangles]
            state.clip = self._clipped(np.any(inside, axis=0) if inside else np.bool_(False))
        elif name in ("clear", "clearRect"):
            self.pixels[self._clipped(self._mask(0, *(arguments or (0, 0, *self.size[::-1]))))] = 0
        else:
            self._shape(name, *arguments)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the canvas."""
        assert name in _FRESH, f"a page of this test knows no {name}"
        assert value in ("source-over", "multiply") or name != "global_composite_operation"
        if name == "global_alpha" and not 0 <= value <= 1:
            return  # browsers ignore it
        self.states[-1].values[name] = value

    def put(self, picture: Image.Image, left: float, top: float) -> None:
        """Draw a decoded picture at its own size."""
        rgba = np.asarray(picture.convert("RGBA"), np.float32)
        rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:] / 255, rgba[..., 3:] / 255], axis=2)
        self.image(rgba, left, top, picture.width, picture.height)

    def image(self, source: Picture, left: float, top: float, width: float, height: float) -> None:
        """Draw pixels of another canvas, scaled into a box."""
        rows = self._seen(top, height, axis=0)
        columns = self._seen(left, width, axis=1)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        across, down = source.shape[1] / width, source.shape[0] / height
        box = (
            max((columns.start - left) * across, 0),
            max((rows.start - top) * down, 0),
            min((columns.stop - left) * across, source.shape[1]),
            min((rows.stop - top) * down, source.shape[0]),
        )
        scaled = _scaled(source, (columns.stop - columns.start, rows.stop - rows.start), box)
        self._blend(scaled, (rows, columns))

    def _shape(self, name: str, *numbers: float) -> None:
        half = self.states[-1].values["line_width"] / 2
        if name == "fillRect":
            mask = self._mask(0, *numbers)
        elif name == "strokeRect":
            mask = self._mask(half, *numbers) & ~self._mask(-half, *numbers)
        elif name in ("fillCircle", "strokeCircle"):
            x, y, radius = numbers
            distance = np.hypot(*(a - b for a, b in zip(self._centres(), (y, x), strict=True)))
            mask = distance <= radius if name == "fillCircle" else abs(distance - radius) <= half
        else:
            assert name == "strokeLine", f"a page of this test cannot {name}"
            mask = self._line(half, *numbers)
        style = "fill_style" if name.startswith("fill") else "stroke_style"
        drawn = np.zeros((*self.size, 4), np.float32)
        drawn[mask] = (*_colour(self.states[-1].values[style]), 1)
        self._blend(drawn, (slice(None), slice(None)))

    def _line(self, half: float, x1: float, y1: float, x2: float, y2: float) -> Any:
        rows, columns = self._centres()
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        along = ((columns - x1) * (x2 - x1) + (rows - y1) * (y2 - y1)) / length
        aside = ((columns - x1) * (y2 - y1) - (rows - y1) * (x2 - x1)) / length
        return (along >= 0) & (along <= length) & (abs(aside) <= half)

    def _centres(self) -> tuple[Any, Any]:
        rows, columns = np.ogrid[: self.size[0], : self.size[1]]
        return rows + 0.5, columns + 0.5

    def _mask(self, more: float, left: float, top: float, width: float, height: float) -> Any:
        """Pixels whose centres are in a box that is ``more`` wider on each side."""
        rows, columns = self._centres()
        x1, x2 = sorted((left, left + width))
        y1, y2 = sorted((top, top + height))
        across = (columns >= x1 - more) & (columns < x2 + more)
        return across & (rows >= y1 - more) & (rows < y2 + more)

    def _clipped(self, mask: Any) -> Any:
        clip = self.states[-1].clip
        return np.broadcast_to(mask if clip is None else mask & clip, self.size)

    def _seen(self, start: float, length: float, axis: int) -> slice:
        """Pixels along an axis that a box covers and the clip leaves."""
        first, last = math.ceil(start - 0.5), math.ceil(start + length - 0.5)
        clip = self.states[-1].clip
        inside = np.ones(1, bool) if clip is None else clip.any(axis=1 - axis)
        places = np.flatnonzero(np.broadcast_to(inside, self.size[axis]))
        if not len(places):
            return slice(0, 0)
        return slice(max(first, int(places[0])), min(last, int(places[-1]) + 1))

    def _blend(self, drawn: Picture, window: tuple[slice, slice]) -> None:
        values, clip = self.states[-1].values, self.states[-1].clip
        cover = np.float32(values["global_alpha"])
        drawn = drawn * (cover if clip is None else (cover * clip[window])[..., None])
        below = self.pixels[window]
        over, under = drawn[..., 3:], below[..., 3:]
        rest = (1 - over) * below
        if values["global_composite_operation"] == "multiply":
            mixed = drawn * (1 - under) + rest + drawn * below / (255, 255, 255, 1)
            mixed[..., 3:] = over + under - over * under
            below[...] = mixed
        else:
            below[...] = drawn + rest


def _scaled(source: Picture, size: tuple[int, int], box: tuple[float, float, float, float]) -> Any:
    four = np.rint(source * (1, 1, 1, 255)).astype(np.uint8)
    image = Image.fromarray(four, "CMYK")  # four channels that are left as they are
    resized = image.resize(size, Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.float32) / np.array([1, 1, 1, 255], np.float32)


def _colour(text: str) -> list[int]:
    assert len(text) == 7, f"a page of this test reads no {text}"
    return [int(text[start : start + 2], 16) for start in (1, 3, 5)]
