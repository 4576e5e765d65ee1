"""Colours that all images share, and colours that only some have (TorchPRISM, Szandala)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import Numbers, read, send

LEVELS = 3  # a channel, as in TorchPRISM: 27 colours
# Of an image. Measured on photos and drawn scenes: of the colours with a smaller share 0 to 20 % of
# the pixels lie inside (among their like), the rest is the rim that the enlarged picture runs
# through between two regions; of those with a larger share 30 to 80 % lie inside.
SMALLEST_SHARE = 0.01
_LONGEST = 112  # pixels at which colours are counted: in any larger picture the shares are equal
_HIDDEN = 0.5


@dataclass(frozen=True)
class ColourFilter:
    """One entry of :data:`COLOUR_FILTERS`.

    Attributes
    ----------
    shown
        Returns which of the 27 colours are shown, bool ``(27,)``, from whether each image has
        each, bool ``(N, 27)``.
    empty
        What to say where no pixel is left.
    """

    shown: Callable[[Numbers], Any]
    empty: str = ""


COLOUR_FILTERS: dict[str, ColourFilter | None] = {
    "all": None,  # nothing is hidden
    "inclusive": ColourFilter(
        lambda has: has.all(axis=0),
        "No colour is in every image: nothing is shown. Take images out of the batch, or show the "
        "colours of all.",
    ),
    "exclusive": ColourFilter(
        lambda has: ~has.all(axis=0),
        "Every colour is in every image: nothing is shown. Show the colours of all.",
    ),
}


@dataclass(frozen=True, eq=False)
class VisibleColours:
    """Colours that are shown."""

    shown: Tensor  # for each of the 27 colours, bool ``(27,)``, on the CPU
    warnings: tuple[str, ...]  # what to say where next to nothing is shown


def counting_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which the colours of images of ``size`` are counted."""
    factor = min(1.0, _LONGEST / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def codes_of(picture: Tensor) -> Tensor:
    """Give each pixel of ``(N, 3, H, W)`` the number of its colour, 0 … 26; ``(N, H, W)``."""
    red, green, blue = (picture * LEVELS).to(torch.int64).clamp_(0, LEVELS - 1).unbind(1)
    return (red * LEVELS + green) * LEVELS + blue


def shares_of(picture: Tensor) -> Tensor:
    """Share of each image ``(N, 3, H, W)`` that has each colour, ``(N, 27)``."""
    colours, codes = LEVELS**3, codes_of(picture).flatten(1)
    if codes.is_cpu:
        counts = torch.stack([torch.bincount(one, minlength=colours) for one in codes])
    else:  # where bincount waits for the device
        counts = codes.new_zeros(len(codes), colours)
        counts.scatter_add_(1, codes, torch.ones_like(codes))
    return counts / codes.shape[1]


def selected(
    shares: Tensor, weights: Sequence[float], colour_filter: ColourFilter
) -> VisibleColours:
    """Choose colours by their ``shares`` (N, 27) of the images; those without a weight don't count.

    An image has a colour that takes up :data:`SMALLEST_SHARE` of it.
    """
    has = read(shares)[0][[weight > 0 for weight in weights]] >= SMALLEST_SHARE
    shown = colour_filter.shown(has)
    return VisibleColours(
        torch.from_numpy(shown), () if bool(has[:, shown].any()) else (colour_filter.empty,)
    )


def hide(picture: Tensor, shown: Tensor) -> Tensor:
    """Grey out the pixels of ``(N, 3, H, W)`` whose colour is not ``shown``, bool ``(27,)``."""
    keep = send(shown, picture.device)[codes_of(picture)]
    return torch.where(keep[:, None], picture, _HIDDEN)
