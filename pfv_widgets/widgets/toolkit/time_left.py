"""How long work that says how far it is will still take."""

from __future__ import annotations

import time
from collections.abc import Callable

_EARLIEST = 2.0  # seconds of work, and
_LEAST = 0.02  # of it done, before a guess is worth a word


class TimeLeft:
    """Estimates from the pace so far; begins anew where the share that is done falls."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._from = self._last = 0.0
        self._running = False

    def stop(self) -> None:
        """Forget the pace: nothing is being done."""
        self._running = False

    def words(self, done: float) -> str:
        """Return "about 20 s left" where ``done`` in [0, 1] is done; empty: too early to say."""
        now = self._clock()
        if not self._running or done < self._last:
            self._running, self._began, self._from = True, now, done
        self._last = done
        if now - self._began < _EARLIEST or done - self._from < _LEAST:
            return ""
        seconds = (now - self._began) * (1 - done) / (done - self._from)
        if seconds < 1:
            return ""
        if seconds < 90:
            return f"about {10 * round(seconds / 10) if seconds > 15 else round(seconds)} s left"
        return f"about {round(seconds / 60)} min left"
