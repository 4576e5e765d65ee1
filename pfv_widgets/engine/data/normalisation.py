"""The affine map between what is shown (0 black, 1 white) and what a network takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import three_numbers

Triple = tuple[float, float, float]
"""One number each for red, green and blue."""

_PROBES = ((0, 0, 0), (255, 255, 255), (51, 102, 204))  # uint8 colours of uniform images
_TOLERANCE = 0.02  # of the step from black to white: uniform images survive a JPEG, not a curve


@dataclass(frozen=True)
class Normalisation:
    """``(shown - mean) / std``, channel by channel; what is shown lies in [0, 1].

    Raises
    ------
    PFVTypeError, PFVValueError
        Unless both are three finite numbers, and none of ``std`` is 0.
    """

    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            legal = "three finite numbers, for red, green and blue"
            object.__setattr__(self, name, three_numbers(name, getattr(self, name), legal=legal))
        if 0 in self.std:
            raise PFVValueError(
                f"std={self.std!r:.80}: expected three finite numbers, none of them 0."
            )

    def apply(self, pixels: Tensor) -> Tensor:
        """Return what the network takes for images ``(..., 3, H, W)`` in [0, 1]."""
        mean, std = self.columns(pixels)
        return (pixels - mean) / std

    def undo(self, values: Tensor) -> Tensor:
        """Return images ``(..., 3, H, W)``, 0 black and 1 white, of what the network takes."""
        mean, std = self.columns(values)
        return values * std + mean

    def columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std as ``(3, 1, 1)``, with the dtype and device of ``like``."""
        mean, std = (like.new_tensor(values).reshape(3, 1, 1) for values in (self.mean, self.std))
        return mean, std


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of torchvision's ImageNet networks."""

NONE = Normalisation((0.0,) * 3, (1.0,) * 3)


def normalisation_of(
    transform: Callable[..., Any], example: Image.Image | Tensor | None = None
) -> Normalisation:
    """Find the mean and deviation by which a transform normalises.

    1. ``mean`` and ``std`` of its own (torchvision's ``weights.transforms()``), or of the last of
       its steps that has them; a sequence of steps that has none leaves [0, 1] as it is.
    2. A function is called on three uniform images of the size and kind of ``example`` (without
       one: RGB, 512 by 512 pixels). Black and white give mean and deviation, where a colour in
       between confirms that the map is affine in each channel.
    3. Of any other function (random, curved, or one that mixes channels) nothing is known:
       ImageNet's are assumed.
    """
    declared = _declared(transform)
    if declared is not None:
        return declared
    if steps_of(transform) is not None:
        return NONE
    return _probed(transform, Image.new("RGB", (512, 512)) if example is None else example)


def _declared(transform: Any) -> Normalisation | None:
    own = _own(transform)
    if own is not None:
        return own
    inner = (_declared(step) for step in reversed(steps_of(transform) or []))
    return next((one for one in inner if one is not None), None)


def steps_of(transform: Any) -> list[Any] | None:
    """Return the steps that a transform takes one after another; None where they are not known."""
    steps = getattr(transform, "transforms", transform)
    wrapped = steps is not transform or isinstance(transform, torch.nn.Sequential)
    return list(steps) if wrapped and isinstance(steps, Iterable) else None


def _own(transform: Any) -> Normalisation | None:
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is None or std is None:
        return None
    try:
        return Normalisation(_three(mean), _three(std))
    except (TypeError, ValueError, RuntimeError):
        return None


def _three(values: Any) -> Triple:
    return tuple(torch.as_tensor(values, dtype=torch.float64).flatten().expand(3).tolist())


def _probed(transform: Callable[..., Any], example: Image.Image | Tensor) -> Normalisation:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what transforms use
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = [_centre(transform(_uniform(colour, example))) for colour in _PROBES]
        black, white, colour = torch.stack(outputs)
    except Exception:  # the user's code; on photos its errors are reported
        return IMAGENET
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - what transforms use
    step = white - black
    expected = black + step * torch.tensor(_PROBES[2]) / 255
    if not bool(((expected - colour).abs() < _TOLERANCE * step.abs()).all()):
        return IMAGENET
    return Normalisation(_rounded(-black / step), _rounded(1 / step))


def _uniform(colour: tuple[int, int, int], example: Image.Image | Tensor) -> Image.Image | Tensor:
    if isinstance(example, Tensor):
        return example.new_tensor(colour).div(255).reshape(3, 1, 1).expand_as(example).clone()
    return Image.new("RGB", example.size, colour)


def _centre(values: Tensor) -> Tensor:
    """Return the ``(3,)`` in the middle, where nothing was padded."""
    _, height, width = values.shape
    return values[:, height // 2, width // 2].detach().double().cpu()


def _rounded(values: Tensor) -> Triple:
    red, green, blue = (float(f"{value:.5g}") for value in values.tolist())
    return red, green, blue
