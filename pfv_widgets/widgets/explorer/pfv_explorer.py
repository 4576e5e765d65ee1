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
from pfv_widgets.widgets.browser.page_script import PageScript
from pfv_widgets.widgets.explorer.panel import Panel
from pfv_widgets.widgets.explorer.sticky_error import Complaint
from pfv_widgets.widgets.explorer.tabs import Pages
from pfv_widgets.widgets.export.bookmarks import Bookmarks
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.view_state import ViewState
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

    def __init__(self, pfv: PFV, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        settings = replace(settings, layer=pfv.layer(settings.layer).name)
        self.pfv = pfv
        self.lock = threading.RLock()
        self._history = History(settings)
        self.settings = settings
        self._pages = Pages(pfv, self)
        self._panel = Panel(pfv, settings, self.edit, self._pages.widgets)
        self._panel.on_open(self.safely(self._pages.open))
        self.gallery = GalleryView(
            pfv, self, settings, self._panel.knobs.by_name,
            on_frame=self._seen, on_point=self._pages.marked,
        )  # fmt: skip
        self._complaint = Complaint(self.gallery.tell)
        sides = [self.gallery.widget, self._panel.widget]
        row = w.HBox(sides, layout=w.Layout(width="100%", flex_flow="row wrap"))
        style = w.HTML(text.STYLE, layout=w.Layout(margin="0"))
        self._parts = w.VBox([style, row, PageScript(self.tell)])
        try:
            self.gallery.start()
        except BaseException:
            self.close()
            raise
        super().__init__([self._parts], layout=w.Layout(width="100%"), settings=settings)
        self.add_class("pfv-explorer")
        self.show_state()
        self.gallery.render_loop.report(self.gallery.view_state)
        self.observe(lambda _: self._changed(), "settings")
        pfv.progress = pfv.progress or self._progressed

    @property
    def frame(self) -> Frame:
        """The picture on show, at the size of the images, once what is asked for is painted."""
        self.wait()
        state = self.gallery.render_loop.state or self.gallery.view_state
        return self.pfv.render(state.settings)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is painted; False where ``timeout`` seconds passed."""
        return self.gallery.wait(timeout)

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
        self.gallery.close(_FAREWELL)
        if self.pfv.progress == self._progressed:
            self.pfv.progress = None
        self._pages.close()
        self.pfv.close()
        close_all(self._parts)
        if self.comm is not None:
            self.layout.close()
        super().close()

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        """Apply a person's change; a value that is not legal is told and goes back."""
        with self.lock:  # sliders and clicks may come in different threads
            try:
                self.settings = change(self.settings)
            except Exception as error:
                self._complain(error)
                self.show_state()

    def go(self, change: Callable[[ViewState], ViewState], *, quiet: bool = False) -> None:
        """Change what is looked at; ``quiet`` leaves the controls as they are."""
        self.gallery.go(change, quiet=quiet)

    def travel(self, direction: str) -> None:
        """``"undo"`` or ``"redo"`` the last change of the settings."""
        with self.lock:
            self._history_moves = True
            try:
                self.settings = getattr(self._history, direction)()
            finally:
                self._history_moves = False

    def gesture(self, begins: bool) -> None:
        """Make one step of the history of what a hand does in one go."""
        with self.lock:
            (self._history.begin if begins else self._history.end)()

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
        with self.lock:
            if not self._history_moves:
                self._history.record(settings)
            self.gallery.show_settings(settings)

    def show_state(self) -> None:
        """Set all controls to what is asked for."""
        state = self.gallery.view_state
        with suppress(PFVError):  # painting meets the same error, and tells it
            self._pages.show(state)
            self._panel.show(state.settings)
        self.gallery.show(undo=self._history.can_undo, redo=self._history.can_redo)

    def _seen(self, state: ViewState, frame: Frame) -> None:
        """Read the numbers of a picture that is on the page."""
        self._complaint.repeat(state, self.gallery.view_state)
        self._panel.show_frame(frame)
        self._pages.seen(state, frame)

    def tell(self, message: str, kind: str = "ok") -> None:
        """Show a message in the status line: ``"ok"``, ``"busy"``, ``"warning"``, ``"error"``."""
        self.gallery.tell(message, kind)

    def _progressed(self, done: int, of: int) -> None:
        self.gallery.tell(f"Computing: {done} of {of} images.", "busy", done / of)

    def _complain(self, error: Exception) -> None:
        self._complaint.make(error, self.gallery.view_state)

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
