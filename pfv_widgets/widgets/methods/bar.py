"""Above a grid of methods: the status line, Stop and Go on, and the pages."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from pfv_widgets.widgets.toolkit import text


class MethodsBar:
    """Buttons and words; knows what to show and whom to tell.

    Parameters
    ----------
    stop, go_on
        Called when their button is pressed.
    turn
        Called with the number of pages to go on, or back.
    """

    def __init__(
        self, stop: Callable[[], None], go_on: Callable[[], None], turn: Callable[[int], None]
    ) -> None:
        self.status = w.HTML(layout=w.Layout(min_height="40px", overflow="hidden"))
        self.stop = _button("Stop", "Stop the work at once; what is computed stays.", stop)
        self.go_on = _button("Go on", "Compute what is missing or failed.", go_on)
        self.back = _button("Back", "The images before", lambda: turn(-1))
        self.forward = _button("Next", "The next images", lambda: turn(1))
        self.pages = w.HTML(layout=w.Layout(margin="2px 4px", min_width="120px"))
        buttons = w.HBox(
            [self.stop, self.go_on, self.back, self.forward, self.pages],
            layout=w.Layout(flex_flow="row wrap", align_items="center", margin="0 0 4px 0"),
        )
        self.widget = w.VBox([self.status, buttons], layout=w.Layout(overflow="hidden"))

    def tell(self, message: str, kind: str, done: float | None = None) -> None:
        """Say something in the status line, with a bar where ``done`` in [0, 1] is given."""
        self.status.value = text.status(message, kind=kind, done=done)

    def working(self, *, running: bool, stopped: bool, failed: bool) -> None:
        """Let those buttons be pressed that do something."""
        self.stop.disabled = stopped or not running
        self.go_on.disabled = not stopped and (running or not failed)

    def show(self, page: range, number: int) -> None:
        """Show which images are on the page, of how many."""
        which = (
            f"Image {page.start + 1}" if len(page) == 1 else f"Images {page.start + 1}–{page.stop}"
        )
        self.pages.value = text.hint(f"{which} of {number}")
        self.back.disabled = page.start == 0
        self.forward.disabled = page.stop >= number


def _button(name: str, tip: str, act: Callable[[], None]) -> w.Button:
    button = w.Button(
        description=name, tooltip=tip, layout=w.Layout(width="auto", min_width="64px")
    )
    button.on_click(lambda _: act())
    return button
