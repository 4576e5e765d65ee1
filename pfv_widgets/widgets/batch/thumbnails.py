"""All images as thumbnails, to take in and out of the basis by click, drag and key."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.widgets.batch.thumbnail_layout import BAR, TRACK, WIDTH, ThumbnailGrid
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import FADE, CanvasCommands
from pfv_widgets.widgets.browser.image_encoding import encode
from pfv_widgets.widgets.toolkit.controls import Gesture
from pfv_widgets.widgets.toolkit.geometry import CanvasBox

_HEAVIEST = 2.0  # weight of a full bar
_BLUE, _ORANGE, _GREY = "#1a73e8", "#c27500", "#808080"


@dataclass
class _Stroke:
    """A press, and the drag that follows it."""

    inside: bool  # what it makes of the thumbnails that it passes
    last: tuple[float, float]
    passed: set[int] = field(default_factory=set)


class Thumbnails:
    """Thumbnails with a bar each: its weight, or how much the colours change without it.

    The photos are uint8 ``(N, H, W, 3)``. ``on_change(indices, inside)`` is called when a person
    takes images in or out, ``on_point`` with the index that pointer or cursor come to, or None.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        on_change: Callable[[tuple[int, ...], bool], None],
        on_gesture: Gesture,
        on_point: Callable[[int | None], None],
    ) -> None:
        self.grid = ThumbnailGrid.of(len(pixels))
        self.canvas = LayeredCanvas("thumbnails", (self.grid.visible, WIDTH), buffers=1)
        self.canvas.resize(self.grid.size, self.canvas.buffers[0])
        self.widget = self.canvas.displayed
        self.widget.layout.width, self.widget.layout.max_width = "100%", f"{WIDTH // 2}px"
        self._photos = encode(self.grid.picture(pixels))
        self._on_change, self._on_gesture, self._on_point = on_change, on_gesture, on_point
        self._lock = threading.RLock()  # never held while calling back
        self.weights: Weights = (1.0,) * len(pixels)
        self.angles: tuple[float, ...] | None = None
        self._top = 0.0
        self._cursor: int | None = None
        self._by_key = False  # only then the cursor is drawn
        self._pointer = (-1.0, -1.0)
        self._pointed: int | None = None
        self._stroke: _Stroke | None = None
        self._gripped = False
        self.canvas.on_ready(self.repaint)
        self.canvas.on_pointer(down=self._down, move=self._moved, up=self._up, out=self._left)
        self.canvas.on_key(self._pressed)
        if self.grid.furthest:
            self.canvas.on_wheel(lambda _, down: self._wheel(2 * down))
        self.repaint()

    def show(self, weights: Weights) -> None:
        """Show which images are in the basis, and how much they weigh."""
        with self._lock:
            if weights != self.weights:
                self.weights = weights
                self._paint()

    def show_influence(self, angles: Iterable[float] | None) -> None:
        """Show angles in degrees (NaN: none) instead of weights, the largest one outlined."""
        with self._lock:
            self.angles = None if angles is None else tuple(float(angle) for angle in angles)
            self._paint()

    def repaint(self) -> None:
        """Send everything: a page that has just appeared shows nothing yet."""
        with self._lock:
            self._paint(photos=True)

    def _paint(self, *, photos: bool = False) -> None:
        commands = self.canvas.commands()
        if photos:
            commands.store(self.canvas.buffers[0], self._photos)
        self._draw(commands)
        commands.send()

    def _draw(self, commands: CanvasCommands) -> None:
        grid, buffer = self.grid, self.canvas.buffers[0]
        top = round(self._top)
        first = top // grid.row * grid.columns
        last = (top + grid.visible) // grid.row * grid.columns + grid.columns
        tiles = {index: self._tile(index) for index in range(first, min(last, grid.number))}
        commands.clear()
        with commands.inside(tiles.values()):
            commands.image(buffer, (0, -top, buffer.width, buffer.height))
        commands.alpha(FADE[1])
        commands.fill(FADE[0], *(tile for index, tile in tiles.items() if not self.weights[index]))
        self._draw_bars(commands, tiles)
        self._draw_marks(commands, tiles)
        if grid.furthest:
            commands.alpha(0.5)
            commands.fill(_GREY, self._handle(top))
        commands.alpha(1)

    def _draw_bars(self, commands: CanvasCommands, tiles: dict[int, CanvasBox]) -> None:
        side, shares = self.grid.side, self._shares()
        bars = {i: (left, top + side + 4, side, BAR) for i, (left, top, _, _) in tiles.items()}
        commands.alpha(0.3)
        commands.fill(_GREY, *bars.values())
        commands.alpha(1)
        commands.fill(
            _BLUE if self.angles is None else _ORANGE,
            *((x, y, round(side * shares[i]), h) for i, (x, y, _, h) in bars.items() if shares[i]),
        )

    def _draw_marks(self, commands: CanvasCommands, tiles: dict[int, CanvasBox]) -> None:
        shares = self._shares()
        if self.angles is not None and max(shares) > 0:
            most = shares.index(max(shares))
            if most in tiles:
                commands.stroke(_ORANGE, 6, tiles[most])
        if self._by_key and self._cursor in tiles:
            commands.stroke("#ffffff", 8, tiles[self._cursor])
            commands.stroke(_BLUE, 5, tiles[self._cursor])

    def _shares(self) -> list[float]:
        """How full each bar is, from 0 to 1."""
        if self.angles is None:
            return [min(weight / _HEAVIEST, 1.0) for weight in self.weights]
        angles = [0.0 if math.isnan(angle) else angle for angle in self.angles]
        largest = max(angles) or 1.0
        return [angle / largest for angle in angles]

    def _tile(self, index: int) -> CanvasBox:
        left, top = self.grid.corner(index)
        return left, top - round(self._top), self.grid.side, self.grid.side

    def _handle(self, top: int) -> CanvasBox:
        """Return where the handle of the scroll bar is."""
        visible, whole = self.grid.visible, self.grid.size[0]
        return WIDTH - TRACK + 8, round(top * visible / whole), 10, round(visible * visible / whole)

    def _wheel(self, distance: float) -> None:
        self._scroll_to(self._top + distance)
        self._point_at(self._index(*self._pointer))

    def _scroll_to(self, top: float) -> None:
        with self._lock:
            top = min(max(top, 0.0), self.grid.furthest)
            if top != self._top:
                self._top = top
                self._paint()

    def _scroll_to_handle(self, y: float) -> None:
        """Bring the middle of the handle to a height."""
        self._scroll_to(y / self.grid.visible * self.grid.size[0] - self.grid.visible / 2)

    def _index(self, x: float, y: float) -> int | None:
        return self.grid.at(x, y + self._top) if 0 <= y < self.grid.visible else None

    def _down(self, x: float, y: float) -> None:
        self._up(x, y)  # a press whose end the page did not tell
        if self.grid.furthest and x >= WIDTH - TRACK:
            self._gripped = True
            self._scroll_to_handle(y)
            return
        with self._lock:
            index = self._index(x, y)
            if index is None:
                return
            self._cursor, self._by_key = index, False
            self._stroke = _Stroke(not self.weights[index] > 0, (x, y), {index})
            inside = self._stroke.inside
        self._on_gesture(True)
        self._on_change((index,), inside)
        self._point_at(index)

    def _moved(self, x: float, y: float) -> None:
        self._pointer = (x, y)
        if self._gripped:
            self._scroll_to_handle(y)
            return
        with self._lock:
            stroke = self._stroke
            new = self._passed(stroke, x, y) if stroke else ()
        if stroke and new:
            self._on_change(new, stroke.inside)
        self._point_at(self._index(x, y))

    def _passed(self, stroke: _Stroke, x: float, y: float) -> tuple[int, ...]:
        """Thumbnails between the last point and this one that the stroke comes to first."""
        (left, top), stroke.last = stroke.last, (x, y)
        steps = math.ceil(max(abs(x - left), abs(y - top)) / (self.grid.side / 2)) or 1
        shares = [step / steps for step in range(1, steps + 1)]
        found = [self._index(left + s * (x - left), top + s * (y - top)) for s in shares]
        new = [i for i in dict.fromkeys(found) if i is not None and i not in stroke.passed]
        stroke.passed.update(new)
        return tuple(i for i in new if (self.weights[i] > 0) != stroke.inside)

    def _up(self, *_: float) -> None:
        with self._lock:
            ended, self._stroke, self._gripped = self._stroke, None, False
        if ended:
            self._on_gesture(False)

    def _left(self) -> None:
        self._up()
        self._point_at(None)

    def _point_at(self, index: int | None) -> None:
        if index != self._pointed:
            self._pointed = index
            self._on_point(index)

    def _pressed(self, key: str, shift: bool, control: bool) -> None:
        """Walk by arrow keys, toggle by Space or Enter, leave by Tab or Escape.

        ``Leave`` is what the script in the page makes of Tab when the focus has moved already.
        """
        del shift
        steps = {
            "ArrowLeft": -1,
            "ArrowRight": 1,
            "ArrowUp": -self.grid.columns,
            "ArrowDown": self.grid.columns,
            "Home": -self.grid.number,
            "End": self.grid.number,
        }
        if control:
            return
        if key in ("Leave", "Tab", "Escape"):
            self._move_cursor(None)
            if key == "Escape":
                self.widget.blur()
        elif key in (" ", "Enter") and self._cursor is not None:
            self._on_gesture(True)
            self._on_change((self._cursor,), not self.weights[self._cursor] > 0)
            self._on_gesture(False)
        elif key in steps:
            last = self.grid.number - 1
            start = 0 if self._cursor is None else self._cursor + steps[key]
            self._move_cursor(min(max(start, 0), last))

    def _move_cursor(self, index: int | None) -> None:
        with self._lock:
            self._cursor, self._by_key = index, True
            if index is not None:
                top = self.grid.corner(index)[1] - 4
                low = top + self.grid.row - self.grid.visible
                self._top = float(min(max(self._top, low), top))
            self._paint()
        self._point_at(index)
