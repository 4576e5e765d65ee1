"""From score maps to colours: weight, enlarge, normalise, colour, hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_filter import (
    ColourFilter,
    VisibleColours,
    hide,
    selected,
    shares_of,
)
from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.pixel_sums import PixelSums
from pfv_widgets.engine.colouring.score_scaling import (
    NORMALISATIONS,
    Spread,
    all_clipped,
    scaled,
    scaling,
)
from pfv_widgets.engine.colouring.weighting import enlarge, weighted, weighted_scaled
from pfv_widgets.engine.device_transfer import large_empty, select, send
from pfv_widgets.engine.progress import COLOURING, OnProgress, Progress, silent
from pfv_widgets.parameters import choice, described, slider

_CACHED = 300_000  # numbers worked on at a time: more leave the cache, and memory is asked for anew


@dataclass(frozen=True)
class ColourSettings:
    """The settings that decide how scores become colours."""

    sigma: float = slider(
        1.0,
        0.25,
        4.0,
        0.05,
        label="Contrast σ",
        help="Scores are clipped at this many standard deviations: smaller means more contrast.",
        page="Picture",
    )

    normalisation: str = choice(
        "global",
        NORMALISATIONS,
        label="Scale",
        help="One common scale for all components, as in the paper, or one per component, which "
        "shows weak ones.",
        page="Picture",
        words={"global": "common", "component": "per component"},
    )

    colour_map: str = choice(
        "rgb",
        COLOUR_MAPS,
        label="Colours",
        help=f"Which colours the components have. {described(COLOUR_MAPS)}",
        page="Picture",
    )


@dataclass(frozen=True)
class Colouring(ColourSettings):
    """How scores become colours: the settings, with the components that are shown."""

    channels: tuple[int, ...] = ()
    """Their indices, in order."""


def render_heatmaps(
    scores: Tensor,
    factors: Sequence[Tensor],
    weights: Sequence[float],
    colouring: Colouring,
    size: tuple[int, int],
    *,
    spread: Spread | None = None,
    sums: PixelSums | None = None,
    colours: Tensor | None = None,
    report: OnProgress = silent,
) -> Tensor:
    """Weight, enlarge, normalise and colour scores ``(N, k, h, w)``; heatmaps ``(N, H, W, 3)``.

    Parameters
    ----------
    factors
        Maps ``(N, 1, h, w)`` that the scores are multiplied by, coarse to fine.
    weights
        Weight of each image of the batch, of which ``scores`` may be a part.
    spread
        Of the weighted scores of the batch that ``weights`` are for (None: of these scores),
        which may hold other images and another size.
    sums
        What tells the spread of these scores without their heatmaps, where that is known.
    colours
        Which of the 27 colours are shown, bool ``(27,)``; None: all.
    report
        Called with the number of images that are done; those that are weighted count half.
    """
    selection = select(scores, colouring.channels, 1)
    end = factors[-1].shape[2:] if factors else size
    rules = weights, colouring.sigma, colouring.normalisation
    measured, maps = spread and spread.of(colouring.channels), None
    if measured is None and sums is not None:
        known = sums.spread(selection)
        measured = known if known is not None and all_clipped(known, *rules) else None
    if measured is None:
        maps, measured = _measured(selection, factors, size, report)
    scale, shift = scaling(measured, *rules)
    neutral = send(shift.clamp(0, 1).to(scores.dtype), scores.device)
    coloured = COLOUR_MAPS[colouring.colour_map].colours
    # fresh memory costs more than the arithmetic: where it fits, the picture replaces the maps
    fits = (selection.shape[1], *end) == (3, *size)
    heatmaps = large_empty(scores, len(scores), 3, *size) if maps is None or not fits else maps
    for part in _parts(selection, size):
        report(Progress(COLOURING, (len(scores) + part.start) // 2, len(scores)))
        out = heatmaps[part]
        if maps is not None:
            values = scaled(out if fits else maps[part], scale, shift, overwrite=True)
        else:
            own = [factor[part] for factor in factors]
            into = out if fits else None
            values = weighted_scaled(selection[part], own, size, (scale, shift), into)
        picture = enlarge(coloured(values, neutral), size)
        if colours is not None:
            picture = hide(picture, colours)
        if picture is not out:
            out.copy_(picture)
    return heatmaps.permute(0, 2, 3, 1).to(torch.float32)


def _measured(
    scores: Tensor, factors: Sequence[Tensor], size: tuple[int, int], report: OnProgress
) -> tuple[Tensor, Spread]:
    """Return weighted maps ``(N, k, H, W)`` and their spread."""
    end = factors[-1].shape[2:] if factors else size
    maps = large_empty(scores, *scores.shape[:2], *end)
    spreads = []
    for part in _parts(scores, size):
        report(Progress(COLOURING, part.start // 2, len(scores)))
        out = maps[part]
        one = weighted(scores[part], [factor[part] for factor in factors], size, out)
        spreads.append(Spread.of_maps(one))
        if one is not out:
            out.copy_(one)
    return maps, Spread.joined(spreads)


def visible_colours(
    scores: Tensor,
    factors: Sequence[Tensor],
    weights: Sequence[float],
    colouring: Colouring,
    colour_filter: ColourFilter,
    *,
    size: tuple[int, int],
    spread: Spread | None = None,
) -> VisibleColours:
    """Find the colours that a filter shows, in the heatmaps at ``size``."""
    heatmaps = render_heatmaps(scores, factors, weights, colouring, size, spread=spread)
    return selected(shares_of(heatmaps.permute(0, 3, 1, 2)), weights, colour_filter)


def spread_of(
    scores: Tensor,
    factors: Sequence[Tensor],
    size: tuple[int, int],
    report: OnProgress = silent,
) -> Spread:
    """Measure the weighted scores of a batch, part by part, without keeping them."""
    spreads = []
    for part in _parts(scores, size):
        report(Progress(COLOURING, part.start, len(scores)))
        one = weighted(scores[part], [factor[part] for factor in factors], size)
        spreads.append(Spread.of_maps(one))
    return Spread.joined(spreads)


def _parts(maps: Tensor, size: tuple[int, int]) -> list[slice]:
    """Split the images so that a part stays in a processor's cache; an accelerator takes all."""
    step = len(maps)
    if maps.device.type == "cpu":
        step = max(1, _CACHED // (maps.shape[1] * size[0] * size[1]))
    return [slice(start, start + step) for start in range(0, len(maps), step)]
