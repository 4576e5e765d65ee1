"""Cells of a comparison as tiles with words, and the bars of their colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pfv_widgets.errors import PFVTypeError, PFVValueError, named
from pfv_widgets.methods.comparison.cells import Cell, Comparison, Task
from pfv_widgets.methods.comparison.rows import Explainer
from pfv_widgets.methods.comparison.scales import SCALES, Ink, coloured, inks
from pfv_widgets.methods.comparison.table import Bar, Tile
from pfv_widgets.methods.core.method import Cancelled, CancelledError, Progress, step
from pfv_widgets.methods.core.target import Target
from pfv_widgets.parameters import suggestion

Column = tuple[int, Explainer]  # index of the network, and how it is explained
Classes = Mapping[int, str]
RAMPS = {False: "magma", True: "RdBu_r"}
ZERO = "zero everywhere"


@dataclass(frozen=True, eq=False)
class Filled:
    """Cells of a table: a row for each image, and how each is coloured.

    Attributes
    ----------
    columns
        Network and method of each column.
    cells
        One list for each image; None where a cell is not computed.
    inks
        The same for their colours; pictures of one method share them where the scale says so.
    scale
        One of ``SCALES``.
    """

    columns: Sequence[Column]
    cells: Sequence[Sequence[Cell | None]]
    inks: Sequence[Sequence[Ink | None]]
    scale: str

    @classmethod
    def of(
        cls, columns: Sequence[Column], cells: Sequence[Sequence[Cell | None]], scale: str
    ) -> Filled:
        """Choose the colours of cells."""
        found: list[list[Ink | None]] = [[None] * len(columns) for _ in cells]
        for method in dict.fromkeys(method for _, method in columns):
            places = [place for place, column in enumerate(columns) if column[1] == method]
            spots = [(row, place) for row in range(len(cells)) for place in places]
            chosen = inks([cells[row][place] for row, place in spots], scale)
            for (row, place), ink in zip(spots, chosen, strict=True):
                found[row][place] = ink
        return cls(columns, cells, found, scale)

    def tiles(self, below: Callable[[Cell, Ink | None], str]) -> list[list[Tile]]:
        """Return a tile for each cell, with ``below(cell, ink)`` as its words."""
        return [
            [
                Tile(note="not computed")
                if cell is None
                else Tile(coloured(cell, ink), below(cell, ink), note_of(cell))
                for cell, ink in zip(cells, row, strict=True)
            ]
            for cells, row in zip(self.cells, self.inks, strict=True)
        ]

    def bars(self) -> list[Bar]:
        """Return a bar for each kind of colours in use."""
        used = list(dict.fromkeys(ink for row in self.inks for ink in row if ink is not None))
        found = []
        for signed in (False, True):
            ends = {ink.end for ink in used if ink.signed is signed}
            if ends:
                found.append(bar_of(signed, self.scale, ends))
        return found


def bar_of(signed: bool, scale: str, ends: set[float | None]) -> Bar:
    """Return the bar of one kind of colours; a value stands at its end where it is the only one."""
    (end,) = ends if len(ends) == 1 else (None,)
    value = "" if end is None else f" {number(end)}"
    if signed:
        rank = " (by rank)" if scale == "all alike" else ""
        return Bar(
            RAMPS[True], f"{value and f'−{value.strip()} '}against", f"for the unit{value}{rank}"
        )
    most = {
        "each map": "the map's strongest pixels",
        "each method": "the method's strongest pixels",
        "all alike": "strongest pixels (by rank)",
    }
    return Bar(RAMPS[False], "0", value.strip() or most[scale])


def computed(
    comparison: Comparison,
    columns: Sequence[Column],
    target: Target,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> list[list[Cell]]:
    """Compute every cell; one that fails says why.

    Raises
    ------
    CancelledError
        If it was cancelled.
    PFVError
        Where every cell fails: the first one's error.
    """
    target.check_count(len(comparison.images))
    rows: list[list[Cell]] = [[] for _ in range(len(comparison.images))]
    total, errors = len(rows) * len(columns), []
    for place, (network, method) in enumerate(columns):
        for image, row in enumerate(rows):
            step(place * len(rows) + image, total, progress, cancelled)
            try:
                row.append(
                    comparison.compute(Task(network, image, method, target), None, cancelled)
                )
            except CancelledError:
                raise
            except Exception as error:
                errors.append(error)
                row.append(Cell(error=named(error)))
    step(total, total, progress, None)
    if len(errors) == total:
        raise errors[0]
    return rows


def note_of(cell: Cell) -> str:
    """Return what has to be written upon a cell: why it is empty."""
    if cell.error is not None:
        return cell.error
    return ZERO if cell.map is not None and cell.end == 0 else ""


def reach(cell: Cell, ink: Ink | None) -> str:
    """Return from where to where the colours of a map go."""
    if ink is None or ink.end is None or cell.end == 0:
        return ""
    return f"±{number(ink.end)}" if ink.signed else f"0 … {number(ink.end)}"


def said(cells: Iterable[Cell | None], target: Target, classes: Classes) -> str:
    """Return which unit was explained and its score, as the first cell that knows them says."""
    for cell in cells:
        if cell is not None and cell.unit is not None and cell.score is not None:
            unit = classes.get(cell.unit) if target.layer is None else None
            score = f"{cell.score:.0f}" if 1e3 <= abs(cell.score) < 1e6 else f"{cell.score:.3g}"
            return f"{unit or f'unit {cell.unit}'}, {score.replace('-', '−')}"
    return ""


def which(target: Target, classes: Classes) -> str:
    """Return in words what is explained."""
    where = f"layer {target.layer}" if target.layer else "output"
    where += "" if target.output is None else f" {target.output}"
    if target.unit is None:
        return f"strongest unit of {where}"
    if isinstance(target.unit, tuple):
        return f"one unit an image of {where}"
    unit = classes.get(target.unit) if target.layer is None else None
    return f"{unit or f'unit {target.unit}'} of {where}"


def number(value: float) -> str:
    """Return a number with two digits that count.

    >>> number(0.01234), number(123.4), number(1.2e-7)
    ('0.012', '120', '1.2e−7')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.1e}")
    if 1e-3 <= abs(rounded) < 1e5:
        return f"{rounded:.10g}".replace("-", "−")
    head, _, power = f"{rounded:.1e}".partition("e")
    return f"{head}e{int(power)}".replace("-", "−")


def class_names(classes: object) -> dict[int, str]:
    """Return the names of the output's units.

    Parameters
    ----------
    classes
        A list of names, a mapping from unit to name, ``"imagenet"`` for the 1000 classes that
        torchvision's networks know, or None.

    Raises
    ------
    PFVTypeError, PFVValueError
        For anything else.
    """
    if classes is None:
        return {}
    if classes == "imagenet":
        from torchvision.models import ResNet18_Weights

        return dict(enumerate(ResNet18_Weights.DEFAULT.meta["categories"]))
    if isinstance(classes, str):
        raise PFVValueError(f"classes={classes!r}: expected 'imagenet', or a list of names.")
    if isinstance(classes, Mapping):
        return {int(unit): str(name) for unit, name in classes.items()}
    if isinstance(classes, Iterable):
        return {unit: str(name) for unit, name in enumerate(classes)}
    raise PFVTypeError(f"classes={classes!r:.60}: expected a list of names, or names by unit.")


def checked_scale(scale: object) -> str:
    """Return the scale, or raise an error with the legal names."""
    if not isinstance(scale, str) or scale not in SCALES:
        raise PFVValueError(f"scale={scale!r} is unknown. {suggestion(str(scale), SCALES)}")
    return scale
