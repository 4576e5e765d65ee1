"""How much the positions of a batch are alike, as a layer sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_maps import PIN_NEUTRAL, pin_colours
from pfv_widgets.engine.colouring.weighting import enlarge
from pfv_widgets.engine.device_transfer import send

_AT_ONCE = 1 << 25  # numbers of feature maps in one step
_CACHED = 1_000_000  # numbers coloured at a time: more leave the processor's cache


@dataclass(frozen=True)
class Position:
    """One position on a feature map in one image.

    Attributes
    ----------
    image
        Index in the batch.
    row, column
        Of the feature map.
    similarity
        Cosine to the position that was passed, in [-1, 1].
    x, y
        Centre of the position as fractions of the image's width and height.
    """

    image: int
    row: int
    column: int
    similarity: float
    x: float
    y: float


def cell_of(x: float, y: float, shape: Sequence[int]) -> tuple[int, int]:
    """Row and column of a point ``x, y`` in [0, 1] on a map of ``shape`` (…, h, w)."""
    height, width = shape[-2:]
    return min(int(y * height), height - 1), min(int(x * width), width - 1)


def lengths_of(maps: Tensor, offset: Tensor, broken: Sequence[int]) -> Tensor:
    """Length of each vector of centred maps ``(N, C, h, w)``; ``(N, h, w)``.

    It is 0 where a vector differs from the mean ``offset`` ``(C,)`` by rounding alone, and in the
    images that are ``broken``.
    """
    lengths = maps.new_empty(len(maps), *maps.shape[2:])
    for part in _steps(maps):
        one = maps[part]
        largest = (
            torch.nan_to_num(one, 0.0, 0.0, 0.0).abs().amax().clamp_min(torch.finfo(one.dtype).tiny)
        )
        lengths[part] = largest * torch.linalg.vector_norm(one / largest, dim=1)
    rounding = 4 * torch.finfo(maps.dtype).eps * torch.linalg.vector_norm(offset)
    keep = torch.isfinite(lengths) & (lengths > rounding)
    for image in broken:
        keep[image] = False
    return torch.where(keep, lengths, 0.0)


def likeness(maps: Tensor, lengths: Tensor, image: int, cell: tuple[int, int]) -> Tensor:
    """Cosine of every vector of centred maps ``(N, C, h, w)`` to one of them; ``(N, h, w)``.

    It is 0 wherever one of the two vectors has no length.
    """
    row, column = cell
    length = lengths[image, row, column]
    vector = maps[image, :, row, column] / torch.where(length > 0, length, 1.0)
    direction = torch.where(length > 0, vector, 0.0)
    cosines = torch.zeros_like(lengths)
    for part in _steps(maps):
        dots = (direction @ maps[part].flatten(2)).view_as(cosines[part])
        known = lengths[part] > 0
        cosines[part] = torch.where(known, dots / torch.where(known, lengths[part], 1.0), 0.0)
    return cosines.clamp_(-1, 1)


def nearest_positions(cosines: Tensor, image: int, number: int) -> tuple[Position, ...]:
    """Return the most similar position of each other image, best first, at most ``number``.

    By similarities ``(N, h, w)`` to a position of ``image``; images in which none is above 0 are
    left out.
    """
    _, height, width = cosines.shape
    best, where = cosines.flatten(1).cpu().max(dim=1)
    order = torch.sort(best, descending=True, stable=True).indices.tolist()
    others = [i for i in order if i != image and float(best[i]) > 0][:number]
    cells = [divmod(int(where[i]), width) for i in others]
    return tuple(
        Position(i, row, column, float(best[i]), (column + 0.5) / width, (row + 0.5) / height)
        for i, (row, column) in zip(others, cells, strict=True)
    )


def render_similarity(cosines: Tensor, size: tuple[int, int]) -> Tensor:
    """Colour similarities ``(N, P, h, w)`` to P pins; ``(N, H, W, 3)``, float32 in [0, 1].

    A position takes the colour of the pin that it is most like, as strong as they are alike; what
    is like none, or less alike than chance, stays neutral.
    """
    number, pins = cosines.shape[:2]
    colours = send(pin_colours(pins).to(cosines.dtype), cosines.device)
    picture = cosines.new_empty(number, *size, 3)
    step = max(1, _CACHED // (pins * size[0] * size[1])) if cosines.is_cpu else number
    for start in range(0, number, step):
        part = slice(start, start + step)
        strength, pin = enlarge(cosines[part], size).max(dim=1)
        away = colours[pin].sub_(PIN_NEUTRAL)
        picture[part] = away.mul_(strength.clamp_(0, 1)[..., None]).add_(PIN_NEUTRAL)
    return picture.to(torch.float32)


def _steps(maps: Tensor) -> Iterator[slice]:
    """Split the images so that a copy of a part stays small."""
    step = max(1, _AT_ONCE // max(1, maps[0].numel()))
    for start in range(0, len(maps), step):
        yield slice(start, start + step)
