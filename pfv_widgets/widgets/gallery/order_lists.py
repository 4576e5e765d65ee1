"""Which images a gallery shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w
import numpy as np

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.sources import natural_key
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import drop_down

Measure = Callable[[str], Sequence[float] | np.ndarray]

SIMILARITY = "similarity to the last pin"
COMPONENTS = 12  # that one may sort by, as many as are computed at most
_ALL = ""


def ordered(images: ImageBatch, sort: str, only: str, measure: Measure) -> tuple[int, ...] | None:
    """Return the images to show in their order; None: all of them, as they came.

    They are sorted ``"as loaded"``, by ``"name"`` or ``"class"``, or by a key for which ``measure``
    returns a number for each image: the highest come first, and what is not finite last. Of the
    classes ``only`` is shown; empty: all.
    """
    labels = images.labels or images.names
    chosen = [i for i in range(len(images)) if only in (_ALL, labels[i])]
    if sort == "as loaded":
        return None if only == _ALL else tuple(chosen)
    if sort == "name":
        return tuple(sorted(chosen, key=lambda i: natural_key(images.names[i])))
    if sort == "class":
        return tuple(sorted(chosen, key=lambda i: natural_key(labels[i])))
    values = np.asarray(measure(sort), dtype=float)
    values = np.where(np.isfinite(values), values, -np.inf)
    return tuple(sorted(chosen, key=lambda i: -values[i]))


def measured(
    renderer: Renderer, settings: Settings, key: str, map_size: tuple[int, int]
) -> np.ndarray:
    """Return a number for each image by a usual key: a mean score, or the best similarity.

    Raises a PFVValueError without a pin, or for a component that is not computed.
    """
    if key == SIMILARITY:
        if not settings.pins:
            raise PFVValueError("There is no pin to sort by. Click a position first.")
        image, x, y = settings.pins[-1]
        values = np.zeros(len(renderer.images))
        values[image] = 1
        nearest = renderer.nearest(image, x, y, number=len(values), layer=settings.layer)
        values[[one.image for one in nearest]] = [one.similarity for one in nearest]
        return values
    number = int(key.rpartition(" ")[2])
    if number > settings.components:
        raise PFVValueError(
            f"Component {number} is not computed: raise Components to {number} first."
        )
    frame = renderer.render(settings, size=map_size)
    return frame.scores[:, number - 1].mean(dim=(1, 2)).cpu().numpy()


class OrderLists:
    """Two lists: what is sorted by, and the class that is shown.

    Parameters
    ----------
    arrange
        Called with the order that is chosen.
    measure
        Returns a number for each image by a key: what a person sorts by is measured once.
    more
        Further keys that ``measure`` knows.
    """

    def __init__(
        self,
        images: ImageBatch,
        arrange: Callable[[tuple[int, ...] | None], None],
        measure: Measure,
        safely: Callable[[Callable[[], None]], Callable[[], None]] = lambda act: act,
        more: Sequence[str] = (),
    ) -> None:
        self._images, self._arrange, self._measure = images, arrange, measure
        self._sorted = "as loaded"  # what the images on show are sorted by
        keys = ["as loaded", "name", *(["class"] if images.labels else [])]
        keys += [f"component {number + 1}" for number in range(COMPONENTS)]
        keys += [SIMILARITY, *more]
        self.sort = _list("Sort", "Order of the images; it stays when their values change.", keys)
        classes = [(text.plain(label, 24), label) for label in images.classes]
        self.only = _list(
            "Show", "All images, or those of one class.", [("all images", _ALL), *classes]
        )
        self.only.layout.display = None if images.classes else "none"
        choose = safely(self._choose)
        for control in (self.sort, self.only):
            control.observe(lambda _: choose(), "value")
        self.widget = w.HBox(  # they wrap together
            [self.sort, self.only],
            layout=w.Layout(flex_flow="row wrap", flex="1 1 280px", overflow="visible"),
        )

    def _choose(self) -> None:
        try:
            order = ordered(self._images, self.sort.value, self.only.value, self._measure)
        except Exception:  # back to what is shown, unless that cannot be measured any more
            self.sort.value = "as loaded" if self.sort.value == self._sorted else self._sorted
            raise
        self._sorted = self.sort.value
        self._arrange(order)


def _list(name: str, tip: str, options: Sequence[object]) -> w.Dropdown:
    return drop_down(
        name, tip, options, "36px",
        width="auto", flex="1 1 128px", min_width="0", max_width="240px", margin="0 8px 2px 0",
    )  # fmt: skip
