"""Faint marks at a fixed place, such as a watermark or stripes over the whole photo.

Single pixels of these hardly agree more than those of other photos, but their edges are at the same
place in every photo: the mean of the photos' fine parts has them, where those of what the photos
show cancel out. Where a photo has little detail it says more of the mark, and counts more.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from pfv_widgets.analysis.core.intervals import auc
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.mark_overlays import deviation, median
from pfv_widgets.analysis.shortcuts.recurring_patches import blurred_by, fine_parts

_LEAST_AUC = 0.93  # by which mean fine parts of half of the photos tell the class in the other half
_FINE = 8  # of the shorter side: half the width of what is not fine
_STRONGEST = 0.02  # of the pixels
_ROUNDS = (0, 2, 8)  # of two means
_SUPPORT = 0.3  # of the pixels around it that must be, too: three of nine, of a thin stroke
_SOFTER, _SOFTEST = 3, 0.15  # rounds in which edges are fitted; part of its α that counts
_AREA = (0.0015, 0.7)  # of the photo
_BETTER = 1.1  # times as well as the rival
_MOST_LEFT = 0.97  # of the deviation between photos, below a mark


def faint_overlay(
    own: Tensor, others: Tensor, rival: Overlay | None
) -> tuple[Overlay, float] | None:
    """Estimate a mark of one colour and opacity, and how well it tells the class (an AUC).

    None where there is none, or where ``rival`` explains mean fine parts of photos that it is not
    estimated from as well.

    Parameters
    ----------
    own, others
        Photos ``(n, 3, H, W)`` in [0, 1] of a class, and of the others.
    rival
        The mark that single pixels agree in.
    """
    (even, energy), (even_others, energy_of_others) = map(_even_contrast, (own, others))
    separation = _separation(even, even_others)
    if separation < _LEAST_AUC:
        return None
    left, middle = _left(own, others), others.mean(0)
    mine, rest = (_fine(own), 1 / energy), (_fine(others), 1 / energy_of_others)
    first, second, fine = (
        _beyond(*(_mean(values[some], weights[some]) for values, weights in (mine, rest)))
        for some in (slice(0, None, 2), slice(1, None, 2), slice(None))
    )
    whiten = _whitening(first - second)
    axis = whiten.T @ _main_axis(whiten, fine)  # in colours: where the mark is, against chance

    def explained(mark: Overlay) -> float:
        added = torch.einsum(
            "dc,chw->dhw", whiten, _fine((mark.alpha * (mark.colour - middle))[None])[0]
        )
        goal = torch.einsum("dc,chw->dhw", whiten, second)
        return float((added * goal).sum() / (added.norm() * goal.norm()).clamp_min(1e-12))

    best, mark = 0.0 if rival is None else _BETTER * explained(rival), None
    for side, rounds, soft in product((axis, -axis), _ROUNDS, (True, False)):
        trial = _of_one_colour(first, side, rounds, middle, left, soft=soft)
        if trial is None or explained(trial) <= best:
            continue
        best = explained(trial)
        mark = _of_one_colour(fine, side, rounds, middle, left, soft=soft)
    return None if mark is None else (mark, separation)


def _even_contrast(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Return fine parts over their energy nearby, and that energy."""
    fine, energy = fine_parts(photos)
    return fine / energy.sqrt(), energy


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    mean: Tensor = (values * weights).sum(0) / weights.sum(0)
    return mean


def _beyond(own: Tensor, others: Tensor) -> Tensor:
    """Take away what photos of other classes have of fine parts ``(3, H, W)``, not their chance."""
    part = (own * others).sum() / others.square().sum().clamp_min(1e-12)
    return own - part.clamp(0, 1) * others


def _whitening(noise: Tensor) -> Tensor:
    """Return the matrix ``(3, 3)`` that gives noise of colours ``(3, H, W)`` unit covariance."""
    flat = noise.flatten(1)
    covariance = flat @ flat.T / flat.shape[1]
    covariance = covariance + 1e-3 * covariance.diagonal().mean().clamp_min(1e-12) * torch.eye(3)
    inverse: Tensor = torch.linalg.inv(torch.linalg.cholesky(covariance))
    return inverse


def _main_axis(whiten: Tensor, fine: Tensor) -> Tensor:
    flat = whiten @ fine.flatten(1)
    axis: Tensor = torch.linalg.eigh(flat @ flat.T).eigenvectors[:, -1]
    return axis


def _separation(own: Tensor, others: Tensor) -> float:
    """How well the mean fine parts of each half of the photos tell the class in the other."""
    scores = []
    for half in (0, 1):
        mean = own[half::2].mean(0) - others[half::2].mean(0)
        scores.append([(one[1 - half :: 2] * mean).sum((1, 2, 3)) for one in (own, others)])
    mine, rest = (torch.cat(some) for some in zip(*scores, strict=True))
    labels = torch.cat([torch.ones(len(mine)), torch.zeros(len(rest))]).bool()
    return auc(torch.cat([mine, rest]).double().numpy(), labels.numpy())


def _fine(maps: Tensor) -> Tensor:
    """Return ``(N, C, H, W)`` without its coarser parts."""
    half = min(maps.shape[2:]) // _FINE
    return maps - blurred_by(maps, 2 * half + 1)


def _left(own: Tensor, others: Tensor) -> Tensor:
    """Deviation of photos of a class from their median over that of others, ``(H, W)``."""
    mine, usual = (deviation(one, median(one)) for one in (own, others))
    return (mine / usual.clamp_min(1e-3)).mean(0)


def _above(strength: Tensor, rounds: int) -> Tensor:
    """Return where a colour is above half of what its strongest pixels have, 1 or 0 ``(H, W)``.

    Or, after some rounds, nearer to the mean of such pixels than to that of the others: of a mark
    that covers much of the photo, the strongest pixels are those where chance adds to it.
    """
    number = max(1, round(_STRONGEST * strength.numel()))
    level = float(strength.flatten().topk(number).values.mean()) / 2
    for _ in range(rounds):
        strong = strength > level
        level = float(strength[strong].mean() + strength[~strong].mean()) / 2
    mask = (strength > level).float()
    supported: Tensor = mask * (avg_pool2d(mask[None], 3, 1, 1)[0] > _SUPPORT)
    return supported


def _softened(mask: Tensor, strength: Tensor) -> Tensor:
    """Give a mask ``(H, W)`` the edges that a colour has, in [0, 1].

    Strokes of a text are hardly wider than their edges, of which half are below half of them.
    """
    near, soft = max_pool2d(mask[None], 3, 1, 1)[0], mask
    for _ in range(_SOFTER):
        pattern = _fine(soft[None, None])[0, 0]
        scale = (strength * pattern).sum() / pattern.square().sum().clamp_min(1e-12)
        soft = (strength / scale + soft - pattern).clamp(0, 1) * near
    return soft.where(soft > _SOFTEST, 0.0)


def _of_one_colour(
    fine: Tensor, axis: Tensor, rounds: int, middle: Tensor, left: Tensor, *, soft: bool
) -> Overlay | None:
    """Return the mark; None where it hides nothing of the photos, as what they show does not."""
    strength = torch.einsum("c,chw->hw", axis, fine)
    mask = _above(strength, rounds)
    if not _AREA[0] <= float(mask.mean()) <= _AREA[1]:
        return None
    part, rest = float(left[mask > 0].mean()), float(left[mask == 0].mean())
    if not part < _MOST_LEFT * min(1.0, rest):
        return None
    mask = _softened(mask, strength) if soft else mask
    pattern = _fine(mask[None, None])[0, 0]
    shift = (fine * pattern).sum((1, 2)) / pattern.square().sum()
    usual = (middle * mask).sum((1, 2)) / mask.sum()
    # black, white or a pure colour shifts colours so far with the least opacity
    room = torch.where(shift > 0, 1 - usual, usual).clamp_min(1e-3)
    alpha = min(max(float((shift.abs() / room).max()), 1 - part / rest), 1.0)
    colour = (usual + shift / alpha).clamp(0, 1)
    return Overlay(alpha * mask, colour[:, None, None].expand(3, *mask.shape), "fixed")
