"""Names of the units of a network's output."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import suggestion

ClassNames = Mapping[int, str]


class OwnNames(tuple[str, ...]):
    """Names that a network has as its ``classes``; without meaning once it has another head."""


def names_of(model: object, classes: object) -> object:
    """Return ``classes``; where they are None the network's own ``classes``, if it has any."""
    own = getattr(model, "classes", None) if classes is None else None
    named = isinstance(own, list | tuple) and all(isinstance(name, str) for name in own)
    return OwnNames(own) if own is not None and named else classes


_LEGAL = (
    "expected a list of names, a mapping from unit to name or from name to unit, 'imagenet', or "
    "None"
)


def class_names(classes: object, units: int | None = None) -> dict[int, str]:
    """Return the names of the output's units.

    Parameters
    ----------
    classes
        A list or array of names; a mapping from unit to name, such as ``{14: "indigo bunting"}``
        (units may be texts, and names lists that end with the name, as in ImageNet's index file),
        or from name to unit (``ImageFolder.class_to_idx``); ``"imagenet"`` for the 1000 classes
        that torchvision's networks know; or None.
    units
        How many the output has: a mapping may leave some out, a list may not. None: any number.

    Raises
    ------
    PFVValueError, PFVTypeError
        For something else, and names that do not fit that number.
    """
    names = _names(classes)
    if units is None or classes is None:
        return names
    if isinstance(classes, OwnNames) and len(names) != units:
        return {}
    complete = not isinstance(classes, Mapping)
    if max(names, default=-1) >= units or (complete and len(names) < units):
        given = repr(classes) if isinstance(classes, str) else "the list"
        what = (
            f"{given} has {len(names)} name{'s' * (len(names) != 1)}"
            if complete
            else f"unit {max(names)} has a name"
        )
        raise PFVValueError(
            f"classes: {what}, and the network's output {units} unit{'s' * (units > 1)}, counted "
            "from 0. Give a name for each in their order, or a mapping from unit to name for some."
        )
    return names


def names_that_fit(classes: object, units: Iterable[int]) -> dict[int, str]:
    """Return :func:`class_names` of the first output whose number of units they fit.

    ``units`` are those of each output of a network; 0 where that is not known.

    Raises
    ------
    PFVValueError, PFVTypeError
        Where they fit none.
    """
    known = [number for number in units if number]
    for number in known[:-1]:
        with suppress(PFVValueError):
            if names := class_names(classes, number):
                return names
    return class_names(classes, known[-1] if known else None)


def _names(classes: object) -> dict[int, str]:
    if classes is None:
        return {}
    if isinstance(classes, str):
        if classes != "imagenet":
            raise PFVValueError(f"classes={classes!r:.60}: {_LEGAL}.")
        from torchvision.models import ResNet18_Weights

        return dict(enumerate(ResNet18_Weights.DEFAULT.meta["categories"]))
    if isinstance(classes, Mapping):
        return dict(_entry(key, value) for key, value in classes.items())
    if isinstance(classes, np.ndarray | Tensor):
        classes = classes.tolist()
    if not isinstance(classes, Iterable) or isinstance(classes, bytes | set | frozenset):
        raise PFVTypeError(f"classes={classes!r:.60}: {_LEGAL}.")
    return {unit: _name(unit, name) for unit, name in enumerate(classes)}


def classes_by_network(classes: object, networks: Iterable[str]) -> dict[str, object]:
    """Return what each network's units are called, by its name, as :func:`class_names` takes it.

    ``classes`` is as for :func:`class_names`, for all networks; or a mapping from the name of a
    network to that. A network that it leaves out has None.
    """
    known = list(networks)
    by_network = isinstance(classes, Mapping) and any(
        isinstance(value, Mapping | list | tuple | np.ndarray) or value in (None, "imagenet")
        for key, value in classes.items()
        if not _is_unit(key)
    )
    if not by_network:
        return dict.fromkeys(known, classes)
    assert isinstance(classes, Mapping)
    for name in classes:
        if name not in known:
            raise PFVValueError(
                f"classes: {name!r:.60} is neither a unit nor the name of a network. "
                f"{suggestion(str(name), known)}"
            )
    return {name: classes.get(name) for name in known}


def unit_named(name: str, classes: ClassNames) -> int:
    """Return the unit of a class."""
    if not classes:
        raise PFVValueError(
            f"unit={name!r:.60}: the units have no names. Give classes=..., such as 'imagenet'."
        )
    units = [unit for unit, own in classes.items() if own == name]
    if not units:
        raise PFVValueError(
            f"unit={name!r:.60} is none of the classes. {suggestion(name, classes.values())}"
        )
    if len(units) > 1:
        raise PFVValueError(f"unit={name!r:.60}: units {units} have that name. Give one of them.")
    return units[0]


def _is_unit(key: object) -> bool:
    try:
        _index(key)
    except PFVTypeError:
        return False
    return True


def _entry(key: Any, value: Any) -> tuple[int, str]:
    """Return unit and name of one entry of a mapping, in whichever direction it goes."""
    if not _is_unit(key) and _is_unit(value):
        key, value = value, key
    unit = _index(key)
    if isinstance(value, list | tuple) and value:  # ["n01537544", "indigo_bunting"]
        value = value[-1]
    return unit, _name(unit, value)


def _index(key: Any) -> int:
    if isinstance(key, str) and key.strip().isdecimal():
        key = int(key)
    try:
        if isinstance(key, bool):
            raise TypeError
        unit = operator.index(key)
    except TypeError:
        raise PFVTypeError(f"classes has the unit {key!r:.60}: {_LEGAL}.") from None
    if unit < 0:
        raise PFVValueError(f"classes has the unit {unit}: units count from 0.")
    return unit


def _name(unit: int, name: object) -> str:
    if isinstance(name, Mapping | list | tuple | Tensor | np.ndarray | bytes):
        raise PFVTypeError(f"classes: unit {unit} has the name {name!r:.60}, which is no text.")
    return str(name)
