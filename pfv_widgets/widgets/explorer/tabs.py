"""The tabs of the explorer of PFV: a new one is a class and a line in ``TABS``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import ipywidgets as w
import numpy as np

from pfv_widgets.analysis.classes.component_classes import ComponentClasses, component_classes
from pfv_widgets.analysis.leave_one_out import leave_one_out
from pfv_widgets.analysis.shortcuts.find_shortcuts import find_shortcuts
from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.engine.colouring.similarity import cell_of
from pfv_widgets.engine.pca.basis_source import BASES
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled, OnProgress, Progress
from pfv_widgets.errors import PFVError, named
from pfv_widgets.methods.core.class_names import names_of
from pfv_widgets.widgets.batch.batch_tab import BatchTab
from pfv_widgets.widgets.classes.classes_tab import ClassesTab
from pfv_widgets.widgets.classes.shortcut_section import Answer
from pfv_widgets.widgets.components.components_tab import ComponentsTab
from pfv_widgets.widgets.export.animation_section import AnimationSection, SweepingExplorer
from pfv_widgets.widgets.export.export_tab import CodeSection, ExportTab, PictureSection
from pfv_widgets.widgets.export.section import LABEL
from pfv_widgets.widgets.export.settings_sections import BookmarkSection, SettingsSection
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.image_choices import CHOICES
from pfv_widgets.widgets.gallery.view_state import Selection, ViewState
from pfv_widgets.widgets.toolkit.controls import Controls, drop_down
from pfv_widgets.widgets.toolkit.geometry import Spot
from pfv_widgets.widgets.toolkit.protocols import Tab


class BatchPictureSection(PictureSection):
    """Write the picture of all images, or of some."""

    def _extra(self) -> list[w.Widget]:
        named = [(words, choice) for choice, words in CHOICES.items()]
        self.images = drop_down("Of", "Which images the file shows.", named, LABEL)
        return [self.images]

    def _export(self, path: str | Path) -> None:
        explorer: Any = self.explorer
        explorer.save(path, self.images.value)


PFV_SECTIONS = (
    BatchPictureSection, AnimationSection, CodeSection, SettingsSection, BookmarkSection,
)  # fmt: skip
OnFrame = Callable[[ViewState, Frame], None]


class BatchExplorer(SweepingExplorer, Protocol):
    """An explorer of a batch in a gallery, as its tabs see it."""

    gallery: GalleryView
    knobs: Controls
    classes: object
    output: str | int | None

    def stop(self) -> None:
        """Stop what is being computed; what is shown stays."""

    def reporter(self, message: str) -> AbstractContextManager[OnProgress]:
        """Return a context for work beside the picture, which yields what reports its progress."""

    def on_frame(self, callback: OnFrame) -> None:
        """Call back with each frame that is on show, and its view state."""

    def on_point(self, callback: OnFrame) -> None:
        """Call back with the same where something else is pointed at."""


# what changes nothing while images show how similar their positions are to pins
_OF_SCORES = ("weighting", "sigma", "normalisation", "colour_map", "sharing")


class PictureTab:
    """The knobs of the picture, which :class:`Settings` declares for this tab."""

    visible = True

    def __init__(self, explorer: BatchExplorer, *, has_network: bool = True) -> None:
        self._knobs = explorer.knobs
        if has_network:  # snapshots of a training have none
            if explorer.pfv.store.external_source is None:  # there is nothing to choose from
                self._knobs["basis_of"].layout.display = "none"
            self._knobs["components"].max = explorer.pfv.most_components
        self.widget = w.Box(layout=w.Layout(display="none"))  # the panel adds the knobs

    def show(self, settings: Settings) -> None:
        """Let those knobs be moved that change something."""
        self._knobs["split"].disabled = not VIEWS[settings.view].divided
        self._knobs["similarity"].disabled = not settings.pins
        for name in _OF_SCORES:
            self._knobs[name].disabled = settings.shows_similarity

    def close(self) -> None:
        """Leave the knobs to the panel."""


def batch_tab(explorer: BatchExplorer) -> BatchTab:
    """Make the tab of the images in the basis; it leaves one out in the background."""

    def sweep() -> None:
        # now: a comparison may show another network when the work begins
        pfv, settings = explorer.pfv, explorer.settings

        def job(cancelled: Callable[[], bool]) -> None:
            tab.show_influence(leave_one_out(pfv, settings, tab.show_progress, cancelled))

        explorer.jobs.run(job, lambda error: tab.show_problem(named(error)))

    def pressed(key: str, _: bool, ctrl: bool) -> None:
        if ctrl and key in ("z", "y", "Z"):
            (explorer.undo if key == "z" else explorer.redo)()

    def has_own_basis(settings: Settings) -> bool:
        return explorer.pfv.store.external_source is None or settings.basis_of != BASES[0]

    images = explorer.pfv.images
    tab = BatchTab(images, explorer.edit, sweep, explorer.gesture, has_own_basis)

    def follow(*_: object) -> None:
        with suppress(PFVError):  # the first network of a comparison is broken: its side says so
            tab.show_network(explorer.pfv.store.version)

    tab.thumbnails.canvas.on_key(explorer.safely(pressed))
    explorer.on_frame(follow)
    follow()  # the tab is made when it is first opened
    return tab


class LinkedComponentsTab(ComponentsTab):
    """The tab of the components, linked with the gallery: each marks what the other points at."""

    def __init__(self, explorer: BatchExplorer) -> None:
        self._explorer = explorer
        safely = explorer.safely
        super().__init__(explorer.edit, safely(self._select), safely(self._point))
        explorer.on_frame(self._follow)
        explorer.on_point(self._mark)

    def _follow(self, state: ViewState, frame: Frame) -> None:
        if not self.visible:
            return
        pfv = self._explorer.pfv
        if frame.indices != tuple(range(len(pfv.images))):  # of all images, as they came
            height, width = frame.scores.shape[2:]
            frame = pfv.render(state.settings, size=(height, width))
        self.show_frame(frame, _image(state), pfv.explained(state.settings))
        self._mark(state, frame)

    def _mark(self, state: ViewState, frame: Frame) -> None:
        """Mark what is pointed at and selected in the gallery."""
        spot, selection = state.hover, state.selection
        positions = []
        if spot is not None:
            positions = [(spot.image, *cell_of(spot.x, spot.y, frame.scores.shape))]
        self.show_selection(None if selection is None else selection.mask)
        self.mark(positions)
        if (index := _image(state)) is not None:
            self.show_image(index)

    def _select(self, mask: np.ndarray | None) -> None:
        selection = None if mask is None else Selection(mask)
        gallery = self._explorer.gallery
        with self._explorer.lock:
            gallery.go(lambda state: replace(state, selection=selection), quiet=True)
            gallery.show()  # how many are selected

    def _point(self, position: tuple[int, int, int] | None) -> None:
        gallery, spot = self._explorer.gallery, None
        if position is not None:
            image, row, column = position
            height, width = gallery.viewport.map_size
            spot = Spot(image, (column + 0.5) / width, (row + 0.5) / height)
        gallery.go(lambda state: replace(state, hover=spot), quiet=True)


class LinkedClassesTab(ClassesTab):
    """The tab of the classes, which follows the gallery: layer, components, the image in sight."""

    def __init__(self, explorer: BatchExplorer) -> None:
        self._explorer = explorer
        self._last: tuple[tuple[object, ...], ComponentClasses] | None = None
        super().__init__(
            explorer.edit, self._named, explorer.show_message, explorer.fail,
            gesture=explorer.gesture, search=self._search, stop=explorer.stop,
        )  # fmt: skip
        explorer.on_frame(self._follow)
        explorer.on_point(self._point)

    @property
    def _classes(self) -> object:
        return names_of(self._explorer.pfv.model, self._explorer.classes)

    def _follow(self, state: ViewState, frame: Frame) -> None:
        self._point(state, frame)
        self.show(self._explorer.settings)

    def _point(self, state: ViewState, _: Frame) -> None:
        if (index := _image(state)) is not None:
            self.show_image(index)

    def _search(self, answer: Answer, show: OnProgress) -> None:
        """Search the layer in sight for shortcuts, in the background."""
        explorer, pfv = self._explorer, self._explorer.pfv
        layer = pfv.layer(explorer.settings.layer).name
        version = pfv.store.version
        message = "Searching for shortcuts …"
        explorer.show_message(explorer.jobs.beginning(message), "busy")
        reporter = explorer.reporter(message)

        def job(_: Callable[[], bool]) -> None:
            with reporter as report:

                def watch(progress: Progress) -> None:
                    report(progress)
                    show(progress)

                found = find_shortcuts(
                    pfv.model, pfv.images, layer=layer, classes=self._classes,
                    output=explorer.output, device=pfv.device, on_progress=watch,
                )  # fmt: skip
            answer((found, pfv.images, version))
            number = len(found.suspects)
            explorer.show_message(f"{number or 'No'} suspect{'s' * (number != 1)} found.")

        def failed(error: Exception) -> None:
            answer(error)
            if isinstance(error, Cancelled):
                explorer.show_message("Stopped before the end of the search.", "warning")
            else:
                explorer.fail(error)

        explorer.jobs.run(job, failed)

    def _named(self, settings: Settings) -> ComponentClasses:
        """Name the components of all images; the last result is used while it still holds."""
        explorer, pfv = self._explorer, self._explorer.pfv
        plain = replace(settings, pins=(), sharing="all", weighting="flat")
        frame = pfv.render(plain, size=(2, 2))
        assert frame.forward is not None  # a PFV rendered it
        self.shortcuts.show_network(pfv.store.version)
        state = frame.forward.state()
        key = frame.layer, settings.components, settings.images, settings.stable_colours, state
        if self._last is not None and self._last[0] == key:
            same = frame.basis.components - self._last[1].basis.components
            if not bool(same.any()):  # neither order nor sign has changed
                return self._last[1]
        try:
            with explorer.reporter("Naming components by classes …") as report:

                def watch(progress: Progress) -> None:
                    if self.outdated(settings):
                        raise Cancelled
                    report(progress)

                found = component_classes(
                    frame, self._classes, output=explorer.output, on_progress=watch
                )
        finally:
            explorer.gallery.render_loop.repeat()  # nothing is being named any more
        self._last = key, found
        return found


def _image(state: ViewState) -> int | None:
    """Return the image that is looked at most closely."""
    return state.cursor if state.hover is None else state.hover.image


TABS: dict[str, Callable[[BatchExplorer], Tab]] = {
    "Picture": PictureTab,
    "Batch": batch_tab,
    "Components": LinkedComponentsTab,
    "Classes": LinkedClassesTab,
    "Export": partial(ExportTab, sections=PFV_SECTIONS),
}
