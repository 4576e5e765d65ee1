"""What the parts of an explorer ask of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.gallery.view_state import Scene


class Host(Protocol):
    """An explorer, as its parts see it."""

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        """Change the settings."""

    def go(self, change: Callable[[Scene], Scene], *, quiet: bool = False) -> None:
        """Change what is looked at; ``quiet`` leaves the controls as they are."""

    def gesture(self, begins: bool) -> None:
        """Make one step to undo of all that changes until it ends."""

    def travel(self, direction: str) -> None:
        """``"undo"`` or ``"redo"``."""

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action tell its errors in the status line."""
