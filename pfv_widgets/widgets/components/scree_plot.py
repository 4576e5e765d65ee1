"""How much of the variance each component explains; a click shows or hides one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import ipywidgets as w

from pfv_widgets.engine.colouring.colour_maps import legend
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.text_overlay import WIDTH, Label, Overlay, plot_box
from pfv_widgets.widgets.toolkit.controls import Edit, Watched, close_all
from pfv_widgets.widgets.toolkit.geometry import CanvasBox

GREY = "#808080"  # seen on light and on dark pages
_LEFT = 82  # pixels of the canvas for the labels of the axis
_TOP, _HEIGHT = 16, 200
_TIGHT = {"margin": "0 1px", "padding": "0"}
_STEPS = (0.2, 0.4, 0.6, 0.8, 1.0)  # ends of the axis: the first that holds the sum


def toggled(settings: Settings, component: int) -> Settings:
    """Show a component, or hide it; the last one stays, as does one that is not computed.

    Components that stand in their own order stay in it; in another, one comes last.
    """
    components = settings.shown
    if component in components:
        new = tuple(one for one in components if one != component) or components
    elif component < settings.components:
        new = (*components, component)
        new = tuple(sorted(new)) if list(components) == sorted(components) else new
    else:
        return settings
    return replace(settings, channels=None if new == tuple(range(settings.components)) else new)


def tones(settings: Settings) -> dict[int, str]:
    """Colour of each component that is shown, where it is high: the end of its legend."""
    ends = 255 * legend(settings.colour_map, len(settings.shown), 2)[:, -1]
    rows = ends.round().int().tolist()
    return {
        component: "#{:02x}{:02x}{:02x}".format(*row)
        for component, row in zip(settings.shown, rows, strict=True)
    }


class Scree:
    """Bars of explained variance with the line of their sum, and a button for each."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._lock = threading.RLock()
        self._watched = Watched()
        self._ratios: tuple[float, ...] = ()
        self._settings = Settings()
        self.canvas = LayeredCanvas("scree", (_TOP + _HEIGHT, 2 * WIDTH))
        self.overlay = Overlay(self.canvas)
        self.buttons: list[w.ToggleButton] = []
        left = f"{100 * _LEFT / (2 * WIDTH):.2f}%"
        self.row = w.HBox(
            layout=w.Layout(width="100%", margin="0", padding=f"2px 0 0 {left}", overflow="hidden")
        )
        self.widget = plot_box(self.overlay.widget, self.row)
        self.canvas.on_pointer(down=self._clicked)

    def show(self, settings: Settings, ratios: Sequence[float]) -> None:
        """Show explained variance ratios, in [0, 1], with the colours of ``settings``."""
        with self._lock:
            last = self._ratios, self._settings.shown, self._settings.colour_map
            self._ratios, self._settings = tuple(ratios), settings
            self._show_buttons()
            if last != (self._ratios, settings.shown, settings.colour_map):
                self.repaint()

    def repaint(self) -> None:
        """Send everything again."""
        with self._lock:
            if not self._ratios:
                return
            top = self._top()
            self.overlay.show(
                Label(f"{100 * share:g} %", _LEFT - 8, self._y(share) - 13, "right", "opacity:.72")
                for share in (0, top / 2, top)
            )
            commands = self.canvas.commands()
            commands.clear()
            self._draw(commands, top)
            commands.send()

    def bar(self, component: int) -> CanvasBox:
        """Box of a bar, in pixels of the canvas."""
        pitch = (2 * WIDTH - _LEFT) / len(self._ratios)
        wide = min(pitch - 6, 64)
        top = self._y(self._ratios[component])
        left = _LEFT + pitch * (component + 0.5) - wide / 2
        return left, top, wide, _TOP + _HEIGHT - top

    def close(self) -> None:
        """Remove it from every page."""
        for part in (*self.buttons, self.widget):  # not every button is in the row
            close_all(part)

    def _draw(self, commands: CanvasCommands, top: float) -> None:
        shades = tones(self._settings)
        commands.alpha(0.35)
        for share in (0, top / 2, top):
            commands.line(GREY, 2, _LEFT, self._y(share) - 1, 2 * WIDTH, self._y(share) - 1)
        for component in range(len(self._ratios)):
            shade = shades.get(component)
            commands.alpha(1.0 if shade else 0.4)
            commands.fill(shade or GREY, self.bar(component))
            commands.alpha(0.8)
            commands.stroke(GREY, 2, self.bar(component))
        self._draw_sum(commands)

    def _draw_sum(self, commands: CanvasCommands) -> None:
        commands.alpha(1)
        total, points = 0.0, []
        for component, ratio in enumerate(self._ratios):
            total += ratio
            left, _, wide, _ = self.bar(component)
            points.append((left + wide / 2, self._y(total)))
        for start, end in pairwise(points):
            commands.line(GREY, 4, *start, *end)
        for x, y in points:
            commands.disc(GREY, x, y, 6)

    def _top(self) -> float:
        total = sum(self._ratios)
        return next((step for step in _STEPS if total <= step), 1.0)

    def _y(self, share: float) -> float:
        return _TOP + _HEIGHT * (1 - min(share / self._top(), 1))

    def _clicked(self, x: float, _: float) -> None:
        number = len(self._ratios)
        component = int((x - _LEFT) * number / (2 * WIDTH - _LEFT)) if x >= _LEFT else -1
        if 0 <= component < number:
            self._edit(lambda old: toggled(old, component))

    def _show_buttons(self) -> None:
        number = len(self._ratios)
        while len(self.buttons) < number:
            self.buttons.append(self._button(len(self.buttons)))
        if len(self.row.children) != number:
            self.row.children = tuple(self.buttons[:number])
        for component, button in enumerate(self.buttons):
            self._watched.show(button, component in self._settings.shown)

    def _button(self, component: int) -> w.ToggleButton:
        tip = f"Show or hide component {component + 1}; at least one stays."
        return self._watched.toggle_button(
            str(component + 1), tip, partial(self._pressed, component),
            flex="1 1 0", min_width="0", width="auto", height="24px", **_TIGHT,
        )  # fmt: skip

    def _pressed(self, component: int, is_on: bool) -> None:
        self._edit(
            lambda old: old if (component in old.shown) == is_on else toggled(old, component)
        )
        # the last one that is shown cannot go: its button comes back
        self._watched.show(self.buttons[component], component in self._settings.shown)
