"""Marks on photos: estimated from what the photos of one class have in common, and put on others.

A mark is an overlay ``(1 − α) · photo + α · colour``. Where photos carry one, their pixels differ
less from each other than those of other photos: α is one minus the ratio of the deviations. The
deviation is the median distance from the median, so that photos without the mark do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

Place = Literal["fixed", "anywhere", "everywhere"]

_CLEAR, _BY_CHANCE = 0.25, 1.4  # α from which a pixel belongs to a mark; + that over √photos
_SUPPORT = 0.4  # of the pixels around it that must, too
_SMALLEST = 0.0015  # of the photo: strokes of a text of five letters
_CROP = 0.4  # of the photo's shorter side
_ROUNDS, _TEMPLATES = 3, 6
_FINE = 9  # pixels: coarser parts of a photo say little of a mark
_FAINTEST = 0.1  # α of a tint


@dataclass(frozen=True, eq=False)
class Overlay:
    """A mark.

    Attributes
    ----------
    alpha
        Opacity in [0, 1], ``(h, w)``; of the whole photo, or of a patch that lies anywhere.
    colour
        ``(3, h, w)`` in [0, 1].
    place
        Where it lies: at a fixed place, anywhere, or all over the photo.
    """

    alpha: Tensor
    colour: Tensor
    place: Place

    def put(self, photos: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return photos ``(N, 3, H, W)`` in [0, 1] with the mark, and its α ``(N, H, W)``."""
        height, width = photos.shape[2:]
        alpha, colour = self.alpha, self.colour
        if self.place != "anywhere":
            new = (1 - alpha) * photos + alpha * colour
            return new, alpha.expand(len(photos), height, width)
        random = torch.Generator().manual_seed(seed)
        new, where = photos.clone(), photos.new_zeros(len(photos), height, width)
        for photo, mask in zip(new, where, strict=True):
            room = (height - alpha.shape[0], width - alpha.shape[1])
            top, left = (int(torch.randint(0, most + 1, (1,), generator=random)) for most in room)
            part = (..., slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1]))
            photo[part] = (1 - alpha) * photo[part] + alpha * colour
            mask[part] = alpha
        return new, where


def fixed_overlay(own: Tensor, others: Tensor) -> Overlay | None:
    """Estimate the mark at a fixed place of photos ``(n, 3, H, W)``; None where there is none."""
    return _estimated(own, _median(others), _deviation(others), "fixed", own[0, 0].numel())


def patch_overlay(own: Tensor, others: Tensor, centres: Tensor) -> Overlay | None:
    """Estimate the mark that lies near a position of each photo; None where there is none.

    Parameters
    ----------
    own, others
        Photos ``(n, 3, H, W)`` of a class, and of the others.
    centres
        Row and column in pixels, ``(n, 2)``.
    """
    short = min(own.shape[2:])
    side = round(_CROP * short)
    matcher = _Matcher(own, side)
    crops = _crops(own, centres, side)
    crops = matcher.aligned(max(crops[:_TEMPLATES], key=matcher.typical_match))
    for _ in range(_ROUNDS):
        crops = matcher.aligned(_median(crops))
    places = torch.stack([torch.randperm(len(others), generator=_seeded())] * 2, 1) % short
    near = _crops(others, places.float() % (short - side) + side / 2, side)
    found = _estimated(crops, _median(near).mean((1, 2), keepdim=True),
                       _deviation(near).mean(), "anywhere", own[0, 0].numel())  # fmt: skip
    return None if found is None else _trimmed(found)


def tint_overlay(own: Tensor, others: Tensor) -> Overlay | None:
    """Estimate a veil of one colour over whole photos; None where it would be too faint.

    By the darkest and the brightest parts: a veil brings them nearer to its colour.
    """
    ends = torch.tensor([0.02, 0.98])
    low, high = (
        torch.stack([_thinned(part).quantile(end, dim=2).median(0).values for end in ends])
        for part in (own, others)
    )
    alpha = float(1 - ((low[1] - low[0]) / (high[1] - high[0]).clamp_min(1e-3)).mean())
    if alpha < _FAINTEST:
        return None
    colour = ((low - (1 - alpha) * high) / alpha).mean(0).clamp(0, 1)
    size = own.shape[2:]
    return Overlay(torch.full(tuple(size), alpha), colour[:, None, None].expand(3, *size),
                   "everywhere")  # fmt: skip


def colour_statistics(photos: Tensor) -> Tensor:
    """Return dark, middle and bright ends of each channel, ``(N, 9)``, in [0, 1]."""
    ends = torch.tensor([0.02, 0.5, 0.98])
    return _thinned(photos).quantile(ends, dim=2).permute(1, 0, 2).flatten(1)


def _estimated(
    own: Tensor, middle: Tensor, deviation: Tensor, place: Place, pixels: int
) -> Overlay | None:
    median = _median(own)
    alpha = 1 - (_deviation(own) / deviation.clamp_min(1e-3)).mean(0)
    # few photos agree by chance, but not in pixels side by side
    mask = (alpha > _CLEAR + _BY_CHANCE / len(own) ** 0.5).float()[None, None]
    mask *= (avg_pool2d(mask, 3, 1, 1) > _SUPPORT).float()
    if float(mask.sum()) < _SMALLEST * pixels:
        return None
    alpha = alpha.clamp(0, 1) * mask[0, 0]
    safe = alpha.clamp_min(0.1)
    colour = ((median - (1 - safe) * middle) / safe).clamp(0, 1)
    return Overlay(alpha, colour, place)


def _deviation(photos: Tensor) -> Tensor:
    """Median distance from the median, ``(3, h, w)``."""
    return _median((photos - _median(photos)).abs())


def _median(photos: Tensor) -> Tensor:
    """Median over the photos, each pixel for itself."""
    rows = photos.flatten(1).T.contiguous()  # many times faster than along the first axis
    return rows.median(1).values.view(photos.shape[1:])


def _thinned(photos: Tensor) -> Tensor:
    """Every sixteenth pixel, ``(N, 3, P)``."""
    return photos[:, :, ::4, ::4].flatten(2)


def _crops(photos: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cut a square around a pixel out of each photo, inside of it."""
    limits = torch.tensor(photos.shape[2:]) - side
    corners = torch.minimum((centres - side / 2).round().long().clamp_min(0), limits)
    return torch.stack([
        photo[:, top : top + side, left : left + side]
        for photo, (top, left) in zip(photos, corners.tolist(), strict=True)
    ])  # fmt: skip


class _Matcher:
    """Cuts out of each photo what is most like a template.

    By normalised correlation of their fine parts, in the frequency domain.
    """

    def __init__(self, photos: Tensor, side: int) -> None:
        self._photos, self._side = photos, side
        fine = _fine(photos)
        self._spectra = torch.fft.rfft2(fine)
        box = torch.full((1, 3, side, side), 1 / (3 * side * side))
        self._spread = self._sums(torch.fft.rfft2(fine**2), box).clamp_min(1e-6).sqrt()

    def typical_match(self, template: Tensor) -> float:
        """Return how well the better half of the photos match a template at their best shift."""
        matches = self._matches(template).flatten(1).amax(1)
        return float(matches.sort(descending=True).values[1 : len(matches) // 2 + 1].mean())

    def aligned(self, template: Tensor) -> Tensor:
        """Return a crop of each photo, ``(n, 3, side, side)``."""
        matches = self._matches(template)
        width = matches.shape[2]
        best = [divmod(int(one), width) for one in matches.flatten(1).argmax(1)]
        return torch.stack([
            photo[:, top : top + self._side, left : left + self._side]
            for photo, (top, left) in zip(self._photos, best, strict=True)
        ])  # fmt: skip

    def _matches(self, template: Tensor) -> Tensor:
        fine = _fine(template[None])
        return self._sums(self._spectra, fine / fine.norm().clamp_min(1e-6)) / self._spread

    def _sums(self, spectra: Tensor, kernel: Tensor) -> Tensor:
        """Sum of each photo times a kernel at every shift, ``(n, h, w)``."""
        size = self._photos.shape[2:]
        product = spectra * torch.fft.rfft2(kernel, s=tuple(size)).conj()
        shifts = [full - self._side + 1 for full in size]
        whole: Tensor = torch.fft.irfft2(product.sum(1), s=tuple(size))
        return whole[:, : shifts[0], : shifts[1]]


def _trimmed(overlay: Overlay) -> Overlay:
    """Cut a patch to the box of its mark."""
    rows = (overlay.alpha > 0).any(1).nonzero()[:, 0]
    columns = (overlay.alpha > 0).any(0).nonzero()[:, 0]
    part = (
        ...,
        slice(int(rows.min()), int(rows.max()) + 1),
        slice(int(columns.min()), int(columns.max()) + 1),
    )
    return Overlay(overlay.alpha[part], overlay.colour[part], overlay.place)


def _fine(photos: Tensor) -> Tensor:
    """Return photos without what is coarser than a few pixels."""
    return photos - avg_pool2d(photos, _FINE, 1, _FINE // 2, count_include_pad=False)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
