"""Where a file may be written: clear errors, and no half-written files."""

from __future__ import annotations

import errno
import os
import uuid
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import path_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FIGURE_FORMATS = {
    ".png": "PNG picture",
    ".svg": "SVG drawing",
    ".pdf": "PDF for print",
    ".jpg": "",
    ".jpeg": "",
}
"""Suffix of each file that a figure can be written to → what a menu calls it, empty: unlisted."""
ARRAYS = {".npz": "NPZ arrays of numbers"}
FIGURE_OR_ARRAYS = ChainMap(ARRAYS, FIGURE_FORMATS)  # a new entry of either is in it
"""The same of what :func:`write_figure_or_arrays` takes."""


def checked_path(path: object, suffixes: Collection[str], content: str) -> Path:
    """Return where to write ``content`` (its name in words), or raise with what is wrong."""
    target = path_of("path", path)
    if not str(path).strip():
        raise PFVValueError("path='': Type a file name.")
    named = f"path={str(path)!r}"
    if "\0" in str(target):
        raise PFVValueError(f"{named}: a name cannot hold the character \\0; leave it out.")
    if target.suffix.lower() not in suffixes:
        raise PFVValueError(f"{named}: choose a name that ends in {_either(suffixes)} {content}.")
    try:
        if target.is_dir():
            raise PFVValueError(f"{named}: it is a folder; give the name of a file in it.")
        if target.exists() and not target.is_file():
            raise PFVValueError(f"{named}: it is no ordinary file; give another name.")
        if not target.parent.is_dir():
            raise PFVValueError(f"{named}: there is no folder {str(target.parent)!r}; make it.")
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unwritable(target, error) from error
    return target


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside ``path`` that replaces it at the end, unless it was removed.

    An error leaves no trace.
    """
    part = path.with_name(f".part-{uuid.uuid4().hex}{path.suffix}")
    try:
        part.touch(exist_ok=False)
        yield part
        if part.exists():
            part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_figure_or_arrays(
    path: object, figure: Callable[[], Figure], arrays: Callable[[], dict[str, np.ndarray]]
) -> None:
    """Write ``arrays()`` to a ``.npz`` file, else ``figure()``; an error leaves what was there."""
    target = checked_path(path, FIGURE_OR_ARRAYS, "for a figure or the arrays")
    if target.suffix.lower() in ARRAYS:
        write_arrays(target, arrays)
    else:
        write_figure(target, figure)


def write_figure(target: Path, figure: Callable[[], Figure]) -> None:
    """Write ``figure()`` as the suffix says; an error leaves what was there."""
    with replacing(target) as part:
        figure().savefig(part, dpi=150)


def write_arrays(target: Path, arrays: Callable[[], dict[str, np.ndarray]]) -> None:
    """Write ``arrays()`` as an ``.npz`` file; an error leaves what was there."""
    with replacing(target) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays())  # type: ignore[arg-type] # no keyword is one


def unwritable(path: Path, error: OSError) -> PFVValueError:
    """Return the error for a file that the system refuses."""
    reason = error.strerror or str(error)
    return PFVValueError(
        f"path={str(path)!r} cannot be written ({reason}); give a file in a folder of yours, "
        "with a shorter name if this is too long."
    )


def _either(suffixes: Collection[str]) -> str:
    *first, last = suffixes
    return f"{', '.join(first)} or {last}" if first else last
