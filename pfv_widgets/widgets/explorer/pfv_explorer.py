"""The explorer: a batch seen through one layer of a network, live."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets
from IPython.display import display

from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.export.sweep import SavedSweep, save_sweep
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.browser.page_script import InPage, following
from pfv_widgets.widgets.explorer.panel import Panel
from pfv_widgets.widgets.explorer.sticky_error import Complaint
from pfv_widgets.widgets.explorer.tabs import Pages
from pfv_widgets.widgets.export.bookmarks import Bookmarks
from pfv_widgets.widgets.gallery.composition import weights_of
from pfv_widgets.widgets.gallery.gallery_view import Gallery
from pfv_widgets.widgets.gallery.render_loop import Painter
from pfv_widgets.widgets.gallery.tile_canvas import ImageGrid
from pfv_widgets.widgets.gallery.view_state import Scene
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.history import History

_FAREWELL = 10.0  # seconds that closing waits for the picture in work
_PATIENCE = 0.06  # seconds that a control waits for its picture before it shows the settings


class PFVExplorer(w.VBox):
    """Heatmaps of a batch with controls that update them live.

    Set ``settings`` from code, or move a control: both take the same road. A problem is told
    in the status line; the last good picture stays.

    Parameters
    ----------
    pfv
        Network and images.
    settings
        What to show first.

    Raises
    ------
    PFVError
        If the first picture cannot be painted.
    """

    settings = traitlets.Instance(Settings)
    _parts: w.VBox | None = None
    _history_moves = False  # a step through the history is no new change
    _places = (1, 1)

    def __init__(self, pfv: PFV, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        settings = replace(settings, layer=pfv.layer(settings.layer).name)
        self.pfv = pfv
        self._editing = threading.RLock()
        self._history = History(settings)
        self._grid = ImageGrid(pfv.images.pixels)
        self._scene = Scene(settings, self._grid.page)
        self.settings = settings
        self._pages = Pages(pfv, self)
        self._panel = Panel(pfv, settings, self.edit, self._pages.widgets)
        self._panel.on_open(self.safely(self._pages.open))
        self._gallery = Gallery(self._grid, pfv.images, self, self._scene)
        self._complaint = Complaint(self._gallery.tell)
        self._painter = Painter(pfv, self._grid, self._gallery.tell, self._seen, self._pointed)
        sides = [self._gallery.widget, self._panel.widget]
        row = w.HBox(sides, layout=w.Layout(width="100%", flex_flow="row wrap"))
        style = w.HTML(text.STYLE, layout=w.Layout(margin="0"))
        live = following(self._grid.surface, self._panel.knobs.by_name)
        in_page = InPage(
            self.tell, self._grid.surface.stores,
            lambda near: self._painter.script_ready(self._scene, near=near), live,
        )  # fmt: skip
        self._parts = w.VBox([style, row, in_page])
        try:
            self._painter.draw(self._scene)
        except BaseException:
            self.close()
            raise
        super().__init__([self._parts], layout=w.Layout(width="100%"), settings=settings)
        self.add_class("pfv-explorer")
        self._show()
        self._painter.report(self._scene)
        self.observe(lambda _: self._changed(), "settings")
        self._grid.on_ready(lambda: self._painter.page_ready(self._scene))
        pfv.progress = pfv.progress or self._progressed

    @property
    def frame(self) -> Frame:
        """The picture on show, at the size of the images, once what is asked for is painted."""
        self._painter.wait()
        scene = self._painter.scene
        return self.pfv.render(self._scene.settings if scene is None else scene.settings)

    @property
    def scene(self) -> Scene:
        """What is asked for: the settings, and what a person looks at and points to."""
        return self._scene

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is painted; False where ``timeout`` seconds passed."""
        return self._painter.wait(timeout)

    def snippet(self) -> str:
        """Lines of code that bring this view back.

        A component that is recognisable in the basis of all images has its colour again;
        another one may differ in sign or place, which follow what was shown before.
        """
        changes = self.settings.changed()
        fields = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        settings = f"settings = pw.Settings({fields})"
        explorer = "explorer = pw.explore(model, images, settings=settings)"
        return f"import pfv_widgets as pw\n\n{settings}\n{explorer}\n"

    def save(self, path: str | Path) -> None:
        """Write the picture on show: see :meth:`Frame.save`.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a place that cannot be written.
        """
        self.frame.save(path)

    def save_sweep(
        self,
        path: str | Path,
        over: str = "components",
        *,
        label: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> SavedSweep | None:
        """Write an animation of this view in which one setting runs through its values.

        See :func:`pfv_widgets.engine.export.sweep.save_sweep`.
        """
        return save_sweep(
            self.pfv, path, over, self.settings, label=label, progress=progress,
            cancelled=cancelled,
        )  # fmt: skip

    @property
    def bookmarks(self) -> Bookmarks:
        """Named settings: ``add``, ``get``, ``rename``, ``delete``, ``to_json``."""
        return self._pages.export.bookmarks

    def undo(self) -> None:
        """Take the last change of the settings back."""
        self.travel("undo")

    def redo(self) -> None:
        """Make the change that was taken back again."""
        self.travel("redo")

    def close(self) -> None:
        """Remove the widget from every page and free the memory that the engine keeps."""
        if self._parts is None:  # an error came before there was anything to close
            return
        self._painter.close(_FAREWELL)
        if self.pfv.progress == self._progressed:
            self.pfv.progress = None
        self._pages.close()
        self._grid.close()
        self.pfv.close()
        close_all(self._parts)
        if self.comm is not None:
            self.layout.close()
        super().close()

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        """Apply a person's change; a value that is not legal is told and goes back."""
        with self._editing:  # sliders and clicks may come in different threads
            try:
                self.settings = change(self.settings)
            except Exception as error:
                self._complain(error)
                self._show()

    def go(self, change: Callable[[Scene], Scene], *, quiet: bool = False) -> None:
        """Change what is looked at; ``quiet`` leaves the controls as they are."""
        with self._editing:
            self._scene = change(self._scene)
            # first: a control that fails stops no picture
            self._painter.submit(self._scene, 0.0 if quiet else _PATIENCE)
            if not quiet:
                self._show()

    def travel(self, direction: str) -> None:
        """``"undo"`` or ``"redo"`` the last change of the settings."""
        with self._editing:
            self._history_moves = True
            try:
                self.settings = getattr(self._history, direction)()
            finally:
                self._history_moves = False

    def gesture(self, begins: bool) -> None:
        """Make one step of the history of what a hand does in one go."""
        with self._editing:
            (self._history.begin if begins else self._history.end)()

    def places(self) -> tuple[int, int]:
        """Height and width of the feature map on show."""
        with suppress(PFVError):  # a layer that is none is told when it is painted
            self._places = self.pfv.layer(self.settings.layer).shape[1:]
        return self._places

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action of the page tell its errors in the status line: nothing else would."""

        @wraps(action)
        def told(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self._complain(error)

        return told

    def _changed(self) -> None:
        settings = self.settings
        with self._editing:
            if not self._history_moves:
                self._history.record(settings)
            same = settings.layer == self._scene.settings.layer
            selection = self._scene.selection if same else None  # places of another layer
            self.go(lambda scene: replace(scene, settings=settings, selection=selection))

    def _show(self) -> None:
        """Set all controls to what is asked for."""
        scene = self._scene
        with suppress(PFVError):  # painting meets the same error, and tells it
            self._pages.show(scene)
            self._panel.show(scene.settings)
        self._gallery.show(scene, undo=self._history.can_undo, redo=self._history.can_redo)

    def _seen(self, scene: Scene, frame: Frame) -> None:
        """Read the numbers of a picture that is on the page."""
        self._complaint.repeat(scene, self._scene)
        self._panel.show_frame(frame)
        self._pages.seen(scene, frame)

    def _pointed(self, scene: Scene, frame: Frame) -> None:
        """Say what is under the pointer, or about the image of the cursor."""
        self._pages.marked(scene, frame)
        spot = scene.hover
        index = scene.cursor if spot is None else spot.image
        if index is None:
            self._gallery.point(None)
            return
        images, settings = self.pfv.images, scene.settings
        weight = weights_of(settings.images, len(images))[index]
        label = images.labels[index] if images.labels else None
        read = spot is not None and index in frame.indices  # the cloud shows other pages too
        values = frame.at(index, spot.x, spot.y).tolist() if spot and read else ()
        self._gallery.point(
            text.place_line(
                index, images.names[index], label, weight, values=values, shown=settings.shown
            )
        )

    def tell(self, message: str, kind: str = "ok") -> None:
        """Show a message in the status line: ``"ok"``, ``"busy"``, ``"warning"``, ``"error"``."""
        self._gallery.tell(message, kind)

    def _progressed(self, done: int, of: int) -> None:
        self._gallery.tell(f"Computing: {done} of {of} images.", "busy", done / of)

    def _complain(self, error: Exception) -> None:
        self._complaint.make(error, self._scene)

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the widget, and below it the picture for where no widget lives any more."""
        bundle = self._repr_mimebundle_(**kwargs)
        display({kind: value for kind, value in bundle.items() if kind != "image/png"}, raw=True)
        if "image/png" in bundle:
            display({"text/html": text.SAVED}, raw=True)
            display({"image/png": bundle["image/png"]}, raw=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Add a picture for places where no widget can run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle:
            bundle["image/png"] = base64.b64encode(still(self.frame)).decode()
        return bundle
