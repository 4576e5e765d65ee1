"""The positions of a batch as points in the plane of two components."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

Numbers = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Position = tuple[int, int, int]  # image, row and column of the feature map

PAPER = (56, 56, 62)  # dark enough for pale colours, light enough for black, on any page
FADED = 0.16  # strength of what is not selected
RIM = 0.22  # relative luminance of the edge of dark points: 3 : 1 above the paper (WCAG 1.4.11)
_COVERED = 0.2  # share of the picture that discs would cover if none met another
_LARGEST, _SMALLEST = 10.0, 1.0  # radii of a point in pixels
_BEYOND = 0.1  # per cent of the positions at each end that are drawn on the edge of the picture
_COUNTED = 1 << 16  # positions that are enough to find the ends
_MARGIN = 1.06
_FILLED = 0.75  # limits stay while they hold all and are filled as far as this
_BINS = 96


def light_of(srgb: Numbers) -> Numbers:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    light: Numbers = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return light


_GREEN = 151  # from this on no colour is dark
_LIGHT = light_of(np.linspace(0, 1, 256, dtype=np.float32))  # of each 8-bit value
# and its inverse
_BACK = np.searchsorted(_LIGHT, np.linspace(0, 1, 4096, dtype=np.float32)).astype(np.uint8)


@dataclass(frozen=True)
class Limits:
    """What part of a plane a square picture shows: its centre and half its width, in scores."""

    x: float
    y: float
    reach: float

    @classmethod
    def of(cls, x: Numbers, y: Numbers) -> Limits:
        """Show nearly all points and the origin, at one scale for both axes."""
        step = 1 + len(x) // _COUNTED
        ends = [(*np.percentile(v[::step], (_BEYOND, 100 - _BEYOND)), 0.0) for v in (x, y)]
        (left, right), (low, high) = ((min(end), max(end)) for end in ends)
        reach = max(right - left, high - low) / 2 * _MARGIN
        return cls(float(left + right) / 2, float(low + high) / 2, float(reach) or 1.0)

    def settled(self, last: Limits | None) -> Limits:
        """Return the last limits where they still fit, so that the points do not jitter."""
        if last is None or self.reach < _FILLED * last.reach:
            return self
        away = max(abs(self.x - last.x), abs(self.y - last.y))
        return last if away + self.reach / _MARGIN <= last.reach else self


@dataclass(frozen=True, eq=False)
class Scatter:
    """One point for each position, in pixels of a square picture.

    Attributes
    ----------
    x, y
        Of each point, float32 ``(N·h·w,)``, image by image and row by row; y runs down.
    shape
        ``(N, h, w)``.
    size
        Width and height of the picture in pixels.
    limits
        The scores that it shows.
    origin
        Where the score is 0 on both axes, in pixels.
    order
        In which the points are drawn. It is shuffled, always in the same way, so that
        no image hides the others.
    owner
        Index of the point that each pixel shows, −1 for none; int32 ``(size, size)``.
    """

    x: Numbers
    y: Numbers
    shape: tuple[int, int, int]
    size: int
    limits: Limits
    origin: tuple[float, float]
    order: Indices
    owner: Indices

    @property
    def radius(self) -> float:
        """Of a point in pixels: the more there are, the smaller."""
        return radius_of(len(self.x), self.size)

    def selecting(self, selected: Mask | None) -> Indices:
        """Return :attr:`owner` with the positions ``selected`` (N, h, w) in front of the others."""
        if selected is None:
            return self.owner
        inside = selected.ravel()[self.order]
        order = np.concatenate([self.order[~inside], self.order[inside]])
        return _owners(self.x, self.y, order, self.size)

    def render(self, colours: Numbers, selected: Mask | None = None) -> npt.NDArray[np.uint8]:
        """Draw the points on :data:`PAPER`, uint8 ``(size, size, 3)``.

        Each has the colour of its position, ``(N, h, w, 3)`` in [0, 1]; those that are hardly
        lighter than the paper have a light rim of their own hue. Where positions ``(N, h, w)`` are
        ``selected``, the others fade.
        """
        tones = np.empty((len(self.x) + 1, 3), np.uint8)
        tones[-1] = PAPER  # of no point, whose index is −1
        bright = 255 * np.clip(colours.reshape(-1, 3), 0, 1)
        if selected is not None:
            paper = np.asarray(PAPER, np.float32)
            faded = paper + FADED * (bright - paper)
            bright = np.where(selected.reshape(-1, 1), bright, faded)
        tones[:-1] = np.rint(bright)
        owner = self.selecting(selected)
        picture: npt.NDArray[np.uint8] = tones[owner]
        edge = _edges(owner)
        if selected is not None:
            edge &= selected.ravel()[owner]
        dark = edge & (picture[:, :, 1] < _GREEN)
        picture[dark] = lifted(picture[dark])
        return picture

    def inside(self, x1: float, y1: float, x2: float, y2: float) -> Mask:
        """Return which positions lie in a rectangle between two corners, bool ``(N, h, w)``."""
        (left, right), (top, bottom) = sorted((x1, x2)), sorted((y1, y2))
        within = (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)
        return within.reshape(self.shape)

    def nearest(self, x: float, y: float, within: int = 24) -> Position | None:
        """Return the position whose point is seen nearest to a pixel, None where none is near.

        Costs the same for any number of positions: it looks at the pixels around.
        """
        left, top = max(0, int(x) - within), max(0, int(y) - within)
        window = self.owner[top : int(y) + within + 1, left : int(x) + within + 1]
        rows, columns = np.nonzero(window >= 0)
        if not len(rows):
            return None
        away = (rows + top - y) ** 2 + (columns + left - x) ** 2
        first = int(away.argmin())
        if away[first] > within**2:
            return None
        image, row, column = np.unravel_index(window[rows[first], columns[first]], self.shape)
        return int(image), int(row), int(column)

    def at(self, position: Position) -> tuple[float, float] | None:
        """Return where the point of a position is, None for a position that is not in the batch."""
        if not all(0 <= part < end for part, end in zip(position, self.shape, strict=True)):
            return None
        index = int(np.ravel_multi_index(position, self.shape))
        return float(self.x[index]), float(self.y[index])


def scatter_of(scores: Tensor, x: int, y: int, size: int, last: Limits | None = None) -> Scatter:
    """Put ``scores`` (N, k, h, w) in the plane of components ``x`` and ``y``, ``size`` pixels wide.

    One component against itself has no plane: its points are stacked to a histogram. The ``last``
    limits stay where they still fit.
    """
    number, _, height, width = scores.shape
    across = _values(scores[:, x])
    stacked = x == y
    heights = stack(across) if stacked else _values(scores[:, y])
    edge = radius_of(len(across), size)
    limits = Limits.of(across, np.zeros_like(across) if stacked else heights).settled(last)
    scale = (size / 2 - edge) / limits.reach
    px = np.clip(size / 2 + (across - limits.x) * scale, edge, size - 1 - edge)
    if stacked:
        py = size - 1 - edge - heights * (size - 1 - 2 * edge)
        origin = size / 2 - limits.x * scale, float(size - 1)
    else:
        py = np.clip(size / 2 - (heights - limits.y) * scale, edge, size - 1 - edge)
        origin = size / 2 - limits.x * scale, size / 2 + limits.y * scale
    order = np.random.default_rng(0).permutation(len(px)).astype(np.int32)
    owner = _owners(px, py, order, size)
    shape = (number, height, width)
    return Scatter(px, py, shape, size, limits, origin, order, owner)


def stack(values: Numbers, bins: int = _BINS) -> Numbers:
    """Heights in [0, 1] that stack values as a histogram, each on those of its bin before it.

    They are square roots of numbers of points, so that one high bin leaves the others visible.
    """
    low, high = values.min(), values.max()
    scale = bins / (high - low) if high > low else 0.0
    own = np.minimum(((values - low) * scale).astype(np.int32), bins - 1)
    order = np.argsort(own, kind="stable")
    counts = np.bincount(own, minlength=bins)
    heights = np.empty(len(values), np.float32)
    heights[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    stacked: Numbers = np.sqrt(heights / np.float32(max(1, counts.max() - 1)))
    return stacked


def radius_of(number: int, size: int) -> float:
    """Radius in pixels of each of ``number`` points on a picture of ``size``."""
    fair = math.sqrt(_COVERED * size**2 / (math.pi * max(1, number)))
    return min(max(fair, _SMALLEST), _LARGEST)


def position_colours(heatmaps: Tensor, shape: tuple[int, int]) -> Numbers:
    """Mean colour of each position: ``(N, H, W, 3)`` → ``(N, h, w, 3)`` by area."""
    maps = interpolate(heatmaps.permute(0, 3, 1, 2), shape, mode="area")
    colours: Numbers = maps.permute(0, 2, 3, 1).float().cpu().numpy()
    return colours


def lifted(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Mix sRGB colours ``(n, 3)`` with white, in light, where their luminance is below :data:`RIM`.

    >>> lifted(np.array([[56, 56, 56], [255, 200, 0]], np.uint8)).tolist()
    [[130, 130, 130], [255, 200, 0]]
    """
    light = _LIGHT[colours]
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    share = np.clip((RIM - luminance) / (1 - np.minimum(luminance, RIM)), 0, None)[:, None]
    mixed = light + share * (1 - light)
    mixed_srgb = _BACK[(mixed * (len(_BACK) - 1)).astype(np.int32)]
    return np.where(share > 0, mixed_srgb, colours)


def _edges(owner: Indices) -> Mask:
    """Return which pixels of points lie beside another point or the paper."""
    edge = np.zeros(owner.shape, bool)
    down, across = owner[1:] != owner[:-1], owner[:, 1:] != owner[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge & (owner >= 0)


def _values(maps: Tensor) -> Numbers:
    numbers: Numbers = torch.nan_to_num(maps.detach().float()).cpu().numpy().ravel()
    return numbers


def _owners(x: Numbers, y: Numbers, order: Indices, size: int) -> Indices:
    """Draw a disc for each point, in order; the index of the last one on each pixel."""
    radius = radius_of(len(x), size)
    pad = math.ceil(radius)
    steps = np.arange(-pad, pad + 1)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).nonzero()
    side = size + 2 * pad
    offsets = (disc[0] * side + disc[1]).astype(np.int32)
    corners = np.rint(y[order]).astype(np.int32) * side + np.rint(x[order]).astype(np.int32)
    rank = np.full(side * side, -1, np.int32)
    rank[corners] = np.arange(len(order), dtype=np.int32)  # of equal indices the last one counts
    visible = np.sort(rank[rank >= 0])  # whoever has the same centre as a later point is hidden
    rank[:] = -1
    rank[(corners[visible, None] + offsets).ravel()] = np.repeat(visible, len(offsets))
    rank = rank.reshape(side, side)[pad : pad + size, pad : pad + size]
    return np.where(rank < 0, np.int32(-1), order[rank])
