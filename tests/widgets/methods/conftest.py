"""Grids of methods on a fake page, and what their cells should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pfv_widgets as pw
from pfv_widgets.methods.comparison.colour_scales import colour_ranges, coloured
from pfv_widgets.methods.comparison.comparison import Task
from pfv_widgets.widgets.methods.grid_layout import Layout
from pfv_widgets.widgets.methods.methods_explorer import MethodsExplorer
from tests.networks import blobs, tiny
from tests.widgets.explorer_contents import words
from tests.widgets.fake_page import FakePage, page_of

QUICK = ("pfv", "saliency", "gradient_times_input")


Open = Callable[..., MethodsExplorer]


@pytest.fixture
def open_grid(fake_page: FakePage) -> Iterator[Open]:
    """Open grids of small networks; close them after the test."""
    with ExitStack() as stack:

        def open_(models: Any = None, images: Any = None, methods: Any = QUICK, **more: Any) -> Any:
            batch, networks = blobs(2) if images is None else images, models or tiny()
            explorer = pw.explore_methods(networks, batch, methods, device="cpu", **more)
            return stack.enter_context(closing(explorer))

        yield open_


def status(explorer: MethodsExplorer) -> str:
    assert explorer.wait(60)
    return explorer.status.message


def shown_words(explorer: MethodsExplorer) -> str:
    assert explorer.wait(60)
    return words(explorer.page.heads.value + explorer.page.words.value)


def tile(explorer: MethodsExplorer, row: int, column: int) -> Any:
    """Pixels of a cell on the page."""
    assert explorer.wait(60)
    left, top, width, height = (int(one) for one in layout(explorer).box(row, column))
    return page_of(explorer).picture(explorer.page.canvas.widget)[
        top : top + height, left : left + width
    ]


def layout(explorer: MethodsExplorer) -> Layout:
    return explorer.page.layout(explorer.settings)


def expected(explorer: MethodsExplorer, row: int, column: int) -> Any:
    """Pixels of a cell as they should be, of its method's maps on the page."""
    place, settings = layout(explorer), explorer.settings
    cells = [
        explorer.comparison.cached(Task(network, image, settings.methods[row], settings.target))
        for image, network in place.columns
    ]
    colours = coloured(cells[column], colour_ranges(cells, settings.scale)[column])
    picture = Image.fromarray(np.rint(255 * colours).astype(np.uint8))
    return np.asarray(picture.resize(place.tile[::-1], Image.Resampling.LANCZOS), np.float32)


def shows_its_maps(explorer: MethodsExplorer, tolerance: float = 6) -> bool:
    """Whether every cell looks as it should, but for what JPEG makes of coloured noise."""
    place = layout(explorer)
    return all(
        np.abs(tile(explorer, row, column) - expected(explorer, row, column)).mean() < tolerance
        for row in range(place.rows)
        for column in range(len(place.columns))
    )
