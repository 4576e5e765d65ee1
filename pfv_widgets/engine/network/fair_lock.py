"""A lock that threads get in the order in which they ask."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A lock that is passed on in the order in which threads ask; one thread may hold it twice."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> FairLock:
        me = threading.get_ident()
        with self._changed:
            if self._owner != me:
                self._queue_up()
                self._owner = me
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._owner = None
                self._changed.notify_all()

    @property
    def is_free(self) -> bool:
        """Whether no thread holds it."""
        with self._changed:
            return self._owner is None

    @property
    def waiting(self) -> int:
        """Number of threads that wait for it."""
        with self._changed:
            return len(self._waiting)

    def let_others_run(self) -> None:
        """Let those who wait go first, where this thread holds the lock once."""
        with self._changed:
            mine = self._owner == threading.get_ident() and self._depth == 1
            if not mine or not self._waiting:
                return
        self.__exit__()
        self.__enter__()

    def _queue_up(self) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            while self._owner is not None or self._waiting[0] is not ticket:
                self._changed.wait()
        finally:  # an interrupt leaves the queue, too
            self._waiting.remove(ticket)
            self._changed.notify_all()
