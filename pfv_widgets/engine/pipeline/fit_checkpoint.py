"""The file from which an interrupted fit over a data set goes on."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

import torch

from pfv_widgets.engine.pca.array_file import (
    FileContentError,
    check_digest,
    read_arrays,
    write_arrays,
)
from pfv_widgets.engine.pipeline.file_lock import InUseError, locked
from pfv_widgets.engine.pipeline.fit_state import CONTENT, DataSetFit
from pfv_widgets.errors import PFVValueError, warn


class FitCheckpoint:
    """A checkpoint of one run; use it inside :meth:`locked`.

    Parameters
    ----------
    path
        Of the file.
    every
        Seconds between two checkpoints.
    """

    def __init__(self, path: Path, every: float) -> None:
        self._path, self._every = path, every
        self._last = time.monotonic()
        self._is_failing = False

    @contextmanager
    def locked(self) -> Iterator[FitCheckpoint]:
        """Keep other runs from the file; the system releases it where this run is killed."""
        if self._path.is_dir():
            raise PFVValueError(f"checkpoint={str(self._path)!r} is a folder. Give a file in it.")
        beside = self._path.with_name(f".{self._path.name}.lock")
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(beside))
            except InUseError as error:
                raise PFVValueError(
                    f"checkpoint={str(self._path)!r} is in use by another run. Wait for it, "
                    "or give this one a file of its own."
                ) from error
            except OSError as error:
                raise self._unwritable(error) from error
            for part in self._path.parent.glob(f".{escape(self._path.name)}.*.part"):
                part.unlink(missing_ok=True)  # what a run that was killed has left
            yield self

    def read(self, device: torch.device) -> DataSetFit | None:
        """Return what an earlier run has gathered; None where there is no file."""
        if not self._path.exists():
            return None
        try:
            arrays = read_arrays(self._path)
            fit = DataSetFit.of_arrays(arrays, device)
            check_digest(arrays)
        except (FileContentError, OSError) as error:
            raise PFVValueError(
                f"checkpoint={str(self._path)!r} cannot be resumed: {error}. Give the checkpoint "
                "of a fit, or begin anew with another file."
            ) from error
        return fit

    def check_replaceable(self) -> None:
        """Raise where there is a file that no fit has written: it would be lost."""
        if not self._path.exists() or self._path.stat().st_size == 0:
            return
        names: list[str] = []
        with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(self._path) as file:
            names = file.namelist()
        if f"{CONTENT}.npy" not in names:
            raise PFVValueError(
                f"checkpoint={str(self._path)!r} is there already, and is no checkpoint of a fit: "
                "it would be replaced and then deleted. Give another file, or delete it yourself."
            )

    def is_due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= self._every

    def write(self, fit: DataSetFit) -> None:
        """Write a checkpoint; where that fails, warn the first time, and the last one stays."""
        try:
            write_arrays(self._path, fit.arrays())
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                last = "the last one stays valid" if self._path.exists() else "there is none yet"
                warn(
                    f"checkpoint={str(self._path)!r} could not be written "
                    f"({error.strerror or error}): the fit goes on and tries again; {last}."
                )
            self._is_failing = True
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the fit is complete."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> PFVValueError:
        return PFVValueError(
            f"checkpoint={str(self._path)!r}: nothing can be written there "
            f"({error.strerror or error}). Give a file in a folder of yours that exists."
        )
