"""Boxes that slide over an image: where they lie, and the heat that their scores make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.occluders import PixelBox
from pfv_widgets.validation import one_or_more_whole_numbers, plain

Pair = tuple[int, int]  # for rows and columns: height and width
Test = tuple[Pair, Pair]  # size and stride in pixels


def checked_pair(name: str, value: object) -> Pair:
    """Return one or two whole numbers from 1 as ``(rows, columns)``."""
    legal = "pixels as a whole number from 1, or a pair (rows, columns) of them"
    sides = one_or_more_whole_numbers(name, value, 1, legal)
    if isinstance(sides, int):
        return sides, sides
    if len(sides) != 2:
        raise PFVTypeError(f"{name}={value!r:.80}: expected {legal}.")
    return sides[0], sides[1]


def checked_tests(value: object) -> tuple[Test, ...]:
    """Return any number of pairs of a size and a stride."""
    legal = "expected pairs (size, stride) in pixels, such as [(64, 32), ((32, 64), (16, 16))]"
    value = plain(value)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise PFVTypeError(f"tests={value!r:.80}: {legal}.")
    if not value:
        raise PFVValueError(f"tests={value!r} is empty: {legal}.")
    tests = [plain(test) for test in value]
    for index, test in enumerate(tests):
        if not isinstance(test, Sequence) or isinstance(test, str | bytes) or len(test) != 2:
            raise PFVTypeError(f"tests[{index}]={test!r:.80}: {legal}.")
    return tuple(
        (checked_pair(f"tests[{i}] size", size), checked_pair(f"tests[{i}] stride", stride))
        for i, (size, stride) in enumerate(tests)
    )


def sliding_boxes(size: Pair, stride: Pair, image: Pair) -> list[PixelBox]:
    """Return where the boxes lie, row by row.

    The first lies in the upper left corner; the last of a row or column is cut off at the border,
    so that with strides up to the size each pixel is covered.

    >>> sliding_boxes((4, 4), (4, 3), (4, 8))
    [(0, 4, 0, 4), (0, 4, 3, 7), (0, 4, 6, 8)]
    """
    if size[0] > image[0] or size[1] > image[1]:
        raise PFVValueError(
            f"size={size}: the box of {size[0]} × {size[1]} pixels (rows × columns) is larger than "
            f"the image of {image[0]} × {image[1]}. Take a smaller box."
        )
    rows, columns = (
        [
            (begin, min(begin + size[axis], image[axis]))
            for begin in range(0, image[axis] - size[axis] + stride[axis], stride[axis])
            if begin < image[axis]
        ]
        for axis in (0, 1)
    )
    return [(*row, *column) for row in rows for column in columns]


def heat(drops: Tensor, boxes: Sequence[PixelBox], image: Pair, *, mean: bool = False) -> Tensor:
    """Give each pixel ``(N, H, W)`` the drops ``(N, B)`` of the B boxes that cover it.

    A pixel that no box covers has 0; ``mean`` divides by the number of these boxes.
    """
    summed = drops.new_zeros((len(drops), *image))
    cover = drops.new_zeros(image)
    for drop, (top, bottom, left, right) in zip(drops.T, boxes, strict=True):
        summed[:, top:bottom, left:right] += drop[:, None, None]
        cover[top:bottom, left:right] += 1
    return summed / cover.clamp(min=1) if mean else summed


def normalised(heats: Tensor) -> Tensor:
    """Divide each map ``(N, H, W)`` by its maximum.

    Where next to nothing speaks for the unit (a maximum below 1 % of the largest absolute value)
    that value replaces it; a map of zeros stays.
    """
    flat = heats.flatten(1)
    top, most = flat.amax(1), flat.abs().amax(1)
    top = torch.where(top > 0.01 * most, top, most)
    return heats / torch.where(top > 0, top, torch.ones_like(top))[:, None, None]
