"""Photos with a heatmap: in colour where it is high, or grey under its colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from pfv_widgets.engine.colouring.colour_maps import diverging

Pixels = npt.NDArray[np.uint8]
_OUTLINE = (255, 60, 0)
_LEVEL = 0.5  # of the heatmap, where the line runs
_MOST = 65536  # values that a quantile is taken of
_REACH = 0.995  # share of the scores that the colours tell apart


def spotlight(
    photo: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.uint8]:
    """Return a photo ``(H, W, 3)`` in its colours where it is hot, with a line around that.

    Heat ``(H, W)`` of 0 is grey, of 1 and more as the photo is; the line runs at one half. Colours
    laid over a mark would hide what it is.
    """
    strength = np.clip(heat, 0, 1)[..., None]
    grey = 0.45 * photo.mean(2, keepdims=True) + 90
    mixed = np.rint((1 - strength) * grey + strength * photo).astype(np.uint8)
    inside = torch.from_numpy(heat > _LEVEL)[None, None].float()
    width = 2 * max(1, len(photo) // 100) + 1
    edge = max_pool2d(inside, width, 1, width // 2)[0, 0] > inside[0, 0]
    mixed[edge.numpy()] = _OUTLINE
    return np.asarray(mixed)


def peak(maps: Tensor) -> float:
    """Return the 90 % quantile of the values above 0 of maps ≥ 0; 1 where there are none."""
    above = maps[maps > 0].float().cpu()
    if not len(above):
        return 1.0
    return float(torch.quantile(above[:: 1 + len(above) // _MOST], 0.9))


def with_heatmap(photo: Pixels, scores: Tensor, reach: float) -> Pixels:
    """Return a grey photo with scores ``(h, w)`` over it: orange above zero, blue below.

    A score of ``reach`` has the full colour.
    """
    scaled = (scores.float().nan_to_num() / (2 * reach) + 0.5)[None, None].cpu()
    maps = interpolate(scaled, size=photo.shape[:2], mode="bilinear").clamp(0, 1)
    heat = diverging(maps, maps.new_tensor([0.5]))[0].permute(1, 2, 0).numpy()
    mixed = 0.6 * heat + 0.4 * photo.mean(2, keepdims=True) / 255
    return np.asarray((255 * mixed).round().clip(0, 255).astype(np.uint8))


def reach_of(scores: Tensor) -> float:
    """Score that has the full colour: nearly the largest of all images and components."""
    flat = torch.nan_to_num(scores.detach().float()).abs().flatten()
    sample = flat[:: 1 + len(flat) // _MOST]
    return float(torch.quantile(sample, _REACH)) or float(sample.max()) or 1.0
