"""Where results are written: safe and unique names, and no file of the user's replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfv_widgets.errors import PFVValueError

RECORD = "heatmaps.json"
OVERVIEW = "overview.png"


@dataclass(frozen=True)
class Outputs:
    """A folder for the results of one run.

    Parameters
    ----------
    folder
        Made when the first file is written.
    former
        Names of the files of a former run, which may be replaced.
    """

    folder: Path
    former: frozenset[str] = frozenset()

    @classmethod
    def planned(cls, folder: Path, *, force: bool) -> Outputs:
        """Look at ``folder`` before anything is computed.

        Raises
        ------
        PFVValueError
            Where it holds the results of a former run, without ``force``; or is no folder.
        """
        folder = folder.expanduser()
        if folder.exists() and not folder.is_dir():
            raise PFVValueError(f"--out {folder}: it is a file; give a folder.")
        if not (folder / RECORD).exists():
            if (folder / OVERVIEW).exists():
                raise PFVValueError(
                    f"--out {folder}: it holds an {OVERVIEW} of something else; give another."
                )
            return cls(folder)
        if not force:
            raise PFVValueError(
                f"--out {folder}: it holds the results of a former run ({RECORD}); give another "
                "folder, or --force to replace them."
            )
        return cls(folder, _files_of(folder / RECORD))

    @property
    def overview(self) -> Path:
        """Where the figure of all photos goes."""
        return self.folder / OVERVIEW

    def names_for(self, photos: Iterable[str]) -> list[str]:
        """Return a PNG name for each photo, distinct on every file system and not yet taken."""
        there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        reserved = {name.casefold() for name in there - self.former} | {OVERVIEW, RECORD}
        names = []
        for photo in photos:
            stem = _safe(photo)
            name, number = f"{stem}.png", 2
            while name.casefold() in reserved:
                name, number = f"{stem}-{number}.png", number + 1
            reserved.add(name.casefold())
            names.append(name)
        return names

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Make the folder, and say in words where something cannot be written to it.

        Raises
        ------
        PFVValueError
            Naming the folder and the reason.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield self.folder
        except OSError as error:
            reason = error.strerror or str(error)
            raise PFVValueError(
                f"--out {self.folder}: nothing can be written there ({reason}); give a folder of "
                "yours on a disk with room."
            ) from error

    def write_record(self, record: dict[str, Any], files: Iterable[str]) -> None:
        """Write the record last: where it is, the run is complete. Old pictures go."""
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        with self.writing() as folder:
            (folder / RECORD).write_text(text + "\n", "utf-8")
            stale = self.former - set(files)
            if self.former and self.former == stale:  # no pictures, so no overview of them
                stale |= {OVERVIEW}
            for name in stale:
                (folder / name).unlink(missing_ok=True)


def _safe(photo: str) -> str:
    """Keep letters, digits, dots and dashes of a name, with its folder; no suffix.

    >>> _safe("cats/a b<c>.jpg")
    'cats-a_b_c'
    """
    stem = photo.replace("/", "-")
    stem = stem[: stem.rfind(".")] if "." in stem[1:] else stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:80] or "photo"


def _files_of(record: Path) -> frozenset[str]:
    """Names of the pictures that a former run wrote, without any path to elsewhere."""
    try:
        entries = json.loads(record.read_text("utf-8"))["files"]
        names = [entry["heatmap"] for entry in entries if entry["heatmap"]]
    except (ValueError, KeyError, TypeError):
        raise PFVValueError(f"{record} is no record of this program; give another --out.") from None
    return frozenset(name for name in names if Path(name).name == name and name.endswith(".png"))
