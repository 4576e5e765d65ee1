"""Texts over a canvas, in HTML: crisp on any screen and in the colours of the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ipywidgets as w

from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.toolkit.text import safe

WIDTH = 270  # CSS pixels at least, half of a canvas, so that it is crisp on dense screens
# beside the gallery, a tab with a square plot fits a window of 900 pixels; more in a higher one
_MOST = f"clamp({WIDTH}px, 100vh - 630px, 400px)"
_SHIFTS = {"left": "0", "centre": "-50%", "right": "-100%"}


def plot_box(*parts: w.Widget, **layout: str) -> w.VBox:
    """Return the parts of a plot below each other, as wide as its canvas."""
    box = w.VBox(parts, layout=w.Layout(width="100%", max_width=_MOST, margin="0", **layout))
    box.add_class("pfv-plot")
    return box


@dataclass(frozen=True)
class Label:
    """A line of text on a canvas."""

    text: str  # as it came: nothing in it comes alive
    x: float  # where it starts, or has its middle or end, in pixels of the canvas
    y: float  # its top
    align: str = "left"  # or "centre" or "right"
    style: str = ""  # more CSS, of our own


class Overlay:
    """A canvas as wide as a plot, with labels over it; clicks go through them."""

    def __init__(self, canvas: LayeredCanvas) -> None:
        self._canvas = canvas
        canvas.displayed.layout.width = "100%"
        canvas.displayed.layout.margin = "0"
        self.html = w.HTML(layout=w.Layout(height="0", margin="0", overflow="visible"))
        self.widget = plot_box(self.html, canvas.displayed, overflow="visible")

    def show(self, labels: Iterable[Label]) -> None:
        """Replace all labels."""
        height, width = self._canvas.size
        lines = "".join(self._line(label, width, height) for label in labels)
        box = f"position:absolute;left:0;top:0;width:100%;aspect-ratio:{width}/{height}"
        self.html.value = (
            f'<div style="position:relative;height:0;z-index:1;pointer-events:none;'
            f'font-size:11px;line-height:1.2;white-space:nowrap"><div style="{box}">{lines}</div>'
            "</div>"
        )

    @staticmethod
    def _line(label: Label, width: int, height: int) -> str:
        at = f"left:{100 * label.x / width:.2f}%;top:{100 * label.y / height:.2f}%"
        shift = f"transform:translateX({_SHIFTS[label.align]})"
        style = f"position:absolute;{at};{shift};{label.style}"
        return f'<span style="{style}">{safe(label.text)}</span>'
