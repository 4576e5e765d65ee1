"""A displayed canvas with buffers that the browser keeps undisplayed."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from functools import partial

from ipycanvas import Canvas
from IPython.core.getipython import get_ipython
from PIL import Image

from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands, sending

Pointer = Callable[[float, float], None]

STILL = 8.0  # pixels of the canvas that a click may slip before it is a drag


class _DisplayedCanvas(Canvas):
    """The displayed canvas of a :class:`LayeredCanvas`: who closes it closes the buffers too."""

    leave: Callable[[], None]


class LayeredCanvas:
    """A canvas that a person sees and points at, with buffers of pictures behind it.

    Its ``kind``, one of :data:`page_script.PICTURES`, names it for screen readers; its ``size`` is
    height and width in pixels of the canvas.
    """

    def __init__(self, kind: str, size: tuple[int, int], buffers: int = 0) -> None:
        self.displayed = _DisplayedCanvas(width=size[1], height=size[0])
        self.displayed.leave = self.close
        self.displayed.add_class(f"pfv-{kind}")
        self.buffers = tuple(Canvas(width=size[1], height=size[0]) for _ in range(buffers))
        self._closed = False
        self._listeners: list[tuple[Callable[..., None], Callable[..., None]]] = []
        self._ready: list[Callable[[], None]] = []
        for canvas in (self.displayed, *self.buffers):
            canvas.on_client_ready(partial(self._is_ready, canvas))
        # a canvas swallows the key: the next one goes on from here
        self.on_key(lambda key, *_: self.displayed.blur() if key == "Tab" else None)
        self._in_kernel = getattr(get_ipython(), "kernel", None) is not None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the canvas."""
        return self.displayed.height, self.displayed.width

    def resize(self, size: tuple[int, int], canvas: Canvas | None = None) -> None:
        """Give the displayed canvas, or a buffer, another size; it is blank afterwards."""
        canvas = canvas or self.displayed
        if (canvas.height, canvas.width) != size:
            with canvas.hold_sync():
                canvas.height, canvas.width = size

    def send_sizes(self) -> None:
        """Tell a page the sizes that it may have missed while it was loading."""
        for canvas in (self.displayed, *self.buffers):
            canvas.send_state(("width", "height"))

    def commands(self) -> CanvasCommands:
        """Begin a message that draws on the displayed canvas, and on others as it says."""
        rest = self.buffers[0] if self.buffers else None
        return CanvasCommands(self.displayed, rest, lambda: self._closed)

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
        canvas, finger = self.displayed, _Finger()
        for callback, mouse, touch in (
            (down, canvas.on_mouse_down, canvas.on_touch_start),
            (move, canvas.on_mouse_move, canvas.on_touch_move),
            (up, canvas.on_mouse_up, canvas.on_touch_end),
        ):
            if callback is not None:
                self._listen(mouse, callback)
                self._listen(touch, finger.calling(callback))
        if out is not None:
            self._listen(canvas.on_mouse_out, lambda *_: out())
            self._listen(canvas.on_touch_cancel, lambda *_: out())

    def on_wheel(self, callback: Callable[[float, float], None]) -> None:
        """Call back with how far a wheel was turned across and down, in pixels.

        Over this canvas it does not scroll the page then, which page_script.js sees to elsewhere.
        """
        self.displayed.add_class("pfv-wheel")
        self._listen(self.displayed.on_mouse_wheel, callback)

    def on_key(self, callback: Callable[[str, bool, bool], None]) -> None:
        """Call back with the name of a key and whether Shift and Control (or Command) are held."""
        self._listen(
            self.displayed.on_key_down,
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
        with sending:  # what comes last comes after all that is sent
            self._closed = True
        self._ready.clear()
        for register, callback in self._listeners:
            register(callback, remove=True)
        self._listeners.clear()
        canvases = (self.displayed, *self.buffers)
        if self._in_kernel and not sys.is_finalizing():
            for canvas in canvases:
                self.resize((1, 1), canvas)
            _DelayedRemoval(canvases)
        else:
            _remove(canvases)

    def _listen(self, register: Callable[..., None], callback: Callable[..., None]) -> None:
        register(callback)
        self._listeners.append((register, callback))

    def _is_ready(self, canvas: Canvas) -> None:
        canvas.send_state(("width", "height"))  # a change may have come before it was there
        for callback in tuple(self._ready):
            callback()


class _DelayedRemoval:
    """Removes canvases once a page has come to the end of what it was sent.

    A canvas of one pixel is filled last, and the page sends its picture back. It asks for that
    by saying that it has this canvas; where there is no page yet, the canvases wait for one.
    """

    def __init__(self, canvases: Iterable[Canvas]) -> None:
        self._canvases = tuple(canvases)
        self._last = Canvas(width=1, height=1, sync_image_data=True)
        self._last.observe(self._on_drawn, "image_data")
        self._last.on_client_ready(self._ask)

    def _ask(self) -> None:
        commands = CanvasCommands(self._last)
        commands.fill("#000000", (0, 0, 1, 1))
        commands.send()

    def _on_drawn(self, change: dict[str, bytes]) -> None:
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


class _Finger:
    """Where the first finger is; lifting it comes without a point."""

    def __init__(self) -> None:
        self._last = (0.0, 0.0)

    def calling(self, callback: Pointer) -> Callable[[list[tuple[float, float]]], None]:
        def touched(touches: list[tuple[float, float]]) -> None:
            self._last = touches[0] if touches else self._last
            callback(*self._last)

        return touched
