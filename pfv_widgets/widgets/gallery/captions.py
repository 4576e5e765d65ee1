"""Names and class labels on the lower edges of the tiles, as text of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as w

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.widgets.toolkit.geometry import Grid
from pfv_widgets.widgets.toolkit.text import safe

_BOX = "position:relative;height:0;z-index:1;pointer-events:none;font-size:11px;line-height:15px"
_TILE = "position:absolute;display:flex;align-items:flex-end;overflow:hidden"
# white on black of this strength: 4.5 : 1 also over a white photo
_TEXT = (
    "max-width:100%;box-sizing:border-box;padding:0 5px;background:rgba(0,0,0,.62);color:#fff;"
    "white-space:nowrap;overflow:hidden;text-overflow:ellipsis;border-radius:0 4px 0 0"
)


class Captions:
    """What each tile of a page is called; a switch hides it.

    Parameters
    ----------
    images
        The batch whose names and labels are shown.
    """

    def __init__(self, images: ImageBatch) -> None:
        self._images = images
        self._lines: dict[int, str] = {}
        self.notes: Mapping[int, str] = {}  # what stands before the name of an image
        self.html = w.HTML(layout=w.Layout(height="0", margin="0", overflow="visible"))
        self.html.add_class("pfv-captions")

    @property
    def visible(self) -> bool:
        """Whether they are shown."""
        return self.html.layout.display != "none"

    @visible.setter
    def visible(self, visible: bool) -> None:
        self.html.layout.display = None if visible else "none"

    def show(self, shown: Sequence[int], grid: Grid, widest: str) -> None:
        """Caption the images ``shown`` on the tiles of a grid whose canvas is ``widest`` wide."""
        high, wide = grid.size
        tiles = "".join(
            self._tile(index, grid, place, high, wide) for place, index in enumerate(shown)
        )
        box = f"position:absolute;left:0;top:0;width:100%;aspect-ratio:{wide}/{high}"
        self.html.value = (
            f'<div aria-hidden="true" style="{_BOX};max-width:{widest}">'
            f'<div style="{box}">{tiles}</div></div>'
        )

    def line(self, index: int) -> str:
        """Return what an image is called: its name, and its label where that says more."""
        if index not in self._lines:
            name, labels = self._images.names[index], self._images.labels
            label = labels[index] if labels else ""
            more = label if label and label.casefold() not in name.casefold() else ""
            self._lines[index] = " · ".join(filter(None, [more, name]))
        return self._lines[index]

    def _tile(self, index: int, grid: Grid, place: int, high: int, wide: int) -> str:
        left, top, width, height = grid.box(place)
        at = f"left:{100 * left / wide:.3f}%;top:{100 * top / high:.3f}%"
        size = f"width:{100 * width / wide:.3f}%;height:{100 * height / high:.3f}%"
        line = " · ".join(filter(None, [self.notes.get(index, ""), self.line(index)]))
        text = f'<span style="{_TEXT}">{safe(line, 60)}</span>'
        return f'<div style="{_TILE};{at};{size}">{text}</div>'
