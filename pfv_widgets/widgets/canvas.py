"""The gallery: the tiles of a page on one canvas, put together in the browser from two stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ipywidgets import Widget

from pfv_widgets.widgets.grid import GAP, PANES, WHOLE, Box, Grid, Page, Spot
from pfv_widgets.widgets.pen import FADE, Pen
from pfv_widgets.widgets.pictures import encode, resized
from pfv_widgets.widgets.surface import Surface

_WIDEST = "632px"  # on the screen: crisp there at one and a half times the pixel density
_PURE = ("#ff0000", "#00ff00", "#0000ff")


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


class ImageGrid:
    """Photos below, heatmaps above, drawn from two stores that the browser keeps.

    A frame redraws both stores on the displayed canvas; only new heatmaps, or another page,
    send a picture. Everything is sent anew when a page of the browser appears or is loaded
    again.

    Parameters
    ----------
    pixels
        Photos, uint8 ``(N, H, W, 3)``.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.look = Look()
        self.page = Page.start(len(pixels), self.image_size)
        self.grid = self._stored = self._grid_of(self.page, "overlay")
        self.surface = Surface("gallery", self.grid.size, stores=3)
        self._photos, self._heat, self._large = self.surface.stores
        self._enlarged = False  # what is in it is the heat
        self.near = False  # whether all pages are, and quick pictures may go uncompressed
        layout = self.canvas.layout
        layout.width, layout.max_width = "100%", _WIDEST
        self._heat_file = b""
        self._step = 1
        self._sent: Page | None = None
        self._files = lru_cache(maxsize=8)(self._photo_file)
        self._resize()

    @property
    def canvas(self) -> Widget:
        """The displayed canvas."""
        return self.surface.canvas

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the photos."""
        height, width = self._pixels.shape[1:3]
        return height, width

    @property
    def rough(self) -> bool:
        """Whether the heatmaps went uncompressed, with 5 bits of a colour."""
        return self._heat_file.startswith(b"BM")

    @property
    def shown(self) -> range:
        """Indices of the images on the page."""
        return self.indices(self.page)

    def indices(self, page: Page) -> range:
        """Return which images are on a page."""
        return page.indices(len(self._pixels), self.image_size)

    def tile_size(self, page: Page, wanted: float) -> tuple[int, int]:
        """Size of heatmaps at least ``wanted`` pixels wide, or as large as a tile of the page."""
        grid = self._grid_of(page, "overlay")
        step = grid.step(wanted)
        return grid.tile[0] // step, grid.tile[1] // step

    def turn(self, page: Page) -> None:
        """Go to a page; :meth:`paint` is to follow with its heatmaps."""
        if page != self.page:
            self.page, self._heat_file = page, b""
            self._stored = self._grid_of(page, "overlay")

    def forget(self) -> None:
        """Send everything with the next frame: a page of the browser has just appeared."""
        self._sent = None

    def paint(self, tiles: np.ndarray | None, look: Look, *, quick: bool = False) -> int:
        """Show new heatmaps of the page, uint8 ``(n, h, w, 3)`` (None: the last ones).

        ``(h, w)`` is what :meth:`tile_size` says; ``quick`` ones are soon followed by others.
        Returns the bytes of the pictures sent.
        """
        if tiles is not None:
            self._step = self._stored.tile[1] // tiles.shape[2]
            self._heat_file = encode(self._stored.atlas(tiles), near=self.near and quick)
        self.look = look
        self.grid = self._grid_of(self.page, look.view)
        self._resize()
        pen, anew = self.surface.pen(), self._sent != self.page
        self._sent = None  # until it is on its way: an error leaves nothing to build on
        if anew:
            pen.on(self._photos)
            pen.put(self._files(self.page))
        if anew or tiles is not None:
            pen.on(self._heat)
            pen.put(self._heat_file)
            self._enlarged = False
        elif self._step > 1 and not self._enlarged and self._heat_file:
            self._enlarge(pen)
        pen.on(self.canvas)
        self._compose(pen)
        size = pen.send()
        self._sent = self.page
        return size

    def spot(self, x: float, y: float) -> Spot | None:
        """Image and point in it at a point of the canvas, None beside the tiles."""
        found, shown = self.grid.at(x, y, self.look.view), self.shown
        if found is None or found[0] >= len(shown):  # the page is being turned
            return None
        place, across, down = found
        return Spot(shown[place], across, down)

    def pane_size(self) -> tuple[float, float]:
        """Width and height of an image on the canvas, in its pixels."""
        return self.grid.panes(0, self.look.view)[0][2:]

    def blur(self) -> None:
        """Let the keys go to the rest of the page again."""
        self.canvas.blur()

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call back when a page of the browser is ready to draw."""
        self.surface.on_ready(callback)

    def close(self) -> None:
        """Remove the canvases from every page."""
        self.surface.close()

    def _grid_of(self, page: Page, view: str) -> Grid:
        height, width = self.image_size
        number = len(self.indices(page))
        if PANES.get(view) == (2, 1):
            return Grid.of(number, (height, 2 * width), max(1, round(page.columns / 2**0.5)))
        return Grid.of(number, (height, width), page.columns)

    def _resize(self) -> None:
        """Give the canvases the sizes that their grids need."""
        self.surface.resize(self.grid.size)
        height, width = self._stored.size
        for store in self.surface.stores:
            self.surface.resize((height + GAP, width + GAP), store)

    def _photo_file(self, page: Page) -> bytes:
        indices = self.indices(page)
        tiles = resized(self._pixels[indices.start : indices.stop], self._stored.tile)
        return encode(self._stored.atlas(tiles))

    def _compose(self, pen: Pen) -> None:
        look = self.look
        if look.view in PANES:
            self._compose_panes(pen)
        else:
            pen.alpha(1.0)
            self._whole(pen, self._photos, 1)
            if self._heat_file:
                fixed = WHOLE.get(look.view)
                pen.alpha(look.opacity if fixed is None else fixed)
                if look.view == "split":
                    with pen.inside(self._right_parts()):
                        self._whole(pen, *self._best_heat)
                else:
                    self._whole(pen, *self._best_heat)
            if gaps := self.grid.gaps():  # what the photos and heatmaps spilled over
                pen.clear(*gaps)
        self._mark(pen)

    def _compose_panes(self, pen: Pen) -> None:
        """Draw every image several times: beside itself, or with its colours apart."""
        heat = bool(self._heat_file)
        apart = self.look.view == "rgb split"
        pen.clear()
        for place in range(self.grid.number):
            first, *others = self.grid.panes(place, self.look.view)
            pen.alpha(1.0)
            if heat and apart:
                self._one(pen, self._heat, self._step, place, first)
            else:
                self._one(pen, self._photos, 1, place, first)
            for colour, box in zip(_PURE, others, strict=False) if heat else ():
                self._one(pen, self._heat, self._step, place, box)
                if apart:
                    pen.blend("multiply")
                    pen.fill(colour, box)
                    pen.blend("source-over")

    def _enlarge(self, pen: Pen) -> None:
        """Keep the heatmaps as large as they are shown: drawing them again takes half the time.

        It is done when the look changes for the first time: then a hand moves what sends no
        pixels, and the same heatmaps are drawn again and again.
        """
        pen.on(self._large)
        self._whole(pen, self._heat, self._step, GAP // 2)
        self._enlarged = True

    @property
    def _best_heat(self) -> tuple[Widget, int]:
        return (self._large, 1) if self._enlarged else (self._heat, self._step)

    def _whole(self, pen: Pen, store: Widget, step: int, left: int = 0) -> None:
        """Draw a store whose cells are 1/step of a tile with half a gap around it."""
        at = left - GAP // step // 2 * step
        pen.image(store, (at, at, store.width * step, store.height * step))

    def _one(self, pen: Pen, store: Widget, step: int, place: int, box: Box) -> None:
        """Draw one tile of a store into a box of any size."""
        left, top, width, height = box
        half = GAP // step // 2 * step
        x, y = (side + half for side in self._stored.corner(place))
        across, down = width / self._stored.tile[1], height / self._stored.tile[0]
        size = store.width * step * across, store.height * step * down
        with pen.inside([box]):
            pen.image(store, (left - x * across, top - y * down, *size))

    def _right_parts(self) -> list[Box]:
        """Return what the divider of the split view leaves to the heatmaps."""
        parts = []
        for place in range(self.grid.number):
            left, top, width, height = self.grid.box(place)
            cut = round(width * self.look.split)
            parts.append((left + cut, top, width - cut, height))
        return parts

    def _mark(self, pen: Pen) -> None:
        look, shown = self.look, self.shown
        pen.alpha(FADE[1])
        pen.fill(FADE[0], *(self.grid.box(index - shown.start) for index in shown
                             if index in look.out))  # fmt: skip
        pen.alpha(1.0)
        if look.view == "split":
            for left, top, _, height in self._right_parts():
                pen.fill("#ffffff", (left - 2, top, 4, height))
        if look.cursor is not None and look.cursor in shown and len(shown) > 1:
            box = self.grid.box(look.cursor - shown.start)
            for colour, line in (("#ffffff", 10), ("#1a73e8", 6)):
                pen.stroke(colour, line, box)
        for ring in look.rings:
            if ring.spot.image in shown:
                self._ring(pen, ring)
        if look.frame is not None and look.frame[0].image in shown:
            self._brushed(pen, *look.frame)

    def _ring(self, pen: Pen, ring: Ring) -> None:
        for left, top, width, height in self._panes_of(ring.spot.image):
            radius = max(7, min(0.07 * min(width, height), 22)) * (1.35 if ring.bold else 1)
            x, y = left + ring.spot.x * width, top + ring.spot.y * height
            line = 6 if ring.bold else 4
            pen.ring("#000000", line + 3, x, y, radius)
            pen.ring(ring.colour, line, x, y, radius)

    def _brushed(self, pen: Pen, one: Spot, other: Spot) -> None:
        for left, top, width, height in self._panes_of(one.image):
            x, y = left + one.x * width, top + one.y * height
            box = (x, y, (other.x - one.x) * width, (other.y - one.y) * height)
            for colour, line in (("#000000", 5), ("#ffffff", 3)):
                pen.stroke(colour, line, box)

    def _panes_of(self, image: int) -> list[Box]:
        return self.grid.panes(image - self.shown.start, self.look.view)
