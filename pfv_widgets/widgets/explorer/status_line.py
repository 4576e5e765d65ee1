"""The line at the top of every explorer: what it does, Stop, Undo, Redo, Reset, Refresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import ipywidgets as w

from pfv_widgets.errors import named
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import push_button
from pfv_widgets.widgets.toolkit.time_left import TimeLeft

_TO_READ = 4.0  # seconds that an error stays where nothing but marks changes

Say = Callable[[str, float], None]  # a message, and how much is done in [0, 1]


@dataclass(frozen=True)
class Status:
    """What the status line says."""

    message: str
    kind: str = "ok"  # or "busy", "warning" or "error"
    done: float | None = None  # how much of the work is done, in [0, 1], where that is known

    def __str__(self) -> str:
        return self.message


class StatusLine:
    """Messages; errors and work in the background do not give way to the report of a picture.

    Without ``refresh`` there is no button for it.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        undo: Callable[[], None],
        redo: Callable[[], None],
        reset: Callable[[], None],
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self._time_left = TimeLeft()
        self._lock = threading.RLock()
        self._background: dict[object, tuple[str, float | None, bool]] = {}  # what was said last
        self._html = w.HTML(layout=w.Layout(flex="1 1 0", min_width="0", margin="0"))
        button = partial(push_button, margin="2px")
        self.stop_button = button("Stop", "Stop what is being computed", stop)
        self.undo_button = button("Undo", "Undo the last change", undo)
        self.redo_button = button("Redo", "Redo the change that was undone", redo)
        self.reset_button = button("Reset", "Go back to the first settings", reset)
        buttons = [self.stop_button, self.undo_button, self.redo_button, self.reset_button]
        if refresh is not None:
            tip = "Compute again, as after more training of the network"
            self.refresh_button = button("Refresh", tip, refresh)
            buttons.append(self.refresh_button)
        self.widget = w.HBox(  # of one height, so that no message moves the pictures
            [self._html, *buttons],
            layout=w.Layout(
                width="100%", height="40px", overflow="hidden auto", align_items="center"
            ),
        )
        self.widget.add_class("pfv-status")
        self._error: tuple[Status, float] | None = None  # what, and when it is read
        self.status = Status("")
        self.show("Opening …", "busy")

    def show(
        self,
        message: str,
        kind: str = "ok",
        done: float | None = None,
        *,
        stoppable: bool = False,
        guess: bool = True,
        tip: str = "",
    ) -> None:
        """Say something now; ``stoppable`` offers a way to stop it, ``tip`` says more of it.

        ``guess`` says how long the rest will take, where ``done`` is a share of that time.
        """
        with self._lock:
            if done is None or not guess:
                self._time_left.stop()
            elif left := self._time_left.words(done):
                message = f"{message.rstrip('. …')}, {left}."
            self.status = Status(message, kind, done)
            self._html.value = text.status(message, kind=kind, done=done, tip=tip)
            self.stop_button.layout.visibility = "visible" if stoppable else "hidden"

    def fail(self, error: Exception | str, kind: str = "error") -> None:
        """Say what went wrong; it stays until something else is asked for, or is read."""
        with self._lock:  # what another thread shows is no error
            self.show(error if isinstance(error, str) else named(error), kind)
            self._error = self.status, time.monotonic() + _TO_READ

    def report(
        self, message: str, kind: str = "ok", done: float | None = None, *, guess: bool = True
    ) -> None:
        """Say how work goes, with Stop where ``done`` is given, unless an error is unread."""
        with self._lock:
            if self._unread() is None:
                self.show(message, kind, done, stoppable=done is not None, guess=guess)

    @contextmanager
    def background(self, message: str, *, stoppable: bool = False) -> Iterator[Say]:
        """Say what goes on beside the picture until it ends; yields what says how far it is."""
        work = object()

        def say(message: str, done: float | None = None) -> None:
            with self._lock:
                self._background[work] = message, done, stoppable
                self.show(message, "busy", done, stoppable=stoppable)

        say(message)
        try:
            yield say
        finally:
            with self._lock:  # from here on it is not said again
                del self._background[work]

    def repeat(self) -> None:
        """Say again, after a message, an error that nobody has read, else what still goes on."""
        with self._lock:
            if (status := self._unread()) is not None:
                self.show(status.message, status.kind)
            elif self._background:
                message, done, stoppable = list(self._background.values())[-1]
                self.show(message, "busy", done, stoppable=stoppable)

    def _unread(self) -> Status | None:
        status, until = self._error or (None, 0.0)
        return status if time.monotonic() < until else None

    def outdate(self) -> None:
        """Let the next report take the place of an error: something else was asked for."""
        self._error = None

    def allow(self, *, undo: bool, redo: bool, reset: bool) -> None:
        """Let those buttons be pressed that do something."""
        self.undo_button.disabled, self.redo_button.disabled = not undo, not redo
        self.reset_button.disabled = not reset
