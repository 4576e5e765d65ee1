"""All that the picture on the page depends on, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.gallery_script import FOLLOWED
from pfv_widgets.widgets.toolkit.geometry import Page, Spot


@dataclass(frozen=True, eq=False)
class Selection:
    """Positions that were selected: ``mask`` bool ``(N, h, w)``; the others fade."""

    mask: np.ndarray

    def on_grid(self, size: tuple[int, int]) -> Selection:
        """Return the same positions on maps of another height and width.

        A position is selected where its centre lies in a selected one, or holds the centre of one.
        """
        _, height, width = self.mask.shape
        if (height, width) == size:
            return self
        rows, columns = (_centres(new, old) for new, old in zip(size, (height, width), strict=True))
        mask = self.mask[:, rows][:, :, columns]
        image, row, column = np.nonzero(self.mask)
        mask[image, _centres(height, size[0])[row], _centres(width, size[1])[column]] = True
        return Selection(mask)


@dataclass(frozen=True)
class ViewState:
    """Settings, and what a person looks at and points to."""

    settings: Settings
    page: Page
    cursor: int | None = None  # the image that the keys act on
    hover: Spot | None = None  # under the pointer
    brush: tuple[Spot, Spot] | None = None  # corners of what is being drawn, in one image
    selection: Selection | None = None

    def has_heat_of(self, other: ViewState | None) -> bool:
        """Whether this shows the same heatmaps as another state."""
        if other is None or (self.page, self.selection) != (other.page, other.selection):
            return False
        look = {name: getattr(self.settings, name) for name in FOLLOWED}
        return self.settings == replace(other.settings, **look)


def _centres(number: int, of: int) -> np.ndarray:
    """Return in which of ``of`` equal parts of a side the centre of each of ``number`` lies."""
    return (np.arange(number) * 2 + 1) * of // (2 * number)
