"""The gallery: the tiles of a page on one canvas, put together in the browser from two buffers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from ipywidgets import Widget

from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.widgets.browser.canvas import LayeredCanvas
from pfv_widgets.widgets.browser.image_encoding import encode, resized
from pfv_widgets.widgets.browser.tile_compositing import Look, Tiles
from pfv_widgets.widgets.toolkit.geometry import GAP, LEAST_WIDE, Grid, Page, Spot


class TileCanvas:
    """Photos below, heatmaps above, drawn from two buffers that the browser keeps.

    A frame redraws both buffers on the displayed canvas; only new heatmaps, or another page, send a
    picture. Everything is sent anew when a page of the browser appears or is loaded again. The
    photos are uint8 ``(N, H, W, 3)``.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.look = Look()
        self.page = Page.start(len(pixels), self.image_size)
        self.grid = self._stored = self._grid_of(self.page)
        self.canvas = LayeredCanvas("gallery", self.grid.size, buffers=3)
        self._photos, self._heat, self._large = self.canvas.buffers
        self._enlarged = False  # what is in it is the heat
        self.near = False  # whether all pages are, and quick pictures may go uncompressed
        self.widget.layout.width = "100%"
        self._heat_file = b""
        self._step = 1
        self._sent: Page | None = None
        self._files = lru_cache(maxsize=8)(self._photo_file)
        self._resize()

    @property
    def widget(self) -> Widget:
        """The displayed canvas."""
        return self.canvas.displayed

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the photos."""
        height, width = self.pixels.shape[1:3]
        return height, width

    @property
    def rough(self) -> bool:
        """Whether the heatmaps went uncompressed, with 5 bits of a colour."""
        return self._heat_file.startswith(b"BM")

    @property
    def on_page(self) -> Sequence[int]:
        """Indices of the images on the page."""
        return self.indices(self.page)

    def indices(self, page: Page) -> Sequence[int]:
        """Return which images are on a page."""
        return page.indices(len(self.pixels), self.image_size)

    def tile_size(self, page: Page, width: float) -> tuple[int, int]:
        """Size of heatmaps at least ``width`` pixels wide, or as large as a tile of the page."""
        grid = self._grid_of(page)
        step = grid.step(width)
        return grid.tile[0] // step, grid.tile[1] // step

    def grid_of(self, page: Page, view: str) -> Grid:
        """Return where the tiles of a page stand on the canvas in a view."""
        return self._grid_of(page, VIEWS[view].growth)

    @staticmethod
    def widest(grid: Grid) -> str:
        """Return how wide a canvas may be, as CSS, so that the whole page fits the window."""
        high, wide = grid.size
        return f"max({LEAST_WIDE}px, (100vh - var(--pfv-bars, 300px)) * {wide / high:.3f})"

    def turn(self, page: Page) -> None:
        """Go to a page; :meth:`paint` is to follow with its heatmaps."""
        if page != self.page:
            self.page, self._heat_file = page, b""
            self._stored = self._grid_of(page)

    def forget(self) -> None:
        """Send everything with the next frame: a page of the browser has just appeared."""
        self._sent = None
        self.canvas.send_sizes()

    def paint(self, tiles: np.ndarray | None, look: Look, *, quick: bool = False) -> int:
        """Show new heatmaps of the page, uint8 ``(n, h, w, 3)`` (None: the last ones).

        ``(h, w)`` is what :meth:`tile_size` says; ``quick`` ones are soon followed by others.
        Returns the bytes of the pictures sent.
        """
        if tiles is not None:
            self._step = self._stored.tile[1] // tiles.shape[2]
            self._heat_file = encode(self._stored.atlas(tiles), near=self.near and quick)
        self.look = look
        self.grid = self._grid_of(self.page, VIEWS[look.view].growth)
        self._resize()
        commands, anew = self.canvas.commands(), self._sent != self.page
        self._sent = None  # until it is on its way: an error leaves nothing to build on
        if anew:
            commands.store(self._photos, self._files(self.page))
        if anew or tiles is not None:
            commands.store(self._heat, self._heat_file)
            self._enlarged = False
        elif self._step > 1 and not self._enlarged and self._heat_file:
            # The look changes for the first time: then a control moves that sends no pixels, and
            # the same heatmaps are drawn again and again, which takes half the time so.
            self._tiles().enlarge(commands)
            self._enlarged = True
        commands.on(self.widget)
        picture = self._tiles()
        picture.draw(commands)
        size = commands.send({"gallery": self.widget.model_id, **picture.description()})
        self._sent = self.page
        return size

    def spot(self, x: float, y: float) -> Spot | None:
        """Image and point in it at a point of the canvas, None beside the tiles."""
        found = self.grid.at(x, y, self.look.view)
        if found is None or found[0] >= len(self.on_page):  # the page is being turned
            return None
        index, across, down = found
        return Spot(self.on_page[index], across, down)

    def pane_size(self) -> tuple[float, float]:
        """Width and height of an image on the canvas, in its pixels."""
        return self.grid.panes(0, self.look.view)[0][2:]

    def _grid_of(self, page: Page, growth: int = 1) -> Grid:
        """Arrange tiles that are ``growth`` times as wide as their images."""
        height, width = self.image_size
        columns = max(1, round(page.columns / growth**0.5))
        size, aspect = (height, growth * width), page.aspect
        if page.columns == page.fitted:  # few rows, as many pixels
            rows = math.ceil(len(self.pixels) / page.columns)
            aspect = max(aspect, page.columns * width / (rows * height))
        return Grid.of(len(self.indices(page)), size, columns, aspect, named=page.named)

    def _resize(self) -> None:
        """Give the canvases the sizes that their grids need."""
        self.canvas.resize(self.grid.size)
        self.widget.layout.max_width = self.widest(self.grid)
        height, width = self._stored.size
        for buffer in self.canvas.buffers:
            self.canvas.resize((height + GAP, width + GAP), buffer)

    def _photo_file(self, page: Page) -> bytes:
        indices = self.indices(page)
        tiles = resized(self.pixels[list(indices)], self._stored.tile)
        return encode(self._stored.atlas(tiles))

    def _tiles(self) -> Tiles:
        step = self._step if self._heat_file else 0
        growths = {view.growth for view in VIEWS.values()}
        grids = {growth: self._grid_of(self.page, growth) for growth in growths}
        buffers = self._photos, self._heat, self._large
        return Tiles(self.look, self.on_page, grids, *buffers, step, self._enlarged)
