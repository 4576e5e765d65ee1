"""Small random moves: what survives them is in the network and not in the grid of the pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows


@dataclass(frozen=True)
class Moves:
    """How far pictures are moved before each look of the network.

    Attributes
    ----------
    jitter
        Pixels, to each side.
    scale
        Share by which they grow or shrink at most.
    rotation
        Degrees, to each side.
    """

    jitter: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.jitter or self.scale or self.rotation)

    def __call__(self, pictures: Tensor, chances: Sequence[torch.Generator]) -> Tensor:
        """Move pictures ``(B, 3, H, W)``, each by its own chance; edges are mirrored."""
        if not self:
            return pictures
        draws = torch.stack([2 * torch.rand(4, generator=one) - 1 for one in chances])
        height, width = pictures.shape[2:]
        grow = 1 / (1 + self.scale * draws[:, 0])  # what a grid cell spans
        angle = math.radians(self.rotation) * draws[:, 1]
        sine, cosine = grow * angle.sin(), grow * angle.cos()
        # places are fractions of the half sides, so that a turn has to know the aspect ratio
        across, down = 2 * self.jitter * draws[:, 2] / width, 2 * self.jitter * draws[:, 3] / height
        rows = [
            torch.stack([cosine, -sine * height / width, across], dim=1),
            torch.stack([sine * width / height, cosine, down], dim=1),
        ]
        theta = torch.stack(rows, dim=1).to(pictures)
        grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
        return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
