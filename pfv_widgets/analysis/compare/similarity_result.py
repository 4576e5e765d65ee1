"""How alike two networks see the same photos, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import suggestion
from pfv_widgets.validation import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Similarity:
    """The similarity of each layer of one network to each of another; NaN where it is undefined.

    Attributes
    ----------
    networks
        Names of the two.
    layers
        Names of the A layers of the first and of the B layers of the second, in forward order.
    cka
        Debiased linear CKA over all positions of all photos, ``(A, B)``, at most 1: 1 for features
        that are equal up to a rotation and a scale, about 0 for unrelated ones, sometimes below.
    cka_by_photo
        The same over the positions of each photo alone, ``(A, B, N)``.
    null
        What ``cka`` is with shuffled photos, ``(2, A, B)``: 5 and 95 % of ``shuffles`` draws. It
        is above 0 where layers agree about positions alone, such as borders.
    angles
        Principal angles in degrees, rising, between the subspaces of the leading components'
        scores, ``(A, B, k)``.
    angles_by_photo
        The same of each photo, ``(A, B, N, k)``.
    photos
        Names of the N photos.
    grid
        Positions of a photo, height and width: all maps are averaged to it.
    shuffles
        Draws of the null band.
    warnings
        What should be known beside the numbers, in words.
    """

    networks: tuple[str, str]
    layers: tuple[tuple[str, ...], tuple[str, ...]]
    cka: Array
    cka_by_photo: Array
    null: Array
    angles: Array
    angles_by_photo: Array
    photos: tuple[str, ...]
    grid: tuple[int, int]
    shuffles: int
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first, second = self.networks
        return (
            f"<Similarity of {first!r} ({len(self.layers[0])} layers) and {second!r} "
            f"({len(self.layers[1])} layers) on {len(self.photos)} photos>"
        )

    @property
    def is_distinguishable(self) -> npt.NDArray[np.bool_]:
        """Whether each pair is more alike than with shuffled photos, ``(A, B)``."""
        above: npt.NDArray[np.bool_] = self.cka > self.null[1]
        return above

    def of(self, layer: str, other: str | None = None) -> float:
        """CKA of a layer of the first network and one of the second (None: of the same name).

        Raises
        ------
        PFVValueError
            For a layer that was not compared, naming those nearest to it.
        """
        other = layer if other is None else other
        row, column = (
            _index(one, layers, network)
            for one, layers, network in zip((layer, other), self.layers, self.networks, strict=True)
        )
        return float(self.cka[row, column])

    def common_layers(self) -> tuple[str, ...]:
        """Return the names that both networks have, in forward order of the first."""
        return tuple(name for name in self.layers[0] if name in self.layers[1])

    def parting_layer(self, below: float = 0.9) -> str | None:
        """Return the first layer of both whose CKA is smaller than ``below``; None: there is none.

        Raises
        ------
        PFVValueError, PFVTypeError
            Unless ``below`` is a number from 0 to 1.
        """
        below = number("below", below, 0, 1)
        return next((name for name in self.common_layers() if self.of(name) < below), None)

    def figure(self) -> Figure:
        """Draw the map of CKA, and a curve over the layers that both networks have."""
        figure: Figure = lazy_import("analysis.compare.similarity_figure", "draw_similarity")(self)
        return figure


def _index(layer: str, layers: tuple[str, ...], network: str) -> int:
    if not isinstance(layer, str) or layer not in layers:
        raise PFVValueError(
            f"layer={layer!r:.80} of {network!r} was not compared. {suggestion(layer, layers)}"
        )
    return layers.index(layer)
