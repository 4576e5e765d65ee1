"""The pages beside the knobs – Batch, Components, Export – and how they meet the gallery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import ipywidgets as w
import numpy as np

from pfv_widgets.analysis.influence import leave_one_out
from pfv_widgets.engine.colouring.similarity import cell_of
from pfv_widgets.engine.export.sweep import SavedSweep
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import named
from pfv_widgets.widgets.batch.batch_tab import BatchTab
from pfv_widgets.widgets.components.components_tab import ComponentsTab
from pfv_widgets.widgets.export.animation_section import AnimationSection
from pfv_widgets.widgets.export.export_tab import CodeSection, ExportTab, PictureSection
from pfv_widgets.widgets.export.settings_sections import BookmarkSection, SettingsSection
from pfv_widgets.widgets.gallery.owner import Owner
from pfv_widgets.widgets.gallery.view_state import Selection, ViewState
from pfv_widgets.widgets.toolkit.geometry import Spot
from pfv_widgets.widgets.toolkit.jobs import Jobs

PFV_SECTIONS = (
    PictureSection, AnimationSection, CodeSection, SettingsSection, BookmarkSection,
)  # fmt: skip
FILE_KINDS = {
    ".png": "PNG picture",
    ".svg": "SVG drawing",
    ".pdf": "PDF for print",
    ".html": "HTML page with values",
    ".npz": "NPZ arrays of numbers",
}
_FAREWELL = 10.0  # seconds that closing waits for the job in work


class PagesHost(Owner, Protocol):
    """What the pages ask of their explorer besides."""

    @property
    def settings(self) -> Settings:
        """What is asked for."""

    def go(self, change: Callable[[ViewState], ViewState], *, quiet: bool = False) -> None:
        """Change what is looked at; ``quiet`` leaves the controls as they are."""

    def tell(self, message: str, kind: str) -> None:
        """Show a message in the status line."""

    def snippet(self) -> str:
        """Return the lines of code that bring the view back."""

    def save(self, path: str | Path) -> None:
        """Write the picture."""

    def save_sweep(
        self,
        path: str | Path,
        over: str,
        *,
        label: str | None,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> SavedSweep | None:
        """Write an animation."""


class Pages:
    """Builds the pages, hands them what is shown, and runs their long work.

    Parameters
    ----------
    pfv
        Network and images.
    host
        The explorer.
    """

    def __init__(self, pfv: PFV, host: PagesHost) -> None:
        self._pfv, self._host = pfv, host
        self._state: ViewState | None = None
        self._frame: Frame | None = None
        self.jobs = Jobs()
        self.batch = BatchTab(pfv.images, host.edit, self._sweep, host.gesture)
        self.components = ComponentsTab(
            host.edit, host.safely(self._select), host.safely(self._point)
        )
        self.export = ExportTab(cast(Any, _Actions(pfv, host, self.jobs)), PFV_SECTIONS)
        self.widgets: dict[str, w.Widget] = {
            "Batch": self.batch.widget,
            "Components": self.components.widget,
            "Export": self.export.widget,
        }
        self.batch.thumbnails.canvas.on_key(host.safely(self._pressed))

    def show(self, state: ViewState) -> None:
        """Set everything to what is asked for, without calling back."""
        self.batch.show(state.settings)
        self.components.show(state.settings)
        self.export.show(state.settings)

    def open(self, title: str) -> None:
        """Draw a page that a person opens; the others rest."""
        self.components.visible = title == "Components"
        if self._state is not None and self._frame is not None:
            self.seen(self._state, self._frame)

    def seen(self, state: ViewState, frame: Frame) -> None:
        """Read the numbers of a frame that is on the page of the browser."""
        self._state, self._frame = state, frame
        if not self.components.visible:
            return
        if len(frame) < len(self._pfv.images):
            height, width = frame.scores.shape[2:]
            frame = self._pfv.render(state.settings, size=(height, width))
        self.components.show_frame(frame, _image(state))
        self.marked(state, frame)

    def marked(self, state: ViewState, frame: Frame) -> None:
        """Mark in the cloud what is pointed at and selected in the gallery."""
        spot, selection = state.hover, state.selection
        places = []
        if spot is not None:
            places = [(spot.image, *cell_of(spot.x, spot.y, frame.scores.shape))]
        self.components.show_selection(None if selection is None else selection.mask)
        self.components.mark(places)
        if (index := _image(state)) is not None:
            self.components.show_image(index)

    def close(self) -> None:
        """End what runs, and remove the pages."""
        self.export.close()
        self.jobs.close(_FAREWELL)
        self.batch.close()
        self.components.close()

    def _select(self, mask: np.ndarray | None) -> None:
        selection = None if mask is None else Selection(mask)
        self._host.go(lambda state: replace(state, selection=selection), quiet=True)

    def _point(self, place: tuple[int, int, int] | None) -> None:
        spot = None
        if place is not None and self._frame is not None:
            image, row, column = place
            height, width = self._frame.scores.shape[2:]
            spot = Spot(image, (column + 0.5) / width, (row + 0.5) / height)
        self._host.go(lambda state: replace(state, hover=spot), quiet=True)

    def _pressed(self, key: str, _: bool, ctrl: bool) -> None:
        if ctrl and key in ("z", "y", "Z"):
            (self._host.undo if key == "z" else self._host.redo)()

    def _sweep(self) -> None:
        """Leave each image out in turn, in the background."""
        settings, tab = self._host.settings, self.batch

        def job(cancelled: Callable[[], bool]) -> None:
            tab.show_influence(leave_one_out(self._pfv, settings, tab.show_progress, cancelled))

        self.jobs.run(job, lambda error: tab.show_problem(named(error)))


class _Actions:
    """What the tab "Export" may do: most of it is the explorer's."""

    file_kinds, file_stem = FILE_KINDS, "pfv"

    def __init__(self, pfv: PFV, host: PagesHost, jobs: Jobs) -> None:
        self._host, self.jobs, self.pfv = host, jobs, pfv
        self.snippet, self.show_message = host.snippet, host.tell
        self.save, self.save_sweep = host.save, host.save_sweep
        self.status = "the message beside the pictures says why."

    @property
    def settings(self) -> Settings:
        return self._host.settings

    def edit(self, change: Callable[[Settings], Settings]) -> bool:
        wanted = change(self.settings)
        self._host.edit(lambda _: wanted)
        return self.settings == wanted

    def fail(self, error: Exception) -> None:
        self.show_message(named(error), "error")


def _image(state: ViewState) -> int | None:
    """Return the image that is looked at most closely."""
    return state.cursor if state.hover is None else state.hover.image
