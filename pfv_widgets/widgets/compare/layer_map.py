"""A map of similarity: each layer of one network by each of another; a click chooses both."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import ipywidgets as w
import numpy as np
import torch

from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.methods.attribution.colours import heatmap_colours
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.image_encoding import encode
from pfv_widgets.widgets.browser.text_overlay import WIDTH, Overlay, plot_box
from pfv_widgets.widgets.compare.colour_scale import colour_scale
from pfv_widgets.widgets.toolkit import text

SIZE = 2 * WIDTH  # pixels of the canvas
_UNDEFINED = 128  # grey


class LayerMap:
    """The map on a canvas, with what the pointer reads below it.

    A click calls ``choose`` with a layer of the first network and one of the second.
    """

    def __init__(self, choose: Callable[[str, str], object]) -> None:
        self._choose = choose
        self._lock = threading.RLock()
        self._similarity: Similarity | None = None
        self._marked: tuple[str, str] | None = None
        self._file = b""
        self.canvas = LayeredCanvas("similarity", (SIZE, SIZE))
        self.canvas.on_pointer(down=self._clicked, move=self._hovered, out=self._describe)
        self.canvas.on_ready(self.repaint)
        self.axes = w.HTML()
        self.line = w.HTML(layout=w.Layout(min_height="40px", margin="0"))
        scale = w.HTML(colour_scale("0", "1 CKA"))
        self.widget = plot_box(
            self.axes, Overlay(self.canvas).widget, scale, self.line, display="none"
        )

    def show(self, similarity: Similarity | None) -> None:
        """Show a map; None hides it."""
        with self._lock:
            self._similarity = similarity
            self.widget.layout.display = "none" if similarity is None else None
            if similarity is None:
                return
            first, second = similarity.networks
            self.axes.value = text.hint(f"Down: layers of {first}. Across: of {second}.")
            self.canvas.resize(_size(similarity.cka.shape))
            self._file = encode(picture(similarity.cka, self.canvas.size), 95)
            self._describe()
            self.repaint()

    def mark(self, first: str, second: str) -> None:
        """Mark the pair of layers that is on show."""
        with self._lock:
            if self._marked != (first, second):
                self._marked = first, second
                self._describe()
                self.repaint()

    def repaint(self) -> None:
        """Send everything again."""
        with self._lock:
            if self._similarity is not None:
                self._draw(self._similarity.cka.shape)

    def _draw(self, shape: tuple[int, ...]) -> None:
        commands, (height, width) = self.canvas.commands(), self.canvas.size
        commands.put(self._file)
        cell = self._cell()
        if cell is not None:
            down, across = height / shape[0], width / shape[1]
            box = (cell[1] * across, cell[0] * down, across, down)
            commands.stroke("#000000", 7, box)
            commands.stroke("#ffffff", 3, box)
        commands.send()

    def _cell(self) -> tuple[int, int] | None:
        """Row and column of the pair that is marked, where it is on the map."""
        if self._similarity is None or self._marked is None:
            return None
        first, second = self._similarity.layers
        if self._marked[0] not in first or self._marked[1] not in second:
            return None
        return first.index(self._marked[0]), second.index(self._marked[1])

    def _at(self, x: float, y: float) -> tuple[int, int] | None:
        if self._similarity is None:
            return None
        height, width = self.canvas.size
        rows, columns = self._similarity.cka.shape
        row, column = int(y * rows / height), int(x * columns / width)
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None

    def _clicked(self, x: float, y: float) -> None:
        cell, similarity = self._at(x, y), self._similarity
        if cell is not None and similarity is not None:
            self._choose(similarity.layers[0][cell[0]], similarity.layers[1][cell[1]])

    def _hovered(self, x: float, y: float) -> None:
        self._describe(self._at(x, y))

    def _describe(self, cell: tuple[int, int] | None = None) -> None:
        """Say what the pointer is at, or else what is on show."""
        cell = self._cell() if cell is None else cell
        if self._similarity is None or cell is None:
            self.line.value = text.hint("Click a cell to show these two layers.")
            return
        value, chance = self._similarity.cka[cell], self._similarity.null[1][cell]
        first, second = (
            names[index] for names, index in zip(self._similarity.layers, cell, strict=True)
        )
        band = "" if math.isnan(chance) else f" (shuffled photos: up to {chance:.2f})"
        self.line.value = text.hint(
            f"{first} and {second}: CKA {text.in_digits(float(value))}{band}"
        )


def picture(cka: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a map ``(A, B)`` as uint8 ``(H, W, 3)``: black 0, light 1, grey undefined."""
    values = torch.from_numpy(np.nan_to_num(cka, nan=0.0).clip(0, 1)).float()[None]
    colours = heatmap_colours(values, torch.ones(1), signed=False)[0]
    cells = np.rint(255 * colours).astype(np.uint8)
    cells[np.isnan(cka)] = _UNDEFINED
    rows, columns = (
        np.arange(pixels) * number // pixels for pixels, number in zip(size, cka.shape, strict=True)
    )
    return cells[rows][:, columns]


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the canvas for a map: no higher than wide."""
    rows, columns = shape
    return round(SIZE * min(1.0, max(0.25, rows / columns))), SIZE
