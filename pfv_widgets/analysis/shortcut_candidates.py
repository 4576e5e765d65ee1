"""What may be a shortcut: marks that the photos of a class have in common."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pfv_widgets.analysis.overlays import Overlay, fixed_overlay, patch_overlay, tint_overlay
from pfv_widgets.engine.network.partial_forward import PartialForward

_ROUNDS = 6


def overlays_of(photos: Tensor, own: Tensor, centres: Tensor) -> Iterator[Overlay]:
    """Find marks on the photos of one class that the others do not have.

    Parameters
    ----------
    photos
        ``(N, 3, H, W)`` in [0, 1].
    own
        bool ``(N,)``: those of the class.
    centres
        Row and column in pixels of where the class's photos have something in common,
        ``(N, 2)``.
    """
    mine, others = photos[own], photos[~own]
    for found in (
        fixed_overlay(mine, others),
        patch_overlay(mine, others, centres[own]),
        tint_overlay(mine, others),
    ):
        if found is not None:
            yield found


def common_positions(part: PartialForward, mean: Tensor, unit: int, own: Tensor) -> Tensor:
    """Return the position of each photo that is most like what speaks for a class, ``(N,)``.

    Beginning with the position of each photo of the class whose features add most to its margin,
    the densest of these feature vectors is followed to the mean of those near it.
    """
    evidence = _evidence(part, mean, unit)
    centred = (part.features - mean[:, None, None]).flatten(2)
    vectors = centred[torch.arange(len(centred)), :, evidence.flatten(1).argmax(1)][own]
    units = normalize(vectors, dim=1)
    direction = units[(units @ units.T).median(1).values.argmax()]
    lengths = centred.norm(dim=1).clamp_min(1e-12)
    for _ in range(_ROUNDS):
        at = torch.einsum("c,ncp->np", direction, centred).argmax(1)
        vectors = centred[torch.arange(len(centred)), :, at][own]
        likeness = normalize(vectors, dim=1) @ direction
        direction = normalize(vectors[likeness >= likeness.median()].mean(0), dim=0)
    cosines = torch.einsum("c,ncp->np", direction, centred) / lengths
    strongest: Tensor = cosines.argmax(1)
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
