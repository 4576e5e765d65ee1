"""Where results are written: safe and unique names, and no file of the user's replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pfv_widgets.engine.pipeline.file_lock import InUseError, locked
from pfv_widgets.errors import PFVValueError

RECORD = "heatmaps.json"
OVERVIEW = "overview.png"


@dataclass(frozen=True)
class Outputs:
    """A folder for the results of one run.

    Parameters
    ----------
    folder
        Made by :meth:`locked`, or when the first file is written.
    former
        Names of the files of a former run, which may be replaced.
    """

    folder: Path
    former: frozenset[str] = frozenset()

    @classmethod
    @contextmanager
    def locked(cls, folder: Path, *, force: bool) -> Iterator[Outputs]:
        """Make the folder and keep other runs from it; one that stays empty goes at the end.

        Raises
        ------
        PFVValueError
            Where another run writes to it, nothing can be written, or :meth:`planned` refuses it.
        """
        folder = folder.expanduser()
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        try:
            with ExitStack() as stack:
                try:
                    with cls(folder).writing():
                        stack.enter_context(locked(folder / f".{RECORD}.lock"))
                except InUseError as error:
                    raise PFVValueError(
                        f"--out {folder}: another run is writing to it; wait for it, or give "
                        "this one a folder of its own."
                    ) from error
                yield cls.planned(folder, force=force)
        finally:
            with suppress(OSError):
                for one in made:
                    one.rmdir()

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
        there = (folder / RECORD).exists()
        former = _files_of(folder / RECORD) if there and force else frozenset()
        if there and not force:
            raise PFVValueError(
                f"--out {folder}: it holds the results of a former run ({RECORD}); give another "
                "folder, or --force to replace them."
            )
        if OVERVIEW not in former and (folder / OVERVIEW).exists():
            raise PFVValueError(
                f"--out {folder}: it holds an {OVERVIEW} of something else; give another."
            )
        return cls(folder, former)

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

    def write_plan(self, pictures: Iterable[str]) -> None:
        """Write a record of the files to come: a run with ``force`` replaces what is left of them.

        Those of the former run are in it as well, as long as they are there.
        """
        files = sorted({*self.former, *pictures} - {OVERVIEW})
        self._write({"unfinished": True, "files": [{"heatmap": file} for file in files]})

    def write_record(self, record: dict[str, Any], pictures: Iterable[str]) -> None:
        """Write the record in place of the plan: the run is complete. Old pictures go."""
        written = {*pictures}
        with self.writing() as folder:
            for name in self.former - (written and {*written, OVERVIEW}):
                (folder / name).unlink(missing_ok=True)
        self._write(record)

    def _write(self, record: dict[str, Any]) -> None:
        """Write the record whole or not at all."""
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        with self.writing() as folder:
            part = folder / f".{RECORD}.part"
            part.write_text(text + "\n", "utf-8")
            part.replace(folder / RECORD)


def _safe(photo: str) -> str:
    """Keep letters, digits, dots and dashes of a name, with its folder; no suffix.

    >>> _safe("cats/a b<c>.jpg")
    'cats-a_b_c'
    """
    stem = photo.replace("/", "-")
    stem = stem[: stem.rfind(".")] if "." in stem[1:] else stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:80] or "photo"


def _files_of(record: Path) -> frozenset[str]:
    """Names of the files that a former run wrote, without any path to elsewhere."""
    try:
        entries = json.loads(record.read_text("utf-8"))["files"]
        names = [entry["heatmap"] for entry in entries if entry["heatmap"]]
    except (ValueError, KeyError, TypeError):
        raise PFVValueError(f"{record} is no record of this program; give another --out.") from None
    names = [name for name in names if Path(name).name == name and name.endswith(".png")]
    return frozenset([*names, OVERVIEW] if names else [])
