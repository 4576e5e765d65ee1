"""Whether the positions of a layer's output are positions of the picture: a test by changing it.

The picture is changed in one of three sectors at a time. Where an output is a feature map, each
position answers most to the sector that it lies in; attention matrices, tokens in the order of
windows or outputs whose channels happen to form a grid do not. What is compared is each
position's share of the three answers, so that global operations, which spread a change
everywhere alike, and positions that answer more than others leave the comparison as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pfv_widgets.engine.network.feature_layout import Grid

_ANGLES = (100, 220, 340)  # degrees; no border of a sector runs along a row, column or diagonal
_AMPLITUDE = 0.03  # of the picture's standard deviation: networks are near linear
_BLOCKS = 8  # pixels: coarse enough to come through strides
_FEW = 16  # positions, among which an order agrees or disagrees by chance
_EVEN = 0.01  # contrast below which positions are alike
_LOCATED = 0.15  # contrast above which positions do not answer everywhere alike


def directions() -> Tensor:
    """Return unit vectors ``(3, 2)``, x and y, into the middle of each sector."""
    radians = torch.tensor([math.radians(angle) for angle in _ANGLES], dtype=torch.float64)
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def sectors(height: int, width: int) -> Tensor:
    """Masks ``(3, height, width)`` of 0 and 1 that divide a picture among three sectors."""
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height - 0.5
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5
    along = directions()[:, :1, None] * x + directions()[:, 1:, None] * y[:, None]
    return torch.nn.functional.one_hot(along.argmax(0), 3).permute(2, 0, 1).double()


def changed_pictures(image: Tensor) -> Tensor:
    """Return ``(4, C, H, W)``: an image ``(1, C, H, W)``, and with each sector changed a little."""
    height, width = image.shape[2:]
    generator = torch.Generator().manual_seed(0)
    coarse = (1, image.shape[1], max(2, height // _BLOCKS), max(2, width // _BLOCKS))
    noise = interpolate(torch.randn(coarse, generator=generator), size=(height, width))
    spread = float(image.float().std())
    amplitude = max(_AMPLITUDE, 16 * torch.finfo(image.dtype).eps)
    noise *= amplitude * (spread if math.isfinite(spread) and spread > 0 else 1.0)
    changes = noise * sectors(height, width)[:, None].float()
    return torch.cat([image, image + changes.to(image)])


@dataclass(frozen=True)
class Answer:
    """How the positions of an output answer to changes of the picture.

    Attributes
    ----------
    agreement
        The smaller of two correlations, along x and along y, between where the change was that
        each position answers to and where the position is: 1 for a feature map of the first
        convolution, about 0 where axes are no positions.
    contrast
        How much the positions differ in what they answer to: 0 where every one answers to all
        changes alike, 1 where each answers to one sector alone.
    positions
        Number of positions.
    """

    agreement: float
    contrast: float
    positions: int

    @property
    def agrees(self) -> bool:
        """Whether the positions are those of the picture; few of them must agree better."""
        return self.agreement >= 0.3 + 2 / self.positions

    @property
    def undecided(self) -> bool:
        """Whether the agreement is too weak to tell, for so few positions."""
        return not self.agrees and self.agreement >= 0.2

    @property
    def says_little(self) -> bool:
        """Whether all positions answer to all changes alike, as behind global operations."""
        return self.contrast < _LOCATED or self.positions < _FEW

    @property
    def says_nothing(self) -> bool:
        """Whether no position answers otherwise than the next, as behind even attention."""
        return self.contrast < _EVEN


class PositionCheck:
    """A picture with changes, and what outputs show of where they were made.

    Parameters
    ----------
    image
        ``(1, C, H, W)``.
    """

    def __init__(self, image: Tensor) -> None:
        self.pictures = changed_pictures(image)
        self._sectors = sectors(image.shape[2], image.shape[3])
        self._expected: dict[Grid, Tensor] = {}

    def answer_of(self, maps: Tensor) -> Answer | None:
        """Return how maps ``(4, C, h, w)`` of the pictures answer; None if they do not."""
        strengths = _strengths(maps)
        if strengths is None:
            return None
        shares = strengths / strengths.sum((1, 2), keepdim=True)
        total = shares.sum(0)
        shares = torch.where(total > 0, shares / total.clamp_min(1e-300), 1 / 3)
        actual, true = _centred(shares), self._expected_in((shares.shape[1], shares.shape[2]))
        norms = actual.square().sum(1), true.square().sum(1)
        varies = norms[1] > 0  # a map of one row has nothing to compare along y
        if not bool(varies.any()):
            return None
        agreement = (actual * true).sum(1) / (norms[0] * norms[1]).sqrt().clamp_min(1e-300)
        contrast = actual.square().sum(0).mean().sqrt()
        return Answer(float(agreement[varies].min()), float(contrast), actual.shape[1])

    def _expected_in(self, grid: Grid) -> Tensor:
        if grid not in self._expected:
            self._expected[grid] = _centred(adaptive_avg_pool2d(self._sectors[None], grid)[0])
        return self._expected[grid]


def _centred(shares: Tensor) -> Tensor:
    """Return where shares ``(3, h, w)`` of the sectors point, ``(2, h·w)`` about the mean."""
    pointed = directions().T @ shares.flatten(1)
    return pointed - pointed.mean(1, keepdim=True)


def _strengths(maps: Tensor) -> Tensor | None:
    """Length of each position's change ``(3, h, w)``; None where rounding may account for it."""
    exact = maps if maps.dtype == torch.float64 else maps.float()
    scale = float(exact[:1].abs().amax())
    if scale < 1e-12 and exact.dtype == torch.float32:  # squares would underflow
        exact = exact.double()
    strengths: Tensor = torch.linalg.vector_norm(exact[1:] - exact[:1], dim=1)
    largest = strengths.amax((1, 2))
    if not bool((largest > 8 * torch.finfo(maps.dtype).eps * scale).all()):
        return None
    return strengths.double().cpu() if bool(torch.isfinite(largest).all()) else None
