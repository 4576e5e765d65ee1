"""The measures of a sequence of networks beside a fixed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pfv_widgets.engine.lazy_import import lazy_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAN = float("nan")
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
    """One network beside the fixed one; NaN where a measure is undefined.

    Attributes
    ----------
    name
        Of the network.
    cka
        Debiased linear CKA of the layer's features.
    agreement
        Share of the variance of the scores in common after alignment, in [0, 1].
    rank_correlation
        Spearman's, of the heatmaps in aligned colours, each pixel about its mean over the photos;
        mean over photos.
    ssim
        Structural similarity of the heatmaps.
    plain_rank_correlation
        Spearman's of the heatmaps as they are, with what any photo shows at a position.
    note
        Why measures are undefined, in words.
    """

    name: str
    cka: float = _NAN
    agreement: float = _NAN
    rank_correlation: float = _NAN
    ssim: float = _NAN
    plain_rank_correlation: float = _NAN
    note: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class SimilarityCurve:
    """How similar each network of a sequence is to a fixed one, in one layer.

    Attributes
    ----------
    fixed
        Name of the network that all are compared with.
    layer
        Of the fixed network.
    points
        One for each network, in order.
    photos
        How many there are.
    """

    fixed: str
    layer: str
    points: tuple[CurvePoint, ...]
    photos: int

    def __repr__(self) -> str:
        return f"<SimilarityCurve of {len(self.points)} networks to {self.fixed!r}, {self.layer!r}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the networks in order."""
        return tuple(point.name for point in self.points)

    @property
    def cka(self) -> Array:
        """Debiased CKA of each, NaN where undefined."""
        return np.array([point.cka for point in self.points])

    @property
    def agreement(self) -> Array:
        """Share of variance in common after alignment of each, NaN where undefined."""
        return np.array([point.agreement for point in self.points])

    @property
    def rank_correlation(self) -> Array:
        """Spearman's rank correlation of the heatmaps of each about their mean over the photos.

        NaN where undefined.
        """
        return np.array([point.rank_correlation for point in self.points])

    @property
    def plain_rank_correlation(self) -> Array:
        """The same of the heatmaps as they are, NaN where undefined."""
        return np.array([point.plain_rank_correlation for point in self.points])

    @property
    def ssim(self) -> Array:
        """Structural similarity of the heatmaps of each, NaN where undefined."""
        return np.array([point.ssim for point in self.points])

    @property
    def notes(self) -> dict[str, str]:
        """Network → why its measures are undefined, for those that have undefined ones."""
        return {point.name: point.note for point in self.points if point.note}

    def figure(self) -> Figure:
        """Draw the curves over the networks."""
        figure: Figure = lazy_import("analysis.compare.similarity_curve_figure", "draw_curve")(self)
        return figure
