"""The third picture: where in each photo two networks differ most."""

from __future__ import annotations

import ipywidgets as w

from pfv_widgets.widgets.compare.colour_scale import colour_scale
from pfv_widgets.widgets.compare.settings import SideSettings
from pfv_widgets.widgets.compare.side_pane import Owner, SideOwner
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.toolkit import text

_HINT = (  # as many lines as the layer of a side has, so that tiles stand level
    "0: the same. 1.4: unrelated, as a rule.",
    "Of aligned scores. Grey: undefined.",
)
_ROW = {"height": "28px"}  # as high as a control


class DifferencePane:
    """A gallery of differences below its legend; it follows ``knobs`` in the browser."""

    def __init__(
        self,
        renderer: Renderer,
        explorer: Owner,
        settings: SideSettings,
        knobs: dict[str, w.Widget],
    ) -> None:
        self.owner = SideOwner(explorer, self._say_error)
        self._hints: tuple[str, ...] = _HINT
        self.line = w.HTML()
        self.gallery = GalleryView(
            renderer, self.owner, settings, knobs,
            on_frame=lambda *_: self._say_error(""), bars=False, distance=True,
        )  # fmt: skip
        self.gallery.widget.layout.flex = "0 0 auto"
        scale = f'<div style="padding-top:4px">{colour_scale("0", "2.8")}</div>'
        head = [w.HTML(text.heading("Difference"), layout=_ROW), w.HTML(scale, layout=_ROW)]
        self.widget = w.VBox(
            [*head, self.line, self.gallery.widget],
            layout=w.Layout(flex="1 1 260px", min_width="0"),
        )
        self.widget.add_class("pfv-side-difference")
        self._say_error("")
        w.dlink((self.gallery.widget.layout, "max_width"), (self.widget.layout, "max_width"))

    def show_settings(self, settings: SideSettings) -> None:
        """Render other settings."""
        self._say_error("")
        self.owner.stop(False)
        self.gallery.show_settings(settings)

    def show(self, visible: bool, *, noted: bool) -> None:
        """Show it, or hide it; ``noted``: the sides have a line more, of their photos."""
        self._hints = (*_HINT, "") if noted else _HINT
        self._say_error(self._error)
        self.widget.layout.display = None if visible else "none"

    def _say_error(self, message: str) -> None:
        self._error = message
        lines = "".join(
            text.one_line(one, f"{text.MUTED};min-height:1.35em") for one in self._hints
        )
        if message:
            lines += text.status(f"No picture of this: {message}", kind="error")
        self.line.value = lines
