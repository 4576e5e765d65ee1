"""A picture that a network makes, live: it grows before your eyes, and stops when you say so."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import torch
from PIL import Image
from torch import nn

from pfv_widgets.engine.export.output_paths import FIGURE_OR_ARRAYS
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.methods.inversion.image_parametrisation import ImageParametrisation
from pfv_widgets.methods.inversion.optimisation_loop import to_pixels
from pfv_widgets.methods.inversion.reconstruct import reconstruct
from pfv_widgets.methods.inversion.reconstruction import Reconstruction
from pfv_widgets.widgets.explorer.lazy_tabs import LazyTabs
from pfv_widgets.widgets.explorer.responsive_layout import STYLE, body, controls
from pfv_widgets.widgets.explorer.shell import CLOSING_TIMEOUT, SettingsTrait, Shell, code_head
from pfv_widgets.widgets.export.export_tab import ExportTab
from pfv_widgets.widgets.reconstruction.settings import COMPONENTS, KINDS, ReconstructionSettings
from pfv_widgets.widgets.reconstruction.target_tab import TargetTab
from pfv_widgets.widgets.toolkit import shared_resources
from pfv_widgets.widgets.toolkit.controls import push_button
from pfv_widgets.widgets.toolkit.jobs import Jobs
from pfv_widgets.widgets.toolkit.text import in_digits

_EVERY = 0.25  # seconds between two pictures on the page
_WIDEST = "max(452px, 100vh - 250px)"  # of the picture: it fits the height of the window
_GAP = 4  # pixels between pictures
_BUSY = "An image is being made: press Stop, or wait until it is done."

TABS = {"Target": TargetTab, "Export": ExportTab}


class ReconstructionExplorer(Shell[ReconstructionSettings]):
    """Choose a class, a channel, a component of PFV or a photo, press Start, and watch.

    Parameters
    ----------
    model
        The network, on its own device.
    pfv
        The same network with photos.
    classes
        Names of the output's units.
    settings
        What to show first.
    inputs, argument, output
        As for :func:`pfv_widgets.reconstruct`.
    """

    settings = SettingsTrait(ReconstructionSettings)
    file_kinds = FIGURE_OR_ARRAYS
    file_stem = "reconstruction"

    def __init__(
        self,
        model: nn.Module,
        pfv: PFV,
        classes: Mapping[int, str] | None = None,
        settings: ReconstructionSettings | None = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
        output: str | int | None = None,
    ) -> None:
        settings = settings or ReconstructionSettings()
        settings = replace(settings, layer=pfv.layer(settings.layer).name)
        self.model, self.pfv, self.classes = model, pfv, dict(classes or {})
        self.reconstruction: Reconstruction | None = None
        self._inputs, self._argument, self._output = inputs, argument, output
        self._making, self._running = Jobs(), False
        self._made_with: ReconstructionSettings | None = None  # what the picture on show is of
        self._outcome = ("", "ok")
        super().__init__(settings)
        with self._opening():
            shared_resources.use(pfv, self)
            self._closing += [lambda: shared_resources.release(pfv, self), self._end_work]
            self._check(settings)
            self.picture = self._empty_picture()
            tip = "Make an image, starting from noise."
            self.start_button = push_button("Start", tip, self.safely(self.start), min_width="72px")
            self.tabs = LazyTabs(self, TABS)
            self._closing.append(self.tabs.close)
            self._open(self._laid_out(), STYLE)
            self.add_class("pfv-reconstruct")
            self._compute(settings)

    @property
    def running(self) -> bool:
        """Whether a picture is being made."""
        return self._running

    def start(self) -> None:
        """Make the picture that the settings ask for, in the background."""
        if self._running:
            return
        settings = self.settings
        self._stopping.clear()
        self._running = True
        self._dim()
        self._lock(locked=True)
        self._report("Choosing where to start …", 0.0)
        self._making.run(lambda closed: self._work(settings, closed), self._failed)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no picture is being made; False where ``timeout`` seconds passed."""
        return self._making.wait(timeout)

    def snippet(self) -> str:
        """Return lines of code that make the same picture without the widget."""
        settings = self.settings
        size, layer = self.pfv.images.size, settings.layer
        arguments = {
            "class": f"unit={settings.unit}, size={size}",
            "channel": f"layer={layer!r}, unit={settings.unit}, size={size}",
            "component": f"frame, component={settings.component}, sign={settings.sign}",
            "photo": f"images.subset([{settings.photo}]), layer={layer!r}",
        }[settings.kind]
        changes = [f"{name}={value!r}" for name, value in settings.changed_options().items()]
        names = ["model", *["images"] * (settings.kind in ("component", "photo"))]
        lines, network = code_head(*names, *["inputs"] * bool(self._inputs)), "model"
        more = ["inputs=inputs"] if self._inputs else []
        more += [] if self._argument is None else [f"argument={self._argument!r}"]
        if more:
            changes += more
            network = f"pw.with_inputs({', '.join(['model', *more])})"
        if settings.kind == "class" and self._output is not None:
            changes.append(f"output={self._output!r}")
        if settings.kind == "component":
            render = f"render(layer={layer!r}, components={self._components(settings)})"
            lines += f"frame = pw.PFV({network}, images).{render}\n"
        return f"{lines}made = pw.reconstruct({', '.join(['model', arguments, *changes])})\n"

    def save(self, path: str | Path) -> None:
        """Write the last pictures as :meth:`Reconstruction.save` does.

        Raises
        ------
        PFVValueError, PFVTypeError
            Before there is a picture, while one is made, or for a path that cannot be written.
        """
        if self._running:
            raise PFVValueError(_BUSY)
        if self.reconstruction is None:
            raise PFVValueError("There is no image yet: press Start, or call start().")
        self.reconstruction.save(path)

    def _check(self, settings: ReconstructionSettings) -> None:
        if self._running:
            raise PFVValueError(_BUSY)
        self.pfv.layer(settings.layer)
        number = len(self.pfv.images)
        if settings.photo >= number:
            raise PFVValueError(
                f"photo={settings.photo}: there are {number} photos, from 0 to {number - 1}."
            )

    def _compute(self, settings: ReconstructionSettings) -> None:
        """Show the noise that a picture grows from, and wait for Start; or say what is on show."""
        made, start = self.reconstruction, f"Press Start to make an image of {KINDS[settings.kind]}"
        if made is None:
            self.picture.value = as_png(self._noise(settings))
            self.show_message(f"{start}.")
        elif settings == self._made_with:
            self.show_message(*self._outcome)
        else:
            shown = f"The image on show is of {made.names[0]}."
            self.show_message(f"{shown} {start} as it is chosen now.", "warning")
        self._dim()

    def _dim(self) -> None:
        """Dim the picture on show where it is of something else than what is chosen."""
        of_others = self.reconstruction is not None and self.settings != self._made_with
        outdated = of_others and not self._running
        (self.picture.add_class if outdated else self.picture.remove_class)("pfv-outdated")

    def _show_controls(self) -> None:
        self.tabs.show(self.settings)

    def _still_picture(self) -> bytes | None:
        return None if self.reconstruction is None else as_png(self.reconstruction.pixels)

    def _repaint(self) -> None:
        """Do nothing: the picture is part of its widget."""

    def _stopped(self) -> None:
        """Let the step that runs end; the best picture so far stays."""

    def _work(self, settings: ReconstructionSettings, closed: Callable[[], bool]) -> None:
        options = settings.options
        made = reconstruct(
            self.model, options=options, every=_EVERY, quiet=True, preview=self._preview,
            cancelled=lambda: self._stopping.is_set() or closed(), **self._target(settings),
            device=self.pfv.device, classes=self.classes, inputs=self._inputs,
            argument=self._argument,
        )  # fmt: skip
        self.reconstruction, self._made_with = made, settings
        self.picture.value = as_png(made.pixels)
        steps = f"{made.losses.shape[1]} of {options.steps} steps"
        scores = ", ".join(in_digits(score, ".3g") for score in made.scores.tolist())
        done = f"{'Stopped' if made.stopped else 'Done'} after {steps}: {made.score_name} {scores}"
        self._outcome = (
            " ".join([f"{done}.", *made.warnings]), "warning" if made.warnings else "ok"
        )  # fmt: skip
        self._end()
        self.show_message(*self._outcome)

    def _target(self, settings: ReconstructionSettings) -> dict[str, Any]:
        """Return the arguments of ``reconstruct`` that say what is looked for."""
        size, layer = self.pfv.images.size, settings.layer
        if settings.kind == "class":
            return {"unit": settings.unit, "size": size, "output": self._output}
        if settings.kind == "channel":
            return {"unit": settings.unit, "layer": layer, "size": size}
        if settings.kind == "photo":
            return {"target": self.pfv.images.subset([settings.photo]), "layer": layer}
        frame = self.pfv.render(layer=layer, components=self._components(settings))
        return {"target": frame, "component": settings.component, "sign": settings.sign}

    def _components(self, settings: ReconstructionSettings) -> int:
        """Return how many components are computed: a layer has no more than channels."""
        return min(COMPONENTS, self.pfv.layer(settings.layer).shape[0])

    def _preview(
        self, step: int, total: int, pixels: np.ndarray, losses: tuple[float, ...]
    ) -> None:
        self.picture.value = as_png(pixels)
        loss = min((one for one in losses if math.isfinite(one)), default=math.nan)
        self._report(f"Step {step} of {total}, loss {in_digits(loss, '.3f')}", step / total)

    def _report(self, message: str, done: float) -> None:
        self.status_line.show(message, "busy", done, stoppable=True)

    def _failed(self, error: Exception) -> None:
        self._end()
        if isinstance(error, PFVError):  # in the words of the page
            name = "Class" if self.settings.kind == "class" else "Channel"
            error = PFVError(str(error).replace("unit=", f"{name} "))
        self.fail(error)

    def _end_work(self) -> None:
        self._stopping.set()
        self._making.close(CLOSING_TIMEOUT)

    def _end(self) -> None:
        self._running = False
        self._dim()
        self._lock(locked=False)
        self._still.renew()

    def _lock(self, *, locked: bool) -> None:
        """Let nothing be changed while a picture is made, or again."""
        self.start_button.disabled = locked
        self.tabs["Target"].lock(locked)
        self.allow_history(not locked)

    def _empty_picture(self) -> w.Image:
        picture = w.Image(
            value=as_png(self._noise(self.settings)), format="png",
            layout=w.Layout(width="calc(100% - 4px)", height="auto"),  # margins of 2 pixels
        )  # fmt: skip
        picture.add_class("pfv-reconstruction")
        return picture

    def _noise(self, settings: ReconstructionSettings) -> np.ndarray:
        """Return the start, uint8 (1, H, W, 3): what is on show before a picture is made."""
        images, options = self.pfv.images, settings.options
        start = ImageParametrisation(
            options.parametrisation, images.size, images.normalisation, torch.device("cpu")
        )
        return to_pixels(start.images(start.noise([options.seed])))

    def _laid_out(self) -> w.Box:
        buttons = w.HBox([self.start_button], layout=w.Layout(margin="0 0 6px 0"))
        left = w.VBox(
            [buttons, self.picture],
            layout=w.Layout(max_width=_WIDEST, overflow="hidden", padding="0 0 6px 0"),
        )
        return body(left, controls([], self.tabs.widget))


def as_png(pixels: np.ndarray) -> bytes:
    """Return pictures ``(B, H, W, 3)`` on one transparent picture."""
    number, height, width, _ = pixels.shape
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    size = rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP
    joint = np.zeros((*size, 4), np.uint8)
    for index, picture in enumerate(pixels):
        top, left = (
            at * (side + _GAP)
            for at, side in zip(divmod(index, columns), (height, width), strict=True)
        )
        joint[top : top + height, left : left + width, :3] = picture
        joint[top : top + height, left : left + width, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(joint).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
