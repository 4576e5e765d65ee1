"""Which unit of a network's output each photo's label is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfv_widgets.analysis.core.intervals import share
from pfv_widgets.engine.data.batch import checked_labels
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.core.class_names import class_names
from pfv_widgets.parameters import listed

_IMAGENET = 1000  # classes
_PHOTOS = 4  # of each class on average: of fewer, any order may do better


@dataclass(frozen=True, eq=False)
class LabelledUnits:
    """The names of a network's units, and the unit of each photo."""

    names: tuple[str, ...]  # one for each unit
    units: Tensor | None  # int64 ``(N,)``, or None without labels
    note: str = ""  # what was assumed, in words; may be empty
    by_name: bool = False  # whether labels are names

    def checked_by(self, scores: Tensor) -> LabelledUnits:
        """Say in the note if names in another order would fit scores ``(N, K)`` far better.

        That is, they are right on more than half of the photos, surely, and these on fewer than by
        chance.
        """
        from scipy.optimize import linear_sum_assignment  # an explorer opens without it

        defined = torch.isfinite(scores).all(1).cpu()
        if self.units is None or not self.by_name or not bool(defined.any()):
            return self
        units, predicted = self.units[defined], scores.argmax(1).cpu()[defined]
        number = scores.shape[1]
        table = torch.bincount(predicted * number + units, minlength=number**2)
        table = table.view(number, number).double()
        # where nothing speaks for another name, the unit's own
        order = linear_sum_assignment(-(table + torch.eye(number) / (2 * number)).numpy())[1]
        right, better = int(table.trace()), int(table[range(number), order].sum())
        few = len(units) < _PHOTOS * len(set(units.tolist()))
        if few or right * number >= len(units) or share(better, len(units)).low <= 0.5:
            return self
        names = listed([self.names[unit] for unit in order], most=6)
        note = (
            f"By these names the network is right on {right} of {len(units)} photos, fewer than by "
            f"chance, but on {better} if its outputs are called, in their order, {names}. If they "
            "are, say so with classes=[...] in that order; else these photos mislead it."
        )
        return replace(self, note=f"{self.note} {note}".strip())


def labelled_units(
    labels: Iterable[object] | None, classes: object, photos: int, units: int
) -> LabelledUnits:
    """Match labels, a name or a unit for each photo, with the units of a network's output.

    ``classes`` are as for :func:`class_names`; without them labels that are whole numbers are
    units, and as many names as units are taken in alphabetical order, as torchvision's
    ``ImageFolder`` does.
    """
    texts = checked_labels(labels, photos, [])
    known = class_names(classes, units)
    note = ""
    if texts is not None and not known and not all(one.isdecimal() for one in texts):
        distinct = sorted(set(texts))
        if len(distinct) != units:
            raise PFVValueError(
                f"labels: {len(distinct)} name{'s' * (len(distinct) != 1)} "
                f"({listed(distinct, most=4)}) for a network with {_classes(units)}. Say with "
                "classes=... what these are called, or use their numbers as labels."
            )
        known = dict(enumerate(distinct))
        note = (
            "The network's classes are taken to be the labels in alphabetical order: "
            f"{listed(distinct, most=6)}."
        )
    names = tuple(known.get(unit, f"class {unit}") for unit in range(units))
    if texts is None:
        return LabelledUnits(names, None, note)
    found = torch.tensor([_unit(one, known, units) for one in texts])
    return LabelledUnits(names, found, note, not all(one.isdecimal() for one in texts))


def unknown_labels(labels: Iterable[str], classes: object, units: int) -> str:
    """Say that right and wrong predictions cannot be counted with these labels, and what helps."""
    known, distinct = class_names(classes, units), sorted(set(labels))
    what = "so right and wrong predictions are not counted"
    if not known:
        named = "classes='imagenet' or " if units == _IMAGENET else ""
        return (
            f"The network's {_classes(units)} have no names to compare the photos' labels "
            f"({listed(distinct, most=3)}) with, {what}. To count them, give {named}"
            "classes=[...] with the name of each."
        )
    names = list(known.values())
    strange = [one for one in distinct if names.count(one) != 1 and not _is_unit(one, units)]
    missing = [one for one in strange if one not in names]
    if not missing:
        return (
            f"More than one of the network's {units} classes is called "
            f"{listed(strange, ' or ', most=3)}, {what}. To count them, label the photos with the "
            "numbers of the classes."
        )
    alike = [name for one in missing for name in names if one.casefold() in name.casefold().split()]
    example = (alike or names)[0]
    return (
        f"{listed(missing, most=2)} {'is' if len(missing) == 1 else 'are'} not among the names of "
        f"the network's {_classes(units)}, {what}. To count them, label the photos as the network "
        f"calls them, such as {example!r}."
    )


def checked_groups(groups: Iterable[object] | None, count: int) -> tuple[str, ...] | None:
    """Return one text per photo, or None where there are no groups."""
    try:
        return checked_labels(groups, count, [])
    except (PFVValueError, PFVTypeError) as error:
        raise type(error)(str(error).replace("labels", "groups", 1)) from None


def _classes(number: int) -> str:
    return f"{number} class{'es' * (number != 1)}"


def _is_unit(label: str, units: int) -> bool:
    return label.isdecimal() and int(label) < units


def _unit(label: str, known: Mapping[int, str], units: int) -> int:
    matching = [unit for unit, name in known.items() if name == label]
    if len(matching) == 1:
        return matching[0]
    if _is_unit(label, units) and not matching:
        return int(label)
    which = "names more than one" if matching else "is not one"
    legal = f"such as {listed(known.values(), most=5)}" if known else f"numbered 0 to {units - 1}"
    raise PFVValueError(
        f"labels: {label!r:.60} {which} of the network's {_classes(units)}, {legal}. Use their "
        "names or numbers, or say with classes=... what they are called."
    )
