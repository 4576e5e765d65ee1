"""Slow oracles: every step written down once more from its definition, in float64 numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]


def agreement(result: Tensor, right: Tensor) -> float:
    """Largest difference, as a share of the largest value that is right; small is good."""
    assert right.abs().max() > 0
    return float((result - right).abs().max() / right.abs().max())


def bilinear(maps: npt.ArrayLike, size: tuple[int, int]) -> Array:
    """Resize (…, h, w): pixel centres stand at half numbers, edges are repeated."""
    source = np.asarray(maps, dtype=np.float64)
    for axis, length in ((-2, size[0]), (-1, size[1])):
        old = source.shape[axis]
        place = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, None)
        below = np.minimum(np.floor(place).astype(int), old - 1)
        above = np.minimum(below + 1, old - 1)
        share = (place - below).reshape((-1, 1) if axis == -2 else (-1,))
        low, high = np.take(source, below, axis), np.take(source, above, axis)
        source = low * (1 - share) + high * share
    return source


def vectors_of(maps: npt.ArrayLike) -> Array:
    """(N, C, h, w) as (N·h·w, C)."""
    maps = np.asarray(maps, dtype=np.float64)
    return np.moveaxis(maps, 1, 3).reshape(-1, maps.shape[1])


def principal_components(
    maps: npt.ArrayLike, number: int, weights: Sequence[float] | None = None
) -> tuple[Array, Array, Array, float]:
    """Mean (C,), components (k, C), variances (k,) and total variance, by one tall SVD."""
    maps = np.asarray(maps, dtype=np.float64)
    places = maps.shape[2] * maps.shape[3]
    shares = np.repeat(np.ones(len(maps)) if weights is None else np.array(weights), places)
    shares = shares / shares.sum()
    used = shares > 0
    vectors = vectors_of(maps)[used]
    mean = (shares[used, None] * vectors).sum(axis=0)
    rows = (vectors - mean) * np.sqrt(shares[used])[:, None]
    _, lengths, directions = np.linalg.svd(rows, full_matrices=False)
    return mean, directions[:number], lengths[:number] ** 2, float((lengths**2).sum())


def project(maps: npt.ArrayLike, mean: Array, components: Array) -> Array:
    """Scores (N, k, h, w)."""
    shape = np.shape(maps)
    scores = (vectors_of(maps) - mean) @ components.T
    return np.moveaxis(scores.reshape(shape[0], *shape[2:], -1), 3, 1)


def weighted(
    scores: Array, earlier: Sequence[npt.ArrayLike], weighting: str, size: tuple[int, int]
) -> Array:
    """Scores enlarged and multiplied by the earlier layers (N, C, h, w), as in the paper."""
    sums = [np.asarray(one, dtype=np.float64).sum(axis=1, keepdims=True) for one in earlier]
    if weighting == "none" or not sums:
        return bilinear(scores, size)
    if weighting == "flat":
        return bilinear(scores, size) * sum(bilinear(one, size) for one in sums)
    assert weighting == "hierarchical"
    for one in reversed(sums):
        scores = bilinear(scores, one.shape[2:]) * one / np.abs(one).max()
    return scores


def normalised(
    maps: Array,
    sigma: float = 1.0,
    normalisation: str = "global",
    weights: Sequence[float] | None = None,
) -> Array:
    """Clip to mean ± sigma deviations (ddof 0), then min–max to [0, 1]; (N, k, H, W)."""
    if normalisation == "component":
        each = [normalised(maps[:, [k]], sigma, "global", weights) for k in range(maps.shape[1])]
        return np.concatenate(each, axis=1)
    shares = np.ones(len(maps)) if weights is None else np.asarray(weights, dtype=np.float64)
    per_value = np.broadcast_to(shares[:, None, None, None], maps.shape)
    mean = np.average(maps, weights=per_value)
    deviation = np.sqrt(np.average((maps - mean) ** 2, weights=per_value))
    clipped = np.clip(maps, mean - sigma * deviation, mean + sigma * deviation)
    low, high = clipped[shares > 0].min(), clipped[shares > 0].max()
    return np.clip((clipped - low) / (high - low), 0, 1)


def aligned(result: npt.ArrayLike, like: npt.ArrayLike) -> Array:
    """Signs (k,) that turn score maps (N, k, h, w) to those of ``like``."""
    together = np.asarray(result, dtype=np.float64) * np.asarray(like, dtype=np.float64)
    return np.where(together.sum(axis=(0, 2, 3)) < 0, -1.0, 1.0)


def heatmaps(
    activations: Sequence[npt.ArrayLike],
    like: npt.ArrayLike,
    weighting: str,
    size: tuple[int, int],
    number: int = 3,
) -> Array:
    """Give the paper's picture (N, H, W, 3) with score maps in the signs of ``like``."""
    mean, components, _, _ = principal_components(activations[-1], number)
    scores = project(activations[-1], mean, components)
    scores = scores * aligned(scores, like)[None, :, None, None]
    values = normalised(weighted(scores, activations[:-1], weighting, size))
    return np.moveaxis(bilinear(values, size), 1, 3)
