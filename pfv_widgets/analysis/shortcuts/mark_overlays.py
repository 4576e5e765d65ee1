"""Marks on photos: estimated from what the photos of one class have in common, and put on others.

A mark is an overlay ``(1 − α) · photo + α · colour``. Where photos carry one, their pixels differ
less from each other than those of other photos: α is one minus the ratio of the deviations. The
deviation is the median distance from the median, so that photos without the mark do no harm. A
tint is a map of all colours instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from pfv_widgets.analysis.core.overlay import Overlay, Place
from pfv_widgets.analysis.shortcuts.recurring_patches import blurred_by

_CLEAR, _BY_CHANCE = 0.25, 1.4  # α from which a pixel belongs to a mark; + that over √photos
_BESIDE, _NEAR = 0.4, 5  # the same beside such pixels; in a square of so many pixels
_MOST, _TIMES = 0.6, 20  # of the photo or of a patch's crop; of the pixels that are sure
_STANDS_OUT, _AROUND = 6.0, 8  # median distances over √photos; of the shorter side
_SUPPORT = 0.4  # of the pixels around it that must, too
_LINE, _STRAIGHT = 9, 0.85  # or of so many pixels in a row or a column
_SMALLEST = 0.0015  # of the photo: strokes of a text of five letters
_RING = 7  # of the photo's sides: how wide its edges are
_EXTREMES = (0.02, 0.1, 0.3)  # of a photo's pixels: the darkest and the lightest, fewest first
_CLIPPED = 0.96  # a channel that is lighter says little: more pixels are taken
_BLUR = 16  # of the photo's shorter side: half the width of the mean, taken twice
_DEGREE, _SMOOTH = 4, 1.7  # of the polynomials; their error over that of single pixels, squared
_CLEAREST = 0.95  # quantile of 1 − α that is 1 at most
_RIDGES = (1e-4, 0.03, 0.03, 0.1)  # of a colour, its slopes, and a constant
_LUMA = (0.299, 0.587, 0.114)  # what greys keep of a colour (ITU-R BT.601)
_FEWEST_PIXELS = 0.02  # of those near the edges that other marks leave
_FAINTEST = 0.03  # mean change of a colour by a tint


def fixed_overlay(own: Tensor, others: Tensor) -> Overlay | None:
    """Estimate the mark at a fixed place of photos ``(n, 3, H, W)``; None where there is none."""
    middle = median(others)
    usual = deviation(others, middle)
    mark = estimated(own, middle, usual, "fixed", own[0, 0].numel())
    return None if mark is None else _shading(own, middle, usual, mark) or mark


def _shading(own: Tensor, middle: Tensor, usual: Tensor, mark: Overlay) -> Overlay | None:
    """Return a mark without edges, such as a vignette or a gradient; None for any other.

    Single pixels say little of its faint parts. It has no edges where a polynomial over the photo,
    fitted to α of half of the photos, predicts that of the other half about as well as α of the
    first half does, where it is sure.
    """
    common = median(own)
    opacity = _opacity(own, common, usual)
    inside = (mark.alpha > 0) & (opacity > by_chance(own))  # without what grew around these
    smooth = _smooth(_polynomials(_DEGREE, inside))
    one, other = (_opacity(half, median(half), usual) for half in (own[::2], own[1::2]))
    error, pixels, all_of_it = (
        float((other - guess(one)).square()[inside].mean())
        + float((one - guess(other)).square()[inside].mean())
        for guess in (smooth, torch.Tensor.clone, torch.zeros_like)
    )
    if not error <= min(_SMOOTH * pixels, all_of_it / 2):
        return None
    clear = smooth(1 - opacity)
    # photos of the class may differ more than others, but no opacity is below 0
    clear = clear / clear[::4, ::4].flatten().quantile(_CLEAREST).clamp_min(1)
    alpha = (1 - clear).clamp(0, 1)
    return Overlay(alpha, _colour_of_shading(alpha, common - clear * middle), "fixed")


def _colour_of_shading(alpha: Tensor, shift: Tensor) -> Tensor:
    """Return a colour ``(3, h, w)``, linear over the photo, of which α makes a shift of colours.

    That the classes differ in their mean colours anyway is a constant beside it; slopes and
    constant are drawn to 0 (ridge regression).
    """
    terms = torch.cat([_polynomials(1, alpha) * alpha, torch.ones_like(alpha)[None]]).flatten(1)
    gram = terms @ terms.T / terms.shape[1] + torch.diag(alpha.new_tensor(_RIDGES))
    weights = torch.linalg.solve(gram, terms @ shift.flatten(1).T / terms.shape[1])
    colour: Tensor = (weights[:-1].T @ terms[:-1]).view_as(shift) / alpha.clamp_min(0.02)
    return colour.clamp(0, 1)


def _polynomials(degree: int, like: Tensor) -> Tensor:
    """Return the products of powers of the row and the column, in -1…1, ``(m, h, w)``."""
    row, column = (torch.linspace(-1, 1, side) for side in like.shape)
    powers = ((one, two) for one in range(degree + 1) for two in range(degree + 1 - one))
    return torch.stack([row[:, None] ** one * column**two for one, two in powers])


def _smooth(polynomials: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what fits polynomials ``(m, h, w)`` to a map ``(h, w)``."""
    basis = torch.linalg.qr(polynomials.flatten(1).T).Q
    return lambda alpha: (basis @ (alpha.flatten() @ basis)).view(alpha.shape)


def _opacity(own: Tensor, common: Tensor, usual: Tensor) -> Tensor:
    """Return α ``(h, w)`` by how much less photos deviate from their median than is usual."""
    return (1 - (deviation(own, common) / usual.clamp_min(1e-3)).mean(0)).nan_to_num(0.0)


def blurred(photos: Tensor) -> Tensor:
    """Return photos without detail, which hide a mark without adding anything new."""
    half = min(photos.shape[2:]) // _BLUR
    return blurred_by(blurred_by(photos, 2 * half + 1), 2 * half + 1)


def likeness(mark: Overlay, photos: Tensor) -> Tensor:
    """How near each photo's colours are to those of a mark at a fixed place, ``(n,)`` ≤ 0."""
    distance = (photos - mark.colour).abs().mean(1)
    return -(distance * mark.alpha).flatten(1).sum(1) / mark.alpha.sum()


def tint_overlay(own: Tensor, others: Tensor, *covered: Tensor) -> Overlay | None:
    """Estimate a change of all colours of whole photos; None where it would be too faint.

    ``covered`` says where other marks lie on ``own`` and on ``others``, each bool ``(n, H, W)``,
    which are left out.

    The affine map that takes black and white of other photos to those of ``own``, and scales what
    is off the line between them by how colourful both are, at the same luma. The darkest and the
    lightest pixels of photos are grey whatever these show, as mean colours are not: of seven tints
    of 160 photos the map is off by .2 of the change, where that between means and covariances is
    by .4. Only the class whose colours spread less has a tint: a veil or a filter takes colours
    away.
    """
    masks = covered or [torch.zeros_like(some[:, 0]) for some in (own, others)]
    if not _spreads_less(own, others, masks):
        return None
    for part in _EXTREMES:
        (black, white, spread), (dark, light, usual) = (
            _grey_line(photos, some, part)
            for photos, some in zip((own, others), masks, strict=True)
        )
        if float(white.max()) < _CLIPPED:
            break
    weights = light.new_tensor(_LUMA)
    weights = weights / (weights @ (light - dark)).clamp_min(1e-3)
    along = torch.outer(light - dark, weights)
    colourful = (spread / usual.clamp_min(1e-3)).clamp(0.02, 1)
    mixing = torch.outer(white - black, weights) + colourful * (torch.eye(3) - along)
    offset = black - mixing @ dark
    pixels = _thinned(others).permute(1, 0, 2).flatten(1)
    moved = mixing @ pixels + offset[:, None]
    scale = float(torch.linalg.det(mixing))
    if not 1e-6 < scale <= 1 or float((moved - pixels).abs().mean()) < _FAINTEST:
        return None
    size = own.shape[2:]
    opacity = float((1 - mixing.diagonal().mean()).clamp(0.01, 1))
    return Overlay(torch.full(tuple(size), opacity), offset[:, None, None].expand(3, *size),
                   "everywhere", mixing)  # fmt: skip


def outside_of(tint: Overlay, photos: Tensor) -> Tensor:
    """Mean distance of each photo's pixels to the colours that a tint leaves, ``(n,)``.

    In photos that have it there is none: without it, black and white are beyond.
    """
    assert tint.mixing is not None
    pixels = _thinned(photos) - tint.colour[:, :1, :1].flatten(1)
    before = torch.einsum("dc,ncp->ndp", torch.linalg.inv(tint.mixing), pixels)
    distance = (before - before.clamp(0, 1)).abs().amax(1)
    mean: Tensor = distance.mean(1)
    return mean


def _spreads_less(own: Tensor, others: Tensor, masks: Sequence[Tensor]) -> bool:
    """Whether colours near the edges move by more than a faint tint, and spread less.

    Their means and covariances say so, whatever the darkest and lightest pixels are: the affine map
    between them by the shortest way (optimal transport between normal distributions).
    """
    counted = [_near_edges(1.0 - some.float()) for some in masks]
    if min(float(one.mean()) for one in counted) < _FEWEST_PIXELS:
        return False
    (goal, goal_spread), (mean, spread) = map(_colours, (own, others), counted)
    root = _root(spread)
    inverse = torch.linalg.inv(root)
    mixing = inverse @ _root(root @ goal_spread @ root) @ inverse
    pixels = _thinned(others).permute(1, 0, 2).flatten(1)
    moved = mixing @ (pixels - mean[:, None]) + goal[:, None]
    faint = float((moved - pixels).abs().mean()) < _FAINTEST
    return not faint and float(torch.linalg.det(mixing)) <= 1


def _near_edges(counted: Tensor) -> Tensor:
    """Leave out the middle of flags ``(n, H, W)``."""
    height, width = (side // _RING for side in counted.shape[1:])
    ring = counted.clone()
    ring[:, height:-height, width:-width] = 0
    return ring


def _colours(photos: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean colour ``(3,)`` and covariance of the pixels that count."""
    pixels = _thinned(photos).permute(1, 0, 2).flatten(1)
    pixels = pixels[:, _thinned(counted[:, None]).flatten() > 0]
    return pixels.mean(1), torch.cov(pixels) + 1e-5 * torch.eye(3)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def _grey_line(photos: Tensor, covered: Tensor, part: float) -> tuple[Tensor, Tensor, Tensor]:
    """Colours of the darkest and the lightest pixels ``(3,)``, and the spread off their line.

    Of a typical photo: medians over the photos. ``part`` of the pixels are taken.
    """
    pixels, skip = _thinned(photos), _thinned(covered[:, None].float())[:, 0] > 0
    luma = pixels.new_tensor(_LUMA)
    light = luma @ pixels
    number = max(1, round(part * pixels.shape[2]))
    ends = [
        pixels.gather(2, order[:, None, :number].expand(-1, 3, -1)).mean(2).median(0).values
        for order in (
            light.masked_fill(skip, torch.inf).argsort(1),
            light.masked_fill(skip, -torch.inf).argsort(1, descending=True),
        )
    ]
    axis = ends[1] - ends[0]
    along = (light - luma @ ends[0]) / (luma @ axis).clamp_min(1e-3)
    off = pixels - ends[0][:, None] - axis[:, None] * along[:, None]
    squares = off.square().sum(1).masked_fill(skip, 0).sum(1) / (~skip).sum(1).clamp_min(1)
    return ends[0], ends[1], squares.sqrt().median()


def estimated(
    own: Tensor, middle: Tensor, usual: Tensor, place: Place, pixels: int, *, grows: bool = True
) -> Overlay | None:
    """Return the mark of photos whose pixels deviate less than usual; None where there is none.

    Parameters
    ----------
    own
        ``(n, 3, h, w)``, aligned; NaN counts for nothing.
    middle, usual
        Median and deviation of other photos.
    pixels
        Of a whole photo.
    grows
        Whether less sure pixels beside it are of the mark as well.
    """
    common = median(own)
    number = torch.isfinite(own[:, 0]).sum(0)
    # what most photos do not have lies beyond their edges, and few photos agree there by chance
    alpha = _opacity(own, common, usual).where(2 * number > number.max(), 0.0)
    # few photos agree by chance, but not in pixels side by side
    mask = (alpha > by_chance(own)).float()[None, None]
    if place == "fixed":
        mask = mask.maximum(_lines(alpha.clamp_min(0)[None, None], by_chance(own, sure=False)))
    mask *= _supported(mask, lines=place == "fixed")
    if float(mask.sum()) < _SMALLEST * pixels:
        return None
    shift = (common - middle).nan_to_num(0.0)
    stands_out = _standing_out(shift, usual, mask, number)
    likely = alpha > by_chance(own, sure=False)
    if grows:
        mask = _grown(mask, likely | stands_out if place == "fixed" else likely)
    alpha = alpha.where(likely, _least_opacity(shift, middle)).clamp(0, 1) * mask[0, 0]
    safe = alpha.clamp_min(0.1)
    colour = ((common - (1 - safe) * middle) / safe).nan_to_num(0.0).clamp(0, 1)
    return Overlay(alpha, colour, place)


def _lines(alpha: Tensor, least: Tensor) -> Tensor:
    """Whether α ≥ 0 ``(1, 1, h, w)`` is higher on a row or a column than beside, by ``least``.

    What photos agree in by chance is wider than a line.
    """
    found = torch.zeros_like(alpha)
    for length, width in ((_LINE, 1), (1, _LINE)):
        on, near = (
            avg_pool2d(alpha, size, 1, (size[0] // 2, size[1] // 2), count_include_pad=False)
            for size in ((length, width), (max(length, _NEAR), max(width, _NEAR)))
        )
        found = found.maximum((_NEAR * (on - near) > (_NEAR - 1) * least).float())
    return found


def _supported(mask: Tensor, *, lines: bool) -> Tensor:
    """Whether pixels around are of the mask ``(1, 1, h, w)`` as well, or those of a line."""
    supported = avg_pool2d(mask, 3, 1, 1) > _SUPPORT
    for size in ((1, _LINE), (_LINE, 1)) if lines else ():
        half = (size[0] // 2, size[1] // 2)
        supported |= avg_pool2d(mask, size, 1, half, count_include_pad=False) > _STRAIGHT
    return supported


def _standing_out(shift: Tensor, usual: Tensor, mask: Tensor, number: Tensor) -> Tensor:
    """Whether typical colours differ from those around by more than chance, bool ``(h, w)``.

    ``shift`` ``(3, h, w)`` is from the colours of other photos. The medians of photos are smooth,
    those of a faint mark have its edges.
    """
    free = 1 - mask
    side = 2 * (min(shift.shape[1:]) // _AROUND) + 1
    around = blurred_by(shift[None] * free, side) / blurred_by(free, side).clamp_min(0.05)
    away = (shift - around[0]).abs().mean(0)
    return away > _STANDS_OUT * usual.expand_as(shift).mean(0) / number.clamp_min(1).sqrt()


def _least_opacity(shift: Tensor, middle: Tensor) -> Tensor:
    """Return the α ``(h, w)`` of black, white or a pure colour that shifts colours so far."""
    room = torch.where(shift > 0, 1 - middle, middle).clamp_min(1e-3)
    return (shift.abs() / room).amax(0)


def _grown(mask: Tensor, likely: Tensor) -> Tensor:
    """Return a mask ``(1, 1, h, w)`` of 0 and 1 with the likely pixels that lead away from it.

    Thin strokes and soft edges of a mark are less sure than its middle (hysteresis, Canny 1986).
    What goes on over most of the photo is a tint, and what a few pixels lead to is chance.
    """
    before, after = None, mask
    while before is None or bool((before != after).any()):
        before = after
        after = torch.maximum(after, max_pool2d(after, _NEAR, 1, _NEAR // 2) * likely)
    most = min(_MOST, _TIMES * float(mask.mean()))
    return mask if float(after.mean()) > most else after


def by_chance(photos: Tensor, *, sure: bool = True) -> Tensor:
    """Return the α from which a pixel is not taken for a mark's by chance, ``(h, w)``.

    By how many photos have that pixel: of patches at an edge those beyond it are in a few photos
    only, and one photo agrees with itself. Not ``sure``: beside pixels that are.
    """
    number = torch.isfinite(photos[:, 0]).sum(0)
    return _CLEAR + (_BY_CHANCE if sure else _BESIDE) / number.sqrt()


def deviation(photos: Tensor, middle: Tensor) -> Tensor:
    """Median distance from the median of the photos, ``(3, h, w)``; NaN counts for nothing."""
    return median((photos - middle).abs_())


def median(photos: Tensor) -> Tensor:
    """Median over the photos, each pixel for itself."""
    rows = photos.flatten(1).T.clone(memory_format=torch.contiguous_format)
    if bool(rows.sum().isnan()):
        return rows.nanmedian(1).values.view(photos.shape[1:])
    middle = (rows.shape[1] - 1) // 2
    rows.numpy().partition(middle, axis=1)  # in a row, in place: many times faster than torch's
    return rows[:, middle].reshape(photos.shape[1:])


def spread_out(indices: Tensor, most: int) -> Tensor:
    """Return at most ``most`` of some indices, evenly."""
    if len(indices) <= most:
        return indices
    return indices[torch.linspace(0, len(indices) - 1, most).round().long()]


def _thinned(photos: Tensor) -> Tensor:
    """Every fifteenth pixel, ``(N, 3, P)``; not always the same of lines at even distances."""
    return photos[:, :, ::5, ::3].flatten(2)
