"""What is done to a whole photo: blur, noise, compression, fewer levels or pixels, sharpening.

All but the last are the kinds of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) that add no
object and no colour of their own.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate


@dataclass(frozen=True)
class Degradation:
    """One of :data:`DEGRADATIONS`, with its strength."""

    kind: str
    strength: float

    def __call__(self, photos: Tensor) -> Tensor:
        """Return photos ``(N, 3, H, W)`` in [0, 1], degraded."""
        return DEGRADATIONS[self.kind].apply(photos, self.strength)

    def __str__(self) -> str:
        return DEGRADATIONS[self.kind].words.format(self.strength)


@dataclass(frozen=True)
class Kind:
    """A kind of degradation: what it does, the strengths that are tried, and in words."""

    apply: Callable[[Tensor, float], Tensor]
    strengths: tuple[float, ...]
    words: str


def _blurred(photos: Tensor, sigma: float) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur  # takes seconds to import

    wide, high = (2 * min(int(3 * sigma) + 1, side - 1) + 1 for side in photos.shape[:1:-1])
    blurred: Tensor = photos
    for kernel in ([wide, 1], [1, high]):  # in one call it works through wide × high pixels
        blurred = gaussian_blur(blurred, kernel, [sigma, sigma])
    return blurred


def _sharpened(photos: Tensor, amount: float) -> Tensor:
    return (photos + amount * (photos - _blurred(photos, 1.5))).clamp(0, 1)


def _noisy(photos: Tensor, deviation: float) -> Tensor:
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    return (photos + deviation * noise).clamp(0, 1)


def _compressed(photos: Tensor, quality: float) -> Tensor:
    results = []
    for photo in (photos * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=round(quality))
        results.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2).to(photos) / 255


def _with_levels(photos: Tensor, levels: float) -> Tensor:
    return (photos * levels).floor().clamp_max(levels - 1) / (levels - 1)


def _with_pixels(photos: Tensor, side: float) -> Tensor:
    coarse = avg_pool2d(photos, round(side), ceil_mode=True)
    height, width = photos.shape[2:]
    return interpolate(coarse, scale_factor=round(side), mode="nearest")[:, :, :height, :width]


DEGRADATIONS = {
    "blur": Kind(_blurred, (1.0, 1.5, 2.2, 3.2, 4.8), "blurred (Gaussian, σ {:.1f} pixels)"),
    "sharpness": Kind(_sharpened, (0.5, 1.0, 1.7, 3.0, 5.0), "sharpened (unsharp mask, {:.1f})"),
    "noise": Kind(_noisy, (0.04, 0.07, 0.11, 0.17, 0.26), "noisy (Gaussian, σ {:.2f} of white)"),
    "compression": Kind(_compressed, (40, 24, 14, 8, 5, 3), "compressed (JPEG, quality {:.0f})"),
    "levels": Kind(_with_levels, (12, 8, 6, 5, 4, 3), "posterised ({:.0f} levels)"),
    "pixels": Kind(_with_pixels, (2, 3, 4, 6, 8), "of large pixels ({:.0f} times the side)"),
}
