"""A scatter plot on a canvas: brushed, pointed at, marked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from pfv_widgets.engine.pipeline.score_scatter import FADED, PAPER, Mask, Numbers, Position, Scatter
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.image_encoding import encode
from pfv_widgets.widgets.browser.text_overlay import WIDTH
from pfv_widgets.widgets.toolkit.geometry import CanvasBox

OnSelect = Callable[[Mask | None], None]
OnHover = Callable[[Position | None], None]

SIZE = 2 * WIDTH  # pixels of the canvas
_STILL = 6  # pixels of the canvas that a click may move
_MANY = 30_000  # positions whose fine dots hide what a stronger compression loses
_RECENT = 64  # selections that may still be on their way back


class ScatterCanvas:
    """The scatter plot on a canvas, with nothing around it.

    ``on_select`` is called with the positions ``(N, h, w)`` that are brushed, live, or None;
    ``on_hover`` with the position (image, row, column) under the pointer when it changes, or None.
    """

    def __init__(self, on_select: OnSelect, on_hover: OnHover) -> None:
        self._on_select, self.on_hover = on_select, on_hover
        self._lock = threading.RLock()
        self._scatter: Scatter | None = None
        self._colours: Numbers | None = None
        self._selected: Mask | None = None
        self.brush: CanvasBox | None = None  # the selection is what lies in it
        self._sent: deque[Mask] = deque(maxlen=_RECENT)
        self.start: tuple[float, float] | None = None
        self._dragging = False
        self._hovered: Position | None = None
        self._marks: tuple[Position, ...] = ()
        self._file = b""
        self.canvas = LayeredCanvas("scatter", (SIZE, SIZE), buffers=1)
        self.canvas.on_pointer(down=self._down, move=self._move, up=self._up, out=self._out)
        self.canvas.on_key(self._key)

    @property
    def selected(self) -> Mask | None:
        """Positions ``(N, h, w)`` that are selected; None: no selection."""
        return self._selected

    def show(self, scatter: Scatter, colours: Numbers) -> None:
        """Show points whose positions have these colours, ``(N, h, w, 3)`` in [0, 1].

        The selection stays with its positions; one of another shape is dropped.
        """
        with self._lock:
            if scatter is not self._scatter:
                self.brush = self.start = self._hovered = None
                self._dragging = False
            elif self._colours is not None and np.array_equal(colours, self._colours):
                return
            self._scatter, self._colours = scatter, colours
            if self._selected is not None and self._selected.shape != scatter.shape:
                self._selected = None
            self._repaint()

    def select(self, selected: Mask | None) -> None:
        """Show which positions are selected, without calling back.

        A selection that was brushed here and comes back, perhaps late, does not stop the brushing.
        """
        with self._lock:
            ours = self.brush is not None and any(selected is mask for mask in self._sent)
            if self._dragging or ours:
                return
            if self._scatter is not None and selected is not None:
                selected = selected if selected.shape == self._scatter.shape else None
            if _same(selected, self._selected):
                return
            only_brush = self.brush is not None and selected is None
            self._selected, self.brush = selected, None
            if only_brush:
                self._draw()  # the points themselves have kept their colours
            else:
                self._repaint()

    def mark(self, positions: Iterable[Position]) -> None:
        """Draw rings around these positions."""
        with self._lock:
            marks = tuple(positions)
            if marks != self._marks:
                self._marks = marks
                self._draw()

    def clear(self) -> None:
        """Clear the selection, and call back."""
        cleared = self._selected is not None
        self.select(None)
        if cleared:
            self._on_select(None)

    def repaint(self) -> None:
        """Send everything again."""
        with self._lock:
            self._draw(self._file)

    def _repaint(self) -> None:
        """Draw the points anew: colours, positions or a selection that is no rectangle changed."""
        if self._scatter is None or self._colours is None:
            return
        selected = None if self.brush else self._selected
        picture = self._scatter.render(self._colours, selected)
        self._file = encode(picture, 66 if len(self._scatter.x) > _MANY else 86)
        self._draw(self._file)

    def _draw(self, file: bytes | None = None) -> None:
        if self._scatter is None:
            return
        commands, buffer = self.canvas.commands(), self.canvas.buffers[0]
        commands.store(buffer, file or b"")
        everything = 0, 0, SIZE, SIZE
        commands.alpha(1)
        commands.fill("#{:02x}{:02x}{:02x}".format(*PAPER), everything)
        commands.alpha(FADED if self.brush else 1)
        commands.image(buffer, everything)
        commands.alpha(1)
        if self.brush:
            with commands.inside([self.brush]):
                commands.image(buffer, everything)
        self._draw_signs(commands, self._scatter)
        commands.send()

    def _draw_signs(self, commands: CanvasCommands, scatter: Scatter) -> None:
        x, y = scatter.origin
        commands.alpha(0.25)
        commands.line("#ffffff", 2, x, 0, x, SIZE)
        commands.line("#ffffff", 2, 0, y, SIZE, y)
        commands.alpha(1)
        if self.brush:
            commands.stroke("#ffffff", 2, self.brush)
        radius = max(9.0, scatter.radius + 5)
        for position in dict.fromkeys((*self._marks, *filter(None, [self._hovered]))):
            point = scatter.at(position)
            if point is not None:
                commands.ring("#000000", 7, *point, radius)
                commands.ring("#ffffff", 3, *point, radius)

    def _down(self, x: float, y: float) -> None:
        with self._lock:
            self.start, self._dragging = (x, y), False

    def _move(self, x: float, y: float) -> None:
        with self._lock:
            scatter, start = self._scatter, self.start
            if scatter is None:
                return
            if start is not None:
                far = max(abs(x - start[0]), abs(y - start[1])) >= _STILL
                self._dragging = self._dragging or far
                if self._dragging:
                    self._drag(scatter, *start, x, y)
        # called without the lock: the callback may wait for a picture that needs it
        if start is None:
            self.hover(scatter.nearest(x, y))
        elif self._dragging:
            self._on_select(self._selected)

    def _drag(self, scatter: Scatter, x1: float, y1: float, x2: float, y2: float) -> None:
        old = self._selected is not None and self.brush is None
        self.brush = min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)
        self._selected = scatter.inside(x1, y1, x2, y2)
        self._sent.append(self._selected)
        self._hovered = None
        if old:  # what was selected elsewhere is painted into the points
            self._repaint()
        else:
            self._draw()

    def _up(self, *_: float) -> None:
        with self._lock:
            start, self.start = self.start, None
            dragged, self._dragging = self._dragging, False
            nothing = self._selected is None or not self._selected.any()
        if start is not None and (nothing or not dragged):
            self.clear()

    def _out(self) -> None:
        self._up() if self._dragging else None
        self.start = None
        self.hover(None)

    def hover(self, position: Position | None) -> None:
        """Mark the position under the pointer, and call back when it changes."""
        with self._lock:
            if position == self._hovered:
                return
            self._hovered = position
            self._draw()
        self.on_hover(position)

    def _key(self, key: str, *_: bool) -> None:
        if key == "Escape" and self._selected is not None:
            self.clear()
        elif key == "Escape":
            self.canvas.displayed.blur()


def _same(one: Mask | None, other: Mask | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)
