"""How similar each network of a sequence is to the fixed one: a click goes to a network."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as w

from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.text_overlay import WIDTH, Label, Overlay, plot_box
from pfv_widgets.widgets.toolkit import text

# colours that colour-blind eyes tell apart (Okabe and Ito 2008)
MEASURES = {
    "cka": ("CKA", "#0072b2"),
    "rank_correlation": ("rank correlation of heatmaps", "#d55e00"),
    "ssim": ("SSIM of heatmaps", "#009e73"),
}
_MORE = ("#cc79a7", "#e69f00", "#56b4e9", "#a0a000")  # of further lines
Lines = Mapping[str, Mapping[str, float]]  # what each is → name → number
_GREY = "#808080"  # seen on light and on dark pages
_HEIGHT, _LEFT, _TOP, _BELOW = 260, 62, 14, 14  # pixels of the canvas


class CurvePlot:
    """The curves on a canvas, with a legend and the measures of the network on show.

    A click calls ``choose`` with the name of a network.
    """

    def __init__(self, choose: Callable[[str], object]) -> None:
        self._names: tuple[str, ...] = ()
        self._choose = choose
        self._lock = threading.RLock()
        self._points: Mapping[str, CurvePoint] = {}
        self._lines: Lines = {}
        self._current = ""
        self.canvas = LayeredCanvas("curve", (_HEIGHT, 2 * WIDTH))
        self.overlay = Overlay(self.canvas)
        self.canvas.on_pointer(down=self._clicked)
        self.canvas.on_ready(self.repaint)
        self.line = w.HTML(layout=w.Layout(min_height="58px", margin="0"))
        self.legend = w.HTML(_legend({}))
        self.widget = plot_box(self.legend, self.overlay.widget, self.line, display="none")

    def show(
        self,
        names: Sequence[str],
        points: Mapping[str, CurvePoint],
        current: str,
        lines: Lines | None = None,
    ) -> None:
        """Show what is known of each network by name, and which one is on show.

        Of ``lines`` besides, one that leaves [-1, 1] is divided by its largest magnitude.
        """
        with self._lock:
            new = (tuple(names), dict(points), current, lines or {})
            if new == (self._names, self._points, self._current, self._lines):
                return
            self._names, self._points, self._current, self._lines = new
            self.legend.value = _legend(self._lines)
            if points:  # from here on it stays: nothing below it moves
                self.widget.layout.display = None
            point = points.get(current)
            measures = {label: line.get(current, math.nan) for label, line in self._lines.items()}
            self.line.value = text.hint(_in_words(current, point, measures))
            self.repaint()

    def repaint(self) -> None:
        """Send everything again."""
        with self._lock:
            if self.widget.layout.display == "none":
                return
            self.overlay.show(
                Label(
                    text.in_digits(level, "g"), _LEFT - 8, self._y(level) - 13, "right",
                    "opacity:.72",
                )
                for level in (self._low, 0.5, 1.0)
            )  # fmt: skip
            commands = self.canvas.commands()
            commands.clear()
            self._draw(commands)
            commands.send()

    @property
    def _low(self) -> float:
        """Where the axis begins: 0, or a fifth below the lowest value."""
        values = [value for _, line in self._curves() for value in line.values()]
        lowest = min((value for value in values if not math.isnan(value)), default=0.0)
        return min(0.0, math.floor(5 * lowest) / 5)

    def _curves(self) -> list[tuple[str, Mapping[str, float]]]:
        """Colour and numbers by name of each line, all within [-1, 1]."""
        curves: list[tuple[str, Mapping[str, float]]] = [
            (colour, {name: getattr(point, key) for name, point in self._points.items()})
            for key, (_, colour) in MEASURES.items()
        ]
        for (_, line), colour in zip(self._lines.items(), _MORE, strict=False):
            scale = _largest(line)
            curves.append((colour, {name: value / scale for name, value in line.items()}))
        return curves

    def _draw(self, commands: CanvasCommands) -> None:
        commands.alpha(0.35)
        for level in (self._low, 0.5, 1.0):
            commands.line(_GREY, 2, _LEFT, self._y(level), 2 * WIDTH, self._y(level))
        if self._current in self._names:
            x = self.x_of(self._names.index(self._current))
            commands.alpha(0.6)
            commands.line(_GREY, 6, x, _TOP, x, _HEIGHT - _BELOW)
        commands.alpha(1)
        for colour, line in self._curves():
            last: tuple[float, float] | None = None
            for index, network in enumerate(self._names):
                value = line.get(network, math.nan)
                here = None if math.isnan(value) else (self.x_of(index), self._y(value))
                if here is not None:
                    commands.disc(colour, *here, 7)
                    if last is not None:
                        commands.line(colour, 4, *last, *here)
                last = here

    def x_of(self, index: int) -> float:
        """Where a network stands, in pixels of the canvas."""
        return _LEFT + 14 + (2 * WIDTH - _LEFT - 28) * index / max(len(self._names) - 1, 1)

    def _y(self, value: float) -> float:
        share = (value - self._low) / (1 - self._low)
        return _HEIGHT - _BELOW - (_HEIGHT - _TOP - _BELOW) * min(max(share, 0), 1)

    def _clicked(self, x: float, _: float) -> None:
        if not self._names:
            return
        nearest = min(range(len(self._names)), key=lambda index: abs(self.x_of(index) - x))
        self._choose(self._names[nearest])


def _in_words(name: str, point: CurvePoint | None, more: Mapping[str, float]) -> str:
    """Return the measures of a network as one line."""
    if point is None:
        return f"{name}: not computed for these settings."
    measures = {label: getattr(point, key) for key, (label, _) in MEASURES.items()} | dict(more)
    words = "; ".join(f"{label} {text.in_digits(value)}" for label, value in measures.items())
    return f"{name}: {words}. {point.note}".strip()


def _largest(line: Mapping[str, float]) -> float:
    """Return what a line is divided by: 1 where it fits."""
    return max([1.0, *(abs(value) for value in line.values() if math.isfinite(value))])


def _legend(lines: Lines) -> str:
    entries = list(MEASURES.values())
    for (label, line), colour in zip(lines.items(), _MORE, strict=False):
        scale = _largest(line)
        entries.append((label if scale == 1 else f"{label} / {scale:.3g}", colour))
    marks = (
        f'<span style="white-space:nowrap"><span aria-hidden="true" style="color:{colour}">●</span>'
        f" {text.safe(label)}</span>"
        for label, colour in entries
    )
    style = "line-height:1.35;display:flex;flex-wrap:wrap;gap:0 10px"
    return f'<div style="{style}">{"".join(marks)}</div>'
