"""The leading eigenvectors of a covariance: exact where small, iterated where large."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import Numbers, read, send
from pfv_widgets.engine.progress import FITTING, OnProgress, Progress, run_reporting, silent

_DENSE = 256  # up to this size the full decomposition costs less than the iteration
_GUARD = 8  # extra vectors, which make the wanted ones converge
_TOGETHER = 16  # columns that a product with a large matrix takes at the price of eleven
_LARGE, _ROWS = 2500, 256  # sides of matrices that are multiplied in parts, and their rows
_BLOCK = 256  # rows of a symmetric product that are computed at a time
_DEGREE = 8
_ROUNDS = 12
_EXPENSIVE = 1500  # sides of matrices from which on a product costs more than all else
_PRODUCTS, _WIDEST = 60, 8  # at most, and blocks of the space that they span
# of residuals: beside the largest eigenvalue, and beside the distance to the end of the block,
# which is what turns a residual into an angle
_TOLERANCE = {torch.float32: (2e-6, 2e-5), torch.float64: (1e-11, 1e-11)}
_FAR = 10.0  # deviations from the mean up to which that tolerance serves: beyond, angles show more
_SENSITIVITY = 0.5  # share of a change of the operator that its eigenvectors show, on real layers
_APART = 1e-4  # products of columns that still count as orthonormal
_FLOOR = 1e-7  # of the largest eigenvalue: what is below is not suppressed any further
# of weak eigenvalues, whose vectors any others pass the test of residuals for: below so many times
# what is allowed of a residual, rounding below such a part of it; part of one that may be its own
_WEAK, _ROUNDING, _OWN, _WEAK_ROUNDS = 50, 0.05, 0.02, 3

Apply = Callable[[Tensor], Tensor]
Along = Callable[[Tensor], Sequence[Tensor]]


def _nothing(_: Tensor) -> Sequence[Tensor]:
    return ()


@dataclass(frozen=True, eq=False)
class Eigenvectors:
    """The leading eigenvectors of a matrix."""

    values: Numbers  # falling, ``(k,)``, not below 0
    vectors: Tensor  # in rows, ``(k, C)``
    along: Sequence[Numbers]  # what was read along with the values


@dataclass(frozen=True, eq=False)
class Ritz:
    """Approximate eigenvectors of a symmetric operator, and what speeds up the next search.

    Attributes
    ----------
    values
        Falling, ``(b,)``.
    vectors
        Orthonormal columns, ``(C, b)``: those that have converged, then some beyond them.
    residuals
        Their lengths, ``(b,)``.
    along
        What was read along with the values.
    reach
        How long the longest vectors are that will be projected on these, squared, in the unit of
        the values.
    """

    values: Numbers
    vectors: Tensor
    residuals: Numbers
    along: Sequence[Numbers] = ()
    reach: float = 0.0

    def cut(self, width: int) -> float:
        """Eigenvalue up to which nothing is wanted, where ``width`` vectors are iterated."""
        last = min(width, len(self.values)) - 1
        return max(float(self.values[last]), _FLOOR * float(self.values[0]))

    def allowed(self, number: int) -> Numbers:
        """Residuals ``(number,)`` with which the first eigenvectors count as converged."""
        least, angle = _TOLERANCE[self.vectors.dtype]
        apart = self.values[:number] - self.values[-1]
        allowed: Numbers = np.maximum(least * self.values[0], angle * apart)
        return allowed * (_FAR / max(self.farthest, _FAR))

    @property
    def farthest(self) -> float:
        """How many deviations along the first one the longest vectors may be."""
        return math.sqrt(self.reach / max(float(self.values[0]), 1e-30))

    def degree(self, number: int, width: int, change: float) -> int:
        """Degree of the filter after which ``number`` vectors of a changed operator converge.

        ``change`` is that of the operator, relative to it.
        """
        allowed, off = self.allowed(number), self.residuals[:number]
        if not change and (off <= allowed).all():
            return 0
        cut = self.cut(width)
        last = 2 * max(float(self.values[number - 1]), cut) / cut - 1
        off = np.maximum(off, _SENSITIVITY * change * self.values[0])
        growth = math.acosh(max(float((off / allowed).max()), 2.0))
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
    residual is below 2·10⁻⁶ of the largest eigenvalue, or 2·10⁻⁵ of the distance to those that are
    not wanted (10⁻¹¹ in float64); the dense solver where that fails. Eigenvectors of values below
    10⁻⁴ of the largest are then sought in what those above leave of the matrix (deflation).
    """
    leading = eigenvectors(matrix, number, start, report)
    return torch.from_numpy(leading.values).to(matrix), leading.vectors


def eigenvectors(
    matrix: Tensor,
    number: int,
    start: Tensor | None = None,
    report: OnProgress = silent,
    along: Along = _nothing,
    *,
    reach: float = 0.0,
) -> Eigenvectors:
    """Return what :func:`leading_eigenvectors` does, read in one copy with other numbers.

    ``along`` returns them for the vectors ``(k, C)``; ``reach`` is that of :class:`Ritz`, beside
    the largest entry of the diagonal.
    """
    if matrix.device.type == "mps":  # which has neither QR nor a symmetric eigensolver
        leading = eigenvectors(matrix.cpu(), number, start, report, reach=reach)
        vectors = leading.vectors.to(matrix.device)
        return Eigenvectors(leading.values, vectors, _read_along(vectors, along)[0])
    # residuals are sums of squares of its entries, which must neither under- nor overflow
    scale = matrix.diagonal().amax()
    scale = torch.where(torch.isfinite(scale) & (scale > 0), scale, 1.0)
    size, scaled = matrix.shape[0], matrix / scale
    if size > max(_DENSE, 3 * (number + _GUARD)):

        def more(block: Tensor) -> Sequence[Tensor]:
            return (scale, *along(block[:, :number].T))

        block = starting_block(size, number, start, matrix)
        ritz = iterated(
            partial(times, scaled), number, block, along=more, reach=reach, report=report
        )
        if ritz is not None:
            values = ritz.values[:number] * ritz.along[0]
            vectors = ritz.vectors[:, :number].T.contiguous()
            return Eigenvectors(values.clip(0), vectors, ritz.along[1:])
    rounds = Progress(FITTING, _ROUNDS, _ROUNDS, "steps")
    return run_reporting(lambda: _dense(scaled, scale, number, along), rounds, report)


def _dense(matrix: Tensor, scale: Tensor, number: int, along: Along) -> Eigenvectors:
    values, vectors = _eigh(matrix)
    vectors = vectors.flip(1)[:, :number].T.contiguous()
    others, (leading, unit) = _read_along(vectors, along, values.flip(0)[:number], scale)
    return Eigenvectors((leading * unit).clip(0), vectors, others)


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return all eigenvalues, rising, and vectors: in float64 where float32 does not converge."""
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # documented
        values, vectors = (one.to(matrix) for one in torch.linalg.eigh(matrix.double()))
    return values, vectors


def orthonormal_rows(rows: Tensor) -> Tensor:
    """Make rows ``(k, C)`` orthonormal, each outside those before it; zeros stay zeros.

    Those of no variance are rounding, and would point along the others.
    """
    columns = rows.T.cpu() if rows.device.type == "mps" else rows.T  # which has no QR
    lengths = rows.norm(dim=1, keepdim=True)
    unit: Tensor = torch.linalg.qr(columns).Q.T.to(rows.device)
    unit *= lengths > 0
    return unit


def _read_along(
    vectors: Tensor, along: Along, *own: Tensor
) -> tuple[Sequence[Numbers], Sequence[Numbers]]:
    """Read what belongs to the vectors, and other tensors, in one copy."""
    numbers = read(*own, *along(vectors))
    return numbers[len(own) :], numbers[: len(own)]


def iterated(
    apply: Apply,
    number: int,
    block: Tensor,
    *,
    cut: float = 0.0,
    degree: int = 0,
    along: Along = _nothing,
    reach: float = 0.0,
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
    along
        Returns, for the vectors in columns, what is read in the same copy as the residuals.
    reach
        As in :class:`Ritz`.
    report
        Called before each round.
    """
    ritz = _leading(apply, number, block, cut, degree, along=along, reach=reach, report=report)
    if ritz is None:
        return None
    weakest = _WEAK * _TOLERANCE[block.dtype][0] * ritz.values[0]
    strong = int((ritz.values[:number] >= weakest).sum())
    return ritz if strong == number else _with_weak(apply, number, ritz, strong, along)


def _leading(
    apply: Apply, number: int, block: Tensor, cut: float, degree: int, *, along: Along,
    reach: float, report: OnProgress,
) -> Ritz | None:  # fmt: skip
    if block.device.type == "cpu" and len(block) >= max(_EXPENSIVE, 3 * block.shape[1]):
        blind = degree // 2
        return _krylov(apply, number, block, blind, along=along, reach=reach, report=report)
    if degree:
        block = _filtered(apply, block, apply(block), cut, degree)
    for done in range(_ROUNDS):
        report(Progress(FITTING, done, _ROUNDS, "steps"))
        block = torch.linalg.qr(block).Q
        image = apply(block)
        values, rotation = _eigh(block.T @ image)
        values, rotation = values.flip(0), rotation.flip(1)
        block, image = block @ rotation, image @ rotation
        residuals = (image - block * values).norm(dim=0)
        # one copy from an accelerator
        numbers, off, *others = read(values, residuals, *along(block))
        if not np.isfinite(off).all() or not numbers[0] > 0:
            return None
        ritz = Ritz(numbers, block, off, others, reach)
        if (off[:number] <= ritz.allowed(number)).all():
            return ritz
        more = min(ritz.degree(number, len(numbers), 0.0), _DEGREE)
        block = _filtered(apply, block, image, ritz.cut(len(numbers)), more)
    return None


def _with_weak(apply: Apply, number: int, ritz: Ritz, strong: int, along: Along) -> Ritz | None:
    """Look for weak eigenvectors in what the ``strong`` first ones leave of the operator.

    Beside the strongest they are lost in its products, and residuals of any vectors are small.
    """
    firm, block = ritz.vectors[:, :strong], ritz.vectors[:, strong:]
    least = _ROUNDING * _TOLERANCE[block.dtype][0] * ritz.values[0]
    numbers, missing = ritz.values[strong:], number - strong

    def rest(block: Tensor) -> Tensor:
        image = apply(block - firm @ (firm.T @ block))
        return image - firm @ (firm.T @ image)

    for _ in range(_WEAK_ROUNDS):
        cut = max(float(numbers[-1]), least)
        block = _orthonormal(_filtered(rest, block, rest(block), cut, _DEGREE), firm)
        image = rest(block)
        values, rotation = _eigh(block.T @ image)
        values, rotation = values.flip(0), rotation.flip(1)
        block, image = block @ rotation, image @ rotation
        numbers, off = read(values, (image - block * values).norm(dim=0))
        if not np.isfinite(off).all():
            return None
        if (off[:missing] <= np.maximum(_OWN * numbers[:missing], least)).all():
            break
    vectors = torch.cat([firm, block], 1)
    return Ritz(
        np.concatenate([ritz.values[:strong], numbers]), vectors,
        np.concatenate([ritz.residuals[:strong], off]), read(*along(vectors)), ritz.reach,
    )  # fmt: skip


def _krylov(
    apply: Apply, number: int, block: Tensor, blind: int, *, along: Along, reach: float,
    report: OnProgress,
) -> Ritz | None:  # fmt: skip
    """Return what :func:`iterated` does, from the space of all products so far (block Krylov).

    It needs fewer products, which a processor spends its time on, and more small steps, on which
    an accelerator would spend its own. The first ``blind`` products are not looked at.
    """
    width = block.shape[1]
    space = image = block[:, :0]
    for done in range(_PRODUCTS):
        report(Progress(FITTING, done, _PRODUCTS, "steps"))
        block = _orthonormal(block, space)
        space, image = torch.cat([space, block], 1), torch.cat([image, apply(block)], 1)
        if done < blind and 2 * (space.shape[1] + width) < len(block):
            block = image[:, -width:]
            continue
        values, rotation = _eigh(space.T @ image)
        values, rotation = values.flip(0)[:width], rotation.flip(1)[:, :width]
        vectors, products = space @ rotation, image @ rotation
        block = products - vectors * values
        numbers, off = values.numpy(), block.norm(dim=0).numpy()
        if not np.isfinite(off).all() or not numbers[0] > 0:
            return None
        ritz = Ritz(numbers, vectors, off, reach=reach)
        if (off[:number] <= ritz.allowed(number)).all():
            if _is_orthonormal(vectors):
                return replace(ritz, along=read(*along(vectors)))
            space, image, block = space[:, :0], image[:, :0], vectors
            continue
        if space.shape[1] > _WIDEST * width or 2 * (space.shape[1] + width) > len(block):
            space, image = vectors, products
    return None


def _orthonormal(block: Tensor, space: Tensor) -> Tensor:
    """Return orthonormal columns that span a block outside a space: twice is enough."""
    for _ in range(2):
        block = torch.linalg.qr(block - space @ (space.T @ block)).Q
    return block


def _is_orthonormal(vectors: Tensor) -> bool:
    """Whether no vector was counted twice, as where a space has grown beyond the operator's own."""
    products = vectors.T @ vectors
    return bool((products - torch.eye(len(products)).to(products)).abs().max() < _APART)


def _filtered(apply: Apply, block: Tensor, image: Tensor, cut: float, degree: int) -> Tensor:
    """Apply the Chebyshev polynomial that is small on [0, cut] and grows above it."""
    before, now = block, image * (2 / cut) - block
    for _ in range(degree - 1):
        before, now = now, apply(now) * (4 / cut) - 2 * now - before
        scale = now.abs().amax(dim=0).clamp_min(1e-30)
        before, now = before / scale, now / scale
    return now


def times(matrix: Tensor, block: Tensor) -> Tensor:
    """Multiply a symmetric matrix ``(d, d)`` by a few columns ``(d, b)``.

    A processor waits longest for memory. It reads a large matrix faster in parts, and in float64
    along its rows.
    """
    if matrix.device.type == "cpu" and matrix.dtype == torch.float64:
        return (block.T.contiguous() @ matrix).T
    if matrix.device.type != "cpu" or len(matrix) <= _LARGE:
        return matrix @ block
    product = block.new_empty(len(matrix), block.shape[1])
    for rows, out in zip(*(torch.split(one, _ROWS) for one in (matrix, product)), strict=True):
        torch.mm(rows, block, out=out)
    return product


def add_symmetric(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add ``left @ right.T``, both ``(d, m)`` and their product symmetric, to ``(d, d)``.

    A processor computes what is on and above the diagonal, in blocks, and mirrors it.
    """
    if total.device.type != "cpu" or len(total) <= _BLOCK:
        total.addmm_(left, right.T)
        return
    for start in range(0, len(total), _BLOCK):
        rows, end = slice(start, start + _BLOCK), start + _BLOCK
        total[rows, start:].addmm_(left[rows], right[start:].T)
        total[end:, rows] = total[rows, end:].T


def starting_block(size: int, number: int, start: Tensor | None, like: Tensor) -> Tensor:
    """Return columns ``(size, b)``: vectors known ``(m, size)``, then random ones.

    There are at least 8 more than ``number``, where the size allows it.
    """
    generator = torch.Generator().manual_seed(0)
    width = min(-(-(number + _GUARD) // _TOGETHER) * _TOGETHER, size)
    block = torch.randn(size, width, generator=generator).to(like.dtype)
    block = send(block, like.device)
    if start is not None:
        known = min(len(start), block.shape[1])
        block[:, :known] = start[:known].T.to(like)
    return block
