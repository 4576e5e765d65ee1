"""The gallery: all tiles of a batch on one canvas; the only place that knows ipycanvas."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from PIL import Image

from pfv_widgets.widgets.controls import close_all

GAP = 8  # pixels of the canvas between tiles
_SMALLEST = 192  # pixels of the canvas for a tile where there is room: small photos are enlarged
_WIDE = 1200  # pixels of the canvas for a full row: crisp at twice the pixel density
_TALL = 4096  # pixels of the canvas that a tile may be high: browsers draw no endless canvas
_FADE = ("#808080", 0.72)
_sending = threading.Lock()  # ipycanvas keeps one queue for all canvases of a process


@dataclass(frozen=True)
class Look:
    """How the tiles are put together in the browser; none of it sends a picture."""

    opacity: float = 0.65
    view: str = "overlay"
    out: tuple[int, ...] = ()
    cursor: int | None = None


@dataclass(frozen=True)
class Grid:
    """Where each tile stands, in pixels of the canvas."""

    number: int
    columns: int
    tile: tuple[int, int]

    @classmethod
    def of(cls, number: int, size: tuple[int, int]) -> Grid:
        """Arrange ``number`` images of ``size`` (height, width) as near to a square as it gets."""
        height, width = size
        columns = min(number, max(1, math.ceil(math.sqrt(number * height / width))))
        across = min(max(width, _SMALLEST), (_WIDE - GAP * (columns - 1)) // columns, 512)
        across = max(16, across // 2 * 2)
        down = max(2, round(across * height / width / 2) * 2)
        return cls(number, columns, (min(down, _TALL), across))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        rows = math.ceil(self.number / self.columns)
        return rows * (self.tile[0] + GAP) - GAP, self.columns * (self.tile[1] + GAP) - GAP

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top of a tile."""
        row, column = divmod(index, self.columns)
        return column * (self.tile[1] + GAP), row * (self.tile[0] + GAP)

    def at(self, x: float, y: float) -> int | None:
        """Index of the tile at a point of the canvas, None beside the tiles."""
        column, left = divmod(x, self.tile[1] + GAP)
        row, top = divmod(y, self.tile[0] + GAP)
        index = int(row * self.columns + column)
        inside = left < self.tile[1] and top < self.tile[0] and 0 <= column < self.columns
        return index if inside and 0 <= index < self.number else None

    def atlas(self, tiles: np.ndarray) -> np.ndarray:
        """Lay tiles ``(N, h, w, 3)`` out as on the canvas, or at half its size.

        The gaps are filled with the edges of the tiles, so that nothing bleeds in when the
        browser enlarges the atlas.
        """
        scale = self.tile[1] // tiles.shape[2]
        pad = GAP // scale
        half = pad // 2
        tiles = np.pad(tiles, ((0, 0), (half, pad - half), (half, pad - half), (0, 0)), "edge")
        rows = math.ceil(self.number / self.columns)
        empty = rows * self.columns - len(tiles)
        tiles = np.pad(tiles, ((0, empty), (0, 0), (0, 0), (0, 0)))
        _, height, width, _ = tiles.shape
        laid = tiles.reshape(rows, self.columns, height, width, 3).swapaxes(1, 2)
        return laid.reshape(rows * height, self.columns * width, 3)


class ImageGrid:
    """Photos below, heatmaps above, drawn from two stores that the browser keeps.

    A frame redraws both stores on the displayed canvas; only new heatmaps send a picture.
    Everything is sent anew when a page appears or is loaded again.

    Parameters
    ----------
    pixels
        Photos, uint8 ``(N, H, W, 3)``.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.grid = Grid.of(len(pixels), pixels.shape[1:3])
        height, width = self.grid.size
        self.canvas = Canvas(width=width, height=height)
        self.canvas.layout.width = "100%"
        self.canvas.layout.max_width = f"{max(width, 480)}px"
        self._photos, self._heat = (
            Canvas(width=width + GAP, height=height + GAP) for _ in range(2)
        )
        self._photo_file = _encode(self.grid.atlas(_resized(pixels, self.grid.tile)))
        self._heat_file: bytes | None = None
        self._scale = 1
        self.look = Look()

    def paint(self, tiles: np.ndarray | None, look: Look) -> int:
        """Show new heatmaps, uint8 ``(N, h, w, 3)`` (None: the last ones); return bytes sent.

        ``(h, w)`` is the size of a tile, or half of it.
        """
        if tiles is not None:
            self._scale = self.grid.tile[1] // tiles.shape[2]
            self._heat_file = _encode(self.grid.atlas(tiles))
        self.look = look
        with _held():
            if tiles is not None:
                _put(self._heat, self._heat_file)
            self._compose()
        return len(self._heat_file or b"") if tiles is not None else 0

    def repaint(self) -> None:
        """Send everything again: a page that has just appeared shows nothing yet."""
        with _held():
            _put(self._photos, self._photo_file)
            _put(self._heat, self._heat_file)
            self._compose()

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call back when a page is ready to draw."""
        for canvas in (self.canvas, self._photos, self._heat):
            canvas.on_client_ready(callback)

    def on_click(self, callback: Callable[[int], None]) -> None:
        """Call back with the index of the tile that is clicked or touched."""

        def clicked(x: float, y: float) -> None:
            index = self.grid.at(x, y)
            if index is not None:
                callback(index)

        self.canvas.on_mouse_down(clicked)
        self.canvas.on_touch_start(lambda touches: clicked(*touches[0]) if touches else None)

    def on_hover(self, callback: Callable[[int | None], None]) -> None:
        """Call back when the pointer comes to another tile, None when it leaves."""
        last: list[int | None] = [None]

        def moved(x: float, y: float) -> None:
            index = self.grid.at(x, y)
            if index != last[0]:
                last[0] = index
                callback(index)

        self.canvas.on_mouse_move(moved)
        self.canvas.on_mouse_out(lambda *_: moved(-1, -1))

    def on_key(self, callback: Callable[[str], None]) -> None:
        """Call back with the name of a key that is pressed on the canvas."""
        self.canvas.on_key_down(lambda key, *_: callback(key))

    def close(self) -> None:
        """Remove the canvases from every page."""
        for canvas in (self.canvas, self._photos, self._heat):
            close_all(canvas)

    def _compose(self) -> None:
        canvas, look = self.canvas, self.look
        canvas.save()
        canvas.begin_path()
        for index in range(self.grid.number):
            canvas.rect(*self.grid.corner(index), *self.grid.tile[::-1])
        canvas.clip()
        canvas.global_alpha = 1.0
        if look.view != "heatmap":
            self._draw(self._photos, 1)
        if look.view != "photo" and self._heat_file is not None:
            canvas.global_alpha = 1.0 if look.view == "heatmap" else look.opacity
            self._draw(self._heat, self._scale)
        self._mark(look)
        canvas.restore()

    def _draw(self, store: Canvas, scale: int) -> None:
        """Draw a store whose cells are 1/scale of a tile with half a gap around it."""
        half = GAP // 2
        self.canvas.draw_image(store, -half, -half, store.width * scale, store.height * scale)

    def _mark(self, look: Look) -> None:
        canvas = self.canvas
        height, width = self.grid.tile
        canvas.fill_style, canvas.global_alpha = _FADE
        for index in look.out:
            canvas.fill_rect(*self.grid.corner(index), width, height)
        canvas.global_alpha = 1.0
        if look.cursor is not None:
            left, top = self.grid.corner(look.cursor)
            for colour, line in (("#ffffff", 10), ("#1a73e8", 6)):
                canvas.stroke_style, canvas.line_width = colour, line
                canvas.stroke_rect(left, top, width, height)


@contextmanager
def _held() -> Iterator[None]:
    """Send all drawing of the block as one message; an error leaves no trace.

    ipycanvas holds drawing for the whole process and remembers which canvas was drawn on last,
    which a page that is loaded anew does not know: both are put right here.
    """
    with _sending:
        manager: Any = Canvas._canvas_manager.default_value
        before = manager._caching, manager._commands_cache, manager._buffers_cache
        manager._caching, manager._commands_cache, manager._buffers_cache = True, [], []
        manager._current_canvas = None
        try:
            yield
            manager.flush()
        finally:
            manager._caching, manager._commands_cache, manager._buffers_cache = before
            manager._current_canvas = None


def _put(canvas: Canvas, file: bytes | None) -> None:
    """Draw an encoded picture; the public call would encode it anew, and coarsely."""
    if file:
        canvas._canvas_manager.send_draw_command(canvas, COMMANDS["putImageData"], [0, 0], [file])


def _encode(picture: np.ndarray) -> bytes:
    """JPEG at full colour resolution: of what keeps 40 dB on heatmaps, the smallest and fastest."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[1:3] == size:
        return pixels
    resized = [Image.fromarray(one).resize(size[::-1], Image.Resampling.LANCZOS) for one in pixels]
    return np.stack([np.asarray(one) for one in resized])
