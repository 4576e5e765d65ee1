"""Named states of an explorer, as an immutable list that is written to a file and read again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pfv_widgets.engine.export.output_paths import checked_path, replacing
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import suggestion

_FORMAT = "pfv_widgets bookmarks"
_VERSION = 1
_LONGEST_NAME = 60  # letters
_MOST = 200
_LARGEST = 20_000_000  # bytes of a file that can be bookmarks
_ADVICE = "Choose a file that Save wrote."


@dataclass(frozen=True)
class Bookmarks:
    """Settings by name, in the order in which they were added; every change gives new ones."""

    entries: tuple[tuple[str, Any], ...] = ()  # name and settings, each name once
    kind: type[Any] = Settings

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names in order."""
        return tuple(name for name, _ in self.entries)

    def get(self, name: str) -> Any:
        """Return the settings of that name; a PFVValueError has the nearest names if none."""
        for own, settings in self.entries:
            if own == name:
                return settings
        if not self.entries:
            raise PFVValueError(f"name={name!r:.80}: there are no bookmarks yet; add one first.")
        raise PFVValueError(f"name={name!r:.80} is no bookmark. {suggestion(name, self.names)}")

    def add(self, name: str, settings: Any) -> Bookmarks:
        """Add settings at the end; a name that is taken gets a number: ``"cats (2)"``.

        The name as it came out is the last of ``names``. A PFVError says that a name is empty, that
        settings are none, or that there are 200 bookmarks already.
        """
        if not isinstance(settings, self.kind):
            kind = self.kind.__name__
            raise PFVTypeError(f"settings={settings!r:.80}: expected a {kind}.")
        if len(self) >= _MOST:
            raise PFVValueError(f"There are {_MOST} bookmarks already; delete some first.")
        entry = _unique(_cleaned(name), self.names), settings
        return replace(self, entries=(*self.entries, entry))

    def rename(self, name: str, new: str) -> Bookmarks:
        """Give a bookmark another name, made unique as in :meth:`add`, with the same errors."""
        self.get(name)
        others = tuple(one for one in self.names if one != name)
        unique = _unique(_cleaned(new), others)
        entries = tuple((unique if own == name else own, s) for own, s in self.entries)
        return replace(self, entries=entries)

    def delete(self, name: str) -> Bookmarks:
        """Leave one out; a PFVValueError says that there is no such bookmark."""
        self.get(name)
        return replace(self, entries=tuple(e for e in self.entries if e[0] != name))

    def joined(self, others: Bookmarks) -> Bookmarks:
        """Add all others that are not here already, as :meth:`add` does."""
        together = self
        for name, settings in others.entries:
            if (name, settings) not in self.entries:
                together = together.add(name, settings)
        return together

    def to_json(self) -> str:
        """Write all as JSON, for :meth:`from_json` of this or another version."""
        entries = [
            {"name": name, "settings": json.loads(settings.to_json())}
            for name, settings in self.entries
        ]
        content = {"format": _FORMAT, "version": _VERSION, "bookmarks": entries}
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, kind: type[Any] = Settings) -> tuple[Bookmarks, tuple[str, ...]]:
        """Read what :meth:`to_json` wrote, and say in words what was left out or replaced.

        ``kind`` is the class of the settings. A PFVError says that the text holds no bookmarks.
        """
        found, notes = cls(kind=kind), []
        for index, entry in enumerate(_entries(text)):
            try:
                name, content = _parts(entry)
                settings, more = kind.read_json(json.dumps(content))
                found = found.add(name, settings)
                notes += [f"{found.names[-1]}: {note}" for note in more]
            except PFVError as error:
                notes.append(f"Bookmark {index + 1} was left out: {error}")
        return found, tuple(notes)

    def save(self, path: str | Path) -> None:
        """Write a ``.json`` file; a PFVError says why it cannot be written."""
        output = checked_path(path, (".json",), "for the bookmarks")
        with replacing(output) as part:
            part.write_text(self.to_json(), "utf-8")

    @classmethod
    def load(
        cls, path: str | Path, kind: type[Any] = Settings
    ) -> tuple[Bookmarks, tuple[str, ...]]:
        """Read a file that :meth:`save` wrote: see :meth:`from_json`."""
        return cls.from_json(read_text(path), kind)


def read_text(path: str | Path) -> str:
    """Return the text of a small file; a PFVError says why it cannot be read."""
    if not isinstance(path, str | Path):
        raise PFVTypeError(f"path={path!r:.80}: expected the name of a file.")
    if not str(path).strip():
        raise PFVValueError("path='': Type a file name.")
    named = f"path={str(path)!r:.300}"
    try:
        if not Path(path).is_file():
            raise PFVValueError(f"{named}: there is no such file; check its name and folder.")
        if Path(path).stat().st_size > _LARGEST:
            raise PFVValueError(f"{named} is too large for settings or bookmarks.")
        return Path(path).read_text("utf-8")
    except OSError as error:
        raise PFVValueError(f"{named} cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise PFVValueError(f"{named} is no text file. {_ADVICE}") from error
    except PFVError:
        raise
    except ValueError as error:  # a name with \0
        raise PFVValueError(f"{named} cannot be the name of a file ({error}).") from error


def _entries(text: str) -> list[Any]:
    if not isinstance(text, str):
        raise PFVTypeError(f"text={text!r:.60}: expected a text. {_ADVICE}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PFVValueError(f"This is not valid JSON. {_ADVICE} ({error!s:.80})") from None
    entries = content.get("bookmarks") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise PFVValueError(f"This JSON holds no bookmarks. {_ADVICE}")
    return entries


def _parts(entry: Any) -> tuple[str, Any]:
    if not isinstance(entry, dict) or "name" not in entry or "settings" not in entry:
        raise PFVValueError(f"it has no name and settings, but is {entry!r:.60}.")
    return entry["name"], entry["settings"]


def _cleaned(name: object) -> str:
    if not isinstance(name, str):
        raise PFVTypeError(f"name={name!r:.80}: expected a text.")
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if not line:
        raise PFVValueError("name is empty: type a name for the bookmark.")
    return line[:_LONGEST_NAME].strip()


def _unique(name: str, others: tuple[str, ...]) -> str:
    number, found = 1, name
    while found in others:
        number += 1
        found = f"{name} ({number})"
    return found
