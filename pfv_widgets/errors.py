"""The errors that a user can cause: each names the argument, the value and the fix."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


class PFVError(Exception):
    """Base of every error that this package raises on purpose."""


class PFVValueError(PFVError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class PFVTypeError(PFVError, TypeError):
    """An argument has a type that cannot be used."""


# for messages: averages three channels, for a network that takes one
GREY = "nn.Sequential(nn.AvgPool3d((3, 1, 1)), model)"


class PFVWarning(UserWarning):
    """Something was left out or replaced, and the result says what."""


_PACKAGE = __name__.partition(".")[0]
_BETWEEN = ("torch", "contextlib")  # what may lie between this package and its caller


def warn(message: str) -> None:
    """Warn with a :class:`PFVWarning`, attributed to the caller's line outside this package."""
    frame: FrameType | None = sys._getframe(1)
    level = outside = 2  # 1 is this function
    while frame is not None:
        top = frame.f_globals.get("__name__", "").partition(".")[0]
        if top == _PACKAGE or (top in _BETWEEN and level == outside):
            outside = level + 1
        frame, level = frame.f_back, level + 1
    warnings.warn(message, PFVWarning, stacklevel=outside)


def named(error: Exception) -> str:
    """Return an error in words: one of this package as it is, any other with its class."""
    if isinstance(error, PFVError):
        return str(error)
    kind = type(error).__name__
    if is_out_of_memory(error):
        return (
            "There is not enough memory. Choose a later layer or fewer images, give PFV a "
            f"smaller chunk_size, or device='cpu'. ({kind}: {error})"
        )
    return f"{kind}: {error}"


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had; PyTorch raises a plain ``RuntimeError`` on a processor."""
    named_so = {"MemoryError", "OutOfMemoryError"} & {one.__name__ for one in type(error).__mro__}
    return bool(named_so) or "allocate memory" in str(error)
