"""Cells that are computed one after another, in the background, and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pfv_widgets.methods.comparison.comparison import Task
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

Cancelled = Callable[[], bool]


class CellQueue:
    """Work through the latest list of tasks.

    ``compute`` is called with a task and with ``cancelled()``, which it asks between its steps; it
    stores the result and catches its own errors. ``ended`` is called when nothing is left to do, or
    the work was stopped.
    """

    def __init__(
        self, compute: Callable[[Task, Cancelled], None], ended: Callable[[], None]
    ) -> None:
        self._compute, self._ended = compute, ended
        self._stopped, self._closed = threading.Event(), threading.Event()
        self._requested: frozenset[Task] = frozenset()
        self._plan: tuple[Task, ...] = ()
        self._worker = LatestWins(self._work)
        self.running: Task | None = None

    @property
    def stopped(self) -> bool:
        """Whether a person stopped the work."""
        return self._stopped.is_set()

    def request(self, tasks: Sequence[Task]) -> None:
        """Work on these tasks; one that runs goes on if it is among them."""
        self._plan, self._requested = tuple(tasks), frozenset(tasks)
        self._worker.submit(self._plan)

    def stop(self) -> None:
        """Leave the task that runs; the others wait until :meth:`go_on`."""
        self._stopped.set()

    def go_on(self) -> None:
        """Let work begin again with what is requested next."""
        self._stopped.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; False where ``timeout`` seconds passed."""
        return self._worker.wait(timeout)

    def close(self, timeout: float) -> None:
        """End the work; wait for the step in work."""
        self._closed.set()
        self._worker.close()
        self._worker.wait(timeout)

    def _work(self, plan: tuple[Task, ...]) -> None:
        for task in plan:
            if self._stopped.is_set() or self._closed.is_set() or self._worker.newer():
                break
            self.running = task
            try:
                self._compute(task, lambda task=task: self._is_unwanted(task))  # type: ignore[misc] # bound now
            finally:
                self.running = None
        if not self._closed.is_set() and not self._worker.newer():
            self._ended()

    def _is_unwanted(self, task: Task) -> bool:
        return self._stopped.is_set() or self._closed.is_set() or task not in self._requested
