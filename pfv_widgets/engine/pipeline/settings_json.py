"""Settings as text that a person can read and another version can understand."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, warn
from pfv_widgets.parameters import suggestion

VERSION = 1  # of the format
_VERSION_KEY = "version"
_LONGEST = 300  # letters of a note


@dataclass(frozen=True)
class JsonSettings:
    """Base of settings that are written as text and read again."""

    def encoded(self) -> dict[str, Any]:
        """Values of fields that JSON does not know, as they are written."""
        return {}

    def to_json(self) -> str:
        """Write all fields as JSON, one a line, for this or another version."""
        entries = {field.name: getattr(self, field.name) for field in fields(self)}
        lines = (
            f"  {json.dumps(k)}: {json.dumps(v)}"
            for k, v in [(_VERSION_KEY, VERSION), *(entries | self.encoded()).items()]
        )
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote; a warning names what cannot be used and is left out.

        Raises
        ------
        PFVValueError, PFVTypeError
            If ``text`` is no JSON object.
        """
        state, notes = cls.read_json(text)
        if notes:
            warn(" ".join(notes))
        return state

    @classmethod
    def read_json(cls, text: str) -> tuple[Self, tuple[str, ...]]:
        """Read what :meth:`to_json` wrote, and say in words what was left out or replaced.

        Fields of another version are left out, a field that is missing or has an illegal value
        keeps its default.

        Raises
        ------
        PFVValueError, PFVTypeError
            If ``text`` is no JSON object.
        """
        entries = _object(text)
        version = entries.pop(_VERSION_KEY, VERSION)
        notes = [] if version == VERSION else [_about(version)]
        known = [field.name for field in fields(cls)]
        notes += _unknown([name for name in entries if name not in known], known)
        state = cls()
        for name in known:  # one after another: each meets what comes before it, as declared
            if name in entries:
                try:
                    state = replace(state, **{name: entries[name]})
                except PFVError as error:
                    default = f" {json.dumps(getattr(cls(), name), default=str)}"
                    notes.append(f"{error} The default{default * (len(default) < 60)} stays.")
        return state, tuple(textwrap.shorten(note, _LONGEST, placeholder=" …") for note in notes)

    def changed(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        plain = type(self)()
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in own.items() if value != getattr(plain, name)}


def _object(text: str) -> dict[str, Any]:
    advice = "Paste what Show displays, or give the text that to_json() wrote."
    if not isinstance(text, str):
        raise PFVTypeError(f"text={text!r:.60}: expected a text. {advice}")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number with too many digits
        raise PFVValueError(f"This is not valid JSON. {advice} ({error!s:.80})") from None
    if not isinstance(entries, dict):
        raise PFVValueError(f"This JSON holds no settings, only {text.strip()!s:.40}. {advice}")
    return entries


def _about(version: object) -> str:
    newer = isinstance(version, int | float) and version > VERSION
    return (
        f"The settings say format {version!r:.20}, this version of pfv_widgets writes {VERSION}: "
        f"what it knows was taken{'; install a newer version for the rest' if newer else ''}."
    )


def _unknown(names: list[str], known: list[str]) -> Iterator[str]:
    for name in names:
        near = suggestion(name, known).partition("? ")
        hint = f" {near[0]}?" if near[1] else ""
        yield f"{name!r:.60} is no setting of this version and was left out.{hint}"
