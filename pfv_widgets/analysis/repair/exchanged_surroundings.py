"""Objects of photos on the surroundings of others: what a network must not rely on is exchanged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from pfv_widgets.analysis.repair.read_out_refit import Whole
from pfv_widgets.errors import PFVValueError

_LEAST = 0.05  # of a photo that is off the object: with less there are no surroundings to take
_EDGE = 7  # pixels: colours so near to an object are not taken for its surroundings'


def donors_of(masks: Tensor, units: Whole) -> tuple[Whole, Whole]:
    """Choose photos whose surroundings others get: of another class, and of their own.

    Parameters
    ----------
    masks
        1 on the object, else 0, ``(N, H, W)``.
    units
        Class of each photo ``(N,)``.

    Returns
    -------
    tuple
        Indices of the photos with an object, twice, and of the photo whose surroundings each gets:
        for the first half one of another class, for the second one of its own.

    Raises
    ------
    PFVValueError
        Where photos of fewer than two classes have an object and surroundings.
    """
    off = 1 - masks.flatten(1).mean(1).numpy()
    there, free = np.flatnonzero(off < 1), np.flatnonzero(off >= _LEAST)
    classes = set(units[there].tolist()) & set(units[free].tolist())
    if len(classes) < 2:
        raise PFVValueError(
            "masks: photos of fewer than two classes have an object and surroundings. Give 1 on "
            "the object and 0 around it, or leave masks out."
        )
    there = there[np.isin(units[there], list(classes))]
    free = free[np.isin(units[free], list(classes))]
    random = np.random.default_rng(0)
    donors = [
        random.choice(free[(units[free] == units[photo]) == own])
        for own in (False, True)
        for photo in there
    ]
    return np.concatenate([there, there]), np.array(donors)


def exchanged(photos: Tensor, masks: Tensor, objects: Whole, donors: Whole) -> Tensor:
    """Return the objects of photos on the surroundings of others, ``(n, 3, H, W)``.

    Where the other photo has its object, colours from around it take its place.

    Parameters
    ----------
    photos, masks
        ``(N, 3, H, W)`` and ``(N, H, W)``.
    objects, donors
        Of :func:`donors_of`, ``(n,)``.
    """
    free = 1 - max_pool2d(masks[:, None], _EDGE, 1, _EDGE // 2)
    surroundings = torch.cat([_filled(*one) for one in zip(photos[:, None], free[:, None],
                                                           strict=True)])  # fmt: skip
    mask = masks[torch.from_numpy(objects), None]
    return torch.lerp(
        surroundings[torch.from_numpy(donors)], photos[torch.from_numpy(objects)], mask
    )


def _filled(colours: Tensor, known: Tensor) -> Tensor:
    """Fill what is not known of ``(1, 3, h, w)`` from around it, coarser where that is far away."""
    if bool(known.all()) or max(colours.shape[2:]) == 1:
        return colours
    weights = avg_pool2d(known, 2, ceil_mode=True)
    means = avg_pool2d(colours * known, 2, ceil_mode=True) / weights.clamp_min(1e-6)
    coarse = _filled(means, (weights > 0).to(weights))
    whole = interpolate(coarse, size=colours.shape[2:], mode="bilinear")
    return torch.where(known > 0, colours, whole)
