"""What a script in the browser does for an explorer: names, the clipboard, the Tab key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import traitlets

from pfv_widgets.widgets.browser.page_state import Values

# Kind of picture → its role for a screen reader, and what it is called. Those that arrow keys
# work on are applications: a screen reader then leaves the keys to them.
PICTURES = {
    "gallery": (
        "application",
        (
            "Gallery: arrow keys move between images, Space takes one out or in; with Shift they "
            "move between positions, Enter pins one, S selects from one to another"
        ),
    ),
    "thumbnails": (
        "application",
        "Batch: arrow keys move between images, Space takes one out or in",
    ),
    "scatter": (
        "application",
        "Scatter plot: X and Y choose the components, Escape clears the selection",
    ),
    "components": ("img", "One picture for each component of the image that is pointed at"),
    "scree": ("img", "Scree plot: the share of the variance that each component explains"),
    "maps": ("img", "Grid of maps: methods by images and networks"),
    "similarity": ("img", "Map of similarity: layers of the first network by those of the second"),
    "curve": ("img", "Curves of similarity to the first network, one point for each network"),
    "reconstruction": ("img", "What the network makes from noise"),
}
_REFUSED = "The browser does not allow copying here: click into the text, then Ctrl+A and Ctrl+C."


class PageScript(anywidget.AnyWidget):
    """A script that serves the explorer around it; without it, all else works.

    - Names: ipywidgets gives the handles of sliders and pictures none, and calls a button by
      its text even where that is a number.
    - Buttons of the class ``pfv-copy`` copy the text field beside them; no kernel can reach a
      clipboard. They are hidden where the script does not run; ``tell`` is called with a message
      and its kind when something was copied.
    - Files that the kernel sends are saved where the browser saves downloads.
    - The Tab key leaves a canvas at once, also while the kernel works.
    - A page that has all widgets says so, and what its controls show (``on_ready``): it may have
      missed changes while it was loading.
    - A banner says that the connection to the kernel is lost; when it is back (``on_return``),
      what a person has set meanwhile is sent, and the kernel sends everything anew.
    """

    # as text: anywidget watches a file for a process long, and keeps its widgets with it
    _esm = "\n".join(
        Path(__file__).with_name(name).read_text("utf-8")
        for name in ("connection_script.js", "page_script.js")
    )
    explorer = traitlets.Unicode().tag(sync=True)
    pictures = traitlets.Dict(PICTURES).tag(sync=True)

    def __init__(
        self,
        tell: Callable[[str, str], None],
        explorer: w.Widget | None = None,
        on_ready: Callable[[Values], None] = lambda _: None,
        on_return: Callable[[Values], None] = lambda _: None,
    ) -> None:
        model_id = "" if explorer is None else explorer.model_id
        super().__init__(layout=w.Layout(display="none"), explorer=model_id)
        self._tell, self._on_ready, self._on_return = tell, on_ready, on_return
        self.on_msg(self._came)

    def download(self, name: str, content: bytes) -> None:
        """Let the pages on show save a file under a name."""
        self.send({"download": name}, [content])

    def _came(self, _: object, content: dict[str, Any], __: object) -> None:
        if "ready" in content:
            self._on_ready(content["ready"])
        elif "back" in content:
            self._on_return(content["back"])
        elif not content.get("characters"):
            self._tell("There is nothing to copy yet.", "warning")
        elif content.get("copied"):
            self._tell(f"Copied {content['characters']} characters.", "ok")
        else:
            self._tell(_REFUSED, "warning")


def copy_button() -> w.Button:
    """Return a button that copies the text field in the same box."""
    button = w.Button(
        description="Copy",
        tooltip="Copy the text to the clipboard.",
        layout=w.Layout(width="auto", flex="1 1 0", min_width="0"),
    )
    button.add_class("pfv-copy")
    return button
