"""Size and value range: what is shown (uint8) against what the network is given (normalised)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pfv_widgets.engine.data.normalisation import Normalisation, Triple

MAX_SIDE = 4096

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Cut the largest centred window of the shape of ``size`` and scale it: uint8 (H,W,3).

    The window is cut while scaling, so that a picture of 1 × 5000 pixels never becomes a picture
    of 224 × 1,120,000. Bilinear with antialiasing, as torchvision's own networks are evaluated.
    """
    height, width = size
    box = centre_window(image.height, image.width, size)
    if (width, height) == image.size:
        return np.array(image)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR, box=box))


def centre_window(height: int, width: int, size: tuple[int, int]) -> Box:
    """Return left, top, right, bottom (pixels) of the largest centred window of that shape.

    >>> centre_window(100, 300, (50, 50))
    (100.0, 0.0, 200.0, 100.0)
    """
    scale = min(height / size[0], width / size[1])
    high, wide = min(scale * size[0], height), min(scale * size[1], width)
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, left + wide, top + high


def is_narrow(image: Image.Image, size: tuple[int, int]) -> bool:
    """Whether less than half of a picture is in its largest centred window of that shape.

    >>> [is_narrow(Image.new("L", (width, 100)), (50, 50)) for width in (210, 200)]
    [True, False]
    """
    left, top, right, bottom = centre_window(image.height, image.width, size)
    return (right - left) * (bottom - top) < 0.5 * image.width * image.height


def resized_tensor(tensor: Tensor, size: tuple[int, int]) -> Tensor:
    """Do to a normalised (N,3,H,W) tensor what :func:`resized` does to a picture."""
    box = centre_window(tensor.shape[2], tensor.shape[3], size)
    flat = tensor.reshape(-1, *tensor.shape[2:]).numpy()
    how = Image.Resampling.BILINEAR
    maps = [np.array(Image.fromarray(m).resize(size[::-1], how, box=box)) for m in flat]
    return torch.from_numpy(np.stack(maps)).reshape(*tensor.shape[:2], *size)


@dataclass(frozen=True)
class Preprocessing:
    """A transform that does what ``load_images`` does without one, in another normalisation."""

    size: int
    normalisation: Normalisation

    @property
    def mean(self) -> Triple:
        """Of the normalisation, as every transform says it."""
        return self.normalisation.mean

    @property
    def std(self) -> Triple:
        """Of the normalisation, as every transform says it."""
        return self.normalisation.std

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the (3, size, size) that a network is given."""
        return normalised(resized(image, (self.size, self.size))[None], self.normalisation)[0]


def normalised(pixels: np.ndarray, by: Normalisation) -> Tensor:
    """Turn uint8 (N,H,W,3) into the float32 (N,3,H,W) that the network is given."""
    return by.apply(unit_range(pixels)).contiguous()


def unit_range(pixels: np.ndarray) -> Tensor:
    """Turn uint8 (N,H,W,3) into float32 (N,3,H,W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)


def to_pixels(tensor: Tensor, by: Normalisation) -> np.ndarray:
    """Turn a normalised (N,3,H,W) tensor into uint8 (N,H,W,3); what lies outside is clipped."""
    values = by.undo(tensor.float()).mul_(255).round_().clamp_(0, 255)
    return values.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
