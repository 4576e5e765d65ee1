"""What the settings that hold several values may hold."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence

from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError

MOST_PINS = 8  # as many colours as an eye tells apart

Pin = tuple[int, float, float]


def checked_channels(channels: Iterable[int], components: int) -> tuple[int, ...]:
    """Return the components to paint as whole numbers, or raise an error."""
    legal = f"distinct indices from 0 to {components - 1} (components={components})"
    try:
        chosen = tuple(channels)
    except TypeError:
        raise PFVTypeError(
            f"channels={channels!r}: expected a tuple of {legal}, or None."
        ) from None
    if any(isinstance(c, bool) or not isinstance(c, numbers.Integral) for c in chosen):
        raise PFVTypeError(f"channels={channels!r}: expected a tuple of {legal}, or None.")
    numbers_ = tuple(int(c) for c in chosen)
    inside = all(0 <= c < components for c in numbers_)
    if not numbers_ or len(set(numbers_)) != len(numbers_) or not inside:
        raise PFVValueError(f"channels={numbers_}: choose at least one of {legal}.")
    return numbers_


def checked_weights(images: Iterable[float]) -> tuple[float, ...]:
    """Return the weights of the images as finite numbers ≥ 0, or raise an error."""
    try:
        if isinstance(images, str):
            raise TypeError("a text is no list of numbers")
        weights = tuple(float(weight) for weight in images)
    except (TypeError, ValueError):
        raise PFVTypeError(
            f"images={images!r}: expected one weight ≥ 0 for each image, or None."
        ) from None
    for index, weight in enumerate(weights):
        if not math.isfinite(weight) or weight < 0:
            raise PFVValueError(
                f"images[{index}]={weight}: a weight must be a finite number ≥ 0 "
                "(0 leaves the image out of the basis)."
            )
    return weights


def checked_pins(
    pins: Iterable[Iterable[float]] | None, number: int | None = None
) -> tuple[Pin, ...]:
    """Return pins as ``(image, x, y)``, or raise an error that names the one that is wrong.

    Their images are in a batch of ``number`` images, where that is known.
    """
    if pins is None:
        return ()
    if isinstance(pins, str) or not isinstance(pins, Iterable):
        raise PFVTypeError(f"pins={pins!r}: expected a tuple of (image, x, y), or None.")
    checked = tuple(_checked_pin(index, pin) for index, pin in enumerate(pins))
    if len(checked) > MOST_PINS:
        raise PFVValueError(f"pins: got {len(checked)}, choose at most {MOST_PINS} of them.")
    for index, pin in enumerate(checked):
        if number is not None and pin[0] >= number:
            raise PFVValueError(
                f"pins[{index}]={pin}: the batch has {number} images, counted from 0. Choose an "
                f"image from 0 to {number - 1}, or take the pin away."
            )
    return checked


def checked_images(only: Iterable[int] | None, number: int) -> tuple[int, ...] | None:
    """Return indices of some of ``number`` images, or raise an error; None stands for all."""
    if only is None:
        return None
    legal = f"expected indices of images, whole numbers from 0 to {number - 1}, or None for all"
    if isinstance(only, str) or not isinstance(only, Iterable):
        raise PFVTypeError(f"only={only!r}: {legal}.")
    chosen = tuple(only)
    if any(isinstance(i, bool) or not isinstance(i, numbers.Integral) for i in chosen):
        raise PFVTypeError(f"only={chosen!r:.80}: {legal}.")
    if not chosen or not all(0 <= index < number for index in chosen):
        raise PFVValueError(f"only={chosen!r:.80}: {legal}.")
    return tuple(int(index) for index in chosen)


def _checked_pin(index: int, pin: Iterable[float]) -> Pin:
    named = f"pins[{index}]={pin!r:.80}"
    legal = (
        "expected (image, x, y): the image's index, a whole number from 0, and the place as "
        "fractions of its width and height, from 0 to 1"
    )
    if isinstance(pin, str) or not isinstance(pin, Iterable):
        raise PFVTypeError(f"{named}: {legal}.")
    values = tuple(pin)
    if any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in values):
        raise PFVTypeError(f"{named}: {legal}.")
    if len(values) != 3:
        raise PFVValueError(f"{named}: {legal}.")
    image, x, y = values
    # comparisons that NaN does not pass
    if not (0 <= image < math.inf and image == int(image) and 0 <= x <= 1 and 0 <= y <= 1):
        raise PFVValueError(f"{named}: {legal}.")
    return int(image), float(x), float(y)


def checked_columns(columns: object, what: str) -> int | None:
    """Return the number of ``what`` in a row of a figure (None: any), or raise an error."""
    legal = f"expected a whole number from 1 ({what} in a row), or None"
    if columns is None:
        return None
    if isinstance(columns, bool) or not isinstance(columns, numbers.Integral):
        raise PFVTypeError(f"columns={columns!r:.60}: {legal}.")
    if columns < 1:
        raise PFVValueError(f"columns={columns!r}: {legal}.")
    return int(columns)


def checked_activations(activations: Sequence[Tensor]) -> list[Tensor]:
    """Return the activations as a list, or raise an error that names the entry."""
    if isinstance(activations, Tensor):
        raise PFVTypeError(
            "activations: got one tensor, expected a list of (N, C, h, w) tensors, "
            "the one to decompose last."
        )
    if not isinstance(activations, Sequence):
        raise PFVTypeError(
            f"activations={activations!r:.80}: expected a list of (N, C, h, w) tensors."
        )
    maps = list(activations)
    if not maps:
        raise PFVValueError("activations is empty: give at least one (N, C, h, w) tensor.")
    for index, one in enumerate(maps):
        if isinstance(one, Tensor) and one.is_meta:
            raise PFVValueError(f"activations[{index}] is on the meta device: it holds no numbers.")
        if not isinstance(one, Tensor) or not one.is_floating_point():
            kind = one.dtype if isinstance(one, Tensor) else type(one).__name__
            raise PFVTypeError(f"activations[{index}] is {kind}: expected a float tensor.")
        if one.ndim != 4 or 0 in one.shape or len(one) != len(maps[-1]):
            raise PFVValueError(
                f"activations[{index}] has shape {tuple(one.shape)}: expected (N, C, h, w) with "
                "no empty side, and the same N for each."
            )
    return [one.detach() for one in maps]


def checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size as two whole numbers ≥ 1, or raise an error."""
    if size is None:
        return None
    legal = "expected (height, width) in pixels, whole numbers from 1 to 8192"
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        raise PFVTypeError(f"size={size!r}: {legal}.") from None
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise PFVValueError(f"size={size!r}: {legal}.")
    return height, width


def few(indices: Sequence[int]) -> str:
    """Write a few indices out and count the rest."""
    text = ", ".join(str(index) for index in indices[:6])
    return text if len(indices) <= 6 else f"{text} and {len(indices) - 6} more"
