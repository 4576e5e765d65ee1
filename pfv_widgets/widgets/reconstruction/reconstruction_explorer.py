"""A picture that a network makes, live: it grows before your eyes, and stops when you say so."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import torch
from torch import nn

from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError, named
from pfv_widgets.methods.core.class_names import class_names
from pfv_widgets.methods.core.extra_inputs import fed
from pfv_widgets.methods.inversion.options import Reconstruct, checked_names
from pfv_widgets.methods.inversion.reconstruct import reconstruct
from pfv_widgets.methods.inversion.reconstruction import Reconstruction
from pfv_widgets.widgets.browser.page_script import InPage
from pfv_widgets.widgets.export.export_box import ExportBox
from pfv_widgets.widgets.reconstruction.contact_sheet import as_png
from pfv_widgets.widgets.reconstruction.panel import COMPONENTS, KINDS, ReconstructPanel, Wish
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.jobs import Jobs

_EVERY = 0.25  # seconds between two pictures on the page
_WIDEST = "452px"  # of the picture with its margins, and of the controls beside or below it
_FAREWELL = 10.0  # seconds that closing waits for the step in work


class ReconstructionExplorer(w.VBox):
    """Choose a class, a channel, a component of PFV or a photo, press Start, and watch.

    Parameters
    ----------
    model
        The network, on its own device.
    pfv
        The same network with photos.
    classes
        Names of the output's units.
    wish, options
        What to show first.
    inputs, argument
        As for :func:`pfv_widgets.reconstruct`.
    """

    _parts: w.VBox | None = None

    def __init__(
        self,
        model: nn.Module,
        pfv: PFV,
        classes: Mapping[int, str] | None = None,
        wish: Wish | None = None,
        options: Reconstruct | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
    ) -> None:
        self.model, self.pfv = model, pfv
        self._inputs, self._argument = inputs, argument
        self.reconstruction: Reconstruction | None = None
        self._jobs, self._stopping, self._running = Jobs(), threading.Event(), False
        layers = [layer.name for layer in pfv.layers]
        wish = wish or Wish(layer=pfv.layer(None).name)
        options = options or (Reconstruct.matching() if wish.kind == "photo" else Reconstruct())
        self.status = w.HTML(layout=w.Layout(min_height="44px", overflow="hidden"))
        self.picture = w.Image(
            value=as_png(np.zeros((1, *pfv.images.size, 3), np.uint8), empty=True), format="png",
            layout=w.Layout(width="calc(100% - 4px)", height="auto"),  # margins of 2 pixels
        )  # fmt: skip
        self.picture.add_class("pfv-made")
        self.start_button = _button("Start", "Make a picture from noise.", self.start)
        self.stop_button = _button("Stop", "Stop, and keep the best so far.", self.stop)
        self.panel = ReconstructPanel(
            (layers, pfv.images.names), classes or {}, wish, options, self._idle
        )
        buttons = w.HBox([self.start_button, self.stop_button], layout=w.Layout(margin="0 0 6px 0"))
        left = w.VBox(
            [buttons, self.picture],
            layout=w.Layout(
                flex="1 1 360px", min_width="0", max_width=_WIDEST, overflow="hidden",
                padding="0 0 6px 0",
            ),
        )  # fmt: skip
        self.export = ExportBox("reconstruction.png", self._save_shown, self.snippet)
        right = w.VBox(
            [self.panel.widget, self.export.widget],
            layout=w.Layout(
                flex="1 1 280px", min_width="230px", max_width=_WIDEST, padding="0 0 0 12px"
            ),
        )
        row = w.HBox([left, right], layout=w.Layout(width="100%", flex_flow="row wrap"))
        style = w.HTML(text.STYLE, layout=w.Layout(margin="0"))
        self._parts = w.VBox([style, self.status, row, InPage(self._tell)])
        super().__init__([self._parts], layout=w.Layout(width="100%"))
        self.add_class("pfv-explorer")
        self.add_class("pfv-reconstruct")
        self._idle()

    @property
    def running(self) -> bool:
        """Whether a picture is being made."""
        return self._running

    def start(self) -> None:
        """Make the picture that the controls ask for, in the background."""
        if self._running:
            return
        wish, options = self.panel.wish, self.panel.options
        self._stopping.clear()
        self._buttons(running=True)
        self._tell("Looking for a start …", "busy", 0.0)
        self._jobs.run(lambda closed: self._work(wish, options, closed), self._failed)

    def stop(self) -> None:
        """End the work after the step in hand; the best picture so far is kept."""
        self._stopping.set()

    def wait(self) -> None:
        """Wait until no picture is being made."""
        self._jobs.wait()

    def snippet(self) -> str:
        """Lines of code that make the same picture without the widget."""
        wish, options = self.panel.wish, self.panel.options
        usual = Reconstruct.matching() if wish.kind == "photo" else Reconstruct()
        given = {
            "class": f"unit={wish.unit}",
            "channel": f"layer={wish.layer!r}, unit={wish.unit}",
            "component": f"frame, component={wish.component}, sign={wish.sign}",
            "photo": f"images.subset([{wish.photo}]), layer={wish.layer!r}",
        }[wish.kind]
        fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
        changes = [f"{n}={v!r}" for n, v in fields.items() if v != getattr(usual, n)]
        if wish.kind in ("class", "channel"):
            changes.insert(0, f"size={self.pfv.images.size}")
        lines, network = "import pfv_widgets as pw\n\n", "model"
        if self._inputs or self._argument is not None:
            changes += ["inputs=inputs", f"argument={self._argument!r}"]
            network = f"fed(model, 1, inputs, {self._argument!r})"
        if wish.kind == "component":
            if network != "model":
                lines = f"from pfv_widgets.methods.core.extra_inputs import fed\n{lines}"
            render = f"render(layer={wish.layer!r}, components={self._components(wish)})"
            lines += f"frame = pw.PFV({network}, images).{render}\n"
        return f"{lines}made = pw.reconstruct({', '.join(['model', given, *changes])})\n"

    def save(self, path: str | Path) -> None:
        """Write the last pictures as :meth:`Reconstruction.save` does.

        Raises
        ------
        PFVValueError, PFVTypeError
            Before there is a picture, or for a place that cannot be written.
        """
        if self.reconstruction is None:
            raise PFVValueError("There is no picture yet: press Start, or call start().")
        self.reconstruction.save(path)

    def close(self) -> None:
        """Stop the work and remove the widget from every page."""
        if self._parts is None:  # an error came before there was anything to close
            return
        self._stopping.set()
        self._jobs.close(_FAREWELL)
        self.export.close()
        self.pfv.close()
        close_all(self._parts)
        if self.comm is not None:
            self.layout.close()
        super().close()

    def _work(self, wish: Wish, options: Reconstruct, closed: Callable[[], bool]) -> None:
        made = reconstruct(
            self.model, options=options, every=_EVERY, quiet=True, preview=self._show,
            cancelled=lambda: self._stopping.is_set() or closed(), **self._target(wish),
            device=self.pfv.device, inputs=self._inputs, argument=self._argument,
        )  # fmt: skip
        self.reconstruction = made
        self.picture.value = as_png(made.pixels)
        steps = f"{made.losses.shape[1]} of {options.steps} steps"
        scores = ", ".join(f"{score:.3g}".replace("-", "−") for score in made.scores.tolist())
        done = f"{'Stopped' if made.stopped else 'Done'} after {steps}: {made.scored} {scores}"
        self._buttons(running=False)
        self._tell(" ".join([f"{done}.", *made.warnings]), "warning" if made.warnings else "ok")

    def _target(self, wish: Wish) -> dict[str, Any]:
        size = self.pfv.images.size
        if wish.kind == "class":
            return {"unit": wish.unit, "size": size}
        if wish.kind == "channel":
            return {"unit": wish.unit, "layer": wish.layer, "size": size}
        if wish.kind == "photo":
            return {"target": self.pfv.images.subset([wish.photo]), "layer": wish.layer}
        frame = self.pfv.render(layer=wish.layer, components=self._components(wish))
        return {"target": frame, "component": wish.component, "sign": wish.sign}

    def _components(self, wish: Wish) -> int:
        """Return how many components are found: a layer has no more than channels."""
        return min(COMPONENTS, self.pfv.layer(wish.layer).shape[0])

    def _show(self, step: int, total: int, pixels: np.ndarray, losses: tuple[float, ...]) -> None:
        self.picture.value = as_png(pixels)
        loss = min((one for one in losses if math.isfinite(one)), default=math.nan)
        line = f"Step {step} of {total}, loss {loss:.3f}".replace("-", "−")
        self._tell(line, "busy", step / total)

    def _save_shown(self, path: str) -> None:
        if self._running:
            raise PFVValueError(
                "A picture is being made: press Stop or wait for its end, then save."
            )
        self.save(path)

    def _failed(self, error: Exception) -> None:
        self._buttons(running=False)
        self._tell(named(error), "error")

    def _idle(self) -> None:
        self.export.show()
        if not self._running:
            kind = next(name for name, key in KINDS.items() if key == self.panel.wish.kind)
            self._tell(f"Press Start to make a picture of {kind}.", "ok")
            self._buttons(running=False)

    def _buttons(self, *, running: bool) -> None:
        self._running = running
        self.start_button.disabled, self.stop_button.disabled = running, not running
        self.panel.lock(running)

    def _tell(self, message: str, kind: str, done: float | None = None) -> None:
        self.status.value = text.status(message, kind=kind, done=done)


def explore_reconstruction(
    model: nn.Module,
    images: Any,
    *,
    classes: Any = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    **options: Any,
) -> ReconstructionExplorer:
    """Open a widget in which a network makes pictures.

    Parameters
    ----------
    model
        Any eager, differentiable ``nn.Module`` that takes the images; it is given back as it came.
    images
        An ``ImageBatch``, or whatever ``load_images`` takes: photos to match, and those whose
        components are offered. The pictures have their size.
    classes
        Names of the output's units: a list, a mapping from unit to name, or ``"imagenet"``.
    inputs, argument
        The network's other inputs by name, and the name of the one that takes the images. A
        tensor has a single row, which is given to all pictures and photos, or is given as it is.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    **options
        Fields of :class:`Reconstruct`, such as ``seed`` or ``steps``.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and what to do.
    """
    start, names = Reconstruct(**checked_names(options)), class_names(classes)
    pfv = PFV(fed(unwrap(model), 1, inputs, argument), images, device)
    return ReconstructionExplorer(
        model, pfv, names, options=start, inputs=inputs, argument=argument
    )


def _button(name: str, tip: str, act: Callable[[], None]) -> w.Button:
    button = w.Button(
        description=name, tooltip=tip, layout=w.Layout(width="auto", min_width="72px")
    )

    button.on_click(lambda _: act())
    return button
