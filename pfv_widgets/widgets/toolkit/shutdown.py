"""Work in the background ends before the interpreter does: torch aborts the process otherwise."""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Iterable
from typing import Protocol

_TIMEOUT = 5.0  # seconds that all work together may take to end


class Work(Protocol):
    """What runs in a thread of its own."""

    def close(self) -> None:
        """Ask the work to end."""

    def ended(self, timeout: float) -> bool:
        """Wait for the end of what runs; False where ``timeout`` seconds passed."""


_begun: weakref.WeakSet[Work] = weakref.WeakSet()


def end_at_exit(work: Work) -> None:
    """Close the work when the interpreter ends, and wait for it."""
    _begun.add(work)


def end(begun: Iterable[Work]) -> None:
    """Close all that was begun, and wait for what runs."""
    begun = tuple(begun)
    for work in begun:
        work.close()
    last = time.monotonic() + _TIMEOUT
    for work in begun:
        work.ended(max(0.0, last - time.monotonic()))


@atexit.register
def _end_all() -> None:
    end(_begun)
