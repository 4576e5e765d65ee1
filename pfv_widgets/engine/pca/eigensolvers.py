"""The leading eigenvectors of a covariance: exact where small, iterated where large."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.progress import FITTING, OnProgress, Progress, run_reporting, silent

_DENSE = 256  # up to this size the full decomposition costs less than the iteration
_GUARD = 8  # extra vectors, which make the wanted ones converge
_DEGREE = 8
_ROUNDS = 12
_TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-11}
_FLOOR = 1e-7  # of the largest eigenvalue: what is below is not suppressed any further

Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Ritz:
    """Approximate eigenvectors of a symmetric operator, and what speeds up the next search.

    Attributes
    ----------
    values
        Falling, ``(b,)``, on the CPU.
    vectors
        Orthonormal columns, ``(C, b)``: those that have converged, then some beyond them.
    """

    values: Tensor
    vectors: Tensor

    def cut(self, width: int) -> float:
        """Eigenvalue up to which nothing is wanted, where ``width`` vectors are iterated."""
        return max(float(self.values[width - 1]), _FLOOR * float(self.values[0]))

    def degree(self, number: int, width: int, change: float) -> int:
        """Degree of the filter after which ``number`` vectors of a changed operator converge.

        ``change`` is that of the operator, relative to it.
        """
        if not change:
            return 0
        cut = self.cut(width)
        last = 2 * max(float(self.values[number - 1]), cut) / cut - 1
        growth = math.acosh(max(change / _TOLERANCE[self.vectors.dtype], 2.0))
        return min(max(math.ceil(growth / max(math.acosh(last), 1e-3)), 2), 2 * _DEGREE)


def leading_eigenvectors(
    matrix: Tensor, number: int, start: Tensor | None = None, report: OnProgress = silent
) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues ``(k,)``, falling, and their eigenvectors ``(k, C)``.

    Parameters
    ----------
    matrix
        Symmetric and positive semi-definite, ``(C, C)``.
    number
        How many, ``k`` ≤ C.
    start
        Vectors near the wanted ones, ``(m, C)``: those of the last basis. They save time and
        leave the result the same up to rounding.
    report
        Called between steps that take long.

    Notes
    -----
    Chebyshev-filtered subspace iteration (Zhou, Saad, Tiago and Chelikowsky, 2006) until each
    residual is below 2·10⁻⁶ of the largest eigenvalue (10⁻¹¹ in float64); the dense solver where
    that fails.
    """
    if matrix.device.type == "mps":  # which has neither QR nor a symmetric eigensolver
        values, vectors = leading_eigenvectors(matrix.cpu(), number, start, report)
        return values.to(matrix.device), vectors.to(matrix.device)
    # residuals are sums of squares of its entries, which must neither under- nor overflow
    scale = matrix.diagonal().amax()
    if not 0 < float(scale) < math.inf:
        return _dense(matrix, number)
    values, vectors = _solved(matrix / scale, number, start, report)
    return values * scale, vectors


def _solved(
    matrix: Tensor, number: int, start: Tensor | None, report: OnProgress
) -> tuple[Tensor, Tensor]:
    size = matrix.shape[0]
    if size > max(_DENSE, 3 * (number + _GUARD)):
        block = starting_block(size, number, start, matrix)
        ritz = iterated(matrix.__matmul__, number, block, report=report)
        if ritz is not None:
            values = ritz.values[:number].to(matrix).clamp_min(0)
            return values, ritz.vectors[:, :number].T.contiguous()
    rounds = Progress(FITTING, _ROUNDS, _ROUNDS, "steps")
    return run_reporting(lambda: _dense(matrix, number), rounds, report)


def _dense(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:number].clamp_min(0), vectors.flip(1)[:, :number].T.contiguous()


def iterated(
    apply: Apply,
    number: int,
    block: Tensor,
    *,
    cut: float = 0.0,
    degree: int = 0,
    report: OnProgress = silent,
) -> Ritz | None:
    """Return leading eigenvectors of an operator; None where they do not converge.

    Parameters
    ----------
    apply
        Multiplies ``(C, b)`` by a symmetric, positive semi-definite matrix ``(C, C)``.
    number
        How many are wanted, at most b.
    block
        Columns to begin with, ``(C, b)``.
    cut, degree
        Of a filter before the first look at the residual, where enough is known of the operator.
    report
        Called before each round.
    """
    if degree:
        block = _filtered(apply, block, apply(block), cut, degree)
    for done in range(_ROUNDS):
        report(Progress(FITTING, done, _ROUNDS, "steps"))
        block = torch.linalg.qr(block).Q
        image = apply(block)
        values, rotation = torch.linalg.eigh(block.T @ image)
        values, rotation = values.flip(0), rotation.flip(1)
        block, image = block @ rotation, image @ rotation
        residuals = (image - block * values)[:, :number].norm(dim=0)
        both = torch.cat([values, residuals]).cpu()  # one copy from an accelerator
        values, residuals = both[: len(values)], both[len(values) :]
        if not bool(torch.isfinite(residuals).all()) or not values[0] > 0:
            return None
        ritz = Ritz(values, block)
        if residuals.max() <= _TOLERANCE[block.dtype] * values[0]:
            return ritz
        block = _filtered(apply, block, image, ritz.cut(len(values)), _DEGREE)
    return None


def _filtered(apply: Apply, block: Tensor, image: Tensor, cut: float, degree: int) -> Tensor:
    """Apply the Chebyshev polynomial that is small on [0, cut] and grows above it."""
    before, now = block, image * (2 / cut) - block
    for _ in range(degree - 1):
        before, now = now, apply(now) * (4 / cut) - 2 * now - before
        scale = now.abs().amax(dim=0).clamp_min(1e-30)
        before, now = before / scale, now / scale
    return now


def starting_block(size: int, number: int, start: Tensor | None, like: Tensor) -> Tensor:
    """Return columns ``(size, number + 8)``: vectors known ``(m, size)``, then random ones."""
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(size, number + _GUARD, generator=generator).to(like)
    if start is not None:
        known = min(len(start), block.shape[1])
        block[:, :known] = start[:known].T.to(like)
    return block
