"""Marks that lie anywhere: what the photos of a class share, wherever each has it.

A crop of one photo is searched for in all others by correlation of their fine parts. The crop that
the photos of the class match better than other photos is followed to what all of them have in
common there: the mean of their fine parts and, where they are opaque, their colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.mark_overlays import (
    by_chance,
    deviation,
    estimated,
    median,
    spread_out,
)
from pfv_widgets.analysis.shortcuts.recurring_patches import even_contrast, recurring_positions

_CROPS = (0.4, 0.2, 0.13)  # of the photo's shorter side
_TEMPLATES = 4  # photos whose crops are tried
_MATCHED = 24  # photos in which these are looked for
_ROUNDS = 3
_CHUNK = 32  # photos
_SMALL = 112  # pixels: about the shorter side of the copies that are searched
_EDGE = 10  # pixels around a mark
_NOISE = 2.0  # standard errors that a mean of fine parts must exceed
_ACROSS = 0.8  # of the photo's width or height that a bar across it covers
_SCALES = (0.7, 1.4)  # of the estimated mark
LIKE = 0.6
"""How well a mark matches a photo, up to 2, from which the photo is taken to have it."""


def patch_overlays(own: Tensor, others: Tensor) -> list[Overlay]:
    """Estimate the mark that photos of a class have somewhere; empty where there is none.

    With its less sure pixels, and without: around a mark that lies on the object, these are the
    object's. Of a bar across the whole photo, that alone.

    Parameters
    ----------
    own, others
        Photos ``(n, 3, H, W)`` of a class, and of the others.
    """
    side = round(_CROPS[0] * min(own.shape[2:]))
    search = _Search(own)
    near = _near(others, side)
    middle = median(near)
    usual, middle = deviation(near, middle).mean(), middle.mean((1, 2), keepdim=True)
    crops, mark = own, _Template(even_contrast(_best_template(own, others)[None])[0])
    for _ in range(_ROUNDS):
        matches, centres = search.centres(mark)
        likely = matches >= matches.median()
        crops, fine = (_crops(one, centres, side) for one in (own, search.fine))
        where = _template(crops[likely], fine[likely], usual, middle)
        centres = centres + where.middle() - side // 2
        crops, fine = (_crops(one, centres, side) for one in (own, search.fine))
        mark = _template(crops[likely], fine[likely], usual, middle)
    for axis in (0, 1):
        bar = _bar(own, centres, middle, usual, axis)
        if bar is not None:
            return [bar]
    estimates = [
        estimated(crops, middle, usual, "anywhere", own[0, 0].numel(), grows=grows)
        for grows in (True, False)
    ]
    return [_trimmed(one) for one in estimates if one is not None]


def _bar(own: Tensor, centres: Tensor, middle: Tensor, usual: Tensor, axis: int) -> Overlay | None:
    """Return the bar across the whole photo that a patch is a piece of; None where it ends.

    Photos are laid over each other by the centres' rows alone, or by columns for ``axis`` 1.
    """
    photos, at = (own, centres) if axis == 0 else (own.mT, centres.flip(1))
    side, width = round(_CROPS[0] * min(own.shape[2:])), photos.shape[3]
    at = torch.stack([at[:, 0], torch.full_like(at[:, 0], width // 2)], 1)
    whole = estimated(_crops(photos, at, side, width), middle, usual, "anywhere", own[0, 0].numel())
    if whole is None:
        return None
    across = (whole.alpha > 0).float().mean(1) > _ACROSS
    if not bool(across.any()):
        return None
    bar = _trimmed(Overlay(whole.alpha * across[:, None], whole.colour, "anywhere"))
    return bar if axis == 0 else Overlay(bar.alpha.T, bar.colour.mT, "anywhere")


@dataclass(frozen=True, eq=False)
class _Template:
    """What is searched for: fine parts ``(3, h, w)``, and colours where they count, ``(h, w)``."""

    fine: Tensor
    colour: Tensor | None = None
    support: Tensor | None = None

    def reduced(self, factor: int) -> _Template:
        if factor == 1:
            return self
        fine, colour, support = (
            None if one is None else _reduced(one if one.ndim == 3 else one[None], factor)
            for one in (self.fine, self.colour, self.support)
        )
        assert fine is not None
        return _Template(fine, colour, None if support is None else support[0])

    def middle(self) -> Tensor:
        """Row and column of the middle of it."""
        energy = self.fine.square().sum(0)
        where = (energy > 0.1 * energy.max()).float()
        where = avg_pool2d(where[None, None], 5, 1, 2)[0, 0] > 0.2  # not single pixels
        if self.support is not None:
            where |= self.support > 0
        if not bool(where.any()):
            return torch.tensor(energy.shape) // 2
        rows = where.nonzero().double()
        return ((rows.amin(0) + rows.amax(0)) / 2).round().long()


def _template(crops: Tensor, fine: Tensor, usual: Tensor, middle: Tensor) -> _Template:
    """Return what crops ``(n, 3, h, w)`` and their fine parts have in common."""
    colour = median(crops)
    consistent = 1 - (deviation(crops, colour) / usual.clamp_min(1e-3)).mean(0)
    # a mark at an edge of every photo: what is beyond it in all of them counts for nothing
    beyond = ~torch.isfinite(consistent) | ~torch.isfinite(colour).all(0)
    smooth = avg_pool2d(consistent.where(~beyond, consistent.new_tensor(0.0))[None], 3, 1, 1)[0]
    smooth = smooth.where(smooth > by_chance(crops), 0.0)
    support = (smooth > 0.5 * smooth.max()).float()
    mean = fine.nanmean(0).nan_to_num(0.0)
    energy = mean.square().sum(0)
    number = torch.isfinite(fine[:, 0]).sum(0)
    error = (fine - mean).square().nansum(0).sum(0) / (number * (number - 1))
    error = error.nan_to_num(1.0)  # of one photo nothing is known
    mean = mean * (1 - _NOISE**2 * error / energy.clamp_min(1e-9)).clamp_min(0)
    some = bool(support.any())
    return _Template(mean, colour.where(~beyond, middle) if some else None,
                     support if some else None)  # fmt: skip


def located(overlay: Overlay, photos: Tensor, maps: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find a mark in photos: its α where each matches best ``(N, H, W)``, and how well ``(N,)``.

    With ``maps`` ``(N, H, W)`` ≥ 0, such as those of a component, it lies where both are high, and
    may be smaller or larger than the estimated one.
    """
    factor = _coarseness(photos)
    overlays = [overlay] if maps is None else _of_several_sizes(overlay, photos)
    marks = [_mark_of(one).reduced(factor) for one in overlays]
    alpha, matches = photos.new_zeros(len(photos), *photos.shape[2:]), photos.new_zeros(len(photos))
    for start in range(0, len(photos), _CHUNK):
        part = slice(start, start + _CHUNK)
        matcher, most = Matcher(_reduced(photos[part], factor)), matches[part] - torch.inf
        for one, mark in zip(overlays, marks, strict=True):
            weighted = likeness = matcher.likeness(mark)
            if maps is not None:
                weighted = likeness.clamp_min(0) * _reduced(maps[part], factor)
            values, at = matcher.highest(weighted)
            better = (values > most).nonzero()[:, 0]
            most[better] = values[better]
            matches[start + better] = likeness[better, at[better, 0], at[better, 1]]
            size = torch.empty(1, *(side + 2 * _EDGE for side in one.alpha.shape))
            for photo, centre in zip(better, _enlarged(at[better], size, factor), strict=True):
                alpha[start + photo] = _placed(one.alpha, centre, photos.shape[2:])
    return alpha, matches


def _of_several_sizes(overlay: Overlay, photos: Tensor) -> list[Overlay]:
    """Return a mark as it is, and as much smaller and larger as can be searched for."""
    several, most = [overlay], _CROPS[0] * min(photos.shape[2:])
    for scale in _SCALES:
        size = [max(round(scale * side), 3) for side in overlay.alpha.shape]
        if max(size) <= most:
            both = torch.cat([overlay.alpha[None], overlay.alpha * overlay.colour])[None]
            alpha, *colour = interpolate(both, size, mode="bilinear", antialias=True)[0]
            colours = torch.stack(colour) / alpha.clamp_min(1e-3)
            several.append(Overlay(alpha.clamp(0, 1), colours.clamp(0, 1), "anywhere"))
    return several


def _mark_of(overlay: Overlay) -> _Template:
    opacity, colour = (pad(one, (_EDGE,) * 4) for one in (overlay.alpha, overlay.colour))
    blend = opacity * colour + (1 - opacity) * 0.5
    near = (avg_pool2d(opacity[None], 3, 1, 1)[0] > 0).float()
    return _Template(even_contrast(blend[None])[0] * near, colour, opacity)


def _placed(alpha: Tensor, centre: Tensor, size: torch.Size) -> Tensor:
    """Put α ``(h, w)`` around a pixel of an empty photo, as far as it is on it."""
    whole, (height, width) = alpha.new_zeros(size), alpha.shape
    top, left = int(centre[0]) - height // 2, int(centre[1]) - width // 2
    rows = slice(max(top, 0), min(top + height, size[0]))
    columns = slice(max(left, 0), min(left + width, size[1]))
    whole[rows, columns] = alpha[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return whole


class _Search:
    """Searches photos for a template ``(n, 3, H, W)``: small copies first, then near the match."""

    def __init__(self, photos: Tensor) -> None:
        self.fine, self._factor = even_contrast(photos), _coarseness(photos)
        self._matcher = Matcher(_reduced(photos, self._factor))

    def centres(self, mark: _Template) -> tuple[Tensor, Tensor]:
        """Return how well each photo matches ``(n,)`` and where, row and column ``(n, 2)``."""
        matches, at = self._matcher.highest(self._matcher.likeness(mark.reduced(self._factor)))
        at = _enlarged(at, mark.fine, self._factor)
        return matches, at if self._factor == 1 else self._refined(at, mark.fine)

    def _refined(self, at: Tensor, fine: Tensor) -> Tensor:
        """Move each centre by a few pixels to where fine parts are most like the template's."""
        side, reach = fine.shape[1], range(2 * self._factor + 1)
        wide = _crops(self.fine, at, side + 2 * self._factor).nan_to_num(0.0)
        shifts = [(row, column) for row in reach for column in reach]
        likeness = [
            (wide[:, :, row : row + side, column : column + side] * fine).sum((1, 2, 3))
            for row, column in shifts
        ]
        best = torch.stack(likeness).argmax(0)
        return at + torch.tensor(shifts)[best] - self._factor


class Matcher:
    """Finds what is most like a template in photos ``(n, 3, H, W)``, also at their edges."""

    def __init__(self, photos: Tensor) -> None:
        self._photos, self._size = photos, photos.shape[2:]
        margin = round(_CROPS[0] * min(self._size)) + 1
        self._full = [next_fast_len(side + margin, real=True) for side in self._size]

    def by_detail(self, fine: Tensor) -> Tensor:
        """Correlation with fine parts ``(3, h, w)`` around every pixel, ``(n, H, W)``."""
        energy = fine.square().sum().clamp_min(1e-6)
        return self._sums((self._fine, fine[None] / energy))

    def by_colour(self, template: Tensor, support: Tensor) -> Tensor:
        """One minus the mean distance of the colours, over what is usual in the photo."""
        spectra, energy, inside = self._colours
        weights = support[None, None]
        inner = self._sums((inside, weights))
        own = (support * template.square().sum(0))[None, None]
        cost = self._sums(
            (energy, weights), (spectra, -2 * support * template[None]), (inside, own)
        )
        cost = (cost / inner.clamp_min(1e-6)).clamp_min(0).sqrt()
        likeness: Tensor = 1 - cost / cost.mean((1, 2), keepdim=True).clamp_min(1e-6)
        return likeness.where(inner > 0.6 * support.sum(), likeness.new_tensor(-1.0))

    def likeness(self, mark: _Template) -> Tensor:
        """Return how well a template matches around every pixel, up to 2, ``(n, H, W)``."""
        detail = self.by_detail(mark.fine)
        if mark.colour is None or mark.support is None:
            return detail
        return detail + self.by_colour(mark.colour, mark.support)

    def highest(self, matches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest match of each photo ``(n,)`` and its row and column ``(n, 2)``."""
        values, at = matches.flatten(1).max(1)
        return values, torch.stack([at // self._size[1], at % self._size[1]], 1)

    @cached_property
    def _fine(self) -> Tensor:
        return self._spectra(even_contrast(self._photos))

    @cached_property
    def _colours(self) -> tuple[Tensor, Tensor, Tensor]:
        energy = self._photos.square().sum(1, keepdim=True)
        inside = torch.ones(1, 1, *self._size)
        return self._spectra(self._photos), self._spectra(energy), self._spectra(inside)

    def _spectra(self, values: Tensor) -> Tensor:
        spectra: Tensor = torch.fft.rfft2(values, s=self._full)
        return spectra

    def _sums(self, *pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Sum of photos times a kernel around every pixel, of all pairs together, ``(n, H, W)``.

        The first pair holds the spectra of most photos.
        """
        product = torch.zeros_like(pairs[0][0][:, 0])
        for spectra, kernel in pairs:
            filters = torch.fft.rfft2(kernel, s=self._full).conj()[0]
            for channel, one in enumerate(filters):
                product.addcmul_(spectra[:, channel], one)
        whole = torch.fft.irfft2(product, s=self._full)
        middle = [side // 2 for side in pairs[0][1].shape[2:]]
        centred: Tensor = whole.roll(middle, (1, 2))[:, : self._size[0], : self._size[1]]
        return centred


def _best_template(own: Tensor, others: Tensor) -> Tensor:
    """Return the crop ``(3, h, w)`` that photos of the class match better than others."""
    some = own[spread_out(torch.arange(len(own)), _MATCHED)]
    rest = others[spread_out(torch.arange(len(others)), _MATCHED)]
    first, second = (Matcher(avg_pool2d(one, 2)) for one in (some, rest))
    indices, positions, agreement = recurring_positions(own)
    best, template = -torch.inf, own[0]
    for number in agreement.argsort(descending=True)[:_TEMPLATES].tolist():
        photo, at = own[indices[number]], positions[number]
        for size in _CROPS:
            crop = _crops(photo[None], at[None], round(size * min(own.shape[2:])) // 2 * 2)[0]
            crop = crop.nan_to_num(float(crop.nanmean()))
            half = even_contrast(avg_pool2d(crop[None], 2))[0]
            gain = _typical(first.by_detail(half)) - _typical(second.by_detail(half), leave=0)
            if gain > best:
                best, template = gain, crop
    return template


def _typical(matches: Tensor, leave: int = 1) -> float:
    """Mean of the better half, without the photo that the template is of."""
    highest = matches.flatten(1).amax(1)
    return float(highest.sort(descending=True).values[leave : len(highest) // 2 + leave].mean())


def _crops(photos: Tensor, centres: Tensor, side: int, wide: int | None = None) -> Tensor:
    """Cut a square around a pixel, or one near the edges, out of each photo; NaN beyond these.

    ``wide``: of so many columns instead of ``side``.
    """
    height, width = photos.shape[2:]
    wide = wide or side
    crops = photos.new_full((*photos.shape[:2], side, wide), torch.nan)
    corners = centres - torch.tensor([side // 2, wide // 2])
    for crop, photo, (row, column) in zip(crops, photos, corners.tolist(), strict=True):
        top, left = max(row, 0), max(column, 0)
        part = photo[:, top : min(row + side, height), left : min(column + wide, width)]
        if part.numel():
            down, right = top - row, left - column
            crop[:, down : down + part.shape[1], right : right + part.shape[2]] = part
    return crops


def _near(photos: Tensor, side: int) -> Tensor:
    """Cut a square at a random position out of each photo."""
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
    """How many times smaller the copies of photos are that are searched for a mark."""
    return max(1, round(min(photos.shape[2:]) / _SMALL))


def _reduced(photos: Tensor, factor: int) -> Tensor:
    return photos if factor == 1 else avg_pool2d(photos, factor, ceil_mode=True)


def _enlarged(at: Tensor, template: Tensor, factor: int) -> Tensor:
    """Return the centres ``(n, 2)`` of a template in photos, from those in the small copies."""
    middle = torch.tensor(template.shape[1:]) // 2
    smaller = (torch.tensor(template.shape[1:]) + factor - 1) // factor // 2
    return (at - smaller) * factor + middle
