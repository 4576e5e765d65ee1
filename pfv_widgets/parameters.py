"""One declaration per knob: default, range, label and help, beside the field that it belongs to.

A frozen dataclass declares its fields with :func:`slider`, :func:`choice` and :func:`toggle`.
From that one declaration come the validation (:func:`validate`), the control in a notebook
(``pfv_widgets.widgets.toolkit.controls``) and the option of the command line. ``page`` is the
title of the tab that shows the control, or None where the explorer has only one set of controls.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Self

from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import number, truth_value

_KEY = "parameter"
P = ParamSpec("P")


@dataclass(frozen=True)
class Slider:
    """A number between ``minimum`` and ``maximum``; whole where ``step`` is an ``int``."""

    minimum: float
    maximum: float
    step: float
    label: str
    help: str
    page: str | None = None

    def check(self, name: str, value: object) -> float:
        """Return the value as ``int`` or ``float``, or raise a named error."""
        whole = isinstance(self.step, int)
        kind = "a whole number" if whole else "a number"
        legal = f"{kind} from {self.minimum:g} to {self.maximum:g}"
        checked = number(name, value, self.minimum, self.maximum, legal)
        if whole and checked != int(checked):
            raise PFVValueError(f"{name}={value!r}: expected {legal}.")
        return int(checked) if whole else checked


@dataclass(frozen=True)
class Choice:
    """One of a few names, given as a collection that may grow, such as a registry."""

    choices: Collection[str]
    label: str
    help: str
    page: str | None = None
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What a control calls those whose names would not be understood."""

    def check(self, name: str, value: object) -> str:
        """Return the value, or raise an error with the legal names, the nearest first."""
        if not isinstance(value, str):
            raise PFVTypeError(f"{name}={value!r}: expected one of {listed(self.choices)}.")
        if value not in self.choices:
            raise PFVValueError(f"{name}={value!r} is unknown. {suggestion(value, self.choices)}")
        return value


@dataclass(frozen=True)
class Toggle:
    """On or off."""

    label: str
    help: str
    page: str | None = None

    def check(self, name: str, value: object) -> bool:
        """Return the value, or raise a named error."""
        return truth_value(name, value)


Parameter = Slider | Choice | Toggle


def _declares(kind: Callable[P, Parameter]) -> Callable[Concatenate[Any, P], Any]:
    """Return a function that declares a field: its default, then the values of a declaration."""

    def field(default: Any, /, *values: P.args, **named: P.kwargs) -> Any:
        return dataclasses.field(default=default, metadata={_KEY: kind(*values, **named)})

    return field


slider, choice, toggle = _declares(Slider), _declares(Choice), _declares(Toggle)
"""Declare a field of a dataclass: its default, then what the class of its declaration takes."""


class Declared:
    """Base of a dataclass that refuses unknown keywords and suggests the nearest field names."""

    def __new__(cls, *_: Any, **values: Any) -> Self:
        """Refuse a keyword that is no field."""
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for name, value in values.items():
            if name not in known:
                raise PFVTypeError(
                    f"{name}={value!r:.60}: {cls.__name__} has no such field. "
                    f"{suggestion(name, known)}"
                )
        return super().__new__(cls)


def parameters_of(owner: type | object, page: str | None = None) -> dict[str, Parameter]:
    """Name → declaration of each field of a dataclass that has one, in order.

    ``page`` keeps those that are shown on one tab; None: all.
    """
    if not dataclasses.is_dataclass(owner):
        raise PFVTypeError(f"owner={owner!r}: expected a dataclass.")
    declared = {f.name: f.metadata[_KEY] for f in dataclasses.fields(owner) if _KEY in f.metadata}
    return {name: one for name, one in declared.items() if page in (None, one.page)}


def validate(instance: object) -> None:
    """Check every declared field of a frozen dataclass and store the clean values.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the field, its value and the legal values.
    """
    for name, parameter in parameters_of(instance).items():
        object.__setattr__(instance, name, parameter.check(name, getattr(instance, name)))


def described(entries: Mapping[str, Any]) -> str:
    """List the entries of a registry that have a help, for the help of a knob."""
    return "; ".join(f"{name}: {one.help}" for name, one in entries.items() if one.help) + "."


def in_words(instance: object, names: Iterable[str]) -> tuple[str, ...]:
    """Return fields with their values, as people read them.

    >>> from pfv_widgets.methods.gradient.path_and_noise import SmoothGrad
    >>> in_words(SmoothGrad(), ["samples", "noise"])
    ('16 samples', 'noise 0.15')
    """
    declared = parameters_of(instance)
    words = []
    for name in names:
        value = getattr(instance, name)
        label, _, unit = (declared[name].label if name in declared else name).partition(", ")
        label = label if label[1:2].isupper() else label[:1].lower() + label[1:]
        if type(value) is int and label.endswith("s") and not unit:
            words.append(f"{value} {label.removesuffix('s') if value == 1 else label}")
            continue
        text = ("off", "on")[value] if isinstance(value, bool) else value
        text = f"{text:g}" if isinstance(text, float) else str(text)
        words.append(" ".join(filter(None, [label, text, unit])))
    return tuple(words)


def suggestion(value: object, choices: Iterable[str]) -> str:
    """Return «Did you mean 'a'? Choose one of 'a', 'b'.» for an unknown name.

    >>> suggestion("flatt", ["flat", "none"])
    "Did you mean 'flat'? Choose one of 'flat', 'none'."
    """
    names = list(choices)
    near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.7)
    hint = f"Did you mean {listed(near, ' or ')}? " if near else ""
    return f"{hint}Choose one of {listed(names)}."


def listed(names: Iterable[str], joint: str = ", ", most: int = 20) -> str:
    """Quote and join names; a long list is cut, and its length is given.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    quoted = [repr(name) for name in names]
    more = f" … ({len(quoted)} in all)" if len(quoted) > most else ""
    return joint.join(quoted[:most]) + more
