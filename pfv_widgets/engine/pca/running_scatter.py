"""The scatter of weighted images of a wide layer, brought up to date by what has changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import select, send
from pfv_widgets.engine.pca.eigensolvers import add_symmetric, times
from pfv_widgets.engine.progress import MOMENTS, OnProgress, Progress, silent

_AT_ONCE = 1 << 22  # numbers of the feature maps that are multiplied at a time
_LONGEST_WAY = 200  # times the scatter itself that may be added and taken away: then float32 drifts
_UNITS = 16.0  # factor by which the largest weight may change before all is summed up again
_APART = 8  # images that cost less as factors in each product than one addition to the scatter

Amounts = tuple[float, ...]


class RunningScatter:
    """Sum over the images of weight times the outer products of their feature vectors.

    Where channels are many, a Gram matrix for each image takes more memory than its feature maps.
    So one sum is held, about the fixed offset of the maps, and only the images whose weight has
    changed are added to it or subtracted: a few of them as factors, in the product with a vector,
    many in the sum itself. The last change of that is held as well, as a slider goes on in the
    direction in which it was moved: the next step along it costs one addition.

    Parameters
    ----------
    maps
        ``(N, C, h, w)``; those of the calls below must be the same.
    sizes
        Sum of the squares of each image, N numbers.

    Attributes
    ----------
    unit
        The weight that counts one.
    """

    def __init__(self, maps: Tensor, sizes: Sequence[float]) -> None:
        channels = maps.shape[1]
        self._scatter = maps.new_zeros(channels, channels)
        self.unit = 1.0
        self._direction = torch.zeros_like(self._scatter)
        self._along: Amounts = ()  # changes of weight that the direction is the scatter of
        self._amounts: Amounts = ()
        self._way = 0.0
        self._sizes = sizes
        self._apart: tuple[Tensor, Tensor] | None = None  # vectors (C, m) and amounts (m, 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the two matrices."""
        return self._scatter.nbytes + self._direction.nbytes

    def times(self, block: Tensor) -> Tensor:
        """Return the scatter, in units of :attr:`unit`, times ``(C, b)``."""
        product = times(self._scatter, block)
        if self._apart is not None:
            vectors, amounts = self._apart
            product.addmm_(vectors, (vectors.T @ block).mul_(amounts))
        return product

    def update(self, maps: Tensor, weights: Sequence[float], report: OnProgress = silent) -> None:
        """Bring the scatter to the weights ≥ 0."""
        self._apart = None
        largest = max(weights)
        fits = bool(self._amounts) and 1 / _UNITS <= largest / self.unit <= _UNITS
        amounts = tuple(weight / (self.unit if fits else largest) for weight in weights)
        if not fits:
            self.unit = largest
            self._sum_up(maps, amounts, report)
            return
        change = tuple(new - old for new, old in zip(amounts, self._amounts, strict=True))
        size, moved = self._size(amounts), self._size(change)
        if not moved:
            return
        way = self._way + size + moved
        step = _ratio(change, self._along)
        changed, used = (sum(map(bool, one)) for one in (change, amounts))
        if step is None and changed <= _APART and moved < size:
            self._apart = _factors(maps, change)
            return
        if way > _LONGEST_WAY * size or (step is None and changed >= used):
            self._sum_up(maps, amounts, report)
            return
        if step is None:
            self._along, step = (), 1.0
            self._add_up(self._direction, maps, change, report)
            self._along = change
        self._scatter.add_(self._direction, alpha=step)
        self._amounts, self._way = amounts, way

    def _size(self, amounts: Amounts) -> float:
        return sum(abs(one) * size for one, size in zip(amounts, self._sizes, strict=True) if one)

    def _sum_up(self, maps: Tensor, amounts: Amounts, report: OnProgress) -> None:
        self._amounts = ()  # where it is cancelled, the next call begins again
        self._add_up(self._scatter, maps, amounts, report)
        self._amounts, self._way = amounts, 0.0

    @staticmethod
    def _add_up(total: Tensor, maps: Tensor, amounts: Amounts, report: OnProgress) -> None:
        """Write the sum of the images' scatters, counted by ``amounts``, to ``total``."""
        used = [index for index, amount in enumerate(amounts) if amount]
        step = max(1, _AT_ONCE // maps[0].numel())
        total.zero_()
        for start in range(0, len(used), step):
            report(Progress(MOMENTS, start, len(used)))
            part = used[start : start + step]
            factors = torch.tensor([amounts[index] for index in part], dtype=maps.dtype)
            # one tall product: as many small ones read the sum again and again
            tall = select(maps, part).flatten(2).transpose(0, 1)
            scaled = (tall * send(factors, maps.device)[:, None]).flatten(1)
            add_symmetric(total, scaled, tall.flatten(1))


def _factors(maps: Tensor, amounts: Amounts) -> tuple[Tensor, Tensor]:
    """Return the vectors of the images that count, ``(C, m)``, and how much each, ``(m, 1)``."""
    used = [index for index, amount in enumerate(amounts) if amount]
    vectors = torch.cat([maps[index].flatten(1) for index in used], dim=1)
    positions = vectors.shape[1] // len(used)
    counts = torch.tensor([amounts[index] for index in used for _ in range(positions)])
    return vectors, send(counts.to(maps.dtype), maps.device)[:, None]


def _ratio(change: Amounts, along: Amounts) -> float | None:
    """How many times ``along`` a change is; None where it has another direction."""
    if not along:
        return None
    largest = max(range(len(along)), key=lambda index: abs(along[index]))
    ratio = change[largest] / along[largest]
    near = 1e-9 * max(map(abs, change))
    pairs = zip(change, along, strict=True)
    return ratio if all(abs(new - ratio * old) <= near for new, old in pairs) else None
