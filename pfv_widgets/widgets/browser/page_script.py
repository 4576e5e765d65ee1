"""What a script in the page does: names, the clipboard, the Tab key, and drawing at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import traitlets

from pfv_widgets.widgets.browser.canvas import STILL, Surface
from pfv_widgets.widgets.browser.canvas_commands import FADE
from pfv_widgets.widgets.browser.tile_compositing import PURE
from pfv_widgets.widgets.toolkit.geometry import GAP, PANES, WHOLE

# Kind of picture → its role for a screen reader, and what it is called. Those that arrow keys
# work on are applications: a screen reader then leaves the keys to them.
PICTURES = {
    "gallery": (
        "application",
        "Gallery: arrow keys walk the images, Space takes one out of the batch, Enter pins a place",
    ),
    "thumbnails": (
        "application",
        "Batch: arrow keys walk the images, Space takes one out or in",
    ),
    "cloud": (
        "application",
        "Cloud of feature vectors: X and Y choose the components, Escape clears the selection",
    ),
    "components": ("img", "One picture for each component, of the image that is looked at"),
    "scree": ("img", "Scree plot: the share of the variance that each component explains"),
    "maps": ("img", "Grid of maps: methods by images and networks"),
    "made": ("img", "What the network makes from noise"),
}
_REFUSED = "The browser lets nothing be copied here: click into the text, then Ctrl+A and Ctrl+C."


class InPage(anywidget.AnyWidget):
    """A script that serves the explorer around it; without it, all else works.

    - Names: ipywidgets gives the handles of sliders and pictures none, and calls a button by
      its text even where that is a number.
    - Buttons of the class ``pfv-copy`` copy the text field beside them; no kernel can reach a
      clipboard. They are hidden where the script does not run.
    - The Tab key leaves a canvas at once, also while the kernel works.
    - The gallery follows opacity, view and split at once; the kernel confirms it.
    - Stores draw an uncompressed picture (:func:`pictures.bitmap`) as they come to it: loading a
      compressed one takes a page 10 to 20 ms beside its other work. A page of this computer asks
      for them; through a network the few bytes of a JPEG are there sooner.

    Parameters
    ----------
    tell
        Called with a message and its kind when something was copied.
    stores
        Canvases that are to draw uncompressed pictures at once.
    near
        Called with whether all pages so far do so, and are on this computer, each time that the
        script of a page begins to hear what it is told.
    live
        Controls that the gallery follows without the kernel, see :func:`following`.
    """

    # as text: anywidget watches a file for a process long, and keeps its widgets with it
    _esm = "\n".join(
        Path(__file__).with_name(name).read_text("utf-8")
        for name in ("page_script_tiles.js", "page_script_drawing.js", "page_script.js")
    )
    pictures = traitlets.Dict(PICTURES).tag(sync=True)
    stores = traitlets.List(traitlets.Unicode()).tag(sync=True)
    live = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        tell: Callable[[str, str], None],
        stores: Iterable[w.Widget] = (),
        near: Callable[[bool], None] = lambda _: None,
        live: dict[str, Any] | None = None,
    ) -> None:
        ids = [store.model_id for store in stores]
        super().__init__(stores=ids, live=live or {}, layout=w.Layout(display="none"))
        self._tell, self._near = tell, near
        self._all_near = True
        self.on_msg(self._came)

    def _came(self, _: object, content: dict[str, Any], __: object) -> None:
        if "near" in content:
            self._all_near = self._all_near and bool(content["near"])
            self._near(self._all_near)
        elif not content.get("characters"):
            self._tell("There is nothing to copy yet.", "warning")
        elif content.get("copied"):
            self._tell(f"Copied {content['characters']} characters.", "ok")
        else:
            self._tell(_REFUSED, "warning")


def following(surface: Surface, knobs: Mapping[str, w.Widget]) -> dict[str, Any]:
    """Say where a script finds what the gallery follows, and what it draws with.

    The stores of ``surface`` are those of :class:`Tiles`.
    """
    fixed = {view: alpha for view, alpha in WHOLE.items() if alpha is not None}
    return {
        "gallery": surface.canvas.model_id,
        "knobs": {name: knobs[name].model_id for name in ("opacity", "view", "split")},
        "views": list(knobs["view"].options),
        "constants": {
            "gap": GAP,
            "panes": PANES,
            "whole": fixed,
            "fade": FADE,
            "pure": PURE,
            "still": STILL,
        },
    }


def copy_button() -> w.Button:
    """Return a button that copies the text field in the same box."""
    button = w.Button(
        description="Copy",
        tooltip="Copy the text to the clipboard.",
        layout=w.Layout(width="auto", flex="1 1 0", min_width="0"),
    )
    button.add_class("pfv-copy")
    return button
