"""What may be a shortcut: marks that the photos of a class have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pfv_widgets.analysis.intervals import auc
from pfv_widgets.analysis.overlays import (
    Overlay,
    fixed_overlay,
    likeness,
    outside_of,
    spread_out,
    tint_overlay,
)
from pfv_widgets.analysis.patch_search import located, patch_overlay
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.engine.pca.basis import PrincipalBasis

_ROUNDS = 6
_LEAST_AUC = 0.85  # of the class, by what is seen of a mark in each photo
_MOST_PIXELS = 96 * 256**2  # of the photos of a class that are compared
_COMPONENTS = 2  # whose strongest positions are tried


def marks_of(
    photos: Tensor, own: Tensor, seeds: Sequence[Tensor]
) -> Iterator[tuple[Overlay, Tensor, float]]:
    """Find marks on the photos of one class that the others do not have.

    With each comes where it lies, ``(n, H, W)``, and how well the pixels alone tell the photos of
    the class from the others by it (area under the curve).

    Parameters
    ----------
    photos
        ``(N, 3, H, W)`` in [0, 1].
    own
        bool ``(N,)``: those of the class.
    seeds
        Lists of positions, row and column in pixels ``(N, 2)``, at which the class's photos may
        have something in common.
    """
    chosen, rest = _some(photos, own)
    mine, others = photos[chosen], photos[rest]
    fixed = fixed_overlay(mine, others)
    if fixed is not None:
        where = fixed.alpha.expand(int(own.sum()), *mine.shape[2:])
        yield fixed, where, _seen(likeness(fixed, photos), own)
    patch = patch_overlay(mine, others, [positions[chosen] for positions in seeds])
    if patch is not None:
        alpha, matches = located(patch, photos)
        seen = _seen(matches, own)
        if seen >= _LEAST_AUC:
            yield patch, alpha[own], seen


def tint_of(photos: Tensor, own: Tensor, covered: Tensor) -> tuple[Overlay, float] | None:
    """Find the tint of a class as :func:`marks_of` does, beside the marks on ``(N, H, W)``."""
    chosen, rest = _some(photos, own)
    tint = tint_overlay(photos[chosen], photos[rest], covered[chosen], covered[rest])
    if tint is None:
        return None
    seen = _seen(-outside_of(tint, photos), own)
    return (tint, seen) if seen >= _LEAST_AUC else None


def _seen(strength: Tensor, own: Tensor) -> float:
    return auc(strength.double().cpu().numpy(), own.cpu().numpy())


def _some(photos: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices of photos of a class and of others, as many as memory and time allow."""
    most = int(max(24, min(96, _MOST_PIXELS / photos[0, 0].numel())))
    chosen, rest = (spread_out(some.nonzero()[:, 0], most) for some in (own, ~own))
    return chosen, rest


def seeds_of(
    part: PartialForward, basis: PrincipalBasis, unit: int, own: Tensor, size: tuple[int, int]
) -> list[Tensor]:
    """Return lists of pixels ``(N, 2)`` where a class's photos may have something in common.

    Where features add most to the class, and where the principal components are strongest that
    tell the class best from the others.
    """
    centred = part.features - basis.mean.to(part.features)[:, None, None]
    scores = torch.einsum("kc,nchw->nkhw", basis.components.to(centred), centred).flatten(2)
    sides = torch.cat([scores, -scores], 1)
    strongest = sides.amax(2).double().cpu().numpy()
    areas = [auc(column, own.cpu().numpy()) for column in strongest.T]
    best = np.argsort(areas)[::-1][:_COMPONENTS].tolist()
    cells = [_common_positions(part, basis.mean, unit, own)]
    cells += [sides[:, one].argmax(1) for one in best]
    height, width = part.features.shape[2:]
    steps = torch.tensor([size[0] / height, size[1] / width])
    return [(torch.stack([at // width, at % width], 1).cpu() + 0.5) * steps for at in cells]


def _common_positions(part: PartialForward, mean: Tensor, unit: int, own: Tensor) -> Tensor:
    """Return the position of each photo that is most like what speaks for a class, ``(N,)``.

    Beginning with the position of each photo of the class whose features add most to its margin,
    the densest of these feature vectors is followed to the mean of those near it.
    """
    evidence = _evidence(part, mean, unit)
    centred = part.features.flatten(2).mT - mean  # photo, position, channel
    photo = torch.arange(len(centred))
    vectors = centred[photo, evidence.flatten(1).argmax(1)][own]
    units = normalize(vectors, dim=1)
    direction = units[(units @ units.T).median(1).values.argmax()]
    lengths = centred.norm(dim=2).clamp_min(1e-12)
    for _ in range(_ROUNDS):
        vectors = centred[photo, (centred @ direction).argmax(1)][own]
        cosines = normalize(vectors, dim=1) @ direction
        direction = normalize(vectors[cosines >= cosines.median()].mean(0), dim=0)
    strongest: Tensor = (centred @ direction / lengths).argmax(1)
    return strongest


def margin(scores: Tensor, unit: int) -> Tensor:
    """Score of a class minus the mean of the others, ``(N,)``."""
    others = scores.sum(1) - scores[:, unit]
    difference: Tensor = scores[:, unit] - others / max(scores.shape[1] - 1, 1)
    return difference


def _evidence(part: PartialForward, mean: Tensor, unit: int) -> Tensor:
    """Gradient of the margin times the feature about the mean, at each position ``(N, h, w)``."""
    with torch.enable_grad():
        features = part.features.clone().requires_grad_()
        (slope,) = torch.autograd.grad(margin(part.run(features), unit).sum(), features)
    return (slope * (part.features - mean[:, None, None])).sum(1)
