"""The basis of weighted images in wide layers, fast from one choice of weights to the next.

Where channels are many, neither a Gram matrix of each image nor a full decomposition is quick
enough to follow a slider. Here a matrix of the smaller side is held: the scatter of the channels
(:class:`RunningScatter`), or the Gram matrix of the positions where they are fewer. The weighted,
centred covariance is applied to vectors without being written out, and the vectors of the last
fit begin the search. What does not converge, or loses digits, is left to the slow way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pfv_widgets.engine.device_transfer import read, select, send
from pfv_widgets.engine.pca.basis import (
    WITH_NOTHING,
    Comparison,
    PrincipalBasis,
    rounding,
    signed,
)
from pfv_widgets.engine.pca.eigensolvers import (
    Apply,
    Ritz,
    add_symmetric,
    iterated,
    orthonormal_rows,
    starting_block,
    times,
)
from pfv_widgets.engine.pca.running_scatter import RunningScatter
from pfv_widgets.engine.progress import OnProgress, silent

_LIGHT = 1e-3  # share of an image beside that of now, with which it says little
_LEFT = 1e-3  # share of the squares that must be left where that of the mean is subtracted
_FARTHEST = 1500.0  # deviations, times the largest share of the squares along one component


@dataclass(frozen=True, eq=False)
class Batch:
    """Feature vectors of images, each image with a weight."""

    maps: Tensor  # ``(N, C, h, w)`` about an offset
    weights: Sequence[float]  # N numbers ≥ 0
    shares: Sequence[float]  # the same over their sum
    mean: Tensor  # weighted mean of the vectors, ``(C,)``
    squares: float  # weighted mean of their squared lengths

    @property
    def count(self) -> float:
        """Number of vectors, weights included."""
        return sum(self.weights) * self.maps.shape[2] * self.maps.shape[3]


class _Channels:
    """Second moments by channels: the scatter of the images, which follows their weights."""

    def __init__(self, maps: Tensor, sizes: Sequence[float]) -> None:
        self._running = RunningScatter(maps, sizes)
        self.nbytes, self.size = self._running.nbytes, maps.shape[1]

    def covariance(self, batch: Batch, report: OnProgress) -> Apply:
        """Return what multiplies ``(size, b)`` by the covariance over the mean square."""
        self._running.update(batch.maps, batch.weights, report)
        product, mean = self._running.times, batch.mean[:, None]
        scale = self._running.unit / (batch.count * batch.squares)

        def apply(block: Tensor) -> Tensor:
            return torch.addmm(product(block), mean / -batch.squares, mean.T @ block, beta=scale)

        return apply

    def vectors(self, _: Batch, components: Tensor) -> Tensor:
        return components

    def components(self, _: Batch, vectors: Tensor) -> Tensor:
        return vectors


class _Positions:
    """Second moments by positions: their Gram matrix, which no weight changes."""

    def __init__(self, maps: Tensor) -> None:
        rows = maps.flatten(2).transpose(1, 2).flatten(0, 1)
        self._gram = rows.new_zeros(len(rows), len(rows))
        add_symmetric(self._gram, rows, rows)
        self._last: tuple[Tensor, Tensor, Batch]  # vectors, components by their length, images
        self.nbytes, self.size = self._gram.nbytes, len(self._gram)

    def covariance(self, batch: Batch, _: OnProgress) -> Apply:
        gram, shares = self._gram, self._shares(batch)
        roots = (shares / batch.squares).sqrt()[:, None]
        along = (gram @ shares)[:, None]  # of each vector with the mean
        length = shares @ along

        def apply(block: Tensor) -> Tensor:
            scaled = roots * block
            total = scaled.sum(dim=0)
            centred = times(gram, scaled).sub_(along * total)
            return roots * centred.add_(length * total - along.T @ scaled)

        return apply

    def vectors(self, batch: Batch, _: Tensor) -> Tensor:
        """Return those ``(b, size)`` of the components last returned, up to their signs.

        Feature maps are read only of images that weighed next to nothing then.
        """
        vectors, rows, of = self._last
        projections = vectors * rows.norm(dim=1, keepdim=True)
        projections /= self._shares(of).sqrt().clamp_min(1e-30)
        pairs = zip(of.shares, batch.shares, strict=True)
        light = [index for index, (old, new) in enumerate(pairs) if old < _LIGHT * new]
        if light:
            components = normalize(rows, dim=1, eps=1e-30)
            some = (components @ select(batch.maps, light).flatten(2)).transpose(0, 1)
            some -= (components @ of.mean)[:, None, None]
            where = send(torch.tensor(light), rows.device)
            projections.view(len(rows), len(batch.maps), -1).index_copy_(1, where, some)
        shares = self._shares(batch)
        centred = projections - (projections @ shares)[:, None]
        return normalize(centred * shares.sqrt(), dim=1)

    def components(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Return components ``(b, C)`` for vectors of this side ``(b, size)``."""
        scaled = vectors * self._shares(batch).sqrt()
        of_images = scaled.view(len(scaled), len(batch.maps), -1).transpose(0, 1)
        rows = (of_images @ batch.maps.flatten(2).transpose(1, 2)).sum(dim=0)
        rows -= scaled.sum(dim=1, keepdim=True) * batch.mean
        self._last = vectors, rows, replace(batch, maps=batch.maps[:0])
        return orthonormal_rows(rows)

    @staticmethod
    def _shares(batch: Batch) -> Tensor:
        positions = batch.maps.shape[2] * batch.maps.shape[3]
        shares = (torch.tensor(batch.shares) / positions).to(batch.maps.dtype)
        return send(shares, batch.maps.device).repeat_interleave(positions)


class WideFit:
    """Fits bases to the images of a wide layer, each fit near the last one.

    Parameters
    ----------
    maps
        ``(N, C, h, w)`` about an offset, as in ``Features``; those of each call must be the same.
    """

    def __init__(self, maps: Tensor) -> None:
        number, channels, height, width = maps.shape
        self._sizes, self._is_finite = _squares(maps), True
        if not all(map(math.isfinite, self._sizes)):
            maps, self._is_finite = _finite(maps), False
            self._sizes = _squares(maps)
        self._means = maps.mean(dim=(2, 3))
        by_positions = number * height * width < channels
        self._side = _Positions(maps) if by_positions else _Channels(maps, self._sizes)
        self._last: Ritz | None = None
        self._components: Tensor | None = None  # of the last fit
        self._beyond = maps.new_zeros(0, self._side.size)  # vectors that the last fit has besides
        self._shares: Sequence[float] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._side.nbytes + self._means.nbytes

    def fit(
        self,
        maps: Tensor,
        weights: Sequence[float],
        number: int,
        report: OnProgress = silent,
        compared: Comparison = WITH_NOTHING,
    ) -> PrincipalBasis | None:
        """Return ``number`` components; None where digits were lost or nothing converged.

        ``weights`` are N numbers from 0 to 1, of which those above 0 are of finite maps.
        """
        if maps.device.type == "mps":  # which has neither QR nor a symmetric eigensolver
            return None
        maps = maps if self._is_finite else _finite(maps)
        last, self._last = self._last, None  # where it is cancelled, the next fit begins again
        batch, change = self._batch(maps, weights)
        if not batch.squares > 0:
            return None
        components = batch.mean[None]
        block = starting_block(self._side.size, number, self._start(batch), maps)
        apply, width = self._side.covariance(batch, report), block.shape[1]
        reach = self._reach(batch)
        cut, degree = 0.0, 0
        if last is not None and len(last.values) > number and change < 1:
            last = replace(last, reach=reach)
            cut, degree = last.cut(width), last.degree(number, width, change)
        mean_square = batch.mean.double().square().sum()

        def along(vectors: Tensor) -> list[Tensor]:
            nonlocal components
            components = signed(self._side.components(batch, vectors[:, :number].T))
            return [mean_square, *compared.tensors(batch.mean, components)]

        ritz = iterated(
            apply, number, block, cut=cut, degree=degree, along=along, reach=reach, report=report
        )
        if ritz is None:
            return None
        left = 1 - float(ritz.along[0]) / batch.squares
        if not left > _LEFT or ritz.farthest > _FARTHEST * ritz.values[0]:
            return None
        self._last, self._shares, self._components = ritz, batch.shares, components
        self._beyond = ritz.vectors[:, number:].T
        variances = (ritz.values[:number] * batch.squares).clip(0)
        basis = PrincipalBasis(
            batch.mean,
            components,
            torch.from_numpy(variances),
            left * batch.squares,
            batch.count,
            noise=rounding(variances),
        )
        return compared.add_to(basis, ritz.along[1:])

    def _reach(self, batch: Batch) -> float:
        """Return how far the farthest image may be from the mean, squared, beside the squares.

        Images of next to no weight are coloured as well: what turns a component a little changes
        little where the images that count are, and much where others are many deviations away.
        """
        positions = batch.maps.shape[2] * batch.maps.shape[3]
        return (1 + math.sqrt(max(self._sizes) / positions / batch.squares)) ** 2

    def _start(self, batch: Batch) -> Tensor | None:
        """Return the vectors ``(b, d)`` of the last fit: those that were wanted, then the rest."""
        if self._components is None:
            return None
        return torch.cat([self._side.vectors(batch, self._components), self._beyond])

    def _batch(self, maps: Tensor, weights: Sequence[float]) -> tuple[Batch, float]:
        """Return the weighted images, and how far they differ from the last ones."""
        total, positions = sum(weights), maps.shape[2] * maps.shape[3]
        shares = [weight / total for weight in weights]
        squares = sum(one * size for one, size in zip(shares, self._sizes, strict=True)) / positions
        amounts = torch.tensor(shares, dtype=torch.float64).to(maps.dtype)
        mean = send(amounts, maps.device) @ self._means
        change = math.inf
        if self._shares and squares:
            pairs = zip(shares, self._shares, self._sizes, strict=True)
            change = sum(abs(new - old) * size for new, old, size in pairs) / positions / squares
        return Batch(maps, weights, shares, mean, squares), change


def _finite(maps: Tensor) -> Tensor:
    """Return maps with zeros instead of images that are not finite, which have no weight."""
    return maps.nan_to_num(0.0, 0.0, 0.0)


def _squares(maps: Tensor) -> list[float]:
    """Return the sum of the squares of each image."""
    norms = torch.linalg.vector_norm(maps.flatten(1), dim=1)
    return [float(norm) ** 2 for norm in read(norms)[0]]
