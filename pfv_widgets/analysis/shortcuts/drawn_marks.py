"""Marks drawn anew in each photo, such as scratches or flakes: of one colour, and fine."""

from __future__ import annotations

import torch
from torch import Tensor

from pfv_widgets.analysis.core.intervals import auc
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.recurring_patches import fine_parts

_LEAST_AUC = 0.9  # by which the colour of half of the photos tells the class in the other half
_BINS = 10  # of each channel
_FINE = 0.12  # of a channel, by which a pixel differs from those around it
_LEAST = 0.002  # of the pixels of a photo
_NEAR = 0.07  # of each channel: as far from the colour


def drawn_overlay(own: Tensor, others: Tensor) -> tuple[Overlay, float] | None:
    """Estimate a mark that is drawn anew in each photo, and how well it tells the class (an AUC).

    The colour that fine parts of the photos of the class have more often than those of the others.
    None where it tells the class of photos badly that it was not chosen by.

    Parameters
    ----------
    own, others
        Photos ``(n, 3, H, W)`` in [0, 1] of a class, and of the others.
    """
    counts = [_colours(one) for one in (own, others)]
    scores = []
    for half in (0, 1):
        best = _best_colour(*(one[half::2] for one in counts))
        scores.append([one[1 - half :: 2, best] for one in counts])
    mine, rest = (torch.cat(some) for some in zip(*scores, strict=True))
    separation = _auc(mine, rest)
    if separation < _LEAST_AUC:
        return None
    best = _best_colour(*counts)
    colour = _middle_of(own, best)
    drawings = drawn_in(own, colour)
    areas = drawings.mean((1, 2))
    if float(areas.median()) < _LEAST:
        return None
    there = drawings[areas > areas.median() / 2]  # a few photos may be spared
    typical = drawings[int(areas.argsort()[len(areas) // 2])]
    whole = colour[:, None, None].expand(3, *typical.shape)
    return Overlay(typical, whole, "anywhere", drawings=there), separation


def drawn_in(photos: Tensor, colour: Tensor) -> Tensor:
    """Return where photos have a colour ``(3,)`` in their fine parts, 1 or 0 ``(N, H, W)``."""
    near = ((photos - colour[:, None, None]).abs() < _NEAR).all(1)
    return (near & _fine(photos)).float()


def _fine(photos: Tensor) -> Tensor:
    return fine_parts(photos)[0].abs().amax(1) > _FINE


def _bins(photos: Tensor) -> Tensor:
    """Return which bin of colours each pixel is in, ``(N, H, W)``."""
    red, green, blue = (photos * _BINS).long().clamp(0, _BINS - 1).unbind(1)
    return (red * _BINS + green) * _BINS + blue


def _colours(photos: Tensor) -> Tensor:
    """Return how many of each photo's pixels are fine and of each colour, ``(N, bins)``."""
    rows = [one[fine] for one, fine in zip(_bins(photos), _fine(photos), strict=True)]
    counts = torch.stack([torch.bincount(one, minlength=_BINS**3) for one in rows])
    return counts / photos[0, 0].numel()


def _best_colour(own: Tensor, others: Tensor) -> int:
    """Return the bin whose counts ``(n, bins)`` tell the class best."""
    common = (own.mean(0) > _LEAST).nonzero()[:, 0].tolist()
    return max(common, key=lambda one: _auc(own[:, one], others[:, one]), default=0)


def _middle_of(photos: Tensor, chosen: int) -> Tensor:
    """Return the median colour ``(3,)`` of fine pixels of a bin."""
    there = (_bins(photos) == chosen) & _fine(photos)
    return photos.permute(0, 2, 3, 1)[there].median(0).values


def _auc(own: Tensor, others: Tensor) -> float:
    labels = torch.cat([torch.ones(len(own)), torch.zeros(len(others))]).bool()
    return auc(torch.cat([own, others]).double().numpy(), labels.numpy())
