"""Where marks that look different in each photo move the features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_STRONGEST = 0.12  # of a photo's positions: where a mark that lies anywhere may be
_FEWEST = 64  # positions: each of a coarser map sees most of the photo
_ALIKE = 0.5  # cosine: the estimated mark is what the photos have, where it is more


def refined_direction(features: Tensor, direction: Tensor, own: Tensor) -> Tensor | None:
    """Return the mean of a mark's direction and of what photos of the class have at the mark.

    None where these are alike, or the map is too coarse to tell where the mark is.

    Parameters
    ----------
    features
        ``(N, C, h, w)``.
    direction
        Unit vector ``(C,)`` along which the mark, as estimated, moves them.
    own
        bool ``(N,)``: the photos of the class.
    """
    if features[0, 0].numel() < _FEWEST:
        return None
    there = at_its_strongest(features, direction, own)
    return None if float(direction @ there) > _ALIKE else normalize(direction + there, dim=0)


def at_its_strongest(features: Tensor, direction: Tensor, own: Tensor) -> Tensor:
    """Return what photos of a class have where a mark is strongest, a unit vector ``(C,)``.

    The features ``(N, C, h, w)`` there minus those of the whole photo, and minus the same of other
    classes' photos: what a class has all over its photos, and what any photo has there, counts for
    nothing. It is of all the photos' marks, where an estimated mark is one colour, size and shape.
    """
    maps = features.flatten(2)
    most = max(1, round(_STRONGEST * maps.shape[2]))
    at = torch.einsum("c,ncp->np", direction, maps).topk(most).indices
    there = maps.gather(2, at[:, None].expand(-1, maps.shape[1], -1)).mean(2) - maps.mean(2)
    return normalize(there[own].mean(0) - there[~own].mean(0), dim=0)
