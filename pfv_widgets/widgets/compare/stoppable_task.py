"""Long work that a person asks for, follows, and may stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.progress import Cancelled, OnProgress, Progress
from pfv_widgets.errors import named
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import push_button
from pfv_widgets.widgets.toolkit.protocols import Explorer


class Task:
    """A button that starts work among the explorer's jobs, and stops it while it runs.

    ``work`` is called with what it reports its progress to, and returns what to warn of at
    the end; empty: of nothing.
    """

    def __init__(
        self, explorer: Explorer[Any], label: str, tip: str, work: Callable[[OnProgress], str]
    ) -> None:
        self._explorer, self._label, self._work = explorer, label, work
        self._stopping = threading.Event()
        self.running = False
        self.button = push_button(label, tip, explorer.safely(self.press), margin="2px 0")
        self.line = w.HTML(layout=w.Layout(margin="0"))

    def press(self) -> None:
        """Start the work, or stop it."""
        if self.running:
            self.stop()
            return
        self._stopping.clear()
        self.running = True
        self.button.description = "Stop"
        self._say(self._explorer.jobs.beginning("Starting …"), "busy")
        self._explorer.jobs.run(self._run, self._failed)

    def stop(self) -> None:
        """Stop the work at its next report."""
        self._stopping.set()

    def forget(self) -> None:
        """Take back what the last work had to say: its result is on show no more."""
        if not self.running:
            self._say("", "ok")

    def _run(self, closed: Callable[[], bool]) -> None:
        def report(progress: Progress) -> None:
            if self._stopping.is_set() or closed():
                raise Cancelled
            self._say(f"{progress}.", "busy", progress.done / max(progress.total, 1))

        try:
            message = self._work(report)
        except Cancelled:
            self._end("Stopped.", "warning")
        else:
            self._end(message, "warning")

    def _failed(self, error: Exception) -> None:
        self._end(named(error), "error")

    def _end(self, message: str, kind: str) -> None:
        self.running = False
        self.button.description = self._label
        self._say(message, kind)

    def _say(self, message: str, kind: str, done: float | None = None) -> None:
        self.line.value = text.status(message, kind=kind, done=done) if message else ""
