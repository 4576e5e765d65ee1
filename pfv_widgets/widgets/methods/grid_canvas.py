"""The canvas of a grid of methods: photos and maps that the browser keeps, drawn in one message."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pfv_widgets.methods.comparison.colour_scales import ColourRange, coloured
from pfv_widgets.methods.comparison.comparison import Cell
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.browser.image_encoding import encode
from pfv_widgets.widgets.methods.grid_layout import WIDTH, Layout
from pfv_widgets.widgets.toolkit.geometry import CanvasBox

_GREY, _BLUE, _RED, _ORANGE = "#808080", "#1a73e8", "#d93025", "#c27500"
Slot = tuple[int, int]  # row and column


@dataclass(frozen=True, eq=False)
class CellPicture:
    """One cell as it is to be drawn; neither cell nor error: it waits."""

    cell: Cell | None = None
    colours: ColourRange | None = None
    running: bool = False

    @property
    def has_picture(self) -> bool:
        """Whether there is something to see."""
        return self.cell is not None and self.cell.values is not None


class GridCanvas:
    """Pictures of a grid on one canvas; the photos are uint8 ``(N, H, W, 3)``."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.canvas = LayeredCanvas("maps", (8, WIDTH), buffers=2)
        self.widget = self.canvas.displayed
        self.widget.layout.width = "100%"
        self._photos, self._maps = self.canvas.buffers
        self._lock = threading.Lock()
        self._layout: Layout | None = None
        self._sent: dict[Slot, tuple[Cell, ColourRange | None]] = {}  # maps that the page has
        self.canvas.on_key(lambda key, *_: self.widget.blur() if key == "Escape" else None)

    def forget(self) -> None:
        """Send everything next time: a page that has just appeared shows nothing yet."""
        with self._lock:
            self._layout, self._sent = None, {}

    def paint(
        self, layout: Layout, cells: Mapping[Slot, CellPicture], *, overlay: bool, opacity: float
    ) -> None:
        """Draw the grid; only pictures that the page does not have are sent."""
        with self._lock:
            commands = self.canvas.commands()
            if layout != self._layout:
                self._arrange(layout)
                commands.on(self._photos)
                for column, (image, _) in enumerate(layout.columns):
                    commands.put(self._encoded(self._pixels[image]), layout.left(column), 0)
            commands.on(self._maps)
            for slot, content in cells.items():
                self._put(commands, layout, slot, content)
            commands.on(self.canvas.displayed)
            self._draw(commands, layout, cells, opacity if overlay else None)
            commands.send()

    def _arrange(self, layout: Layout) -> None:
        self._layout, self._sent = layout, {}
        self.canvas.resize(layout.size)
        self.canvas.resize((layout.tile[0], WIDTH), self._photos)
        self.canvas.resize(layout.size, self._maps)

    def _put(
        self, commands: CanvasCommands, layout: Layout, slot: Slot, content: CellPicture
    ) -> None:
        if content.cell is None or not content.has_picture:
            self._sent.pop(slot, None)
            return
        known = self._sent.get(slot)
        if known is not None and known[0] is content.cell and known[1] == content.colours:
            return
        picture = coloured(content.cell, content.colours)
        assert picture is not None
        commands.put(self._encoded(np.rint(255 * picture).astype(np.uint8)), *layout.box(*slot)[:2])
        self._sent[slot] = content.cell, content.colours

    def _draw(
        self,
        commands: CanvasCommands,
        layout: Layout,
        cells: Mapping[Slot, CellPicture],
        opacity: float | None,
    ) -> None:
        commands.clear()
        for group in range(len(layout.images)):
            box = layout.photo(group)
            shift = box[0] - layout.left(group * layout.networks)
            with commands.inside([box]):
                commands.image(self._photos, (shift, box[1], WIDTH, layout.tile[0]))
        done = {slot: layout.box(*slot) for slot, one in cells.items() if one.has_picture}
        for row in range(layout.rows) if opacity is not None else ():
            with commands.inside([box for slot, box in done.items() if slot[0] == row]):
                commands.image(self._photos, (0, layout.top(row), WIDTH, layout.tile[0]))
        with commands.inside(done.values()):
            commands.alpha(1 if opacity is None else opacity)
            commands.image(self._maps, (0, 0, WIDTH, layout.size[0]))
        self._draw_marks(commands, layout, cells)

    def _draw_marks(
        self, commands: CanvasCommands, layout: Layout, cells: Mapping[Slot, CellPicture]
    ) -> None:
        """Draw what stands for a map that is not there, and edges that say why."""
        empty = [layout.box(*slot) for slot, one in cells.items() if not one.has_picture]
        commands.alpha(0.14)
        commands.fill(_GREY, *empty)
        commands.alpha(1)
        marks: dict[str, list[CanvasBox]] = {_BLUE: [], _RED: [], _ORANGE: []}
        for slot, one in cells.items():
            left, top, width, height = layout.box(*slot)
            inner = left + 2, top + 2, width - 4, height - 4
            if one.running:
                marks[_BLUE].append(inner)
            elif one.cell is not None and one.cell.error is not None:
                marks[_RED].append(inner)
            elif one.cell is not None and one.cell.warnings:
                marks[_ORANGE].append(inner)
        for colour, boxes in marks.items():
            commands.stroke(colour, 4, *boxes)

    def _encoded(self, picture: np.ndarray) -> bytes:
        assert self._layout is not None
        size = self._layout.tile[::-1]
        return encode(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)))
