"""What a gallery asks of the explorer that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from pfv_widgets.engine.pipeline.settings import Settings


class Owner(Protocol):
    """An explorer, as its galleries see it; several galleries may share one."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while settings or a view state change: controls and canvases use other threads."""

    def edit(self, change: Callable[[Settings], Settings]) -> object:
        """Apply a person's change of the settings."""

    def show_state(self) -> None:
        """Set all controls to the settings and the view states."""

    def gesture(self, begins: bool) -> None:
        """Make one step to undo of all that changes until it ends."""

    def undo(self) -> None:
        """Take the last change of the settings back."""

    def redo(self) -> None:
        """Make the change again that was taken back."""

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action report its errors in the status line."""
