"""An explorer that follows a network while it is trained, at a bounded cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from pfv_widgets.engine.pipeline.pfv import PFV

_LONGEST = 30.0  # seconds that a step waits for a picture


class FollowingExplorer(Protocol):
    """An explorer, as it follows a training."""

    pfv: PFV

    def refresh(self) -> None:
        """Compute the picture anew."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is rendered."""

    def fail(self, error: Exception) -> None:
        """Show what went wrong."""


class LiveTraining:
    """Refreshes an explorer from a training loop; call it after each step, inside ``with``.

    Parameters
    ----------
    explorer
        Of the network that is trained.
    every
        Steps from one picture to the next, at least.
    at_most
        Share of the training's own time that pictures may take: with 0.1 a picture of one second
        is followed by at least ten seconds of training.

    Notes
    -----
    A picture is rendered while the step waits for it, so that it competes with no other step.
    Whatever fails is shown in the explorer and never raised into the training. Colours are held:
    a component that is recognisable after a step has the colour that it had before.
    """

    def __init__(
        self,
        explorer: FollowingExplorer,
        every: int,
        at_most: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._explorer, self._every, self._at_most, self._clock = explorer, every, at_most, clock
        self._since = 0  # steps since the last picture
        self._rest = 0.0  # seconds of training that the last picture has to be followed by
        self._last = clock()
        self._held_before = False  # whether colours were held before the training

    def __enter__(self) -> LiveTraining:
        self._held_before = self._explorer.pfv.holds_colours
        self._explorer.pfv.holds_colours = True
        self._last = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show()  # the trained network
        self._explorer.pfv.holds_colours = self._held_before

    def __call__(self, *_: object, **__: object) -> None:
        """Count a step; what a framework passes to its callbacks is ignored."""
        self._since += 1
        trained = self._clock() - self._last
        if self._since >= self._every and trained >= self._rest:
            self._show()

    def _show(self) -> None:
        begin = self._clock()
        try:
            self._explorer.refresh()
            self._explorer.wait(_LONGEST)
        except Exception as error:  # a picture is not worth a training
            self._fail(error)
        self._last, self._since = self._clock(), 0
        self._rest = (self._last - begin) / self._at_most

    def _fail(self, error: Exception) -> None:
        try:
            self._explorer.fail(error)
        except Exception:  # the page may be gone; the training goes on
            return
