"""One page of a grid of methods: where each cell stands, colours, words; a figure of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import ipywidgets as w
import numpy as np

from pfv_widgets.engine.export.image_grid import ImageGrid, Tile, draw_image_grid, tile_size
from pfv_widgets.errors import PFVError
from pfv_widgets.methods.comparison.cell_tiles import (
    CellTiles,
    range_label,
    score_label,
    target_label,
)
from pfv_widgets.methods.comparison.compared_methods import PrincipalFeatures, file_keys, labels
from pfv_widgets.methods.comparison.comparison import Cell, Comparison, Task
from pfv_widgets.methods.comparison.figures import caption
from pfv_widgets.widgets.methods.grid_canvas import CellPicture, GridCanvas, Slot
from pfv_widgets.widgets.methods.grid_layout import Layout
from pfv_widgets.widgets.methods.grid_texts import heads, legend, words
from pfv_widgets.widgets.methods.settings import MethodsSettings
from pfv_widgets.widgets.toolkit.controls import close_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Find = Callable[[Task], Cell | None]


class MethodsPage:
    """Canvas, words and legend of a grid."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self.canvas = GridCanvas(comparison.images.pixels)
        self.heads, self.words, self.legend = w.HTML(), w.HTML(), w.HTML()
        self.heads.add_class("pfv-methods-heads")
        self.words.add_class("pfv-methods-words")
        grid = w.Box([self.canvas.widget, self.words], layout=w.Layout(display="block"))
        grid.add_class("pfv-methods-grid")
        self.widget = w.VBox([self.heads, grid, self.legend], layout=w.Layout(overflow="visible"))
        self.widget.add_class("pfv-methods-page")

    def paint(self, settings: MethodsSettings, find: Find, running: Task | None) -> None:
        """Draw the page; ``find`` says what is known of a cell."""
        layout, cell_tiles = self.layout(settings), self._cell_tiles(settings, find)
        cells: dict[Slot, CellPicture] = {}
        for row, method in enumerate(settings.methods):
            for column, (image, network) in enumerate(layout.columns):
                at = layout.images.index(image), row * layout.networks + network
                task = Task(network, image, method, settings.target)
                cell, colours = cell_tiles.cells[at[0]][at[1]], cell_tiles.ranges[at[0]][at[1]]
                cells[row, column] = CellPicture(cell, colours, cell is None and task == running)
        overlay = settings.view == "overlay"
        self.canvas.paint(layout, cells, overlay=overlay, opacity=settings.opacity)
        self.heads.value = heads(layout, self._comparison)
        self.words.value = words(
            layout,
            settings,
            cells,
            comparison=self._comparison,
            layers=self._layers(settings, layout),
        )
        self.legend.value = legend(cell_tiles.bars(), self._caption(settings))

    def figure(self, settings: MethodsSettings, find: Find) -> Figure:
        """Draw the page as a figure: photos first, then a row for each method."""
        layout, cell_tiles = self.layout(settings), self._cell_tiles(settings, find)
        tiles = cell_tiles.tiles(lambda _, cell, colours: range_label(cell, colours))
        networks, images = layout.networks, self._comparison.images
        photos, headings = [], []
        for group, image in enumerate(layout.images):
            for network in range(networks):
                one = self._comparison.networks[network]
                found = cell_tiles.cells[group][network::networks]
                score = score_label(found, settings.target, one.classes)
                photos.append(Tile(images.pixels[image], (score,)))
                headings.append(images.names[image] if networks == 1 else one.name)
        ordered = photos + [
            tile
            for start in range(0, len(settings.methods) * networks, networks)
            for row in tiles
            for tile in row[start : start + networks]
        ]
        columns, rows = len(photos), len(settings.methods) + 1
        title = target_label(settings.target, self._comparison.networks[0].classes)
        if networks == 1:
            title = f"{self._comparison.networks[0].name}: {title}"
        return draw_image_grid(
            ImageGrid(
                title,
                ordered,
                columns,
                tile_size(images.size, rows, columns),
                headings=headings,
                labels=["Photo", *labels(settings.methods)],
                bars=cell_tiles.bars(),
                caption=self._caption(settings),
            )
        )

    def arrays(self, settings: MethodsSettings, find: Find) -> dict[str, np.ndarray]:
        """Return the maps ``(images, networks, H, W)`` of each method by its name, and all names.

        Several settings of one method are told apart by the options that differ.

        PFV has colours ``(images, networks, H, W, 3)``; what is missing is NaN.
        """
        cell_tiles, networks = self._cell_tiles(settings, find), self._comparison.networks
        page = settings.page(len(self._comparison.images), len(networks))
        found: dict[str, np.ndarray] = {}
        keys = file_keys(settings.methods)
        for row, (key, method) in enumerate(zip(keys, settings.methods, strict=True)):
            colours = (3,) if isinstance(method, PrincipalFeatures) else ()
            missing = np.full((*self._comparison.images.size, *colours), np.nan, np.float32)
            start = row * len(networks)
            found[key] = np.stack([
                np.stack([
                    missing if cell is None or cell.values is None else cell.values.numpy()
                    for cell in cells[start : start + len(networks)]
                ])
                for cells in cell_tiles.cells
            ])  # fmt: skip
        found["images"] = np.array([self._comparison.images.names[image] for image in page])
        found["networks"] = np.array([network.name for network in networks])
        return found

    def close(self) -> None:
        """Remove everything from the page."""
        close_all(self.widget)

    def layout(self, settings: MethodsSettings) -> Layout:
        """Return where everything stands."""
        networks, images = len(self._comparison.networks), self._comparison.images
        page = settings.page(len(images), networks)
        rows = len(settings.methods)
        across = min(settings.across, len(images) * networks)
        return Layout.of(page, networks, rows, images.size, across)

    def _cell_tiles(self, settings: MethodsSettings, find: Find) -> CellTiles:
        networks = range(len(self._comparison.networks))
        columns = [(network, method) for method in settings.methods for network in networks]
        page = settings.page(len(self._comparison.images), len(networks))
        cells = [
            [find(Task(network, image, method, settings.target)) for network, method in columns]
            for image in page
        ]
        return CellTiles.of(columns, cells, settings.scale)

    def _caption(self, settings: MethodsSettings) -> str:
        return caption(self._comparison, settings.methods, settings.scale)

    def _layers(self, settings: MethodsSettings, layout: Layout) -> dict[Slot, str]:
        """Name the layers that PFV shows, by row and network."""
        found = {}
        for row, method in enumerate(settings.methods):
            if isinstance(method, PrincipalFeatures):
                for network in range(layout.networks):
                    task = Task(network, layout.images[0], method, settings.target)
                    with suppress(PFVError):  # its cell says what is wrong
                        found[row, network] = self._comparison.layer_of(task)
        return found
