"""One page of a grid of methods: where each cell stands, colours, words; a figure of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import ipywidgets as w
import numpy as np

from pfv_widgets.errors import PFVError
from pfv_widgets.methods.comparison.cells import Cell, Comparison, Task
from pfv_widgets.methods.comparison.rows import PrincipalFeatures
from pfv_widgets.methods.comparison.scales import MEANING
from pfv_widgets.methods.comparison.table import Table, Tile, draw_table
from pfv_widgets.methods.comparison.tiles import Classes, Filled, reach, said, which
from pfv_widgets.widgets.methods.grid_canvas import MethodsSheet, Place, Shown
from pfv_widgets.widgets.methods.grid_layout import Layout
from pfv_widgets.widgets.methods.grid_texts import legend, words
from pfv_widgets.widgets.methods.view_state import MethodsSettings, name_of
from pfv_widgets.widgets.toolkit.controls import close_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Find = Callable[[Task], Cell | None]


class MethodsPage:
    """Canvas, words and legend of a grid.

    Parameters
    ----------
    comparison
        Networks and images.
    classes
        Names of the output's units.
    """

    def __init__(self, comparison: Comparison, classes: Classes) -> None:
        self._comparison, self._classes = comparison, classes
        self._sheet = MethodsSheet(comparison.images.pixels)
        self.words, self.legend = w.HTML(), w.HTML()
        self.words.add_class("pfv-methods-words")
        sheet = w.Box([self._sheet.widget, self.words], layout=w.Layout(display="block"))
        sheet.add_class("pfv-methods-sheet")
        self.widget = w.VBox([sheet, self.legend], layout=w.Layout(overflow="hidden"))

    def on_ready(self, callback: Callable[[], None]) -> None:
        """Call back when a page of the browser is ready to draw."""
        self._sheet.surface.on_ready(callback)

    def forget(self) -> None:
        """Send everything with the next picture."""
        self._sheet.forget()

    def paint(self, settings: MethodsSettings, find: Find, running: Task | None) -> None:
        """Draw the page; ``find`` says what is known of a cell."""
        layout, filled = self._layout(settings), self._filled(settings, find)
        cells: dict[Place, Shown] = {}
        for row, method in enumerate(settings.methods):
            for column, (image, network) in enumerate(layout.columns):
                at = layout.images.index(image), row * layout.networks + network
                task = Task(network, image, method, settings.target)
                cell, ink = filled.cells[at[0]][at[1]], filled.inks[at[0]][at[1]]
                cells[row, column] = Shown(cell, ink, cell is None and task == running)
        overlay = settings.view == "overlay"
        self._sheet.paint(layout, cells, overlay=overlay, opacity=settings.opacity)
        self.words.value = words(
            layout,
            settings,
            cells,
            images=self._comparison.images,
            networks=[network.name for network in self._comparison.networks],
            classes=self._classes,
            layers=self._layers(settings, layout),
        )
        self.legend.value = legend(settings, filled.bars())

    def figure(self, settings: MethodsSettings, find: Find) -> Figure:
        """Draw the page as a figure: photos first, then a row for each method."""
        layout, filled = self._layout(settings), self._filled(settings, find)
        tiles, networks = filled.tiles(reach), layout.networks
        images, target = self._comparison.images, settings.target
        photos, headings = [], []
        for group, image in enumerate(layout.images):
            for network in range(networks):
                found = filled.cells[group][network::networks]
                photos.append(Tile(images.pixels[image], said(found, target, self._classes)))
                name = self._comparison.networks[network].name
                headings.append(images.names[image] if networks == 1 else name)
        rows = [
            [tile for row in tiles for tile in row[place : place + networks]]
            for place in range(0, len(settings.methods) * networks, networks)
        ]
        labels = ["Photo", *(method.label for method in settings.methods)]
        title = which(target, self._classes)
        if networks == 1:
            title = f"{self._comparison.networks[0].name}: {title}"
        return draw_table(
            Table(
                title,
                [photos, *rows],
                headings,
                images.size,
                labels=labels,
                bars=filled.bars(),
                caption=MEANING[settings.scale],
            )
        )

    def arrays(self, settings: MethodsSettings, find: Find) -> dict[str, np.ndarray]:
        """Return the maps ``(images, networks, H, W)`` of each method by its name, and all names.

        PFV has colours ``(images, networks, H, W, 3)``; what is missing is NaN.
        """
        filled, networks = self._filled(settings, find), self._comparison.networks
        page = settings.page(len(self._comparison.images), len(networks))
        found: dict[str, np.ndarray] = {}
        for row, method in enumerate(settings.methods):
            colours = (3,) if isinstance(method, PrincipalFeatures) else ()
            missing = np.full((*self._comparison.images.size, *colours), np.nan, np.float32)
            start = row * len(networks)
            found[name_of(method)] = np.stack([
                np.stack([
                    missing if cell is None or cell.values is None else cell.values.numpy()
                    for cell in cells[start : start + len(networks)]
                ])
                for cells in filled.cells
            ])  # fmt: skip
        found["images"] = np.array([self._comparison.images.names[image] for image in page])
        found["networks"] = np.array([network.name for network in networks])
        return found

    def close(self) -> None:
        """Remove everything from the page."""
        self._sheet.close()
        close_all(self.widget)

    def _layout(self, settings: MethodsSettings) -> Layout:
        networks, images = len(self._comparison.networks), self._comparison.images
        page = settings.page(len(images), networks)
        rows = len(settings.methods)
        across = min(settings.across, len(images) * networks)
        return Layout.of(page, networks, rows, images.size, across)

    def _filled(self, settings: MethodsSettings, find: Find) -> Filled:
        networks = range(len(self._comparison.networks))
        columns = [(network, method) for method in settings.methods for network in networks]
        page = settings.page(len(self._comparison.images), len(networks))
        cells = [
            [find(Task(network, image, method, settings.target)) for network, method in columns]
            for image in page
        ]
        return Filled.of(columns, cells, settings.scale)

    def _layers(self, settings: MethodsSettings, layout: Layout) -> dict[Place, str]:
        """Name the layers that PFV shows, by row and network."""
        found = {}
        for row, method in enumerate(settings.methods):
            if isinstance(method, PrincipalFeatures):
                for network in range(layout.networks):
                    task = Task(network, layout.images[0], method, settings.target)
                    with suppress(PFVError):  # its cell says what is wrong
                        found[row, network] = self._comparison.layer_of(task)
        return found
