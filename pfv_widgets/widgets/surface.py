"""A canvas on the page, with stores that the browser keeps; the only place that knows ipycanvas."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from IPython.core.getipython import get_ipython
from PIL import Image

from pfv_widgets.widgets.grid import Box

FADE = ("#808080", 0.72)  # over an image that is out of the basis, as in Frame.composite
Pointer = Callable[[float, float], None]
# ipycanvas remembers one current canvas for a whole process. Held again by whoever holds it: the
# garbage collector closes, anywhere, what was closed before.
_sending = threading.RLock()


class Pen:
    """Commands for the canvases of one surface, gathered and sent as one message.

    They are written as ipycanvas sends them: its own methods take 20 µs for each, its
    ``hold_canvas`` holds the canvases of the whole process, and its ``put_image_data`` encodes
    anew, coarsely.

    Parameters
    ----------
    canvas
        What is drawn on first.
    rest
        The canvas to end on. A page copies a displayed canvas to the screen each time that a
        message comes to it, also where the message before ended on it: an undisplayed one
        costs nothing.
    is_closed
        Whether the canvases are closed: then nothing is sent.
    """

    def __init__(
        self,
        canvas: Canvas,
        rest: Canvas | None = None,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._commands: list[list[Any]] = []
        self._files: list[bytes] = []
        self._wanted, self._current, self._rest = canvas, None, rest
        self._is_closed = is_closed

    def on(self, canvas: Canvas) -> None:
        """Go on drawing on this canvas."""
        self._wanted = canvas

    def put(self, file: bytes, left: float = 0, top: float = 0) -> None:
        """Draw an encoded picture (JPEG or PNG, with its transparency)."""
        if file:  # an empty one would stop every canvas of the page
            self._switch()
            self._commands.append([COMMANDS["putImageData"], [left, top], 1])
            self._files.append(file)

    def image(self, store: Canvas, box: Box) -> None:
        """Draw all of a store into a box."""
        self._add("drawImage", f"IPY_MODEL_{store.model_id}", *box)

    def fill(self, colour: str, *boxes: Box) -> None:
        """Fill boxes with a colour."""
        self._set(fill_style=colour)
        for box in boxes:
            self._add("fillRect", *box)

    def stroke(self, colour: str, width: float, *boxes: Box) -> None:
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

    def clear(self, *boxes: Box) -> None:
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
    def inside(self, boxes: Iterable[Box]) -> Iterator[None]:
        """Draw nowhere but in these boxes; opacity and blending come back afterwards."""
        self._add("save")
        self._add("beginPath")
        for box in boxes:
            self._add("rect", *box)
        self._add("clip")
        yield
        self._add("restore")

    def send(self) -> int:
        """Send all that was drawn, if anything; return the number of bytes of its pictures."""
        if not self._commands:
            return 0
        self.on(self._rest or self._wanted)
        self._switch()
        manager: Any = Canvas._canvas_manager.default_value
        with _sending:
            if self._is_closed():
                return 0
            manager._current_canvas = None  # a page that is loaded anew knows of none
            manager._send_custom(self._commands, self._files)
        return sum(map(len, self._files))

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            self._add("set", Canvas.ATTRS[name], value)

    def _add(self, name: str, *arguments: Any) -> None:
        self._switch()
        self._commands.append([COMMANDS[name], list(arguments), 0])

    def _switch(self) -> None:
        if self._wanted is not self._current:
            self._current = self._wanted
            place = f"IPY_MODEL_{self._wanted.model_id}"
            self._commands.append([COMMANDS["switchCanvas"], [place], 0])


class _Shown(Canvas):
    """The displayed canvas of a surface: whoever closes it closes the surface."""

    leave: Callable[[], None]


class Surface:
    """A canvas that a person sees and points at, with stores of pictures behind it.

    Parameters
    ----------
    kind
        What it is, one of :data:`in_page.PICTURES`, which names it for screen readers.
    size
        Height and width in pixels of the canvas.
    stores
        Number of undisplayed canvases.
    """

    def __init__(self, kind: str, size: tuple[int, int], stores: int = 0) -> None:
        self.canvas = _Shown(width=size[1], height=size[0])
        self.canvas.leave = self.close
        self.canvas.add_class(f"pfv-{kind}")
        self.stores = tuple(Canvas(width=size[1], height=size[0]) for _ in range(stores))
        self._closed = False
        self._heard: list[tuple[Callable[..., None], Callable[..., None]]] = []
        self._ready: list[Callable[[], None]] = []
        for canvas in (self.canvas, *self.stores):
            canvas.on_client_ready(self._is_ready)
        self._in_kernel = getattr(get_ipython(), "kernel", None) is not None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the canvas."""
        return self.canvas.height, self.canvas.width

    def resize(self, size: tuple[int, int], canvas: Canvas | None = None) -> None:
        """Give the displayed canvas, or a store, another size; it is blank afterwards."""
        canvas = canvas or self.canvas
        if (canvas.height, canvas.width) != size:
            with canvas.hold_sync():
                canvas.height, canvas.width = size

    def pen(self) -> Pen:
        """Begin a message that draws on the displayed canvas, and on others as it says."""
        rest = self.stores[0] if self.stores else None
        return Pen(self.canvas, rest, lambda: self._closed)

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call back when a page is ready to draw; it shows nothing yet."""
        self._ready.append(callback)

    def on_pointer(
        self,
        *,
        down: Pointer | None = None,
        move: Pointer | None = None,
        up: Pointer | None = None,
        out: Callable[[], None] | None = None,
    ) -> None:
        """Call back with ``x, y`` in pixels of the canvas, for a mouse or one finger.

        Moves come as often as the page sees them, about 60 a second: whoever takes long about
        one must let the last win.
        """
        canvas, finger = self.canvas, _Finger()
        for callback, mouse, touch in (
            (down, canvas.on_mouse_down, canvas.on_touch_start),
            (move, canvas.on_mouse_move, canvas.on_touch_move),
            (up, canvas.on_mouse_up, canvas.on_touch_end),
        ):
            if callback is not None:
                self._hear(mouse, callback)
                self._hear(touch, finger.calling(callback))
        if out is not None:
            self._hear(canvas.on_mouse_out, lambda *_: out())
            self._hear(canvas.on_touch_cancel, lambda *_: out())

    def on_wheel(self, callback: Callable[[float, float], None]) -> None:
        """Call back with how far a wheel was turned across and down, in pixels.

        Over a canvas the wheel never scrolls the page.
        """
        self._hear(self.canvas.on_mouse_wheel, callback)

    def on_key(self, callback: Callable[[str, bool, bool], None]) -> None:
        """Call back with the name of a key and whether Shift and Control (or Command) are held."""
        self._hear(
            self.canvas.on_key_down,
            lambda key, shift, ctrl, meta: callback(key, bool(shift), bool(ctrl or meta)),
        )

    def close(self) -> None:
        """Remove the canvases from every page.

        In a kernel they stay, tiny, until a page has drawn all that it was sent: a page that
        comes to a command for a canvas that it no longer has draws nothing ever again, on any
        canvas, and it may just be loading what draws.
        """
        if self._closed:
            return
        with _sending:  # what comes last comes after all that is sent
            self._closed = True
        self._ready.clear()
        for register, callback in self._heard:
            register(callback, remove=True)
        self._heard.clear()
        canvases = (self.canvas, *self.stores)
        if self._in_kernel and not sys.is_finalizing():
            for canvas in canvases:
                self.resize((1, 1), canvas)
            _Farewell(canvases)
        else:
            _remove(canvases)

    def _hear(self, register: Callable[..., None], callback: Callable[..., None]) -> None:
        register(callback)
        self._heard.append((register, callback))

    def _is_ready(self) -> None:
        for callback in tuple(self._ready):
            callback()


class _Farewell:
    """Removes canvases once a page has come to the end of what it was sent.

    A canvas of one pixel is filled last, and the page sends its picture back. It asks for that
    by saying that it has this canvas; where there is no page yet, the canvases wait for one.
    """

    def __init__(self, canvases: Iterable[Canvas]) -> None:
        self._canvases = tuple(canvases)
        self._last = Canvas(width=1, height=1, sync_image_data=True)
        self._last.observe(self._drawn, "image_data")
        self._last.on_client_ready(self._ask)

    def _ask(self) -> None:
        pen = Pen(self._last)
        pen.fill("#000000", (0, 0, 1, 1))
        pen.send()

    def _drawn(self, change: dict[str, bytes]) -> None:
        with Image.open(io.BytesIO(change["new"])) as picture:
            filled = picture.convert("RGBA").getpixel((0, 0)) == (0, 0, 0, 255)
        if filled:
            self._last.sync_image_data = False  # before it goes: the page would send it once more
            _remove((*self._canvases, self._last))


def _remove(canvases: Iterable[Canvas]) -> None:
    """Close canvases with what they keep open themselves."""
    for canvas in canvases:
        canvas.layout.close()
        canvas.close()


def encode(picture: np.ndarray, quality: int = 90) -> bytes:
    """JPEG at full colour resolution: of what keeps 40 dB on heatmaps, the smallest and fastest."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


class _Finger:
    """Where the first finger is; lifting it comes without a place."""

    def __init__(self) -> None:
        self._last = (0.0, 0.0)

    def calling(self, callback: Pointer) -> Callable[[list[tuple[float, float]]], None]:
        def touched(touches: list[tuple[float, float]]) -> None:
            self._last = touches[0] if touches else self._last
            callback(*self._last)

        return touched
