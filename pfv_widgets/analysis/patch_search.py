"""Marks that lie anywhere: what the photos of a class share, wherever each has it.

A crop of one photo is looked for in all others by normalised correlation of their fine parts. The
crop that the photos of the class match better than other photos is followed to what all of them
have in common there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from pfv_widgets.analysis.overlays import Overlay, deviation, estimated, median, spread_out

_CROPS = (0.4, 0.2, 0.13)  # of the photo's shorter side
_TEMPLATES = 4  # photos whose crops are tried, for each list of positions
_MATCHED = 24  # photos in which these are looked for
_ROUNDS = 3
_CHUNK = 32  # photos
_SMALL = 112  # pixels: about the shorter side of the copies that are searched
_BEYOND = 0.25  # squared distance of a pixel beyond the edge
_FINE = 9  # pixels: coarser parts of a photo say little of a mark
LIKE = 0.6
"""How well a mark matches a photo, up to 2, from which the photo is taken to have it."""


def patch_overlay(own: Tensor, others: Tensor, seeds: Sequence[Tensor]) -> Overlay | None:
    """Estimate the mark that photos of a class have somewhere; None where there is none.

    Parameters
    ----------
    own, others
        Photos ``(n, 3, H, W)`` of a class, and of the others.
    seeds
        Lists of positions, row and column in pixels ``(n, 2)``, that may lie on the mark.
    """
    side = round(_CROPS[0] * min(own.shape[2:]))
    template, support = _best_template(own, others, seeds), torch.empty(0)
    search = _Search(own)
    near = _near(others, side)
    middle = median(near)
    usual, middle = deviation(near, middle).mean(), middle.mean((1, 2), keepdim=True)
    crops = own
    for number in range(_ROUNDS):
        matches, centres = search.centres(template, support if number else None)
        likely = matches >= matches.median()
        _, support = _common(_crops(own[likely], centres[likely], side), usual, middle)
        crops = _crops(own, centres + _middle_of(support) - side // 2, side)
        template, support = _common(crops[likely], usual, middle)
    found = estimated(crops, middle, usual, "anywhere", own[0, 0].numel())
    return None if found is None else _trimmed(found)


def _common(crops: Tensor, usual: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
    """Return what crops have in common, ``(3, h, w)``, and where that is, ``(h, w)``."""
    template = median(crops)
    consistent = 1 - (deviation(crops, template) / usual.clamp_min(1e-3)).mean(0)
    # a mark at an edge of every photo: what is beyond it in all of them counts for nothing
    beyond = ~torch.isfinite(consistent) | ~torch.isfinite(template).all(0)
    consistent = consistent.where(~beyond, consistent.new_tensor(0.0))
    smooth = avg_pool2d(consistent[None, None], 3, 1, 1)[0, 0]
    return template.where(~beyond, middle), (smooth > 0.5 * smooth.max()).float()


def _middle_of(support: Tensor) -> Tensor:
    """Row and column of the middle of the pixels that are 1."""
    return support.nonzero().double().mean(0).round().long()


def located(overlay: Overlay, photos: Tensor, maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find a mark in photos: its α where each matches best ``(N, H, W)``, and how well ``(N,)``.

    With ``maps`` ``(N, H, W)`` ≥ 0, such as those of a component, it lies where both are high.
    """
    factor = _coarseness(photos)
    colour, opacity = _reduced(overlay.colour, factor), _reduced(overlay.alpha[None], factor)[0]
    found = []
    for start in range(0, len(photos), _CHUNK):
        matcher = Matcher(_reduced(photos[start : start + _CHUNK], factor))
        likeness = matcher.likeness(colour, opacity)
        weighted = likeness
        if maps is not None:
            weights = _reduced(maps[start : start + _CHUNK], factor)
            weighted = likeness.clamp_min(0) * weights
        _, at = matcher.highest(weighted)
        rows, columns = at.T
        found.append((likeness[torch.arange(len(at)), rows, columns], at))
    matches, at = (torch.cat(some) for some in zip(*found, strict=True))
    at = _enlarged(at, overlay.colour, factor)
    alpha = photos.new_zeros(len(photos), *photos.shape[2:])
    height, width = overlay.alpha.shape
    for where, (row, column) in zip(alpha, at.tolist(), strict=True):
        top, left = row - height // 2, column - width // 2
        rows = slice(max(top, 0), min(top + height, where.shape[0]))
        columns = slice(max(left, 0), min(left + width, where.shape[1]))
        where[rows, columns] = overlay.alpha[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
    return alpha, matches


class _Search:
    """Looks for a template in photos ``(n, 3, H, W)``: in small copies first, then near there."""

    def __init__(self, photos: Tensor) -> None:
        self._photos, self._factor = photos, _coarseness(photos)
        self._matcher = Matcher(_reduced(photos, self._factor))

    def centres(self, template: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return how well each photo matches ``(n,)`` and where, row and column ``(n, 2)``.

        Without ``support`` fine parts alone are compared: there is much beside the mark in the
        crop of one photo.
        """
        matcher, small = self._matcher, _reduced(template, self._factor)
        if support is None:
            matches, at = matcher.highest(matcher.by_detail(small))
            return matches, _enlarged(at, template, self._factor)
        likeness = matcher.likeness(small, _reduced(support[None], self._factor)[0])
        matches, at = matcher.highest(likeness)
        at = _enlarged(at, template, self._factor)
        return matches, at if self._factor == 1 else self._refined(at, template, support)

    def _refined(self, at: Tensor, template: Tensor, support: Tensor) -> Tensor:
        """Move each centre by a few pixels to where colours are most like the template's."""
        side, reach = template.shape[1], range(2 * self._factor + 1)
        wide = _crops(self._photos, at, side + 2 * self._factor)
        shifts = [(row, column) for row in reach for column in reach]
        costs = [
            ((wide[:, :, row : row + side, column : column + side] - template).square()
             .nan_to_num(_BEYOND) * support).sum((1, 2, 3))
            for row, column in shifts
        ]  # fmt: skip
        best = torch.stack(costs).argmin(0)
        return at + torch.tensor(shifts)[best] - self._factor


class Matcher:
    """Finds what is most like a template in photos ``(n, 3, H, W)``, also at their edges."""

    def __init__(self, photos: Tensor) -> None:
        self._photos, self._size = photos, photos.shape[2:]
        margin = round(_CROPS[0] * min(self._size)) + 1
        self._full = [next_fast_len(side + margin, real=True) for side in self._size]
        self._boxes: dict[int, Tensor] = {}

    def by_detail(self, template: Tensor, support: Tensor | None = None) -> Tensor:
        """Correlation of the fine parts at every pixel, ``(n, H, W)``.

        Parameters
        ----------
        template
            ``(3, h, w)``.
        support
            How much each of its pixels counts, ``(h, w)``; None: all the same.
        """
        kernel = _fine(template[None])
        kernel = kernel if support is None else kernel * support
        kernel = kernel / kernel.norm().clamp_min(1e-6)
        side = template.shape[1]
        local = self._boxes.get(side) if support is None else self._local(support)
        if local is None:
            local = self._boxes[side] = self._local(torch.ones(template.shape[1:]))
        return self._sums(self._fine[0], kernel) / local

    def _local(self, support: Tensor) -> Tensor:
        """Root of the energy of the fine parts around every pixel."""
        energy = self._sums(self._fine[1], support[None, None]).clamp_min(0)
        floor = 0.1 * energy.mean() + 1e-6  # flat parts match nothing
        root: Tensor = (energy + floor).sqrt()
        return root

    def by_colour(self, template: Tensor, support: Tensor) -> Tensor:
        """One minus the mean distance of the colours, over what is usual in the photo."""
        spectra, energy, inside = self._colours
        weights = support[None, None]
        inner = self._sums(inside, weights)
        cost = self._sums(energy, weights) - 2 * self._sums(spectra, support * template[None])
        cost += self._sums(inside, (support * template.square().sum(0))[None, None])
        cost = (cost / inner.clamp_min(1e-6)).clamp_min(0).sqrt()
        likeness: Tensor = 1 - cost / cost.mean((1, 2), keepdim=True).clamp_min(1e-6)
        return likeness.where(inner > 0.6 * support.sum(), likeness.new_tensor(-1.0))

    def likeness(self, template: Tensor, support: Tensor) -> Tensor:
        """Return how well a template matches around every pixel, up to 2, ``(n, H, W)``."""
        return self.by_detail(template, support) + self.by_colour(template, support)

    def highest(self, matches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest match of each photo ``(n,)`` and its row and column ``(n, 2)``."""
        values, at = matches.flatten(1).max(1)
        return values, torch.stack([at // self._size[1], at % self._size[1]], 1)

    @cached_property
    def _fine(self) -> tuple[Tensor, Tensor]:
        fine = _fine(self._photos)
        return self._spectra(fine), self._spectra(fine.square().sum(1, keepdim=True))

    @cached_property
    def _colours(self) -> tuple[Tensor, Tensor, Tensor]:
        energy = self._photos.square().sum(1, keepdim=True)
        inside = torch.ones(1, 1, *self._size)
        return self._spectra(self._photos), self._spectra(energy), self._spectra(inside)

    def _spectra(self, values: Tensor) -> Tensor:
        spectra: Tensor = torch.fft.rfft2(values, s=self._full)
        return spectra

    def _sums(self, spectra: Tensor, kernel: Tensor) -> Tensor:
        """Sum of each photo times a kernel around every pixel, ``(n, H, W)``."""
        product = (spectra * torch.fft.rfft2(kernel, s=self._full).conj()).sum(1)
        whole = torch.fft.irfft2(product, s=self._full)
        middle = [side // 2 for side in kernel.shape[2:]]
        centred: Tensor = whole.roll(middle, (1, 2))[:, : self._size[0], : self._size[1]]
        return centred


def _best_template(own: Tensor, others: Tensor, seeds: Sequence[Tensor]) -> Tensor:
    """Return the crop ``(3, h, w)`` that photos of the class match better than others."""
    some = spread_out(torch.arange(len(own)), _MATCHED)
    rest = others[spread_out(torch.arange(len(others)), _MATCHED)]
    halves = [avg_pool2d(one, 2) for one in (own[some], rest)]
    first, second = (Matcher(one) for one in halves)
    best, chosen = -1.0, (own[0], seeds[0][0], 1)
    for size in _CROPS:
        side = round(size * min(own.shape[2:]))
        for centres in seeds:
            for number in spread_out(torch.arange(len(some)), _TEMPLATES).tolist():
                photo, at = own[some[number]], centres[some[number]].round().long()
                template = _crops(halves[0][number][None], (at // 2)[None], side // 2)[0]
                template = template.nan_to_num(float(template.nanmean()))
                gain = _typical(first.by_detail(template)) - _typical(
                    second.by_detail(template), leave=0
                )
                if gain > best:
                    best, chosen = gain, (photo, at, side)
    photo, at, side = chosen
    template = _crops(photo[None], at[None], side)[0]
    return template.nan_to_num(float(template.nanmean()))


def _typical(matches: Tensor, leave: int = 1) -> float:
    """Mean of the better half, without the photo that the template is of."""
    highest = matches.flatten(1).amax(1)
    return float(highest.sort(descending=True).values[leave : len(highest) // 2 + leave].mean())


def _crops(photos: Tensor, centres: Tensor, side: int) -> Tensor:
    """Cut a square around a pixel, or one near the edges, out of each photo; NaN beyond these."""
    wide = pad(photos, (side,) * 4, value=torch.nan)
    return torch.stack([
        photo[:, top : top + side, left : left + side]
        for photo, (top, left) in zip(wide, (centres + side - side // 2).tolist(), strict=True)
    ])  # fmt: skip


def _near(photos: Tensor, side: int) -> Tensor:
    """Crops of photos anywhere."""
    random = torch.Generator().manual_seed(0)
    corners = [torch.randint(0, full - side + 1, (len(photos),), generator=random)
               for full in photos.shape[2:]]  # fmt: skip
    return _crops(photos, torch.stack(corners, 1) + side // 2, side)


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


def _coarseness(photos: Tensor) -> int:
    """How many times smaller copies of photos are in which a mark is looked for."""
    return max(1, round(min(photos.shape[2:]) / _SMALL))


def _reduced(photos: Tensor, factor: int) -> Tensor:
    return photos if factor == 1 else avg_pool2d(photos, factor, ceil_mode=True)


def _enlarged(at: Tensor, template: Tensor, factor: int) -> Tensor:
    """Return the centres ``(n, 2)`` of a template in photos, from those in the small copies."""
    middle = torch.tensor(template.shape[1:]) // 2
    smaller = (torch.tensor(template.shape[1:]) + factor - 1) // factor // 2
    return (at - smaller) * factor + middle


def _fine(photos: Tensor) -> Tensor:
    """Return photos without what is coarser than a few pixels."""
    photos = photos.nan_to_num(0.5)
    coarse = photos
    for size in ((_FINE, 1), (1, _FINE)):
        padding = (size[0] // 2, size[1] // 2)
        coarse = avg_pool2d(coarse, size, 1, padding, count_include_pad=False)
    return photos - coarse
