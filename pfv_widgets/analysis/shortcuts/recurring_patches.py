"""Where photos have a patch in common, at different locations: by correlating them in pairs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

_MOST = 14  # photos: their pairs are compared
_PEAKS = 2  # displacements of a pair that are tried
_LARGEST = 240  # pixels: photos with a longer shorter side are compared in smaller copies
_FINE = 9  # pixels: coarser parts of a photo say little of a mark
_FAINT = 0.08  # contrast below which a pixel counts less
_WINDOW = 0.15  # of the shorter side: over which what is in common is summed


def recurring_positions(photos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which photos were compared, where each has what others have too, and how much.

    Each pair is laid over each other by the displacements at which the fine parts correlate most
    (phase correlation, Kuglin and Hines 1975, with contrasts made even). What two photos share by
    chance is at another location in each pair; a mark is at the same in all of them.

    Parameters
    ----------
    photos
        ``(n, 3, H, W)`` in [0, 1].

    Returns
    -------
    tuple
        Indices ``(m,)``, the rows and columns in pixels ``(m, 2)``, and the agreement ``(m,)``.
    """
    chosen = torch.linspace(0, len(photos) - 1, min(len(photos), _MOST)).round().long()
    some = photos[chosen]
    factor = -(-min(some.shape[2:]) // _LARGEST)
    fine = even_contrast(avg_pool2d(some, factor, ceil_mode=True) if factor > 1 else some)
    height, width = fine.shape[2:]
    total = fine.new_zeros(len(fine), height, width)
    spectra = torch.fft.rfft2(fine)
    for one in range(len(fine)):
        for other in range(one):
            product = (spectra[one].conj() * spectra[other]).sum(0)
            correlation = torch.fft.irfft2(product, s=(height, width))
            for shift in _peaks(correlation):
                back = (-shift[0], -shift[1])
                common = _summed((fine[one] * fine[other].roll(back, (1, 2))).sum(0))
                total[one] += common
                total[other] += common.roll(shift, (0, 1))
    agreement, at = total.flatten(1).max(1)
    positions = torch.stack([at // width, at % width], 1) * factor + factor // 2
    return chosen, positions, agreement / max(len(fine) - 1, 1)


def even_contrast(photos: Tensor) -> Tensor:
    """Return the fine parts of photos over their energy nearby."""
    fine, energy = fine_parts(photos)
    even: Tensor = fine / energy.sqrt()
    return even


def fine_parts(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fine parts of photos, and their mean energy nearby ``(N, 1, H, W)`` > 0."""
    fine = photos - blurred_by(photos, _FINE)
    return fine, blurred_by(fine.square().sum(1, keepdim=True), 2 * _FINE + 1) + _FAINT**2


def blurred_by(maps: Tensor, side: int) -> Tensor:
    """Mean over a square around every pixel of ``(N, C, H, W)``; ``side`` is odd."""
    for axis in (2, 3):
        at, half = torch.arange(maps.shape[axis]), side // 2
        inside = (at + half).clamp_max(len(at) - 1) - (at - half).clamp_min(0) + 1
        shape = (-1, 1) if axis == 2 else (-1,)
        maps = _sums_along(maps, side, axis) / inside.to(maps).reshape(shape)
    return maps


def _sums_along(maps: Tensor, side: int, axis: int) -> Tensor:
    """Sum of ``side`` neighbours along an axis, 0 beyond the edges.

    Sums of 1, 2, 4, … neighbours are made of each other, a few additions instead of ``side``.
    """
    length, half = maps.shape[axis], side // 2
    sums = pad(maps, (0, 0, half, half) if axis == 2 else (half, half))
    total, start, width = torch.zeros_like(maps), 0, 1
    while True:
        if side & width:
            total += sums.narrow(axis, start, length)
            start += width
        if 2 * width > side:
            return total
        rest = sums.shape[axis] - width
        sums = sums.narrow(axis, 0, rest) + sums.narrow(axis, width, rest)
        width *= 2


def _peaks(correlation: Tensor) -> Iterator[tuple[int, int]]:
    for _ in range(_PEAKS):
        row, column = divmod(int(correlation.argmax()), correlation.shape[1])
        yield row, column
        correlation[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = -torch.inf


def _summed(product: Tensor) -> Tensor:
    """Square of the mean product around every pixel, where it is positive."""
    half = avg_pool2d(product[None, None], 2, ceil_mode=True)
    side = round(_WINDOW * min(half.shape[2:])) // 2 * 2 + 1
    smooth = blurred_by(half, side).clamp_min(0).square()
    whole: Tensor = interpolate(smooth, size=product.shape, mode="nearest")[0, 0]
    return whole
