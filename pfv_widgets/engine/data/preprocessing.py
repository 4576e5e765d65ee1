"""Size and value range: what is shown (uint8) against what the network is given (normalised)."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_SIDE = 4096

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

Normalisation = tuple[Tensor, Tensor]
"""Mean and standard deviation, each (3,1,1)."""


def checked_size(size: object) -> tuple[int, int]:
    """Return ``size`` as (H, W): an int is a square's side.

    Raises
    ------
    PFVTypeError, PFVValueError
        Unless each side is a whole number from 1 to ``MAX_SIDE``.
    """
    legal = f"expected pixels from 1 to {MAX_SIDE} as a whole number or as (height, width)"
    sides = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else (size,) * 2
    if len(sides) != 2:
        raise PFVValueError(f"size={size!r}: {legal}.")
    for side in sides:
        if isinstance(side, bool) or not isinstance(side, numbers.Integral):
            raise PFVTypeError(f"size={size!r}: {legal}.")
        if not 1 <= int(side) <= MAX_SIDE:
            raise PFVValueError(f"size={size!r} is out of range: {legal}.")
    return int(sides[0]), int(sides[1])


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


def resized_tensor(tensor: Tensor, size: tuple[int, int]) -> Tensor:
    """Do to a normalised (N,3,H,W) tensor what :func:`resized` does to a picture."""
    box = centre_window(tensor.shape[2], tensor.shape[3], size)
    flat = tensor.reshape(-1, *tensor.shape[2:]).numpy()
    how = Image.Resampling.BILINEAR
    maps = [np.array(Image.fromarray(m).resize(size[::-1], how, box=box)) for m in flat]
    return torch.from_numpy(np.stack(maps)).reshape(*tensor.shape[:2], *size)


def normalised(pixels: np.ndarray, by: Normalisation) -> Tensor:
    """Turn uint8 (N,H,W,3) into the float32 (N,3,H,W) that the network is given."""
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    return tensor.sub_(by[0]).div_(by[1]).contiguous()


def shown(tensor: Tensor, by: Normalisation) -> np.ndarray:
    """Turn a normalised (N,3,H,W) tensor into uint8 (N,H,W,3); what lies outside is clipped."""
    values = tensor.float().mul(by[1]).add_(by[0]).mul_(255).round_().clamp_(0, 255)
    return values.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


def imagenet() -> Normalisation:
    """Return the normalisation of torchvision's ImageNet networks."""
    return _as_normalisation(IMAGENET_MEAN, IMAGENET_STD)


def normalisation_of(transform: Callable[..., Any]) -> Normalisation:
    """Find the mean and deviation by which a transform normalises.

    Those of its own ``mean`` and ``std`` (torchvision's ``weights.transforms()``), or of the
    last step that has them; a sequence of steps that has none leaves [0, 1] as it is. Of a
    function nothing can be known: ImageNet's are assumed.
    """
    found = _found(transform)
    if found is None:
        opaque = _steps(transform) is None
        found = imagenet() if opaque else _as_normalisation((0.0,) * 3, (1.0,) * 3)
    return found


def _found(transform: Any) -> Normalisation | None:
    own = _own(transform)
    if own is not None:
        return own
    inner = (_found(step) for step in reversed(_steps(transform) or []))
    return next((found for found in inner if found is not None), None)


def _steps(transform: Any) -> list[Any] | None:
    steps = getattr(transform, "transforms", transform)
    wrapped = steps is not transform or isinstance(transform, torch.nn.Sequential)
    return list(steps) if wrapped and isinstance(steps, Iterable) else None


def _own(transform: Any) -> Normalisation | None:
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is None or std is None:
        return None
    try:
        return _as_normalisation(mean, std)
    except (TypeError, ValueError, RuntimeError):
        return None


def _as_normalisation(mean: Any, std: Any) -> Normalisation:
    pair = (torch.as_tensor(value, dtype=torch.float32).flatten() for value in (mean, std))
    first, second = (value.expand(3).reshape(3, 1, 1) for value in pair)
    return first, second
