"""Work in the background, in a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from pfv_widgets.widgets.toolkit.shutdown import end_at_exit

T = TypeVar("T")


class Worker(Generic[T]):
    """Runs ``work(request)`` in one thread, one after another.

    Needs no event loop, so that it also works while a cell runs. The thread is started by the
    first request, and is a daemon: it never keeps a process alive. An error in the work is given
    to ``threading.excepthook``, and the next request is worked on as ever. Where only the
    ``latest`` counts, a newer request replaces one that is not begun; otherwise all are worked on.
    Once nothing is left to do, ``spare`` is called in the thread, for which nobody waits: it ends
    when there is a request.
    """

    def __init__(
        self, work: Callable[[T], None], *, latest: bool, spare: Callable[[], None] | None = None
    ) -> None:
        self._work, self._latest, self._spare = work, latest, spare
        self._condition = threading.Condition()
        self._requests: list[T] = []
        self._busy = False
        self._at_rest: Callable[[], None] | None = None
        self.is_closed = False
        self.thread: threading.Thread | None = None

    def submit(self, request: T) -> None:
        """Ask for ``request``; return at once."""
        with self._condition:
            if self.is_closed:
                return
            self._requests = [request] if self._latest else [*self._requests, request]
            self._condition.notify_all()
            if self.thread is None:
                end_at_exit(self)
                self.thread = threading.Thread(target=self._run, name="pfv", daemon=True)
                self.thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is requested and nothing runs; False where ``timeout`` s passed."""
        if threading.current_thread() is self.thread:
            return True  # the work itself asks: waiting for itself would never end
        with self._condition:
            return self._condition.wait_for(lambda: not self._requests and not self._busy, timeout)

    def at_rest(self, action: Callable[[], None]) -> None:
        """Run ``action`` now where nothing runs, else in the thread as soon as nothing is left."""
        with self._condition:
            if self._requests or self._busy:
                self._at_rest = action
                return
        action()

    def close(self, timeout: float = 0.0) -> None:
        """Forget what is requested, let the thread end, and wait at most ``timeout`` s for it."""
        with self._condition:
            self.is_closed = True
            self._requests, self._at_rest = [], None
            self._condition.notify_all()
        self.ended(timeout)

    def ended(self, timeout: float) -> bool:
        """Wait for the end of what runs; False where ``timeout`` seconds passed."""
        thread = self.thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._requests or self.is_closed)
                if self.is_closed:
                    return
                request, self._busy = self._requests.pop(0), True
            self._attempt(partial(self._work, request))
            while (action := self._last_action()) is not None:
                self._attempt(action)
            if self._spare is not None:
                self._attempt(self._spare)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            threading.excepthook(
                threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
            )

    def _last_action(self) -> Callable[[], None] | None:
        """Return what is left to do before the thread rests; if nothing is, it does from now on."""
        with self._condition:
            if self._requests or self._at_rest is None:
                self._busy = False
                self._condition.notify_all()
                return None
            action, self._at_rest = self._at_rest, None
            return action


class LatestWins(Worker[T]):
    """A worker for which only the latest request counts."""

    def __init__(self, work: Callable[[T], None], spare: Callable[[], None] | None = None) -> None:
        super().__init__(work, latest=True, spare=spare)

    def newer(self, seconds: float = 0) -> bool:
        """Whether a newer request has come, or comes within ``seconds``; for the work itself."""
        with self._condition:
            return self._condition.wait_for(lambda: bool(self._requests) or self.is_closed, seconds)

    @property
    def waiting(self) -> T | None:
        """The request that waits while another one is worked on."""
        with self._condition:
            return self._requests[0] if self._requests else None

    @property
    def is_own_thread(self) -> bool:
        """Whether the work itself asks."""
        return threading.current_thread() is self.thread
