"""Drawing on canvases, in one message each time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from ipycanvas.utils import commands_to_buffer

from pfv_widgets.widgets.toolkit.geometry import CanvasBox

FADE = ("#808080", 0.72)  # over a thumbnail whose image is out of the basis
# ipycanvas remembers one current canvas for a whole process. Held again by whoever holds it: the
# garbage collector closes, anywhere, what was closed before.
sending = threading.RLock()


class CanvasCommands:
    """Commands for the canvases of one canvas, gathered and sent as one message.

    They are written as ipycanvas sends them: its own methods take 20 µs for each, its
    ``hold_canvas`` holds the canvases of the whole process, and its ``put_image_data`` encodes
    anew, coarsely. The message ends on the canvas ``rest``: a page copies a displayed canvas to the
    screen each time that a message comes to it, also where the message before ended on it, and an
    undisplayed one costs nothing. Where the canvases are closed by then nothing is sent.
    """

    def __init__(
        self,
        canvas: Canvas,
        rest: Canvas | None = None,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._commands: list[list[Any]] = []
        self._files: list[bytes] = []
        self._target, self._current, self._rest = canvas, None, rest
        self._is_closed = is_closed

    def on(self, canvas: Canvas) -> None:
        """Go on drawing on this canvas."""
        self._target = canvas

    def put(self, file: bytes, left: float = 0, top: float = 0) -> None:
        """Draw an encoded picture (JPEG or PNG, with its transparency)."""
        if file:  # an empty one would stop every canvas of the page
            self._switch()
            self._commands.append([COMMANDS["putImageData"], [left, top], 1])
            self._files.append(file)

    def store(self, buffer: Canvas, file: bytes) -> None:
        """Draw an encoded picture into a buffer, and go on where drawing went on."""
        before = self._target
        self.on(buffer)
        self.put(file)
        self.on(before)

    def image(self, buffer: Canvas, box: CanvasBox) -> None:
        """Draw all of a buffer into a box."""
        self._add("drawImage", _reference(buffer), *box)

    def fill(self, colour: str, *boxes: CanvasBox) -> None:
        """Fill boxes with a colour."""
        self._set(fill_style=colour)
        for box in boxes:
            self._add("fillRect", *box)

    def stroke(self, colour: str, width: float, *boxes: CanvasBox) -> None:
        """Draw the edges of boxes."""
        self._set(stroke_style=colour, line_width=width)
        for box in boxes:
            self._add("strokeRect", *box)

    def ring(self, colour: str, width: float, x: float, y: float, radius: float) -> None:
        """Draw a circle."""
        self._set(stroke_style=colour, line_width=width)
        self._add("strokeCircle", x, y, radius)

    def disc(self, colour: str, x: float, y: float, radius: float) -> None:
        """Fill a circle."""
        self._set(fill_style=colour)
        self._add("fillCircle", x, y, radius)

    def line(self, colour: str, width: float, *points: float) -> None:
        """Draw a line ``x1, y1, x2, y2``."""
        self._set(stroke_style=colour, line_width=width)
        self._add("strokeLine", *points)

    def clear(self, *boxes: CanvasBox) -> None:
        """Make boxes transparent; without any, the whole canvas."""
        for box in boxes:
            self._add("clearRect", *box)
        if not boxes:
            self._add("clear")

    def alpha(self, value: float) -> None:
        """Draw with this opacity from here on."""
        self._set(global_alpha=value)

    def blend(self, mode: str) -> None:
        """Choose how what is drawn meets what is there, such as ``"multiply"``."""
        self._set(global_composite_operation=mode)

    @contextmanager
    def inside(self, boxes: Iterable[CanvasBox]) -> Iterator[None]:
        """Draw nowhere but in these boxes; opacity and blending come back afterwards."""
        self._add("save")
        self._add("beginPath")
        for box in boxes:
            self._add("rect", *box)
        self._add("clip")
        yield
        self._add("restore")

    def send(self, description: dict[str, Any] | None = None) -> int:
        """Send all that was drawn, if anything; return the number of bytes of its pictures.

        ``description`` goes with it for a script in the browser.
        """
        if not self._commands:
            return 0
        self.on(self._rest or self._target)
        self._switch()
        manager: Any = Canvas._canvas_manager.default_value
        with sending:
            if self._is_closed():
                return 0
            manager._current_canvas = None  # a page that is loaded anew knows of none
            kind, commands = commands_to_buffer(self._commands)
            manager.send({**kind, "description": description}, [commands, *self._files])
        return sum(map(len, self._files))

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            self._add("set", Canvas.ATTRS[name], value)

    def _add(self, name: str, *arguments: Any) -> None:
        self._switch()
        self._commands.append([COMMANDS[name], list(arguments), 0])

    def _switch(self) -> None:
        if self._target is not self._current:
            self._current = self._target
            self._commands.append([COMMANDS["switchCanvas"], [_reference(self._target)], 0])


def _reference(canvas: Canvas) -> str:
    """Return what a page calls a canvas; one that is closed has no name, and nothing is sent."""
    return f"IPY_MODEL_{canvas.comm.comm_id}" if canvas.comm is not None else ""
