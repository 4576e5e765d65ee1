"""The explorer: a batch seen through one layer of a network, live."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import torch
import traitlets

from pfv_widgets.engine.frame import Frame
from pfv_widgets.engine.pipeline import PFV
from pfv_widgets.engine.settings import Settings
from pfv_widgets.engine.still import still
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets import text
from pfv_widgets.widgets.acknowledge import Acknowledgement
from pfv_widgets.widgets.canvas import ImageGrid, Look
from pfv_widgets.widgets.composition import toggled, weights_of
from pfv_widgets.widgets.controls import close_all
from pfv_widgets.widgets.panel import Panel
from pfv_widgets.widgets.worker import LatestWins

_PATIENCE = 1.0  # seconds that a frame may take to be drawn by the page
_FAREWELL = 10.0  # seconds that closing waits for the picture in work
_LOOK = ("opacity", "view")  # settings that the browser applies by itself
_FINE = ("gradual",)  # weightings whose heatmaps are as fine as the photo
_SMALL = 160  # pixels; half of a tile that is not wider would be coarse
_HOW_TO = "Click a tile to take its image out of the basis, or in again."


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
    _parts: w.HBox | None = None

    def __init__(self, pfv: PFV, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        settings = replace(settings, layer=pfv.layer(settings.layer).name)
        self.pfv = pfv
        self._painted: Settings | None = None
        self._stale = False  # the page shows something else than what was painted last
        self._warnings: tuple[str, ...] = ()
        self._cursor: int | None = None
        self._editing = threading.RLock()
        self._new_page = threading.Event()
        self._grid = ImageGrid(pfv.images.pixels)
        self._acknowledgement = Acknowledgement()
        self._worker = LatestWins(self._work)
        self._panel = Panel(pfv, settings, self._edit)
        self._status, self._hint = w.HTML(), w.HTML(text.hint(_HOW_TO))
        self._parts = self._laid_out()
        try:
            self._paint(settings)
        except BaseException:
            self.close()
            raise
        super().__init__([self._parts], layout=w.Layout(width="100%"), settings=settings)
        self.add_class("pfv-explorer")
        self._listen()
        pfv.progress = pfv.progress or self._progressed

    @property
    def frame(self) -> Frame:
        """The picture on show, at the size of the images, once what is asked for is painted."""
        self._worker.wait()
        return self.pfv.render(self._painted)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is painted; False where ``timeout`` seconds passed."""
        return self._worker.wait(timeout)

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
        """Write the picture on show: see :meth:`Frame.save`."""
        self.frame.save(path)

    def close(self) -> None:
        """Remove the widget from every page and free the memory that the engine keeps."""
        if self._parts is None:  # an error came before there was anything to close
            return
        self._worker.close()
        self._worker.wait(_FAREWELL)  # a page that draws on a canvas which is gone draws no more
        self._acknowledgement.close()
        self._grid.close()
        self.pfv.close()
        close_all(self._parts)
        if self.comm is not None:
            self.layout.close()
        super().close()

    def _listen(self) -> None:
        self.observe(lambda _: self._changed(), "settings")
        self._grid.on_ready(self._page_ready)
        self._grid.on_click(self._toggle)
        self._grid.on_hover(self._point_at)
        self._grid.on_key(self._pressed)

    def _edit(self, change: Callable[[Settings], Settings]) -> None:
        """Apply a person's change; a value that is not legal is told and goes back."""
        with self._editing:  # sliders and clicks may come in different threads
            try:
                self.settings = change(self.settings)
            except PFVError as error:
                self._tell(str(error), "error")
                self._show()

    def _changed(self) -> None:
        with self._editing:
            self._show()
            self._worker.submit(self.settings)

    def _show(self) -> None:
        with suppress(PFVError):  # painting will meet the same error, and tells it
            self._panel.show(self.settings)

    def _work(self, settings: Settings) -> None:
        """Paint in the background; no error ends the thread."""
        try:
            if self._new_page.is_set():
                self._new_page.clear()
                self._grid.repaint()
            if self._stale or settings != self._painted or self._cursor != self._grid.look.cursor:
                self._paint(settings)
        except PFVError as error:
            self._fail(str(error))
            self._grid.paint(None, self._look(settings))
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error} – the last picture stays.")
        if self._acknowledgement.answered:
            self._acknowledgement.wait(_PATIENCE)

    def _paint(self, settings: Settings) -> None:
        begin = time.perf_counter()
        if self._differs_in_look_alone(settings):
            self._grid.paint(None, self._look(settings))
        else:
            if not self.pfv.is_ready(settings.layer):
                self._tell(f"Computing {self.pfv.layer(settings.layer).name} …", "busy")
            self.pfv.anchor(settings.layer)
            frame = self.pfv.render(settings, size=self._tile_size(settings))
            self._grid.paint(_bytes(frame), self._look(settings))
            self._panel.show_frame(frame)
            self._warnings = frame.warnings
        self._painted, self._stale = settings, False
        done = f"Updated in {1000 * (time.perf_counter() - begin):.0f} ms."
        self._tell(" ".join((done, *self._warnings)), "warning" if self._warnings else "ok")

    def _differs_in_look_alone(self, settings: Settings) -> bool:
        last = self._painted
        return last is not None and last == replace(
            settings, **{name: getattr(last, name) for name in _LOOK}
        )

    def _look(self, settings: Settings) -> Look:
        weights = self._weights(settings)
        out = tuple(index for index, weight in enumerate(weights) if weight == 0)
        return Look(settings.opacity, settings.view, out, self._cursor)

    def _tile_size(self, settings: Settings) -> tuple[int, int]:
        """Half a tile where that shows all there is: the browser enlarges it."""
        height, width = self._grid.grid.tile
        if settings.weighting in _FINE or width < _SMALL:
            return height, width
        return height // 2, width // 2

    def _fail(self, message: str) -> None:
        self._stale = True
        self._tell(message, "error")

    def _progressed(self, done: int, of: int) -> None:
        self._tell(f"Computing: {done} of {of} images.", "busy")

    def _tell(self, message: str, kind: str) -> None:
        self._status.value = text.status(message, kind=kind)
        self._hint.layout.display = "none" if kind == "error" else None

    def _page_ready(self) -> None:
        self._acknowledgement.answered = True
        self._new_page.set()
        self._worker.submit(self.settings)

    def _toggle(self, index: int) -> None:
        self._cursor = index
        labels = self.pfv.images.labels
        self._edit(lambda old: replace(old, images=toggled(self._weights(old), index, labels)))
        self._point_at(index)

    def _weights(self, settings: Settings) -> tuple[float, ...]:
        return weights_of(settings.images, len(self.pfv.images))

    def _point_at(self, index: int | None) -> None:
        self._hint.value = text.hint(_HOW_TO if index is None else self._about(index))

    def _about(self, index: int) -> str:
        images = self.pfv.images
        label = f" · {images.labels[index]}" if images.labels else ""
        weight = self._weights(self.settings)[index]
        state = f"weight {weight:g} in the basis" if weight > 0 else "not in the basis"
        return f"{index}: {images.names[index]}{label} · {state}"

    def _pressed(self, key: str) -> None:
        """Walk the tiles by arrow keys, toggle by Space or Enter, leave by Tab or Escape."""
        steps = {
            "ArrowLeft": -1,
            "ArrowRight": 1,
            "ArrowUp": -self._grid.grid.columns,
            "ArrowDown": self._grid.grid.columns,
        }
        if key == "Tab":  # the canvas swallows the key: the next one goes on from here
            self._grid.canvas.blur()
        elif key == "Escape":
            self._move_cursor(None)
            self._grid.canvas.blur()
        elif key in (" ", "Enter") and self._cursor is not None:
            self._toggle(self._cursor)
        elif key in steps:
            target = 0 if self._cursor is None else self._cursor + steps[key]
            self._move_cursor(min(max(target, 0), len(self.pfv.images) - 1))

    def _move_cursor(self, index: int | None) -> None:
        self._cursor = index
        self._point_at(index)
        self._worker.submit(self.settings)

    def _laid_out(self) -> w.HBox:
        canvas = self._grid.canvas
        # of one height, so that no message moves the pictures; an error takes the hint's place
        head = w.VBox([self._status, self._hint], layout=w.Layout(height="62px", overflow="auto"))
        gallery = w.VBox(
            [head, canvas],
            layout=w.Layout(flex="1 1 420px", min_width="260px", max_width=canvas.layout.max_width),
        )
        return w.HBox(
            [gallery, self._panel.widget], layout=w.Layout(width="100%", flex_flow="row wrap")
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Add a picture for places where no widget can run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle:
            bundle["image/png"] = base64.b64encode(still(self.frame)).decode()
        return bundle


def _bytes(frame: Frame) -> np.ndarray:
    heat = (frame.heatmaps * 255).round_().to(torch.uint8)
    return heat.cpu().contiguous().numpy()
