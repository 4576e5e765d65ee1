"""A lock on a file that ends with the process that holds it, on every system."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class InUseError(Exception):
    """Another run holds the lock."""


@contextmanager
def locked(beside: Path) -> Iterator[None]:
    """Keep other runs out, by a lock file that is deleted at the end.

    Raises
    ------
    InUseError
        Where another run has locked it.
    OSError
        Where the file cannot be made.
    """
    file = _locked_file(beside)
    try:
        yield
    finally:
        if sys.platform != "win32":
            _delete(beside)  # while it is locked: later it may be another run's
        file.close()
        if sys.platform == "win32":
            _delete(beside)  # which Windows refuses where another run has opened it


def lock(file: IO[bytes]) -> None:
    """Keep other processes from a file, until it is closed or this process ends.

    Raises
    ------
    OSError
        Where another process has it.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)  # what is locked is one byte from here
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _delete(file: Path) -> None:
    with suppress(OSError):
        file.unlink()


def _locked_file(beside: Path) -> IO[bytes]:
    while True:
        file: IO[bytes] = beside.open("ab")
        try:
            lock(file)
        except OSError as error:
            file.close()
            raise InUseError from error
        # a run that ended meanwhile has deleted it: the next run would lock another file
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), beside.stat()):
                return file
        file.close()
