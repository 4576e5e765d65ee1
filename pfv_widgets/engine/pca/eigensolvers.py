"""The leading eigenvectors of a covariance: exact where small, iterated where large."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pfv_widgets.engine.progress import FITTING, OnProgress, Progress, run_reporting, silent

_DENSE = 256  # up to this size the full decomposition costs less than the iteration
_GUARD = 8  # extra vectors, which make the wanted ones converge
_DEGREE = 8
_ROUNDS = 12
_TOLERANCE = 2e-6


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
    residual is below 2·10⁻⁶ of the largest eigenvalue; the dense solver where that fails.
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
        block = _starting_block(size, number, start, matrix)
        solution = _iterated(matrix, number, block, report)
        if solution is not None:
            return solution
    rounds = Progress(FITTING, _ROUNDS, _ROUNDS, "steps")
    return run_reporting(lambda: _dense(matrix, number), rounds, report)


def _dense(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:number].clamp_min(0), vectors.flip(1)[:, :number].T.contiguous()


def _iterated(
    matrix: Tensor, number: int, block: Tensor, report: OnProgress
) -> tuple[Tensor, Tensor] | None:
    for done in range(_ROUNDS):
        report(Progress(FITTING, done, _ROUNDS, "steps"))
        block = torch.linalg.qr(block).Q
        image = matrix @ block
        values, rotation = torch.linalg.eigh(block.T @ image)
        values, rotation = values.flip(0), rotation.flip(1)
        block, image = block @ rotation, image @ rotation
        residual = (image - block * values)[:, :number].norm(dim=0).max()
        if not bool(torch.isfinite(residual)) or values[0] <= 0:
            return None
        if residual <= _TOLERANCE * values[0]:
            return values[:number].clamp_min(0), block[:, :number].T.contiguous()
        cut = max(float(values[-1]), 1e-7 * float(values[0]))
        block = _filtered(matrix, block, image, cut)
    return None


def _filtered(matrix: Tensor, block: Tensor, image: Tensor, cut: float) -> Tensor:
    """Apply the Chebyshev polynomial that is small on [0, cut] and grows above it."""
    before, now = block, image * (2 / cut) - block
    for _ in range(_DEGREE - 1):
        before, now = now, (matrix @ now) * (4 / cut) - 2 * now - before
        scale = now.abs().amax(dim=0).clamp_min(1e-30)
        before, now = before / scale, now / scale
    return now


def _starting_block(size: int, number: int, start: Tensor | None, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(size, number + _GUARD, generator=generator).to(like)
    if start is not None:
        known = min(len(start), block.shape[1])
        block[:, :known] = start[:known].T.to(like)
    return block
