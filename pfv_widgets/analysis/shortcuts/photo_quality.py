"""Whether photos of a class are blurred, noisy or compressed: by how strong their fine parts are.

No two photos have such a mark in common to the pixel; what they share is how strong their contrasts
are at each scale, beside those at the next: classes differ in contrast by nature, in these ratios
far less. The degradation that gives photos of the other classes the ratios of this one is what may
have been done to it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pfv_widgets.analysis.core.degradation import DEGRADATIONS, Degradation
from pfv_widgets.analysis.core.overlay import Overlay

_SCALES = 4  # octaves: 1 to 8 pixels
_QUANTILES = (0.1, 0.35, 0.6, 0.85, 0.97)
_SMALLEST = 1 / 255  # contrast that counts
_TRIED = 16  # photos that degradations are tried on
_EXPLAINED = 0.5  # of the squared difference between classes, at least
_FEWEST_PIXELS = 0.02  # of those of a photo that other marks leave
_CHUNK = 16  # photos
_RIDGE = 0.1  # of the mean variance
# lightness, and two differences of colours
_OPPONENT = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]])
_OPPONENT = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)


class PhotoContrasts:
    """:func:`contrasts` of photos, each computed once for all classes.

    Parameters
    ----------
    photos, covered
        As for :func:`contrasts`.
    """

    def __init__(self, photos: Tensor, covered: Tensor) -> None:
        self._photos, self._covered = photos, covered
        self._rows: dict[int, Tensor] = {}

    def of(self, indices: Tensor) -> Tensor:
        """Return the rows of some photos, ``(n, F)``."""
        chosen = indices.tolist()
        new = [one for one in chosen if one not in self._rows]
        if new:
            rows = contrasts(self._photos[new], self._covered[new])
            self._rows.update(zip(new, rows, strict=True))
        return torch.stack([self._rows[one] for one in chosen])


def contrasts(photos: Tensor, covered: Tensor) -> Tensor:
    """Logarithms of how strong photos' contrasts are, ``(N, F)``; NaN where little is left.

    Quantiles over a photo of the absolute differences between neighbouring scales (a Laplacian
    pyramid, Burt and Adelson 1983, without leaving out pixels), for lightness and colours.

    Parameters
    ----------
    photos
        ``(N, 3, H, W)`` in [0, 1].
    covered
        Where other marks lie, which are left out, bool ``(N, H, W)``.
    """
    starts = range(0, len(photos), _CHUNK)
    parts = (slice(start, start + _CHUNK) for start in starts)
    return torch.cat([_contrasts(photos[part], covered[part]) for part in parts])


def _contrasts(photos: Tensor, covered: Tensor) -> Tensor:
    maps, found = torch.einsum("dc,nchw->ndhw", _OPPONENT.to(photos), photos), []
    skip = covered[:, None, ::4, ::3].flatten(2)
    number = (~skip).sum(2)
    for scale in range(_SCALES):
        smooth = _smoothed(maps, 2**scale)
        strength = (maps - smooth)[:, :, ::4, ::3].abs().flatten(2)
        strength = strength.masked_fill(skip, torch.inf)
        found.append(torch.from_numpy(np.sort(strength.numpy(), 2)))  # a tenth of torch's time
        maps = smooth
    at = (number[..., None] * number.new_tensor(_QUANTILES, dtype=torch.float)).long()
    whole = torch.stack(found, 1).gather(3, at[:, None].expand(-1, _SCALES, 3, -1))
    few = number < _FEWEST_PIXELS * skip.shape[2]
    rows: Tensor = (whole + _SMALLEST).log().flatten(1)
    return rows.masked_fill(few, torch.nan)


def _smoothed(maps: Tensor, step: int) -> Tensor:
    """Binomial mean of pixels that are ``step`` apart, of ``(N, C, H, W)``."""
    for axis, sides in ((2, (0, 0, step, step)), (3, (step, step, 0, 0))):
        wide, length = pad(maps, sides, mode="replicate"), maps.shape[axis]
        one, middle, other = (wide.narrow(axis, start * step, length) for start in range(3))
        maps = torch.add(one, middle, alpha=2).add_(other).div_(4)  # in one new tensor, not in four
    return maps


def _ratios(rows: Tensor) -> Tensor:
    """Return logarithms of how strong contrasts are beside those at the next scale, ``(n, F)``."""
    by_scale = rows.reshape(len(rows), _SCALES, -1)
    return (by_scale[:, :-1] - by_scale[:, 1:]).flatten(1)


def discriminant_scores(rows: Tensor, own: Tensor) -> Tensor:
    """Return how much each photo is like those of a class, ``(N,)``, by the other half of photos.

    A linear discriminant of the ratios of contrasts ``(N, F)`` that takes these for independent.
    """
    rows, half = _ratios(rows), torch.zeros(len(own), dtype=torch.bool)
    for some in (own, ~own):
        half[some.nonzero()[::2, 0]] = True
    score = rows.new_zeros(len(rows))
    for fit in (half, ~half):
        mine, others = rows[fit & own], rows[fit & ~own]
        variance = (mine.var(0, correction=0) + others.var(0, correction=0)) / 2
        weights = (mine.mean(0) - others.mean(0)) / (variance + _RIDGE * variance.mean())
        middle = (mine.mean(0) + others.mean(0)) / 2
        score[~fit] = (rows[~fit] - middle) @ weights
    return score


def likely_degradation(own: Tensor, others: Tensor, photos: Tensor) -> tuple[Overlay, float] | None:
    """Return what gives photos of other classes the contrasts of a class; None: nothing does.

    With it comes which share of the squared difference of typical ratios it explains. Typical ones
    are compared, since a few photos of the class may have been spared.

    Parameters
    ----------
    own, others
        Contrasts ``(n, F)`` of the class and of the others.
    photos
        The others ``(n, 3, H, W)``.
    """
    chosen = torch.linspace(0, len(photos) - 1, min(len(photos), _TRIED)).round().long()
    own, others = _ratios(own), _ratios(others)
    some, goal = photos[chosen], _typical(own)
    spread = (own.var(0) + others.var(0)) / 2
    spread = spread + _RIDGE * spread.mean()
    free = torch.zeros(len(some), *some.shape[2:], dtype=torch.bool)
    usual = _typical(others) - _typical(others[chosen])  # what these few differ by

    def left(changed: Tensor) -> float:
        rows = _ratios(contrasts(changed, free))
        return float(((_typical(rows) + usual - goal).square() / spread).sum())

    before = left(some)
    tried = {
        Degradation(kind, strength): 0.0
        for kind, entry in DEGRADATIONS.items()
        for strength in entry.strengths
    }
    for one in tried:
        tried[one] = left(one(some))
    best = min(tried, key=lambda one: tried[one])
    if tried[best] >= (1 - _EXPLAINED) * before:
        return None
    whole = torch.ones(photos.shape[2:])
    overlay = Overlay(whole, whole.expand(3, -1, -1), "everywhere", degradation=best)
    return overlay, 1 - tried[best] / before


def _typical(rows: Tensor) -> Tensor:
    return rows.median(0).values
