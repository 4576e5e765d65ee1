"""Mean and variance of score maps after their enlargement, from the small maps themselves.

An enlarged map is a sum of small ones by fixed shares, so its sums over the pixels are sums over
the positions, and those of its squares are sums over positions and their neighbours. What
multiplies them depends on the weighting alone: it is computed once, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.score_scaling import Spread
from pfv_widgets.engine.colouring.weighting import bilinear_matrix

_LARGEST = 16  # sides of maps from which on measuring the enlarged ones costs no more
_EVERY = 4  # pixels that are looked at for the extremes, along each side
_CANCELLED = 1e-10  # of the squared mean: a variance below it has lost digits


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Sums over the pixels of heatmaps whose scores are enlarged, then multiplied by a factor.

    Attributes
    ----------
    first
        Of the factor times the share of each position, ``(N, h, w)``.
    second
        Of its square times the products of the shares of two positions, ``(N, 2h-1, 2w-1)``:
        along each side those of one position, then those of neighbours.
    factor
        What the scores are multiplied by, at every few pixels, ``(N, 1, H', W')``.
    size
        Height and width of the heatmaps.
    """

    first: Tensor
    second: Tensor
    factor: Tensor
    size: tuple[int, int]

    def spread(self, scores: Tensor) -> Spread | None:
        """Return that of heatmaps of ``scores`` (N, k, h, w); None where digits were lost.

        The extremes are those of some pixels: others may lie beyond.
        """
        small, (height, width) = scores.double(), self.size
        pixels = height * width
        mean = (small * self.first[:, None]).sum(dim=(2, 3)) / pixels
        square = (_products(small) * self.second[:, None]).sum(dim=(2, 3)) / pixels
        variance = square - mean**2
        if (variance < _CANCELLED * mean**2).numpy().any():
            return None
        rows, columns = (
            _shares(*pair)[::_EVERY] for pair in zip(scores.shape[2:], self.size, strict=True)
        )
        some = (rows @ small @ columns.T).mul_(self.factor).flatten(2)
        return Spread(mean, variance, some.amin(dim=2), some.amax(dim=2))


def pixel_sums(
    scores: Tensor, factors: Sequence[Tensor], size: tuple[int, int]
) -> PixelSums | None:
    """Return those of ``scores`` (N, k, h, w); None where measuring the heatmaps costs no more."""
    grid = scores.shape[2:]
    if max(grid) > _LARGEST or len(factors) > 1 or scores.device.type != "cpu":
        return None
    factor = factors[0][:, 0] if factors else torch.ones(1, *size)
    rows, columns = (_shares(*pair) for pair in zip(grid, factor.shape[1:], strict=True))
    row_products, column_products = (
        torch.cat([one**2, one[:, :-1] * one[:, 1:]], dim=1) for one in (rows, columns)
    )
    first, second = [], []
    for one in factor:
        image = one.double()  # itself where it is float64 already, and it stays in the cache
        first.append(rows.T @ image @ columns)
        second.append(row_products.T @ image.square() @ column_products)
    some = factor[:, None, ::_EVERY, ::_EVERY].double()
    return PixelSums(
        torch.stack(first), torch.stack(second), some, (factor.shape[1], factor.shape[2])
    )


def _shares(length: int, target: int) -> Tensor:
    return bilinear_matrix(length, target).double()


def _products(maps: Tensor) -> Tensor:
    """Return products of positions with themselves and neighbours; each pair counts twice."""
    down, across = maps[:, :, :-1] * maps[:, :, 1:], maps[..., :-1] * maps[..., 1:]
    crossed = maps[:, :, :-1, :-1] * maps[:, :, 1:, 1:] + maps[:, :, 1:, :-1] * maps[:, :, :-1, 1:]
    upper = torch.cat([maps.square(), 2 * across], dim=3)
    return torch.cat([upper, torch.cat([2 * down, 2 * crossed], dim=3)], dim=2)
