"""Every position of the batch as a point of a scatter plot, to select by brushing."""

from __future__ import annotations

import threading

import ipywidgets as w
import torch
from torch import Tensor

from pfv_widgets.engine.pipeline.score_scatter import Mask, Scatter, position_colours, scatter_of
from pfv_widgets.widgets.browser.text_overlay import Label, Overlay, plot_box
from pfv_widgets.widgets.components.scatter_canvas import SIZE, OnHover, OnSelect, ScatterCanvas
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, drop_down, push_button

_LIGHT = "color:#e8e8ec;text-shadow:0 0 3px #000"
# two lines, so that plot and text fit a window of 900 pixels
_HOW_TO = "Points are positions, in their colours. Drag to select; a click or Escape clears."


class ScatterPlot:
    """The scatter plot with its axes to choose, a count of what is selected, and a way to clear."""

    def __init__(self, on_select: OnSelect, on_hover: OnHover) -> None:
        self._lock = threading.RLock()
        self._watched = Watched()
        self._on_select = on_select
        self._scores: Tensor | None = None
        self._heatmaps: Tensor | None = None
        self.scatter: Scatter | None = None
        self.plot = ScatterCanvas(self._brushed, on_hover)
        self.canvas = self.plot.canvas
        self.overlay = Overlay(self.canvas)
        self.across, self.up = self._axis("Across", 0), self._axis("Up", 1)
        self.clear = push_button(
            "Clear", "Clear the selection", self.plot.clear,
            width="56px", flex="0 0 auto", margin="2px 0 2px auto",
        )  # fmt: skip
        self.clear.disabled = True
        self.canvas.on_key(self._step)
        self.count_line = w.HTML(text.hint(_HOW_TO), layout=w.Layout(min_height="40px", margin="0"))
        row = w.HBox(
            [self.across, self.up, self.clear],
            layout=w.Layout(width="100%", margin="0 0 4px", flex_flow="row wrap"),
        )
        self.widget = plot_box(row, self.overlay.widget, self.count_line)

    def show(self, scores: Tensor, heatmaps: Tensor) -> None:
        """Show scores ``(N, k, h, w)`` in the colours of heatmaps ``(N, H, W, 3)``."""
        with self._lock:
            self._heatmaps = heatmaps
            if not _equal(scores, self._scores):
                self._scores = scores
                self._offer(scores.shape[1])
                self._place()
            self._paint()

    def select(self, selected: Mask | None) -> None:
        """Show which positions ``(N, h, w)`` are selected, without calling back."""
        self.plot.select(selected)
        self._count()

    def repaint(self) -> None:
        """Send everything again."""
        self.plot.repaint()

    def _axis(self, name: str, value: int) -> w.Dropdown:
        way, key = ("vertical", "y") if value else ("horizontal", "x")
        tip = (
            f"Component of the {way} axis ({key} steps through them on the plot); the same on both "
            "axes stacks the points to a histogram."
        )
        wide = "78px" if value else "102px"  # of one width, beside words that differ
        choice = drop_down(
            name, tip, [(str(value + 1), value)], "initial",
            width=wide, flex="0 1 auto", margin="2px 4px 2px 0",
        )  # fmt: skip
        self._watched.watch(choice, self._chosen)
        return choice

    def _step(self, key: str, shift: bool, _: bool) -> None:
        """Choose the next component of an axis by a key, or with Shift the one before."""
        choice = {"x": self.across, "y": self.up}.get(key.lower())
        if choice is not None:
            choice.value = (choice.value + (-1 if shift else 1)) % len(choice.options)

    def _offer(self, number: int) -> None:
        options = [(str(component + 1), component) for component in range(number)]
        for choice, start in ((self.across, 0), (self.up, 1)):
            value = choice.value if choice.value < number else min(start, number - 1)
            if len(choice.options) < 2:  # the first frame, or one of a single component
                value = min(start, number - 1)
            if list(choice.options) != options:
                self._watched.offer(choice, options)
            self._watched.show(choice, value)

    def _chosen(self, _: int) -> None:
        with self._lock:
            self.scatter = None
            self._place()
            self._paint()

    def _place(self) -> None:
        if self._scores is None:
            return
        last = self.scatter.limits if self.scatter is not None else None
        x, y = self.across.value, self.up.value
        self.scatter = scatter_of(self._scores, x, y, SIZE, last)
        up = "stacked ↑" if x == y else f"component {y + 1} ↑"
        self.overlay.show(
            [
                Label(f"component {x + 1} →", SIZE - 12, SIZE - 36, "right", _LIGHT),
                Label(up, 12, 10, "left", _LIGHT),
            ]
        )

    def _paint(self) -> None:
        if self.scatter is not None and self._heatmaps is not None:
            shape = self.scatter.shape[1:]
            self.plot.show(self.scatter, position_colours(self._heatmaps, shape))
            self._count()

    def _brushed(self, selected: Mask | None) -> None:
        self._count()
        self._on_select(selected)

    def _count(self) -> None:
        selected = self.plot.selected
        self.clear.disabled = selected is None
        self.count_line.value = text.hint(_HOW_TO if selected is None else counted(selected))


def counted(selected: Mask) -> str:
    """Say how many positions ``(N, h, w)`` are selected, and in how many images.

    >>> import numpy as np
    >>> counted(np.array([[[True, False]], [[False, False]]]))
    '1 of 4 positions selected, in 1 of 2 images.'
    """
    images = int(selected.any(axis=(1, 2)).sum())
    number, of = int(selected.sum()), selected.size
    return f"{number} of {of} positions selected, in {images} of {len(selected)} images."


def _equal(one: Tensor, other: Tensor | None) -> bool:
    if other is None or one.shape != other.shape or one.device != other.device:
        return False
    return one is other or bool(torch.equal(one, other))
