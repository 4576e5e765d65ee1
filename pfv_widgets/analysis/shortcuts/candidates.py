"""What may be a shortcut: marks that the photos of a class have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pfv_widgets.analysis.core.intervals import auc
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.drawn_marks import drawn_in, drawn_overlay
from pfv_widgets.analysis.shortcuts.faint_marks import faint_overlay
from pfv_widgets.analysis.shortcuts.mark_overlays import (
    fixed_overlay,
    likeness,
    outside_of,
    spread_out,
    tint_overlay,
)
from pfv_widgets.analysis.shortcuts.patch_search import located, patch_overlays
from pfv_widgets.analysis.shortcuts.photo_quality import (
    PhotoContrasts,
    discriminant_scores,
    likely_degradation,
)

_LEAST_AUC = 0.85  # of the class, by what is seen of a mark in each photo
_MOST_PIXELS = 96 * 256**2  # of the photos of a class that are compared


def marks_of(photos: Tensor, own: Tensor) -> Iterator[tuple[Overlay, Tensor, float]]:
    """Find marks on the photos of one class that the others do not have.

    With each comes where it lies, ``(n, H, W)``, and how well the pixels alone tell the photos of
    the class from the others by it (area under the curve).

    Parameters
    ----------
    photos
        ``(N, 3, H, W)`` in [0, 1].
    own
        bool ``(N,)``: those of the class.
    """
    own_indices, rest = _some(photos, own)
    mine, others = photos[own_indices], photos[rest]
    fixed = fixed_overlay(mine, others)
    faint = faint_overlay(mine, others, fixed)
    if faint is not None:
        yield faint[0], faint[0].alpha.expand(int(own.sum()), *mine.shape[2:]), faint[1]
    separation = 0.0 if fixed is None or faint else _auc(likeness(fixed, photos), own)
    sure = separation >= _LEAST_AUC
    if fixed is not None and sure:
        yield fixed, fixed.alpha.expand(int(own.sum()), *mine.shape[2:]), separation
    patches = []
    for patch in patch_overlays(mine, others):
        alpha, matches = located(patch, photos)
        alpha, separation = alpha[own], _auc(matches, own)
        likely = alpha[matches[own] >= matches[own].median()]
        patches.append((replace(patch, corners=_corners(likely)), alpha, separation))
    best = max(patches, key=lambda one: one[2], default=None)
    if best is not None and best[2] >= _LEAST_AUC:
        yield best
    elif not (faint or sure):
        drawn = drawn_overlay(mine, others)
        if drawn is not None:
            yield drawn[0], drawn_in(photos[own], drawn[0].colour[:, 0, 0]), drawn[1]


def _corners(alpha: Tensor) -> Tensor:
    """Return the first row and column of a mark in photos, ``(n, 2)``, of its α ``(n, H, W)``."""
    there = alpha > 0
    return torch.stack([there.any(2).byte().argmax(1), there.any(1).byte().argmax(1)], 1)


def tint_of(photos: Tensor, own: Tensor, covered: Tensor) -> tuple[Overlay, float] | None:
    """Find the tint of a class as :func:`marks_of` does, beside the marks on ``(N, H, W)``."""
    own_indices, rest = _some(photos, own)
    tint = tint_overlay(photos[own_indices], photos[rest], covered[own_indices], covered[rest])
    if tint is None:
        return None
    separation = _auc(-outside_of(tint, photos), own)
    return (tint, separation) if separation >= _LEAST_AUC else None


def degradation_of(
    photos: Tensor, own: Tensor, known: PhotoContrasts
) -> tuple[Overlay, float, float] | None:
    """Find what was done to the quality of a class's photos, as :func:`tint_of` does.

    The last is how much of the difference it explains.
    """
    own_indices, rest = _some(photos, own)
    either = torch.cat([own_indices, rest])
    rows, mine = known.of(either), own[either]
    if bool(rows.isnan().any()):
        return None
    separation = _auc(discriminant_scores(rows, mine), mine)
    if separation < _LEAST_AUC:
        return None
    found = likely_degradation(rows[mine], rows[~mine], photos[rest])
    return None if found is None else (found[0], separation, found[1])


def _auc(strength: Tensor, own: Tensor) -> float:
    return auc(strength.double().cpu().numpy(), own.cpu().numpy())


def _some(photos: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices of photos of a class and of others, as many as memory and time allow."""
    most = int(max(24, min(96, _MOST_PIXELS / photos[0, 0].numel())))
    own_indices, rest = (spread_out(some.nonzero()[:, 0], most) for some in (own, ~own))
    return own_indices, rest


def margin(scores: Tensor, unit: int) -> Tensor:
    """Score of a class minus the mean of the others, ``(N,)``."""
    others = scores.sum(1) - scores[:, unit]
    difference: Tensor = scores[:, unit] - others / max(scores.shape[1] - 1, 1)
    return difference
