"""A lock on a file that ends with the process that holds it, on every system."""

from __future__ import annotations

import sys
from typing import IO


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
