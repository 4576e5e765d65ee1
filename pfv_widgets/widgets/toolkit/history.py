"""Undo and redo of a value that changes often, such as under a slider."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class History(Generic[T]):
    """The values that were, up to ``limit`` steps back, and those that were undone.

    A run of changes of the same field, such as one drag of a slider, is one step, until ``pause``
    seconds of rest by the ``clock``; so is all that is recorded between ``begin`` and ``end``. The
    values are frozen dataclasses, or anything that can be compared. Whoever uses it from several
    threads holds a lock of their own around each call.
    """

    def __init__(
        self,
        start: T,
        *,
        limit: int = 200,
        pause: float = 0.8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = start
        self._past: list[T] = []
        self._future: list[T] = []
        self._limit, self.pause, self._clock = limit, pause, clock
        self._running: frozenset[str] | None = None  # fields of the step that may go on
        self._changed_at = 0.0
        self._gathering = False

    @property
    def now(self) -> T:
        """The value that was recorded, undone to or redone to last."""
        return self._now

    @property
    def can_undo(self) -> bool:
        """Whether there is a value before this one."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a value was undone and nothing changed since."""
        return bool(self._future)

    def record(self, value: T) -> None:
        """Remember a new value; the same one again changes nothing.

        What was undone is forgotten.
        """
        if value == self._now:
            return
        moment, changed = self._clock(), _difference(self._now, value)
        if not self._goes_on(changed, moment):
            self._past = [*self._past, self._now][-self._limit :]
        elif self._past[-1] == value:  # back where the run began: a step that does nothing
            self._past.pop()
            changed = frozenset()
        self._running = changed or None
        self._now, self._changed_at, self._future = value, moment, []

    def amend(self, value: T) -> None:
        """Put ``value`` in the place of the last one, which could not be: no step is added."""
        self._now, self._running = value, None
        if self._past and self._past[-1] == value:
            self._past.pop()

    def begin(self) -> None:
        """Make one step of all changes from here to ``end``, however long they take."""
        self._running, self._gathering = None, True

    def end(self) -> None:
        """Let the next change be a step of its own."""
        self._running, self._gathering = None, False

    def undo(self) -> T:
        """Go one step back, and return the value there; stay where there is none."""
        return self._move(self._past, self._future)

    def redo(self) -> T:
        """Take the last undo back, and return the value there; stay where there is none."""
        return self._move(self._future, self._past)

    def _goes_on(self, changed: frozenset[str], moment: float) -> bool:
        if self._running is None:
            return False
        rested = moment - self._changed_at > self.pause
        return self._gathering or (changed == self._running and not rested)

    def _move(self, source: list[T], target: list[T]) -> T:
        self._running = None
        if source:
            target.append(self._now)
            self._now = source.pop()
        return self._now


def _difference(before: Any, after: Any) -> frozenset[str]:
    """Names of the fields that differ; of a value without fields, one name for all of it."""
    if not is_dataclass(before) or type(before) is not type(after):
        return frozenset({""})
    names = (field.name for field in fields(before))
    return frozenset(name for name in names if getattr(before, name) != getattr(after, name))
