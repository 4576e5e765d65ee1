"""Marks drawn anew in each photo, such as scratches or flakes: of one colour, and fine."""

from __future__ import annotations

import torch
from torch import Tensor

from pfv_widgets.analysis.core.intervals import auc
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.recurring_patches import blurred_by

_LEAST_AUC = 0.9  # by which the colour of half of the photos tells the class in the other half
_BINS = 10  # of each channel
_FINE, _AROUND = 0.12, 9  # of a channel: difference from the mean of a square of so many pixels
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
    fine: Tensor = (photos - blurred_by(photos, _AROUND)).abs_().amax(1) > _FINE
    return fine


def _fine_pixels(photos: Tensor) -> list[Tensor]:
    """Return the colours of each photo's fine pixels, ``(3, m)``."""
    return [photo[:, fine] for photo, fine in zip(photos, _fine(photos), strict=True)]


def _bins(colours: Tensor) -> Tensor:
    """Return which bin each of ``(3, m)`` is in, ``(m,)``."""
    red, green, blue = (colours * _BINS).long().clamp(0, _BINS - 1).unbind()
    return (red * _BINS + green) * _BINS + blue


def _colours(photos: Tensor) -> Tensor:
    """Return how many of each photo's pixels are fine and of each colour, ``(N, bins)``."""
    rows = [torch.bincount(_bins(one), minlength=_BINS**3) for one in _fine_pixels(photos)]
    return torch.stack(rows) / photos[0, 0].numel()


def _best_colour(own: Tensor, others: Tensor) -> int:
    """Return the bin whose counts ``(n, bins)`` tell the class best."""
    common = (own.mean(0) > _LEAST).nonzero()[:, 0]
    mine, rest = own[:, None, common], others[:, common]
    areas = ((mine > rest).float() + (mine >= rest)).mean((0, 1))  # twice those under the curves
    return int(common[areas.argmax()]) if len(common) else 0


def _middle_of(photos: Tensor, chosen: int) -> Tensor:
    """Return the median colour ``(3,)`` of fine pixels of a bin."""
    pixels = torch.cat(_fine_pixels(photos), 1)
    return pixels[:, _bins(pixels) == chosen].median(1).values


def _auc(own: Tensor, others: Tensor) -> float:
    labels = torch.cat([torch.ones(len(own)), torch.zeros(len(others))]).bool()
    return auc(torch.cat([own, others]).double().numpy(), labels.numpy())
