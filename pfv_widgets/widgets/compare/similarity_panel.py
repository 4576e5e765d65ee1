"""The numbers of the two layers on show: of all photos, and of the one that is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable

import ipywidgets as w

from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.widgets.toolkit import text

_WAITING = "CKA and principal angles: computed once both pictures are up to date."


class SimilarityPanel:
    """CKA with its null band, principal angles, and plain words where a batch is too small."""

    def __init__(self) -> None:
        self._similarity: Similarity | None = None
        self._photo: int | None = None
        self.whole = w.HTML(layout=w.Layout(min_height="56px", margin="0"))
        self.photo = w.HTML(layout=w.Layout(min_height="38px", margin="0"))
        self.widget = w.VBox([self.whole, self.photo], layout=w.Layout(width="100%"))

    def show(self, similarity: Similarity | None) -> None:
        """Show the numbers of one pair of layers; None: they are not known yet."""
        before, self._similarity = self._similarity, similarity
        if similarity is None:
            if before is not None or not self.whole.value:  # else why there is none stays
                self.whole.value = text.hint(_WAITING)
        else:
            low, high = (float(one[0, 0]) for one in similarity.null)
            ends = f"{text.in_digits(low)} to {text.in_digits(high)}"
            band = "" if math.isnan(low) else f" (shuffled photos: {ends})"
            lines = text.hint(
                f"CKA {text.in_digits(float(similarity.cka[0, 0]))}{band}. "
                f"Principal angles: {degrees(similarity.angles[0, 0].tolist())}."
            )
            warnings = " ".join(similarity.warnings)
            self.whole.value = lines + (text.status(warnings, kind="warning") if warnings else "")
        self.show_photo(self._photo)

    def show_none(self) -> None:
        """Say that there is nothing to compare."""
        self.show(None)
        self.whole.value = text.hint("CKA and principal angles: undefined, a side has no picture.")

    def show_photo(self, index: int | None) -> None:
        """Show the numbers of a photo; None: of none."""
        self._photo = index
        similarity = self._similarity
        if similarity is None or index is None or index >= len(similarity.photos):
            self.photo.value = text.hint("Point at a photo to read its own numbers.")
            return
        cka, angles = similarity.cka_by_photo[0, 0, index], similarity.angles_by_photo[0, 0, index]
        self.photo.value = text.hint(
            f"{index + 1}: {text.plain(similarity.photos[index])}: "
            f"CKA {text.in_digits(float(cka))}, angles {degrees(angles.tolist())}"
        )


def notes_of(similarity: Similarity | None) -> dict[int, str]:
    """Return what stands on the tile of each photo: its CKA."""
    if similarity is None:
        return {}
    return {
        index: f"CKA {text.in_digits(float(one))}"
        for index, one in enumerate(similarity.cka_by_photo[0, 0])
    }


def degrees(angles: Iterable[float]) -> str:
    """Return angles in words; those that are NaN do not exist.

    >>> degrees([3.2, 45.0, float("nan")])
    '3°, 45°'
    """
    known = [f"{angle:.0f}°" for angle in angles if not math.isnan(angle)]
    return ", ".join(known) or "undefined"
