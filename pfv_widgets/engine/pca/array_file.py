"""Files of named arrays: written whole or not at all, read without pickle, damage noticed."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

_DIGEST = "digest"
# also of a part that is encrypted, or compressed in an unknown way
_OF_ZIP = (zipfile.BadZipFile, RuntimeError, NotImplementedError)


class FileContentError(ValueError):
    """Why a file does not hold what was looked for, in words for the user."""


def write_arrays(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a ``.npz`` file with the digest of its content, in place of one that is there.

    It is written beside the path first, so that what was there before stays whole where writing
    fails or is cut off.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    stored = {name: np.asarray(value) for name, value in arrays.items()}
    stored[_DIGEST] = np.asarray(digest_of(stored))
    if path.exists() and not path.is_file():  # a device would be replaced
        raise FileExistsError(errno.EEXIST, "it is no ordinary file", str(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            np.savez(file, **stored)  # type: ignore[arg-type] # the names are its keywords
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> Arrays:
    """Read the arrays of a file, without looking at their digest.

    Raises
    ------
    FileContentError
        Where it is absent or damaged, or holds more than plain arrays.
    """
    if not path.is_file():
        raise FileContentError("it is a folder" if path.is_dir() else "there is no such file")
    if not zipfile.is_zipfile(path):
        raise FileContentError("it is no .npz file, or only a part of one")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, KeyError, ValueError, EOFError, TypeError, *_OF_ZIP) as error:
        # numpy's own words would advise to unpickle
        raise FileContentError("it is damaged") from error


def check_digest(arrays: Arrays) -> None:
    """Raise unless the arrays are those that were written.

    Raises
    ------
    FileContentError
        Where they are not, or where no digest is among them.
    """
    rest = {name: value for name, value in arrays.items() if name != _DIGEST}
    if str(arrays.get(_DIGEST, "")) != digest_of(rest):
        raise FileContentError("its content is not what was written (the digest differs)")


def digest_of(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return a digest of names, types, shapes and numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        one = np.asarray(arrays[name])
        digest.update(f"{name} {one.dtype.str} {one.shape} ".encode())
        digest.update(np.ascontiguousarray(one).tobytes())
    return digest.hexdigest()
