"""Each component as a small picture of its own, for one image."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import ipywidgets as w
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_maps import diverging
from pfv_widgets.engine.colouring.weighting import enlarge
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.image_encoding import encode
from pfv_widgets.widgets.browser.text_overlay import WIDTH, Label, Overlay
from pfv_widgets.widgets.components.scree_plot import GREY, toggled, tones
from pfv_widgets.widgets.toolkit.controls import Edit
from pfv_widgets.widgets.toolkit.geometry import CanvasBox

_GAP = 12  # pixels of the canvas between pictures
_CAPTION = 34  # pixels of the canvas below each
_EDGE = 3  # pixels of the canvas around each
_TALLEST = 1.4  # height of a picture over its width: a taller one becomes narrower
_HIDDEN = 0.45  # opacity of a component that is not painted


def component_pictures(
    scores: Tensor, reach: float, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Colour each component of one image, ``(k, h, w)`` → uint8 ``(k, H, W, 3)``.

    Blue is below zero, pale is zero, orange above; a score of ``reach`` has the full colour.
    """
    maps = torch.nan_to_num(scores.detach().float())[:, None] / (2 * reach) + 0.5
    maps = enlarge(maps, size).clamp(0, 1)
    picture = (255 * diverging(maps, maps.new_tensor([0.5]))).round().to(torch.uint8)
    array: npt.NDArray[np.uint8] = picture.permute(0, 2, 3, 1).cpu().numpy()
    return array


class Cells:
    """Where the pictures of ``number`` components stand, in pixels of the canvas.

    They have the proportions of images of ``shape`` (height, width).
    """

    def __init__(self, number: int, shape: tuple[int, int]) -> None:
        self.number = number
        self.columns = 3 if number <= 3 else 4
        self.pitch = (2 * (WIDTH - _EDGE) + _GAP) // self.columns
        widest = self.pitch - _GAP
        ratio = shape[0] / shape[1]
        wide = widest if ratio <= _TALLEST else widest * _TALLEST / ratio
        self.picture = max(2, round(wide * ratio)), max(2, round(wide))
        self.tall = self.picture[0] + _CAPTION
        self.size = math.ceil(number / self.columns) * (self.tall + _GAP), 2 * WIDTH

    def box(self, index: int) -> CanvasBox:
        """Box of the picture of a component."""
        row, column = divmod(index, self.columns)
        height, width = self.picture
        left = _EDGE + column * self.pitch + (self.pitch - _GAP - width) // 2
        return left, row * (self.tall + _GAP) + _EDGE, width, height

    def at(self, x: float, y: float) -> int | None:
        """Component whose picture or caption is at a point."""
        row, column = int(y // (self.tall + _GAP)), int(x // self.pitch)
        index = row * self.columns + column
        return index if x >= 0 <= y and column < self.columns and index < self.number else None

    def atlas(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Lay pictures out as on the canvas."""
        laid = np.full((*self.size, 3), 237, np.uint8)  # pale as most edges: nothing rings there
        for index, picture in enumerate(pictures):
            left, top, width, height = (int(side) for side in self.box(index))
            laid[top : top + height, left : left + width] = picture
        return laid


class ComponentPictures:
    """The score maps of all components of one image, with number and share of the variance."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._lock = threading.RLock()
        self.cells = Cells(3, (1, 1))
        self.canvas = LayeredCanvas("components", self.cells.size, buffers=1)
        self.overlay = Overlay(self.canvas)
        self._settings = Settings()
        self._ratios: tuple[float, ...] = ()
        self._file = b""
        self.widget: w.VBox = self.overlay.widget
        self.canvas.on_pointer(down=self._clicked)

    def show(self, settings: Settings, ratios: Sequence[float] | None = None) -> None:
        """Say which are painted, and their shares of the variance; no picture is sent."""
        with self._lock:
            last = self._settings, self._ratios
            self._settings = settings
            self._ratios = self._ratios if ratios is None else tuple(ratios)
            if last != (self._settings, self._ratios):
                self._draw(None)

    def show_scores(self, scores: Tensor, reach: float, shape: tuple[int, int]) -> None:
        """Show the scores ``(k, h, w)`` of an image of ``shape`` (height, width).

        A score of ``reach`` has the full colour.
        """
        cells = Cells(len(scores), shape)
        file = encode(cells.atlas(component_pictures(scores, reach, cells.picture)))
        with self._lock:
            moved = cells.size != self.cells.size
            self.cells = cells
            if moved:
                for canvas in (self.canvas.displayed, *self.canvas.buffers):
                    self.canvas.resize(cells.size, canvas)
            if moved or file != self._file:
                self._file = file
                self._draw(file)

    def repaint(self) -> None:
        """Send everything again."""
        with self._lock:
            self._draw(self._file)

    def _draw(self, file: bytes | None) -> None:
        if not self._file:
            return
        buffer, cells = self.canvas.buffers[0], self.cells
        self.overlay.show(self._label(index) for index in range(cells.number))
        commands = self.canvas.commands()
        commands.store(buffer, file or b"")
        commands.clear()
        shades = tones(self._settings)
        for opacity, visible in ((1.0, True), (_HIDDEN, False)):
            boxes = [cells.box(i) for i in range(cells.number) if (i in shades) == visible]
            commands.alpha(opacity)
            with commands.inside(boxes):
                commands.image(buffer, (0, 0, cells.size[1], cells.size[0]))
        commands.alpha(1)
        for index in range(cells.number):
            width = 2 * _EDGE if index in shades else 2
            commands.stroke(shades.get(index, GREY), width, cells.box(index))
        commands.send()

    def _label(self, index: int) -> Label:
        left, top, width, height = self.cells.box(index)
        share = f" · {100 * self._ratios[index]:.1f} %" if index < len(self._ratios) else ""
        style = "" if index in self._settings.shown else "opacity:.72"
        return Label(f"{index + 1}{share}", left + width / 2, top + height + 5, "centre", style)

    def _clicked(self, x: float, y: float) -> None:
        component = self.cells.at(x, y)
        if component is not None:
            self._edit(lambda old: toggled(old, component))
