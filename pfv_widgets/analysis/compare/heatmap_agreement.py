"""How alike two pictures of the same photos are: rank correlation and structural similarity."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError

_SIGMA, _WINDOW = 1.5, 11  # of Wang et al., in pixels
_ROUNDING = 1e-6  # of heatmaps in float32
_C1, _C2 = 0.01**2, 0.03**2  # for a range of 1


def rank_correlation(first: Tensor, second: Tensor, *, of_photos: bool = False) -> Tensor:
    """Spearman's rank correlation of two heatmaps of each photo.

    Parameters
    ----------
    first, second
        ``(N, H, W, C)``, such as ``frame.heatmaps`` in aligned colours.
    of_photos
        Take from each pixel its mean over the photos first, so that what any photo shows there,
        such as the border of the padding, does not count. One photo then has no number.

    Returns
    -------
    Tensor
        ``(N,)`` float64 in [-1, 1], the mean over those channels that have one; NaN (undefined)
        where in each channel one of the two is constant or NaN.

    Notes
    -----
    Equal values share the mean of their ranks.
    """
    x, y = _channels_first(first, second)
    if of_photos:
        x, y = _about_mean(x), _about_mean(y)
    x, y = (
        torch.from_numpy(stats.rankdata(one.flatten(2).numpy(), axis=2))  # NaN where one is NaN
        for one in (x, y)
    )
    x, y = x - x.mean(2, keepdim=True), y - y.mean(2, keepdim=True)
    size = x.norm(dim=2) * y.norm(dim=2)
    correlation = (x * y).sum(2) / torch.where(size > 0, size, torch.nan)
    return correlation.clamp(-1, 1).nanmean(1)


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity (SSIM) of two heatmaps of each photo.

    Parameters
    ----------
    first, second
        ``(N, H, W, C)`` in [0, 1], such as ``frame.heatmaps`` in aligned colours.

    Returns
    -------
    Tensor
        ``(N,)`` float64, at most 1, the mean over those channels that have one; NaN (undefined)
        where in each channel both are constant, or one is NaN.

    Notes
    -----
    Wang et al. 2004: a Gaussian window of 11 pixels with a deviation of 1.5, population variances,
    where the window lies inside the picture; a smaller picture has a smaller window.
    """
    x, y = _channels_first(first, second)
    side = min(_WINDOW, *x.shape[2:])
    down, across = (_blur(length, side) for length in x.shape[2:])

    def mean(maps: Tensor) -> Tensor:
        return down @ maps @ across.T

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    below = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    both_constant = _is_constant(x) & _is_constant(y)
    return (above / below).mean((2, 3)).masked_fill(both_constant, torch.nan).nanmean(1)


def _about_mean(maps: Tensor) -> Tensor:
    """Take from each pixel of ``(N, C, H, W)`` its mean over the photos that are finite."""
    about = maps - maps.nanmean(0)
    return torch.where(about.abs() < _ROUNDING, 0.0, about)


def _blur(length: int, side: int) -> Tensor:
    """Return the matrix ``(length - side + 1, length)`` of a Gaussian window of ``side`` pixels."""
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    rows = length - side + 1
    blur = torch.zeros(rows, length, dtype=torch.float64)
    for row in range(rows):
        blur[row, row : row + side] = window / window.sum()
    return blur


def _is_constant(maps: Tensor) -> Tensor:
    return maps.amax((2, 3)) == maps.amin((2, 3))


def _channels_first(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as ``(N, C, H, W)`` in float64 on the CPU."""
    for name, one in (("first", first), ("second", second)):
        if not isinstance(one, Tensor) or not one.is_floating_point():
            kind = one.dtype if isinstance(one, Tensor | np.ndarray) else type(one).__name__
            raise PFVTypeError(f"{name} is {kind}: expected a tensor of floats.")
        if one.ndim != 4 or 0 in one.shape:
            raise PFVValueError(f"{name} has shape {tuple(one.shape)}: expected (N, H, W, C).")
    if first.shape != second.shape:
        raise PFVValueError(
            f"first has shape {tuple(first.shape)} and second {tuple(second.shape)}: both must "
            "show the same photos at the same size."
        )
    x, y = (one.detach().cpu().double().movedim(3, 1) for one in (first, second))
    return x, y
