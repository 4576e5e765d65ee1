"""A layer at one time of a training: its scores, its basis and its heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.heatmaps import render_heatmaps, spread_of, visible_colours
from pfv_widgets.engine.colouring.similarity import (
    Position,
    cell_of,
    lengths_of,
    likeness,
    nearest_positions,
    render_similarity,
)
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.settings import Settings


@dataclass(frozen=True, eq=False)
class LayerSnapshot:
    """The scores, the basis and the measures of one layer at one time of a training.

    Attributes
    ----------
    scores
        float32 ``(N, k, h, w)`` on the CPU, rotated to those of the snapshot before.
    basis
        Mean and components that give these scores.
    factors
        What the weighting multiplies the scores by, float16 ``(N, 1, h, w)`` of at most 160
        pixels: see :func:`compressed`.
    point
        The measures beside the start.
    cka_to_last
        Debiased CKA to the snapshot before, NaN for the first.
    """

    scores: Tensor
    basis: PrincipalBasis
    factors: tuple[Tensor, ...]
    point: CurvePoint
    cka_to_last: float

    def heatmaps(self, settings: Settings, size: tuple[int, int], chosen: Sequence[int]) -> Tensor:
        """Return heatmaps ``(n, H, W, 3)`` of the chosen photos, in the scale of all of them."""
        if pins := settings.pinned(len(self.scores)):
            alike = torch.stack([self.likeness(*pin) for pin in pins], dim=1)
            return render_similarity(alike[list(chosen)], size)
        weights, colouring = settings.weights(len(self.scores)), settings.colouring
        factors = [_at_most(one.float(), size) for one in self.factors]
        spread = spread_of(self.scores, factors, size)
        colour_filter, visible = COLOUR_FILTERS[settings.sharing], None
        if colour_filter is not None:
            visible = visible_colours(
                self.scores, factors, weights, colouring, colour_filter, size=size, spread=spread
            ).shown
        return render_heatmaps(
            self.scores[list(chosen)], [one[list(chosen)] for one in factors], weights, colouring,
            size, spread=spread, colours=visible,
        )  # fmt: skip

    def likeness(self, image: int, x: float, y: float) -> Tensor:
        """Cosine of the scores of each position to those of one, ``(N, h, w)``."""
        lengths = lengths_of(self.scores, torch.zeros(self.scores.shape[1]), ())
        return likeness(self.scores, lengths, image, cell_of(x, y, self.scores.shape))

    def nearest(self, image: int, x: float, y: float, number: int) -> tuple[Position, ...]:
        """Return the most similar position of each other photo, best first."""
        return nearest_positions(self.likeness(image, x, y), image, number)


def compressed(factors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return maps that scores are multiplied by in float16, each divided by its largest magnitude.

    No heatmap depends on their scale.
    """
    small = []
    for factor in factors:
        maps = factor.detach().cpu()
        largest = torch.nan_to_num(maps, 0.0, 0.0, 0.0).abs().max()
        small.append((maps / torch.where(largest > 0, largest, 1.0)).half())
    return tuple(small)


def _at_most(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps ``(N, 1, h, w)`` no finer than a picture, which costs less to draw then."""
    height, width = maps.shape[2:]
    if height <= size[0] or width <= size[1]:
        return maps
    return interpolate(maps, size, mode="bilinear", antialias=True)
