"""Activation maps of earlier layers, by which score maps are sharpened on their way up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pfv_widgets.engine.device_transfer import Numbers, large_empty, send
from pfv_widgets.engine.network.activity import Activity
from pfv_widgets.engine.pca.features import power_of_two


def brightness(pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Channel mean of photos as shown, uint8 ``(N, H, W, 3)``; ``(N, 1, h, w)`` in [0, 1]."""
    mean = torch.from_numpy(pixels).float().mean(dim=3)[:, None] / 255
    return interpolate(mean, size=size, mode="bilinear", antialias=True)


# On a processor two small matrix products enlarge such maps several times faster than
# interpolate() does.
_SMALL = 48
_CACHED = 1 << 18  # numbers of a heatmap that are added up at a time: more leave the cache
Brightness = Callable[[tuple[int, int]], Tensor]
Factors = Callable[[Sequence[Activity], Brightness | None, tuple[int, int]], list[Tensor]]


@dataclass(frozen=True)
class Weighting:
    """One entry of :data:`WEIGHTINGS`.

    Attributes
    ----------
    factors
        Returns the maps ``(N, 1, h, w)`` that scores are multiplied by, coarse to fine, from the
        activities of the earlier layers, the photos' brightness (None without photos) and the
        size ``(H, W)`` of the heatmap.
    uses_layers
        Whether earlier layers have a say.
    uses_image
        Whether the photo itself has one, so that its own edges are in the heatmap.
    smooth
        Whether a heatmap has hardly more detail than the layer's own map.
    help
        What to know of it besides its name.
    """

    factors: Factors
    uses_layers: bool = True
    uses_image: bool = False
    smooth: bool = False
    help: str = ""


def none(_: Sequence[Activity], __: Brightness | None, ___: tuple[int, int]) -> list[Tensor]:
    """No weighting: scores are enlarged as they are."""
    return []


def flat(
    activities: Sequence[Activity], _: Brightness | None, size: tuple[int, int]
) -> list[Tensor]:
    """Sum over the earlier layers of their enlarged channel sums (Bakken et al. 2020)."""
    activities = [activity for activity in activities if not activity.silent]
    if not activities:
        return []
    scale = power_of_two(max(activity.largest for activity in activities))
    first = activities[0].total
    total = large_empty(first, len(first), 1, *size)
    step = max(1, _CACHED // (size[0] * size[1])) if first.device.type == "cpu" else len(first)
    for start in range(0, len(first), step):
        images = slice(start, start + step)
        here, other = total[images], None
        for activity in activities:
            part = activity.total[images, None] / scale
            if other is None:
                one, other = enlarge(part, size, here), torch.empty_like(here)
                if one is not here:
                    here.copy_(one)
            else:
                here.add_(enlarge(part, size, other))
    return [total]


def hierarchical(
    activities: Sequence[Activity], _: Brightness | None, __: tuple[int, int]
) -> list[Tensor]:
    """Channel sums over their largest magnitude, coarse to fine (Bakken et al. 2020)."""
    return [_scaled(activity) for activity in reversed(activities) if not activity.silent]


def gradual(
    activities: Sequence[Activity], brightness: Brightness | None, size: tuple[int, int]
) -> list[Tensor]:
    """Channel means, coarse to fine, ending in the image itself (TorchPRISM, Szandala).

    The image counts by its brightness as shown, in [0, 1], so that dark pixels weigh little
    instead of turning the sign. Without an image it ends at the first activity.

    Part of what is seen are the photo's own edges: with an untrained network the heatmap still
    correlates with that of the trained one by .32 to .48 (rank correlation), where that of
    another photo reaches .14 to .46.
    """
    # scaled by the largest, a mean over the channels is what their sum is
    factors = hierarchical(activities, brightness, size)
    return factors + ([brightness(size)] if brightness else [])


WEIGHTINGS: dict[str, Weighting] = {
    "none": Weighting(none, uses_layers=False, smooth=True),
    "flat": Weighting(flat, smooth=True),
    "hierarchical": Weighting(hierarchical),
    "gradual": Weighting(
        gradual,
        uses_image=True,
        help="ends in the photo itself, whose own edges show as well",
    ),
}


def weighted(
    scores: Tensor, factors: Sequence[Tensor], size: tuple[int, int], out: Tensor | None = None
) -> Tensor:
    """Enlarge ``(N, k, h, w)`` from factor to factor ``(N, 1, h, w)``, multiplying by each.

    Ends at the size of the last factor, or at ``size`` where there is none. The result may be
    written to ``out``, which is returned then: fresh memory costs more than the arithmetic.
    """
    if not factors:
        return enlarge(scores, size, out)
    for factor in factors:
        into = out if factor is factors[-1] else None
        enlarged = enlarge(scores, (factor.shape[2], factor.shape[3]), into)
        scores = scores * factor if enlarged is scores else enlarged.mul_(factor)
    return scores


def weighted_scaled(
    scores: Tensor,
    factors: Sequence[Tensor],
    size: tuple[int, int],
    scaling: tuple[Tensor, Tensor],
    out: Tensor | None = None,
) -> Tensor:
    """Return :func:`weighted` scores times a scale plus a shift (k,), clipped to [0, 1].

    The small maps are scaled, which takes two passes less over the large ones.
    """
    # the dtype first: not every accelerator takes float64
    scale, shift = (send(one.to(scores.dtype), scores.device).view(1, -1, 1, 1) for one in scaling)
    small = weighted(scores, factors[:-1], size) if len(factors) > 1 else scores
    if not factors:
        return enlarge(small * scale + shift, size, out).clamp_(0, 1)
    last = factors[-1]
    large = enlarge(small * scale, (last.shape[2], last.shape[3]), out)
    return torch.addcmul(shift, large, last, out=large).clamp_(0, 1)


def enlarge(maps: Tensor, size: tuple[int, int], out: Tensor | None = None) -> Tensor:
    """Resize ``(N, k, h, w)`` bilinearly, corners not aligned; of that size: themselves.

    The result may be written to ``out``, which is returned then.
    """
    height, width = maps.shape[2:]
    if (height, width) == size:
        return maps
    if maps.device.type != "cpu" or max(height, width) > _SMALL:
        return interpolate(maps, size=size, mode="bilinear", align_corners=False)
    rows = bilinear_matrix(height, size[0]).to(maps)
    columns = bilinear_matrix(width, size[1]).to(maps)
    wide = (maps.reshape(-1, width) @ columns.T).view(-1, height, size[1])
    high = maps.new_empty(*maps.shape[:2], *size) if out is None else out
    # matmul() would give a transpose
    torch.bmm(rows.expand(len(wide), -1, -1), wide, out=high.view(-1, *size))
    return high


def bilinear_matrix(length: int, target: int) -> Tensor:
    """Weights ``(target, length)`` of bilinear resizing along one side, corners not aligned.

    >>> bilinear_matrix(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    return torch.from_numpy(_bilinear_weights(length, target))


@lru_cache(maxsize=64)
def _bilinear_weights(length: int, target: int) -> Numbers:
    at = (np.arange(target) + 0.5) * (length / target) - 0.5
    distance = np.abs(at.clip(0, length - 1)[:, None] - np.arange(length))
    weights: Numbers = (1 - distance).clip(0)
    return weights


def _scaled(activity: Activity) -> Tensor:
    """Divide by the largest magnitude, which keeps every sign; ``(N, 1, h, w)``."""
    return (activity.total / activity.largest)[:, None]
