"""What a script in the browser does for one gallery: drawing at once, without the kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import traitlets

from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.widgets.browser.canvas import STILL, LayeredCanvas
from pfv_widgets.widgets.toolkit.geometry import GAP

FOLLOWED = ("opacity", "view", "split")  # settings that the browser applies by itself


class GalleryScript(anywidget.AnyWidget):
    """A script that serves the gallery in the box around it; without it, all else works.

    - The gallery follows opacity, view and divider at once, where ``knobs`` has all of
      :data:`FOLLOWED`; the kernel confirms it.
    - Its buffers draw an uncompressed picture (:func:`image_encoding.bitmap`) as they come to
      it: loading a compressed one takes a browser 10 to 20 ms beside its other work. A browser
      on this computer asks for them; through a network the few bytes of a JPEG arrive sooner.
    - A command that fails no longer stops whatever the page draws: it asks for everything anew.

    ``near`` is called with whether all pages so far are on this computer, each time that the script
    of one begins to hear what it is sent, or asks for everything anew; ``room`` with the width and
    height that a page has for the tiles, in CSS pixels, at first and when they have changed.
    """

    # as text: anywidget watches a file for a process long, and keeps its widgets with it
    _esm = "\n".join(
        Path(__file__).with_name(name).read_text("utf-8")
        for name in ("tile_compositing.js", "gallery_script.js")
    )
    buffers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    live = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        canvas: LayeredCanvas,
        knobs: Mapping[str, w.Widget],
        near: Callable[[bool], None] = lambda _: None,
        room: Callable[[float, float], None] = lambda *_: None,
    ) -> None:
        ids = [buffer.model_id for buffer in canvas.buffers]
        live = _followed(canvas, knobs) if set(FOLLOWED) <= set(knobs) else {}
        super().__init__(buffers=ids, live=live, layout=w.Layout(display="none"))
        self._near, self._all_near, self._room = near, True, room
        self.on_msg(self._came)

    def _came(self, _: object, content: dict[str, Any], __: object) -> None:
        if "near" in content:
            self._all_near = self._all_near and bool(content["near"])
            self._near(self._all_near)
        if "room" in content:
            self._room(*map(float, content["room"]))


def _followed(canvas: LayeredCanvas, knobs: Mapping[str, w.Widget]) -> dict[str, Any]:
    """Say where the script finds what the gallery follows, and what it draws with."""
    return {
        "gallery": canvas.displayed.model_id,
        "knobs": {name: knobs[name].model_id for name in FOLLOWED},
        "views": list(knobs["view"].options),
        "constants": {
            "gap": GAP,
            "views": {name: asdict(view) for name, view in VIEWS.items()},
            "still": STILL,
        },
    }
