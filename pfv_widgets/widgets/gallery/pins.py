"""The row below the gallery: a chip for each pin, in its colour, and one for the selection."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS, pin_colours
from pfv_widgets.validation import Pin
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import push_button

_INK = {True: "#ffffff", False: "#111111"}
_HOW_TO = (
    "Click a position (a cell of the feature map) to pin it: every image then shows how similar "
    "its positions are to it."
)


class PinRow:
    """Chips that name the pins, and count the positions that are selected.

    Parameters
    ----------
    remove
        Called with a pin's number, None for all, where a person removes it.
    deselect
        Called where a person clears the selection.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        remove: Callable[[int | None], None],
        deselect: Callable[[], None],
    ) -> None:
        self._names, self._remove = names, remove
        self.chips: list[w.Button] = []  # made when a first pin needs one
        self.clear = push_button(
            "Remove all pins", "Show the components again", lambda: remove(None), display="none"
        )
        self.selection = push_button(
            "", "Clear the selection, as Escape does: no position fades", deselect, display="none"
        )
        self.hint = w.HTML(text.hint(_HOW_TO))
        self.hint.add_class("pfv-how-to")
        self.widget = w.HBox(
            [self.hint, self.clear, self.selection],
            layout=w.Layout(flex_flow="row wrap", min_height="34px", margin="4px 0 0 0"),
        )

    def show(self, pins: tuple[Pin, ...], selected: int = 0) -> None:
        """Show a chip for each pin, with its image counted from 1, and for selected positions."""
        if len(pins) > len(self.chips):
            self.chips += [self._chip(number) for number in range(len(self.chips), len(pins))]
            self.widget.children = (self.hint, *self.chips, self.clear, self.selection)
        for number, chip in enumerate(self.chips):
            if number < len(pins):
                index = pins[number][0]
                name = self._names[index] if index < len(self._names) else ""
                chip.description = f"× {index + 1}: {text.plain(name, 18)}"
            _show(chip, number < len(pins))
        _show(self.clear, len(pins) > 1)
        self.selection.description = f"× {selected} position{'s' * (selected != 1)} selected"
        _show(self.selection, selected > 0)
        _show(self.hint, not pins and not selected)

    def _chip(self, number: int) -> w.Button:
        chip = w.Button(
            tooltip="Remove this pin",
            layout=w.Layout(width="auto", display="none", margin="2px"),
            style={"button_color": PIN_COLOURS[number], "text_color": _INK[_dark(number)]},
        )
        chip.on_click(lambda _: self._remove(number))
        return chip


def _show(widget: w.DOMWidget, visible: bool) -> None:
    widget.layout.display = None if visible else "none"


def _dark(number: int) -> bool:
    """Whether the colour of a pin asks for white letters (relative luminance of WCAG)."""
    red, green, blue = (pin_colours(number + 1)[number] ** 2.2).tolist()
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.18
