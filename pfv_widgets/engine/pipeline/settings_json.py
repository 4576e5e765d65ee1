"""Settings as text that a person can read and another version can understand."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1  # of the format
_VERSION_KEY = "version"
_LONGEST = 300  # letters of a note

State = TypeVar("State", bound="DataclassInstance")


def write_settings(state: DataclassInstance, **encoded: Any) -> str:
    """Return a JSON object with one field of a parameter dataclass a line.

    ``encoded`` has the values of fields that JSON does not know.
    """
    entries = {field.name: getattr(state, field.name) for field in fields(state)} | encoded
    lines = (
        f"  {json.dumps(k)}: {json.dumps(v)}"
        for k, v in [(_VERSION_KEY, VERSION), *entries.items()]
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_settings(plain: State, text: str) -> tuple[State, tuple[str, ...]]:
    """Return ``plain`` with the fields of a JSON text, and what was left out, in words.

    Raises
    ------
    PFVTypeError, PFVValueError
        If ``text`` is no text, no JSON or no JSON object.
    """
    entries = _object(text)
    version = entries.pop(_VERSION_KEY, VERSION)
    notes = [] if version == VERSION else [_about(version)]
    known = [field.name for field in fields(plain)]
    notes += _unknown([name for name in entries if name not in known], known)
    state = plain
    for name in known:  # one after another: each meets what comes before it, as declared
        if name in entries:
            try:
                state = replace(state, **{name: entries[name]})
            except PFVError as error:
                default = f" {getattr(plain, name)!r}"
                notes.append(f"{name} keeps its default{default * (len(default) < 60)}: {error}")
    return state, tuple(textwrap.shorten(note, _LONGEST, placeholder=" …") for note in notes)


def _object(text: str) -> dict[str, Any]:
    advice = "Give the text that Settings.to_json() wrote."
    if not isinstance(text, str):
        raise PFVTypeError(f"text={text!r:.60}: expected a text. {advice}")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:  # also a number with too many digits
        raise PFVValueError(
            f"This is not valid JSON ({error!s:.80}). Paste what Show displays, or give the text "
            "that to_json() wrote."
        ) from None
    if not isinstance(entries, dict):
        raise PFVValueError(
            f"text={text!r:.60}: expected a JSON object of settings, got {entries!r:.40}. {advice}"
        )
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
