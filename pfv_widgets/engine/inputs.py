"""What is asked of activations and sizes that a person gives."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError


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
