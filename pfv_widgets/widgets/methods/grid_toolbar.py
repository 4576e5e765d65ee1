"""Above a grid of methods: Go on, and the pages of images."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import push_button


class MethodsBar:
    """Buttons above the grid: to go on where work was stopped or has failed, and to turn pages."""

    def __init__(self, go_on: Callable[[], None], turn: Callable[[int], None]) -> None:
        wide, tip = {"min_width": "56px", "padding": "0 6px"}, "Compute what is missing or failed."
        self.go_on = push_button("Go on", tip, go_on, **wide)
        self.back = push_button("Back", "The images before", lambda: turn(-1), **wide)
        self.forward = push_button("Next", "The next images", lambda: turn(1), **wide)
        self.pages = w.HTML(layout=w.Layout(margin="2px 4px", min_width="112px", flex="0 0 auto"))
        self.widget = w.HBox(
            [self.go_on, self.back, self.forward, self.pages],
            layout=w.Layout(align_items="center", overflow="hidden"),
        )
        self.widget.add_class("pfv-methods-bar")

    def show(self, page: range, number: int) -> None:
        """Show which images are on the page, of how many."""
        which = (
            f"Image {page.start + 1}" if len(page) == 1 else f"Images {page.start + 1}–{page.stop}"
        )
        self.pages.value = text.hint(f"{which} of {number}")
        self.back.disabled = page.start == 0
        self.forward.disabled = page.stop >= number
