"""Distances of two networks as heatmaps: black 0, light twice that of unrelated ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.weighting import enlarge
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.methods.attribution.colours import heatmap_colours
from pfv_widgets.validation import few

UNRELATED = math.sqrt(2)  # root mean square of the difference of two that have nothing in common
_UNDEFINED = 0.5  # grey


def difference_frame(
    maps: Tensor,
    basis: PrincipalBasis,
    images: ImageBatch,
    settings: Settings,
    *,
    size: tuple[int, int] | None,
    chosen: tuple[int, ...] | None,
) -> Frame:
    """Return distances ``(N, h, w)`` of the chosen photos (None: all) as a picture.

    Grey and a warning where a distance is NaN.
    """
    chosen = chosen or tuple(range(len(maps)))
    shown, weights = maps[list(chosen)], settings.weights(len(images))
    undefined = [chosen[i] + 1 for i in range(len(shown)) if bool(shown[i].isnan().any())]
    notes = (f"The difference is undefined in image {few(undefined)}.",) if undefined else ()
    return Frame(
        _coloured(shown, size or images.size),
        shown[:, None],
        basis,
        settings,
        tuple(weights[index] for index in chosen),
        images.pixels[list(chosen)],
        tuple(images.names[index] for index in chosen),
        notes,
        chosen,
        images.labels and tuple(images.labels[index] for index in chosen),
    )


def _coloured(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return differences ``(N, h, w)`` as heatmaps ``(N, H, W, 3)``."""
    known = torch.isfinite(maps)
    levels = enlarge(torch.where(known, maps, 0.0)[:, None], size)[:, 0]
    ends = torch.full((len(maps),), 2 * UNRELATED)
    colours = torch.from_numpy(heatmap_colours(levels, ends, signed=False)).float()
    undefined = enlarge((~known).float()[:, None], size)[:, 0] > 0
    colours[undefined] = _UNDEFINED
    return colours
