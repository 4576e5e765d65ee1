"""Random jitter, scaling and rotation: transformation robustness (Olah et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows


@dataclass(frozen=True)
class Augmentation:
    """How far images are transformed at random before each forward pass.

    What survives it is in the network and not in the grid of the pixels.
    """

    jitter: float = 0.0  # pixels, to each side
    scale: float = 0.0  # share by which they grow or shrink at most
    rotation: float = 0.0  # degrees, to each side

    def __bool__(self) -> bool:
        return bool(self.jitter or self.scale or self.rotation)

    def __call__(self, images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Transform images ``(B, 3, H, W)``, each by its own generator; edges are mirrored."""
        if not self:
            return images
        draws = torch.stack([2 * torch.rand(4, generator=one) - 1 for one in generators])
        height, width = images.shape[2:]
        step = 1 / (1 + self.scale * draws[:, 0])  # of the sampling grid, in pixels
        angle = math.radians(self.rotation) * draws[:, 1]
        sine, cosine = step * angle.sin(), step * angle.cos()
        # coordinates are fractions of the half sides: a rotation has to know the aspect ratio
        across, down = 2 * self.jitter * draws[:, 2] / width, 2 * self.jitter * draws[:, 3] / height
        rows = [
            torch.stack([cosine, -sine * height / width, across], dim=1),
            torch.stack([sine * width / height, cosine, down], dim=1),
        ]
        theta = torch.stack(rows, dim=1).to(images)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
