"""Know when a page has drawn what was sent, so that frames are dropped and never queued."""

from __future__ import annotations

import threading

import ipywidgets as w
import traitlets

from pfv_widgets.widgets.toolkit.controls import close_all


class _Quiet(w.IntText):
    """A number that the kernel does not send back to the page that sent it."""

    value = traitlets.CInt(0).tag(sync=True, echo_update=False)


class Acknowledgement:
    """A number that travels to the page and back behind the frames.

    ipycanvas queues every frame that it is given; waiting for the number keeps the picture in
    step with the control that is moved. Without a page nobody answers: then waiting stops at the
    time limit, and is not tried again until a page says that it is ready, or answers late.
    """

    def __init__(self) -> None:
        self.out, self.back = w.IntText(), _Quiet()
        self._link = w.jslink((self.out, "value"), (self.back, "value"))
        self._arrived = threading.Event()
        self._number = 0
        self.answered = False
        self.back.observe(self._came, "value")

    def wait(self, seconds: float) -> bool:
        """Send the next number and wait for it; False where nobody answers in time."""
        self._number += 1
        self._arrived.clear()
        self.answered = False  # before the page can answer
        self.out.value = self._number
        self._arrived.wait(seconds)
        return self.answered

    def close(self) -> None:
        """Remove the hidden widgets from every page."""
        for widget in (self._link, self.out, self.back):
            close_all(widget)

    def _came(self, change: dict[str, int]) -> None:
        if change["new"] >= self._number:
            self.answered = True
            self._arrived.set()
