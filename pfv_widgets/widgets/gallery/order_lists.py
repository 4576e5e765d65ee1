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
from pfv_widgets.widgets.toolkit.controls import Watched, drop_down

Measure = Callable[[str], Sequence[float] | np.ndarray]

SIMILARITY = "similarity to the last pin"
COMPONENTS = 12  # that one may sort by, as many as are computed at most
ALL = "\0"  # stands for every class: no label has it
_SORT_TIP = (
    "Order of the images: by a component on show, or by similarity once a position is pinned. "
    "It stays when their values change."
)


def ordered(images: ImageBatch, sort: str, only: str, measure: Measure) -> tuple[int, ...] | None:
    """Return the images to show in their order; None: all of them, as they came.

    They are sorted ``"as loaded"``, by ``"name"`` or ``"class"``, or by a key for which ``measure``
    returns a number for each image: the highest come first, and what is not finite last. Of the
    classes ``only`` is shown, or ``ALL``.
    """
    labels = images.labels or images.names
    chosen = [i for i in range(len(images)) if only in (ALL, labels[i])]
    if sort == "as loaded":
        return None if only == ALL else tuple(chosen)
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

    Attributes
    ----------
    more
        Further keys that ``measure`` knows at present.
    """

    more: Sequence[str] = ()

    def __init__(
        self,
        images: ImageBatch,
        arrange: Callable[[tuple[int, ...] | None], None],
        measure: Measure,
        safely: Callable[[Callable[[], None]], Callable[[], None]] = lambda act: act,
    ) -> None:
        self._images, self._arrange, self._measure = images, arrange, measure
        self._watched = Watched()
        self._sorted = "as loaded"  # what the images on show are sorted by
        self.sort = _list("Sort", _SORT_TIP, self._keys(0, (), pinned=False))
        classes = [(text.plain(label, 24), label) for label in images.classes]
        self.only = _list(
            "Show", "All images, or those of one class.", [("all images", ALL), *classes]
        )
        self.only.layout.display = None if images.classes else "none"
        choose = safely(self._choose)
        for control in (self.sort, self.only):
            self._watched.watch(control, lambda _: choose())
        self.widget = w.HBox(  # they wrap together
            [self.sort, self.only],
            layout=w.Layout(flex_flow="row wrap", flex="1 1 280px", overflow="visible"),
        )

    def show(self, settings: Settings) -> None:
        """Offer what can be measured, and what the images on show are sorted by."""
        chosen = self.sort.value
        stay = (self._sorted, chosen)
        keys = self._keys(settings.components, stay, pinned=bool(settings.pins))
        if keys != list(self.sort.options):
            with self.sort.hold_sync():  # the page sees no other choice in between
                self._watched.offer(self.sort, keys)
                self._watched.show(self.sort, chosen)

    def _keys(self, components: int, stay: Sequence[str], *, pinned: bool) -> list[str]:
        there = {"class": bool(self._images.labels)}
        there |= {f"component {one + 1}": one < components for one in range(COMPONENTS)}
        there |= {SIMILARITY: pinned}
        usual = [key for key, offered in there.items() if offered or key in stay]
        keys = ["as loaded", "name", *usual]
        return keys + [key for key in dict.fromkeys((*self.more, *stay)) if key not in keys]

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
