"""From score maps to colours: weight, enlarge, normalise, colour, hide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_filter import Shared, hide, selected, shares_of
from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.normalisation import Spread, scaled, scaling
from pfv_widgets.engine.colouring.weighting import enlarge, weighted
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import COLOURING, OnProgress, Progress, silent

_CACHED = 1_000_000  # numbers worked on at a time: more leave the cache, fewer idle a core


def paint(
    scores: Tensor,
    factors: Sequence[Tensor],
    weights: Sequence[float],
    settings: Settings,
    size: tuple[int, int],
    *,
    spread: Spread | None = None,
    colours: Tensor | None = None,
    report: OnProgress = silent,
) -> Tensor:
    """Weight, enlarge, normalise and colour scores ``(N, k, h, w)``; heatmaps ``(N, H, W, 3)``.

    Parameters
    ----------
    spread
        Of the weighted scores of the batch that ``weights`` are for (None: of these scores),
        which may hold other images and another size.
    colours
        Which of the 27 colours are shown, bool ``(27,)``; None: all.
    report
        Called with the number of images that are done; those that are weighted count half.
    """
    shown = scores if settings.channels is None else scores[:, list(settings.channels)]
    parts = _parts(shown, size)
    end = factors[-1].shape[2:] if factors else size
    maps = scores.new_empty(*shown.shape[:2], *end)
    spreads = []
    for part, one in _weighted(shown, factors, size):
        report(Progress(COLOURING, part.start // 2, len(scores)))
        if spread is None:
            spreads.append(Spread.of_maps(one))
        maps[part] = one
    measured = Spread.joined(spreads) if spread is None else spread.of(settings.shown)
    scale, shift = scaling(measured, weights, settings.sigma, settings.normalisation)
    neutral = shift.clamp(0, 1).to(scores.dtype).to(scores.device)
    # fresh memory costs more than the arithmetic: where it fits, the picture replaces the maps
    fits = maps.shape[1:] == (3, *size)
    heatmaps = maps if fits else scores.new_empty(len(scores), 3, *size)
    for part in parts:
        report(Progress(COLOURING, (len(scores) + part.start) // 2, len(scores)))
        picture = COLOUR_MAPS[settings.colour_map](scaled(maps[part], scale, shift), neutral)
        picture = enlarge(picture, size)
        heatmaps[part] = picture if colours is None else hide(picture, colours)
    return heatmaps.permute(0, 2, 3, 1).to(torch.float32)


def shared_colours(
    scores: Tensor,
    factors: Sequence[Tensor],
    weights: Sequence[float],
    settings: Settings,
    size: tuple[int, int],
) -> Shared:
    """Find the colours that all images with a weight have, or those that only some have."""
    picture = paint(scores, factors, weights, settings, size).permute(0, 3, 1, 2)
    return selected(shares_of(picture), weights, settings.sharing)


def spread_of(
    scores: Tensor,
    factors: Sequence[Tensor],
    size: tuple[int, int],
    report: OnProgress = silent,
) -> Spread:
    """Measure the weighted scores of a batch, part by part, without keeping them."""
    spreads = []
    for part, one in _weighted(scores, factors, size):
        report(Progress(COLOURING, part.start, len(scores)))
        spreads.append(Spread.of_maps(one))
    return Spread.joined(spreads)


def _weighted(
    scores: Tensor, factors: Sequence[Tensor], size: tuple[int, int]
) -> Iterator[tuple[slice, Tensor]]:
    for part in _parts(scores, size):
        yield part, weighted(scores[part], [factor[part] for factor in factors], size)


def _parts(maps: Tensor, size: tuple[int, int]) -> list[slice]:
    """Split the images so that a part stays in a processor's cache; an accelerator takes all."""
    step = len(maps)
    if maps.device.type == "cpu":
        step = max(1, _CACHED // (maps.shape[1] * size[0] * size[1]))
    return [slice(start, start + step) for start in range(0, len(maps), step)]
