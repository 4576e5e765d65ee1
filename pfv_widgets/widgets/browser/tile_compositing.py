"""One picture of the gallery: how its tiles are put together from what the browser keeps.

:class:`Tiles` draws it with commands of the kernel; ``tile_compositing.js`` draws the same in the
browser itself, from :meth:`Tiles.description`, while a control is moved that it follows. Both
read the layers of a view from the engine's :data:`VIEWS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipycanvas import Canvas

from pfv_widgets.engine.colouring.compositing import GREYED, VIEWS, Dimming, Layer, View
from pfv_widgets.widgets.browser.canvas_commands import CanvasCommands
from pfv_widgets.widgets.toolkit.geometry import GAP, CanvasBox, Grid, Spot


@dataclass(frozen=True)
class Ring:
    """A mark around a spot, in a colour with a dark or light rim."""

    spot: Spot
    colour: str
    bold: bool = False


@dataclass(frozen=True)
class Look:
    """How the tiles are put together in the browser; none of it sends a picture."""

    opacity: float = 0.65
    view: str = "overlay"
    split: float = 0.5
    out: frozenset[int] = frozenset()
    cursor: int | None = None
    rings: tuple[Ring, ...] = ()
    frame: tuple[Spot, Spot] | None = None  # corners of what is being brushed, in one image
    dimming: Dimming = GREYED  # of the images that are out


@dataclass(frozen=True)
class Tiles:
    """The tiles of a page in one look, drawn from buffers: photos below, heatmaps above."""

    look: Look
    on_page: Sequence[int]  # indices of the images
    grids: dict[int, Grid]  # of tiles so many times as wide as their images; 1: as in the buffers
    photos: Canvas
    heat: Canvas
    large: Canvas  # the heatmaps as large as the photos
    step: int  # how many times smaller than the photos the heatmaps are; 0: there are none yet
    enlarged: bool  # whether ``large`` holds them too

    @property
    def view(self) -> View:
        """What each tile shows."""
        return VIEWS[self.look.view]

    @property
    def grid(self) -> Grid:
        """Where the tiles stand on the canvas."""
        return self.grids[self.view.growth]

    @property
    def stored(self) -> Grid:
        """Where the tiles stand in the buffers."""
        return self.grids[1]

    def description(self) -> dict[str, Any]:
        """Return what a script needs to draw this, and other looks of it, by itself."""
        look = self.look
        return {
            "look": {"opacity": look.opacity, "view": look.view, "split": look.split},
            "grids": {
                growth: [g.number, g.columns, *g.tile, g.strip] for growth, g in self.grids.items()
            },
            "step": self.step,
            "enlarged": self.enlarged,
            "out": self._out,
            "dimming": look.dimming,
            "cursor": self._cursor,
            "rings": [
                [self._tile_of(ring.spot), ring.spot.x, ring.spot.y, ring.colour, ring.bold]
                for ring in self._rings
            ],
            "frame": [[self._tile_of(spot), spot.x, spot.y] for spot in self._frame],
        }

    def draw(self, commands: CanvasCommands) -> None:
        """Draw all of it."""
        if len(self.view.panes) == 1:
            self._draw_in_one_piece(commands)
        else:
            self._draw_panes(commands)
        self._mark(commands)

    def _layers(self, number: int) -> tuple[Layer, ...]:
        """Layers of a pane; without heatmaps, the first one shows the photo."""
        if self.step:
            return self.view.panes[number]
        return (Layer("photo"),) if number == 0 else ()

    def _opacity(self, layer: Layer) -> float:
        return self.look.opacity if layer.opacity is None else layer.opacity

    def _draw_in_one_piece(self, commands: CanvasCommands) -> None:
        """Draw whole buffers over one another, then empty the gaps that they spilled over."""
        heat = (self.large, 1) if self.enlarged else (self.heat, self.step)
        for layer in self._layers(0):
            commands.alpha(self._opacity(layer))
            best = heat if layer.source == "heatmap" else (self.photos, 1)
            if layer.divided:
                with commands.inside(self._right_parts()):
                    self._draw_whole(commands, *best)
            else:
                self._draw_whole(commands, *best)
        if gaps := self.grid.gaps():
            commands.clear(*gaps)

    def enlarge(self, commands: CanvasCommands) -> None:
        """Draw the heatmaps into the third buffer, as large as the photos."""
        commands.on(self.large)
        self._draw_whole(commands, self.heat, self.step, GAP // 2)

    def _draw_whole(
        self, commands: CanvasCommands, buffer: Canvas, step: int, left: int = 0
    ) -> None:
        """Draw a buffer whose cells are 1/step of a tile with half a gap around it."""
        at = left - GAP // step // 2 * step
        commands.image(buffer, (at, at, buffer.width * step, buffer.height * step))

    def _draw_panes(self, commands: CanvasCommands) -> None:
        """Draw the panes of every tile."""
        commands.clear()
        for tile in range(self.grid.number):
            for number, box in enumerate(self.grid.panes(tile, self.look.view)):
                for layer in self._layers(number):
                    self._draw_layer(commands, layer, tile, box)

    def _draw_layer(
        self, commands: CanvasCommands, layer: Layer, tile: int, box: CanvasBox
    ) -> None:
        heat = layer.source == "heatmap"
        buffer, step = (self.heat, self.step) if heat else (self.photos, 1)
        commands.alpha(self._opacity(layer))
        self._draw_one(commands, buffer, step, tile, box)
        if layer.tint is not None:
            commands.blend("multiply")
            commands.fill(_hex(layer.tint), box)
            commands.blend("source-over")

    def _draw_one(
        self, commands: CanvasCommands, buffer: Canvas, step: int, tile: int, box: CanvasBox
    ) -> None:
        """Draw one tile of a buffer into a box of any size."""
        left, top, width, height = box
        half = GAP // step // 2 * step
        x, y = (side + half for side in self.stored.corner(tile))
        across, down = width / self.stored.tile[1], height / self.stored.tile[0]
        size = buffer.width * step * across, buffer.height * step * down
        with commands.inside([box]):
            commands.image(buffer, (left - x * across, top - y * down, *size))

    def _right_parts(self) -> list[CanvasBox]:
        """Return what the divider of the split view leaves to the heatmaps."""
        parts = []
        for tile in range(self.grid.number):
            left, top, width, height = self.grid.box(tile)
            cut = math.floor(width * self.look.split + 0.5)
            parts.append((left + cut, top, width - cut, height))
        return parts

    @property
    def _cursor(self) -> int | None:
        """Tile that the cursor frames."""
        cursor = self.look.cursor
        framed = cursor is not None and cursor in self.on_page and len(self.on_page) > 1
        return self.on_page.index(cursor) if framed and cursor is not None else None

    @property
    def _out(self) -> list[int]:
        """Tiles of images that are out of the basis."""
        return [tile for tile, index in enumerate(self.on_page) if index in self.look.out]

    @property
    def _rings(self) -> list[Ring]:
        """Rings on images of the page."""
        return [ring for ring in self.look.rings if ring.spot.image in self.on_page]

    @property
    def _frame(self) -> tuple[Spot, ...]:
        """Both corners of what is being brushed, if it is on the page."""
        frame = self.look.frame
        return frame if frame is not None and frame[0].image in self.on_page else ()

    def _tile_of(self, spot: Spot) -> int:
        return self.on_page.index(spot.image)

    def _mark(self, commands: CanvasCommands) -> None:
        grey, strength = self.look.dimming
        commands.alpha(strength)
        commands.fill(_hex((grey, grey, grey)), *map(self.grid.box, self._out))
        commands.alpha(1.0)
        if self.view.divided:
            for left, top, _, height in self._right_parts():
                commands.fill("#ffffff", (left - 2, top, 4, height))
        if self._cursor is not None:
            box = self.grid.box(self._cursor)
            for colour, line in (("#ffffff", 10), ("#1a73e8", 6)):
                commands.stroke(colour, line, box)
        for ring in self._rings:
            self._ring(commands, ring)
        if self._frame:
            self._brushed(commands, *self._frame)

    def _ring(self, commands: CanvasCommands, ring: Ring) -> None:
        for left, top, width, height in self.grid.panes(self._tile_of(ring.spot), self.look.view):
            radius = max(7, min(0.07 * min(width, height), 22)) * (1.35 if ring.bold else 1)
            x, y = left + ring.spot.x * width, top + ring.spot.y * height
            line = 6 if ring.bold else 4
            commands.ring("#000000", line + 3, x, y, radius)
            commands.ring(ring.colour, line, x, y, radius)

    def _brushed(self, commands: CanvasCommands, one: Spot, other: Spot) -> None:
        for left, top, width, height in self.grid.panes(self._tile_of(one), self.look.view):
            x, y = left + one.x * width, top + one.y * height
            box = (x, y, (other.x - one.x) * width, (other.y - one.y) * height)
            for colour, line in (("#000000", 5), ("#ffffff", 3)):
                commands.stroke(colour, line, box)


def _hex(colour: tuple[float, float, float]) -> str:
    """Return a colour in [0, 1] as browsers read it."""
    return "#{:02x}{:02x}{:02x}".format(*(math.floor(255 * part + 0.5) for part in colour))
