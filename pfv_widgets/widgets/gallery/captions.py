"""Names and class labels below the tiles, as text of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as w

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.sources import IMAGE_SUFFIXES
from pfv_widgets.widgets.toolkit.geometry import Grid
from pfv_widgets.widgets.toolkit.text import adds_to, parted, plain, safe

_BOX = "position:relative;height:0;z-index:1;pointer-events:none;container-type:inline-size"
_NAME = (
    "position:absolute;line-height:1.2;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
)
_NOTE = (
    "position:absolute;transform:translateY(-100%);line-height:1.3;padding:0 4px;overflow:hidden;"
    "white-space:nowrap;background:rgba(0,0,0,.72);color:#fff;box-sizing:border-box"
)
_OF_TILE = 6.2  # of 100 parts of a tile's width, so that a name of 30 letters has room
_WORD, _WORDS = 7, 14  # letters that have room below every tile, and below a narrow one
_FONT = 120  # of 100 parts of the room below a tile, and a line takes some of the gap as well


class Captions:
    """What each tile of a page is called, by the names and labels of a batch."""

    def __init__(self, images: ImageBatch) -> None:
        self._images = images
        self._lines: dict[int, str] = {}
        self._key: object = None
        self._cuts = False  # whether a name is too long for narrow tiles, where numbers stand then
        self.notes: Mapping[int, str] = {}  # what stands on an image, in its lower left corner
        self.html = w.HTML(layout=w.Layout(height="0", margin="0", overflow="visible"))
        self.html.add_class("pfv-captions")

    def show(self, indices: Sequence[int], grid: Grid, widest: str) -> None:
        """Name the images ``shown`` below the tiles of a grid whose canvas is ``widest`` wide.

        A grid that leaves no room for names shows none. Below narrow tiles a long name gives way
        to the label and the number, and below those that are narrower than a word all give way to
        the numbers.
        """
        if not grid.strip:
            self._key, self.html.value = None, ""
            return
        key = tuple(indices), grid, widest, dict(self.notes)
        if key == self._key:  # a slider that moves asks for the same again and again
            return
        self._key = key
        high, wide = grid.size
        self._cuts = any(len(self.line(image)) > _WORD for image in indices)
        names = "".join(self._name(image, grid, index) for index, image in enumerate(indices))
        large = min(1.25, _OF_TILE * grid.tile[1] / wide)  # readable on a screen for a talk
        font = f"font-size:min({_FONT * grid.strip / wide:.2f}cqi,max(13px,{large:.2f}cqi))"
        box = f"position:absolute;left:0;top:0;width:100%;aspect-ratio:{wide}/{high}"
        self.html.value = (
            f'<div aria-hidden="true" style="{_BOX};max-width:{widest}">'
            f'<div style="{box};{font}">{names}</div></div>'
        )

    def line(self, index: int) -> str:
        """Return what an image is called: its name, and its label where that says more.

        What a file is named after tells it apart, and the kind of file does not.
        """
        if index not in self._lines:
            name, labels = self._images.names[index], self._images.labels
            stem, dot, suffix = name.rpartition(".")
            name = stem if stem and f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name
            label = labels[index] if labels else ""
            more = label if label and adds_to(name, label) else ""
            self._lines[index] = " · ".join(filter(None, [more, name]))
        return self._lines[index]

    def _name(self, image: int, grid: Grid, index: int) -> str:
        high, wide = grid.size
        left, top, width, _ = grid.name_box(index)
        at = f"left:{100 * left / wide:.3f}%;top:{100 * top / high:.3f}%"
        share = f"{100 * width / wide:.3f}%"
        line = parted(self.line(image))
        letters, labels = len(self.line(image)), self._images.labels
        if self._cuts:
            short = f'data-number="{image + 1}"'
            if labels and letters > _WORDS:
                label = plain(labels[image], 60)
                short += f' data-label="{safe(f"{image + 1}: {label}")}"'
            line = f'<span class="pfv-name" dir="auto">{line}</span><i {short}></i>'
        name = f'<div style="{_NAME};{at};width:{share};container:tile/inline-size">{line}</div>'
        note = self.notes.get(image, "")
        if not note:
            return name
        return f'<div style="{_NOTE};{at};max-width:{share}">{safe(note, 60)}</div>{name}'
