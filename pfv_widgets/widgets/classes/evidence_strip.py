"""Strips of photos: crops where a component is strongest, and heatmaps of a class's own ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pfv_widgets.analysis.classes.class_basis import ClassBasis
from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.analysis.core.highlighted_photos import reach_of, with_heatmap
from pfv_widgets.engine.export.html_data import small_picture
from pfv_widgets.widgets.toolkit.text import hint, in_digits, plain, safe

_CROPS = 4
_SIDE = 58  # CSS pixels of a crop


def evidence(found: ComponentClasses, component: int) -> str:
    """Return two strips of crops: where the component is highest and where it is lowest."""
    return "".join(
        strip(word, _crops(found, component, sign)) for word, sign in (("high", 1), ("low", -1))
    )


def _crops(found: ComponentClasses, component: int, sign: int) -> list[tuple[str, str]]:
    crops = []
    for one in found.evidence(component, sign, _CROPS):
        assert found.pixels is not None  # an explorer has photos
        top, bottom, left, right = one.box
        name = found.names[one.image] if found.names else ""
        title = f"{one.image + 1}: {name}, score {in_digits(one.score, '+.2f')}"
        crops.append((title, address(found.pixels[one.image, top:bottom, left:right])))
    return crops


def class_strips(found: ComponentClasses, own: ClassBasis) -> str:
    """Return a class's own components: photos in which each adds and takes most, with heatmaps."""
    assert found.pixels is not None  # an explorer has photos
    total = float(own.contributions.var(0, correction=0).sum()) or 1.0
    parts = []
    for index, values in enumerate(own.contributions.T):
        order = values.argsort(descending=True).tolist()
        share = float(values.var(correction=0)) / total
        maps = own.maps[:, index].float()
        reach = reach_of(maps)
        strips = ""
        for word, photos in (("adds", order[:_CROPS]), ("takes", order[::-1][:_CROPS])):
            pictures = [
                (
                    f"{photo + 1}: {found.names[photo]}, {values[photo]:+.2f} of the score",
                    address(with_heatmap(found.pixels[photo], maps[photo], reach)),
                )
                for photo in photos
                if (values[photo] > 0) == (word == "adds")
            ]
            strips += strip(word, pictures)
        title = f"{plain(found.classes[own.unit], 24)}, component {index + 1}"
        parts.append(hint(f"{title}: {100 * share:.0f} % of the variance of those shown") + strips)
    return "".join(parts)


def address(pixels: npt.NDArray[np.uint8]) -> str:
    """Encode a picture for an ``img``, at twice its size in CSS pixels."""
    return small_picture(pixels, 2 * _SIDE)


def strip(word: str, pictures: list[tuple[str, str]]) -> str:
    """Return small pictures in a row, each a title and an address, with a word before them."""
    images = "".join(
        f'<img src="{source}" alt="{safe(title)}" title="{safe(title)}">'
        for title, source in pictures
    )
    return f'<div class="pfv-strip"><span>{word}</span>{images or "none"}</div>'
