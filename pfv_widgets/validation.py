"""The checks that arguments share: whole numbers, numbers, sizes, functions, and lists of them.

Each returns the clean value, or raises a ``PFVTypeError`` or ``PFVValueError`` that names the
argument, its value and what is legal.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError

MAX_SIDE = 8192  # pixels of what is drawn
MOST_PINS = 8  # as many colours as an eye tells apart

Pin = tuple[int, float, float]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def is_whole(value: object) -> bool:
    """Whether a value is a whole number: an ``int``, or one of NumPy or torch, and no truth value.

    >>> is_whole(3), is_whole(True), is_whole(3.0)
    (True, False, False)
    """
    if isinstance(value, bool | np.bool_) or "bool" in str(getattr(value, "dtype", "")):
        return False
    try:
        operator.index(value)  # type: ignore[arg-type] # it says whether it is
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def is_number(value: object) -> bool:
    """Whether a value is a real number, and no truth value."""
    return not isinstance(value, bool | np.bool_) and isinstance(value, numbers.Real)


def whole_number(
    name: str, value: Any, low: int = 0, high: int | None = None, legal: str | None = None
) -> int:
    """Return a whole number from ``low`` to ``high``; ``legal`` says so in other words."""
    legal = legal or f"a whole number from {low}{'' if high is None else f' to {high}'}"
    if not is_whole(value):
        raise _wrong_type(name, value, legal)
    if value < low or (high is not None and value > high):
        raise _wrong_value(name, value, legal)
    return operator.index(value)


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    legal: str | None = None,
) -> float:
    """Return a finite number from ``low`` to ``high``; ``legal`` says so in other words."""
    bounds = f" from {low:g}" * (low > -math.inf) + f" to {high:g}" * (high < math.inf)
    legal = legal or (f"a number{bounds}" if bounds else "a finite number")
    if not is_number(value):
        raise _wrong_type(name, value, legal)
    try:
        result = float(value)
    except OverflowError:  # a whole number beyond 1e308
        result = math.inf
    if not math.isfinite(result) or not low <= result <= high:
        raise _wrong_value(name, value, legal)
    return result


def whole_numbers(
    name: str, values: Any, low: int = 0, high: int | None = None, legal: str | None = None
) -> tuple[int, ...]:
    """Return one or more whole numbers of a list, an array or a tensor."""
    legal = legal or f"whole numbers from {low}{'' if high is None else f' to {high}'}"
    entries = _entries(name, values, legal)
    if not all(is_whole(one) for one in entries):
        raise _wrong_type(name, values, legal)
    inside = all(low <= one and (high is None or one <= high) for one in entries)
    if not entries or not inside:
        raise _wrong_value(name, values, legal)
    return tuple(operator.index(one) for one in entries)


def one_or_more_whole_numbers(
    name: str, value: Any, low: int = 0, legal: str | None = None
) -> int | tuple[int, ...]:
    """Return a whole number, or those of a list, an array or a tensor."""
    legal = legal or f"a whole number from {low}, or several of them"
    value = plain(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict | set):
        return whole_numbers(name, value, low, legal=legal)
    return whole_number(name, value, low, legal=legal)


def three_numbers(
    name: str, values: Any, low: float = -math.inf, high: float = math.inf, legal: str = ""
) -> tuple[float, float, float]:
    """Return three finite numbers from ``low`` to ``high``, such as for red, green and blue."""
    entries = _entries(name, values, legal)
    if not all(is_number(one) for one in entries):
        raise _wrong_type(name, values, legal)
    if len(entries) != 3 or not all(math.isfinite(one) and low <= one <= high for one in entries):
        raise _wrong_value(name, values, legal)
    red, green, blue = (float(one) for one in entries)
    return red, green, blue


def size_in_pixels(
    name: str, size: Any, most: int = MAX_SIDE, low: int = 1, *, square: bool = False
) -> tuple[int, int]:
    """Return ``(height, width)``; with ``square`` one whole number is the side of a square."""
    legal = f"(height, width) in pixels, whole numbers from {low} to {most}"
    legal += ", or one for a square" if square else ""
    size = plain(size)
    sides = (size, size) if square and is_whole(size) else _entries(name, size, legal)
    if not all(is_whole(side) for side in sides):
        raise _wrong_type(name, size, legal)
    if len(sides) != 2:
        raise _wrong_type(name, size, legal)
    if not all(low <= side <= most for side in sides):
        raise _wrong_value(name, size, legal)
    return operator.index(sides[0]), operator.index(sides[1])


def function_or_none(
    name: str, value: _Function | None, legal: str = "a function"
) -> _Function | None:
    """Return what can be called, or None."""
    if value is not None and not callable(value):
        raise _wrong_type(name, value, f"{legal}, or None")
    return value


def text_or_none(name: str, value: Any, legal: str = "a text") -> str | None:
    """Return a text, or None."""
    if value is not None and not isinstance(value, str):
        raise _wrong_type(name, value, f"{legal}, or None")
    return value


def distinct_layers(name: str, layers: Sequence[str | None]) -> None:
    """Refuse a layer that is named twice."""
    if len(set(layers)) < len(layers):
        raise PFVValueError(f"{name}={[*layers]!r}: a layer is given twice; give each once.")


def path_of(name: str, value: Any) -> Path:
    """Return a path of a text or a path; ``~`` is the home of the user."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise _wrong_type(name, value, "the name of a file, as a text or a Path")
    try:
        return Path(value).expanduser()
    except RuntimeError:  # a user without a home
        return Path(value)


def truth_value(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise _wrong_type(name, value, "True or False")
    return bool(value)


def plain(value: Any) -> Any:
    """Return an array or a tensor as a list or a number, anything else as it is."""
    if isinstance(value, Tensor) and (value.is_meta or value.layout is not torch.strided):
        return value  # it holds no numbers in rows
    return value.tolist() if isinstance(value, np.ndarray | Tensor) else value


def checked_channels(channels: Iterable[int], components: int) -> tuple[int, ...]:
    """Return the components to show."""
    legal = (
        f"a tuple of at least one of the distinct indices from 0 to {components - 1} "
        f"(components={components}), or None"
    )
    chosen = whole_numbers("channels", channels, 0, components - 1, legal)
    if len(set(chosen)) != len(chosen):
        raise _wrong_value("channels", chosen, legal)
    return chosen


def checked_cut(cut: Iterable[int], name: str = "cut") -> tuple[int, ...]:
    """Return the components that are cut, each once, in rising order; there may be none."""
    legal = "a tuple of indices, whole numbers from 0, each once"
    if not _entries(name, cut, legal):
        return ()
    chosen = whole_numbers(name, cut, 0, legal=legal)
    if len(set(chosen)) != len(chosen):
        raise _wrong_value(name, chosen, legal)
    return tuple(sorted(chosen))


def checked_weights(images: Iterable[float]) -> tuple[float, ...]:
    """Return the weights of the images: finite numbers ≥ 0."""
    legal = "one weight ≥ 0 for each image, or None"
    entries = _entries("images", images, legal)
    if any(isinstance(weight, str | bytes) for weight in entries):
        raise _wrong_type("images", images, legal)
    try:
        weights = tuple(float(weight) for weight in entries)
    except (TypeError, ValueError, RuntimeError):
        raise _wrong_type("images", images, legal) from None
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
    """Return pins as ``(image, x, y)``, their images in a batch of ``number`` where it is known."""
    if pins is None:
        return ()
    entries = _entries("pins", pins, "a tuple of (image, x, y), or None")
    checked = tuple(_checked_pin(f"pins[{index}]", pin) for index, pin in enumerate(entries))
    if len(checked) > MOST_PINS:
        raise PFVValueError(f"pins: got {len(checked)}, choose at most {MOST_PINS} of them.")
    for index, pin in enumerate(checked):
        if number is not None and pin[0] >= number:
            raise PFVValueError(
                f"pins[{index}]={pin}: the batch has {number} images, counted from 0. Choose an "
                f"image from 0 to {number - 1}, or take the pin away."
            )
    return checked


def checked_position(image: Any, x: Any, y: Any, number: int) -> Pin:
    """Return a position ``(image, x, y)`` in a batch of ``number`` images."""
    position = _checked_pin("position", (image, x, y))
    if position[0] >= number:
        raise PFVValueError(
            f"image={position[0]}: the batch has {number} images, counted from 0. Choose one from "
            f"0 to {number - 1}."
        )
    return position


def checked_images(only: Iterable[int] | None, number: int) -> tuple[int, ...] | None:
    """Return indices of some of ``number`` images; None stands for all."""
    if only is None:
        return None
    legal = f"indices of images, whole numbers from 0 to {number - 1}, or None for all"
    return whole_numbers("only", only, 0, number - 1, legal)


def checked_columns(columns: object, what: str) -> int | None:
    """Return the number of ``what`` in a row of a figure; None: any."""
    legal = f"a whole number from 1 ({what} in a row), or None"
    return None if columns is None else whole_number("columns", columns, 1, legal=legal)


def checked_activations(activations: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return the activations as a list; one tensor is a list of one."""
    if isinstance(activations, Tensor):
        activations = [activations]
    if not isinstance(activations, Sequence):
        raise PFVTypeError(
            f"activations={activations!r:.80}: expected a list of (N, C, h, w) tensors."
        )
    maps = list(activations)
    if not maps:
        raise PFVValueError("activations is empty: give at least one (N, C, h, w) tensor.")
    for index, one in enumerate(maps):
        if isinstance(one, Tensor):
            check_dense(one, f"activations[{index}]")
        if not isinstance(one, Tensor) or not one.is_floating_point():
            kind = one.dtype if isinstance(one, Tensor) else type(one).__name__
            raise PFVTypeError(f"activations[{index}] is {kind}: expected a float tensor.")
        if one.ndim != 4 or 0 in one.shape or len(one) != len(maps[-1]):
            raise PFVValueError(
                f"activations[{index}] has shape {tuple(one.shape)}: expected (N, C, h, w) with "
                "no empty side, and the same N for each."
            )
    return [one.detach() for one in maps]


def check_dense(tensor: Tensor, name: str) -> None:
    """Refuse tensors that hold no plain numbers, one for each index."""
    if tensor.is_nested:
        raise PFVValueError(
            f"{name}: a nested tensor, whose entries differ in size. Give one tensor: bring them "
            "to one size first."
        )
    if tensor.is_meta:
        raise PFVValueError(
            f"{name}: a tensor of shape {tuple(tensor.shape)} on the meta device holds no numbers. "
            "Give one on the CPU or an accelerator."
        )
    if tensor.layout is not torch.strided:
        raise PFVValueError(
            f"{name}: a tensor of layout {tensor.layout}. Give a dense one: tensor.to_dense()."
        )
    if tensor.is_quantized:
        raise PFVTypeError(f"{name}: a quantised tensor. Give floats: tensor.dequantize().")
    if tensor.is_floating_point() and tensor.element_size() < 2:
        raise PFVTypeError(f"{name}: a tensor of {tensor.dtype}. Convert it: tensor.float().")


def few(indices: Sequence[int]) -> str:
    """Write a few indices out and count the rest."""
    text = ", ".join(str(index) for index in indices[:6])
    return text if len(indices) <= 6 else f"{text} and {len(indices) - 6} more"


def _checked_pin(name: str, pin: Iterable[float]) -> Pin:
    legal = (
        "(image, x, y): the image's index, a whole number from 0, and the position as fractions "
        "of its width and height, from 0 to 1"
    )
    values = _entries(name, pin, legal)
    if not all(is_number(value) for value in values):
        raise PFVTypeError(f"{name}={pin!r:.80}: expected {legal}.")
    if len(values) != 3:
        raise _wrong_value(name, pin, legal)
    image, x, y = values
    # comparisons that NaN does not pass
    if not (0 <= image < math.inf and image == int(image) and 0 <= x <= 1 and 0 <= y <= 1):
        raise _wrong_value(name, pin, legal)
    return int(image), float(x), float(y)


def _entries(name: str, values: Any, legal: str) -> list[Any]:
    values = plain(values)
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise _wrong_type(name, values, legal)
    return list(values)


def _wrong_type(name: str, value: object, legal: str) -> PFVTypeError:
    return PFVTypeError(f"{name}={value!r:.80}: expected {legal}, got {type(value).__name__}.")


def _wrong_value(name: str, value: object, legal: str) -> PFVValueError:
    return PFVValueError(f"{name}={value!r:.80}: expected {legal}.")
