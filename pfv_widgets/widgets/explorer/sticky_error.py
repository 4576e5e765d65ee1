"""A complaint that does not give way to the report of a picture that was in work."""

from __future__ import annotations

import time
from collections.abc import Callable

from pfv_widgets.errors import named
from pfv_widgets.widgets.gallery.view_state import ViewState

_TO_READ = 4.0  # seconds that a complaint stays where nothing but marks changes


class Complaint:
    """The last complaint about what a hand did, until it is read or something else is shown.

    Parameters
    ----------
    tell
        Called with a message and its kind, for the status line.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._made: tuple[str, ViewState, float] | None = None  # what, about which state, when

    def make(self, error: Exception, state: ViewState) -> None:
        """Tell an error of what was done to a state."""
        self._made = named(error), state, time.monotonic()
        self._tell(named(error), "error")

    def repeat(self, reported: ViewState, latest: ViewState) -> None:
        """Tell it again after the report of a state, if that is no later one than its own."""
        if self._made is None:
            return
        message, about, when = self._made
        later = reported is latest and reported is not about
        read = time.monotonic() - when > _TO_READ
        if later and (read or not reported.has_heat_of(about)):
            self._made = None
        else:
            self._tell(message, "error")
