"""Which images of a batch a person means: those on the page, in use, or with a selection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import suggestion
from pfv_widgets.widgets.gallery.view_state import ViewState

CHOICES = {
    "all": "all images",
    "page": "images on this page",
    "used": "images used for the colours",
    "selection": "images with a selection",
}


def indices_of(choice: str, state: ViewState, page: Sequence[int]) -> tuple[int, ...] | None:
    """Return the indices of the images that one of ``CHOICES`` means; None: all.

    Raises a PFVValueError for another choice, or one that leaves no image.
    """
    if choice == "page":
        return tuple(page)
    weights = state.settings.images
    if choice == "all" or (choice == "used" and weights is None):
        return None
    if choice == "used" and weights is not None:
        return tuple(index for index, weight in enumerate(weights) if weight > 0)
    if choice == "selection":
        if state.selection is None:
            raise PFVValueError(
                "No position is selected (images='selection'). Drag over some in the gallery first."
            )
        return tuple(np.flatnonzero(state.selection.mask.any(axis=(1, 2))).tolist())
    raise PFVValueError(f"images={choice!r:.60}: {suggestion(choice, CHOICES)}")
