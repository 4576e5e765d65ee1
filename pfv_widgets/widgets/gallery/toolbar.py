"""The row above the gallery: tile size, zoom, names, width, safe colours, pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets as w

from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, push_button

_MOST_ON_A_ROW = 16
_TOGGLES = {
    "zoom": ("Zoom", "One image at a time, large; arrow keys show the others"),
    "names": ("Names", "Name and class label of each image"),
    "wide": ("Wide", "Images over the whole width, as for a talk"),
    "safe": ("Colour-blind-safe colours", "Colours that colour-blind eyes tell apart"),
}


class Toolbar:
    """Buttons and the tile size: a press calls back, and nothing more.

    Parameters
    ----------
    columns
        Called with the tiles in a row that a person chooses.
    turn
        Called with -1 or 1, the number of pages to go on.
    toggled
        Called with ``"zoom"``, ``"names"``, ``"wide"`` or ``"safe"`` and whether it is wanted.
    more
        Controls that stand last.
    """

    def __init__(
        self,
        number: int,
        columns: Callable[[int], None],
        turn: Callable[[int], None],
        toggled: Callable[[str, bool], None],
        more: Sequence[w.Widget] = (),
    ) -> None:
        self._number = number
        self._watched = Watched()
        self.buttons = {
            "back": push_button("Back", "The images before", lambda: turn(-1), margin="2px"),
            "forward": push_button("Next", "The next images", lambda: turn(1), margin="2px"),
        }
        self.pages = w.HTML(layout=w.Layout(margin="2px 4px", min_width="76px"))
        self.size = self._size_slider(columns)
        self.toggles = {
            name: self._watched.toggle_button(
                label, tip, partial(toggled, name), width="auto", margin="2px"
            )
            for name, (label, tip) in _TOGGLES.items()
        }
        turning = w.HBox(  # they wrap together
            [*self.buttons.values(), self.pages],
            layout=w.Layout(align_items="center", overflow="visible"),
        )
        turning.add_class("pfv-pager")
        self.widget = w.HBox(
            [self.size, *self.toggles.values(), turning, *more],
            layout=w.Layout(flex_flow="row wrap", align_items="center", margin="0 0 4px 0"),
        )
        self.widget.add_class("pfv-toolbar")

    def show(
        self,
        images: range,
        columns: int,
        *,
        safe: bool,
        number: int | None = None,
        named: bool = True,
    ) -> None:
        """Show which of ``number`` images are on the page (None: of all), and what can be done."""
        number = self._number if number is None else number
        nearest = min(self._choices, key=lambda one: abs(one - columns))
        self._watched.show(self.size, nearest)
        self._watched.show(self.toggles["zoom"], columns == 1 and self._number > 1)
        self._watched.show(self.toggles["safe"], safe)
        self._watched.show(self.toggles["names"], named)
        first = images.start + 1  # people count from 1
        page = str(first) if len(images) == 1 else f"{first}–{images.stop}"
        self.pages.value = text.hint(f"{page} of {number}")
        self.buttons["back"].disabled = images.start == 0
        self.buttons["forward"].disabled = images.stop >= number

    def _size_slider(self, columns: Callable[[int], None]) -> w.SelectionSlider:
        most = min(self._number, _MOST_ON_A_ROW)
        self._choices = list(range(most, 0, -1))
        slider = w.SelectionSlider(
            options=[(f"{one} a row", one) for one in self._choices],
            description="Tiles",
            tooltip="Size of the tiles: how many are in a row",
            layout=w.Layout(
                flex="1 1 180px",
                width="auto",
                max_width="240px",
                visibility="visible" if most > 1 else "hidden",
            ),
            style={"description_width": "32px"},
        )
        self._watched.watch(slider, columns)
        slider.add_class("pfv-choice")
        return slider
