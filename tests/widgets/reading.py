"""Read what an explorer shows: its status, its tiles, and what they should be."""

from __future__ import annotations

import html
import re

import numpy as np
import numpy.typing as npt
from PIL import Image

from pfv_widgets.widgets.explorers import PFVExplorer
from tests.widgets.recorded_page import RecordedPage


def status(explorer: PFVExplorer) -> str:
    """The words of the status line, once nothing is being painted."""
    assert explorer.wait(60)
    return html.unescape(re.sub(r"<[^>]+>", "", explorer._status.value)).removeprefix("● ")


def is_error(explorer: PFVExplorer) -> bool:
    assert explorer.wait(60)
    return 'role="alert"' in explorer._status.value


def tile(recorded: RecordedPage, explorer: PFVExplorer, index: int) -> npt.NDArray[np.float32]:
    """Pixels of a tile on the page, once nothing is being painted."""
    assert explorer.wait(60)
    grid = explorer._grid.grid
    left, top = grid.corner(index)
    picture = recorded.picture(explorer._grid.canvas)
    return picture[top : top + grid.tile[0], left : left + grid.tile[1]]


def expected(explorer: PFVExplorer, index: int) -> npt.NDArray[np.float32]:
    """Pixels of a tile as the engine composes it, at the size of the tile."""
    size = explorer._grid.grid.tile[::-1]
    one = Image.fromarray(explorer.frame.composite()[index])
    return np.asarray(one.resize(size, Image.Resampling.BICUBIC), np.float32)


def shows_its_frame(recorded: RecordedPage, explorer: PFVExplorer) -> bool:
    """Whether every tile that is in the basis looks as the engine says."""
    weights = explorer.frame.weights
    differences = [
        np.abs(tile(recorded, explorer, index) - expected(explorer, index)).mean()
        for index, weight in enumerate(weights)
        if weight > 0
    ]
    return bool(max(differences) < 5)


def pictures_sent(recorded: RecordedPage) -> int:
    return sum(len(drawing.pictures) for drawing in recorded.drawings)
