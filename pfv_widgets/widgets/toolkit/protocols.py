"""What the parts of an explorer ask of it, and what a tab is: one protocol each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import ipywidgets as w

from pfv_widgets.engine.progress import Progress
from pfv_widgets.widgets.toolkit.jobs import Jobs

S = TypeVar("S")  # the settings: a frozen dataclass


class GalleryOwner(Protocol[S]):
    """Whoever shows galleries: an explorer, or one side of it."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while settings or a view state change: controls and canvases use other threads."""

    def edit(self, change: Callable[[S], S]) -> bool:
        """Apply a person's change of the settings; False, with a message, where it is refused."""

    def outdate_error(self) -> None:
        """Let the next message take the place of an error: something else was asked for."""

    def show_state(self) -> None:
        """Set all controls to the settings and the view state."""

    def gesture(self, begins: bool) -> None:
        """Make one step to undo of all changes until it ends."""

    def undo(self) -> None:
        """Take the last change of the settings back."""

    def redo(self) -> None:
        """Make the change again that was taken back."""

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action report its errors in the status line."""

    def reject(self, settings: S, error: Exception, shown: S | None) -> None:
        """Say why ``settings`` cannot be shown, and go back to those that are ``shown``."""

    def report_progress(self, progress: Progress) -> None:
        """Say how far work is; raise ``Cancelled`` where it is to stop."""

    def show_message(self, message: str, kind: str = "ok", tip: str = "") -> None:
        """Show a message: ``"ok"``, ``"busy"``, ``"warning"`` or ``"error"``."""


class Explorer(GalleryOwner[S], Protocol):
    """An explorer, as its panels and tabs see it."""

    jobs: Jobs
    settings: S

    @property
    def file_kinds(self) -> Mapping[str, str]:
        """The suffixes that :meth:`save` takes, the usual one first → what each is, in words.

        Without words it can be typed, and no menu lists it.
        """

    @property
    def file_stem(self) -> str:
        """A name for files, without suffix."""

    @property
    def status(self) -> object:
        """What the status line says, as text by ``str``."""

    def fail(self, error: Exception) -> None:
        """Say in the status line what went wrong."""

    def snippet(self) -> str:
        """Return the lines of code that bring this view back."""

    def save(self, path: str | Path) -> None:
        """Write what is shown; the suffix decides the kind of file."""

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser of whoever looks."""


class Tab(Protocol):
    """One tab of a panel, made with its explorer.

    Attributes
    ----------
    widget
        What the tab shows; knobs whose ``page`` is the title of the tab stand above it.
    visible
        Whether the tab is open; set by the panel. What takes long to draw may wait for it.
    """

    widget: w.Widget
    visible: bool

    def show(self, settings: Any) -> None:
        """Follow the settings, without calling back."""

    def close(self) -> None:
        """End what runs, and close every widget."""
