"""Scores of a network split by the components of a layer: parts that add up."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.errors import PFVError

STEPS = 8
_TOLERATED = 0.05  # of the largest change of a score: error of the integral
_EXACT = 1e-4  # of the largest change of a score
_ROUNDING = 3e-6  # of the largest score: of float32 in sums over positions


@dataclass(frozen=True, eq=False)
class Shares:
    """What each component adds to each score, photo by photo."""

    shares: Tensor  # ``(N, k, K)``
    baseline: Tensor  # scores with the mean feature at every position, ``(N, K)``
    rest: Tensor  # ``scores − baseline − Σ shares``, ``(N, K)``: of all other directions
    error: Tensor  # part of ``rest`` that is error of the integral, ``(N, K)``; 0 where ``exact``
    exact: bool  # whether the scores are affine in the features, so that nothing was integrated


def split_scores(
    part: PartialForward, basis: PrincipalBasis, steps: int, on_step: Callable[[], None]
) -> Shares:
    """Split scores by the components along the straight path from the mean feature.

    Where the part behind the layer is affine in the features (pooling and a linear read-out), a
    component's share is the score of its part of the features alone. Elsewhere it is an integrated
    gradient (Sundararajan et al. 2017) along the component's coordinate, by Gauss–Legendre
    quadrature with ``steps`` points; ``on_step`` is called after each.
    """
    with torch.no_grad():
        mean = basis.mean.to(part.features)[None, :, None, None].expand_as(part.features)
        centred = part.features - mean
        baseline = part.run(mean)
        total = part.scores - baseline
        directions = basis.components.to(centred)
        parts = [_part(centred, one) for one in directions]
        largest = largest_of(torch.cat([part.scores, baseline]))
        scale = _EXACT * largest_of(total) + _ROUNDING * largest
        mirrored = part.run(mean - centred) - baseline
        shares = None
        if _adds_up(total + mirrored, total, scale):
            shares = shares_of_parts(part, mean, centred, parts, scale)
        if shares is not None:
            error, exact = torch.zeros_like(total), True
        else:
            *own, whole = _integrated(
                part, mean, centred, [*parts, centred], steps, on_step=on_step
            )
            shares, error, exact = torch.stack(own, 1), total - whole, False
        return Shares(shares, baseline, total - shares.sum(1), error, exact)


def _part(centred: Tensor, direction: Tensor) -> Tensor:
    """Return the part of maps ``(N, C, h, w)`` along a unit vector ``(C,)``."""
    scores = torch.einsum("c,nchw->nhw", direction, centred)
    return direction[None, :, None, None] * scores[:, None]


def shares_of_parts(
    part: PartialForward, mean: Tensor, centred: Tensor, parts: list[Tensor], tolerance: float
) -> Tensor | None:
    """Return the score of each part alone ``(N, k, K)``.

    None where these do not add up, or where a score without one part is not less by its share.
    """
    baseline = part.run(mean)
    shares = torch.stack([part.run(mean + one) - baseline for one in parts], 1)
    rest = part.run(mean + centred - torch.stack(parts).sum(0)) - baseline
    left_out = (
        part.run(part.features - one) + share - part.scores
        for one, share in zip(parts, shares.unbind(1), strict=True)
    )
    total = part.scores - baseline
    errors = (shares.sum(1) + rest - total, *left_out)
    return shares if all(_adds_up(one, total, tolerance) for one in errors) else None


def largest_of(values: Tensor) -> float:
    """Return the largest size of those values that are finite; NaN where none is."""
    finite = values[torch.isfinite(values)]
    return float(finite.abs().max()) if len(finite) else math.nan


def _adds_up(errors: Tensor, total: Tensor, tolerance: float) -> bool:
    """Whether errors are small wherever scores are numbers; False where none is."""
    finite = torch.isfinite(total)
    return bool(finite.any()) and bool((errors[finite].abs() <= tolerance).all())


def _integrated(
    part: PartialForward,
    mean: Tensor,
    centred: Tensor,
    parts: list[Tensor],
    steps: int,
    *,
    on_step: Callable[[], None],
) -> list[Tensor]:
    """Integrate the derivative of the scores along each part, on the path from the mean."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    sums = [torch.zeros_like(part.scores) for _ in parts]
    slopes = _forward_slopes
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = mean + float(node) * centred
        try:
            derivatives = slopes(part, point, parts)
        except (PFVError, RuntimeError, NotImplementedError):
            slopes = _backward_slopes  # an operation has no derivative of that kind
            derivatives = slopes(part, point, parts)
        for total, slope in zip(sums, derivatives, strict=True):
            total.add_(slope, alpha=float(weight))
        on_step()
    return sums


def _forward_slopes(part: PartialForward, point: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Return the derivatives of all scores along each part: one pass a part."""
    _load_forward_mode()
    slopes = []
    for tangent in parts:
        # the other kernels of attention have no derivatives of this kind
        with sdpa_kernel(SDPBackend.MATH), forward_mode.dual_level():
            dual = forward_mode.make_dual(point, tangent)  # type: ignore[no-untyped-call]
            scores = forward_mode.unpack_dual(part.run(dual))  # type: ignore[no-untyped-call]
            slope = scores.tangent
            slopes.append(torch.zeros_like(part.scores) if slope is None else slope)
    return slopes


@cache
def _load_forward_mode() -> None:
    """Let PyTorch load its forward rules: the first use warns of what PyTorch itself calls."""
    with warnings.catch_warnings(), forward_mode.dual_level():
        warnings.filterwarnings("ignore", ".*torch.jit", FutureWarning)
        forward_mode.make_dual(torch.zeros(1), torch.zeros(1))  # type: ignore[no-untyped-call]


def _backward_slopes(part: PartialForward, point: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Compute the same by one backward pass a score."""
    slopes = [torch.zeros_like(part.scores) for _ in parts]
    with torch.enable_grad():
        features = point.clone().requires_grad_()
        scores = part.run(features)
        for unit in range(scores.shape[1]):
            (gradient,) = torch.autograd.grad(scores[:, unit].sum(), features, retain_graph=True)
            for into, tangent in zip(slopes, parts, strict=True):
                into[:, unit] = (gradient * tangent).flatten(1).sum(1)
    return slopes


def integral_warnings(split: Shares, part: PartialForward, steps: int) -> list[str]:
    """Say where an integral of so many steps is off beside the changes of the scores."""
    off, change = largest_of(split.error), largest_of(part.scores - split.baseline)
    rounding = 10 * torch.finfo(part.features.dtype).eps * largest_of(part.scores)
    if not change or not off > _TOLERATED * change + rounding:  # nor where one is NaN
        return []
    share, fix = f"{100 * off / change:.0f} %", f"component_classes(..., steps={4 * steps})"
    return [
        f"The integral is off by up to {share} of the largest change of a score: {fix} is nearer."
    ]
