"""Cells of a comparison as tiles with words, and the bars of their colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pfv_widgets.engine.export.image_grid import Bar, Tile
from pfv_widgets.errors import named
from pfv_widgets.methods.attribution.colours import ramp
from pfv_widgets.methods.comparison.colour_scales import ColourRange, colour_ranges, coloured
from pfv_widgets.methods.comparison.compared_methods import Explainer
from pfv_widgets.methods.comparison.comparison import Cell, Comparison, Task
from pfv_widgets.methods.core.class_names import ClassNames
from pfv_widgets.methods.core.method import Cancelled, CancelledError, Progress, step
from pfv_widgets.methods.core.target import Target
from pfv_widgets.validation import function_or_none

_NAME = 24  # letters of a class before its score

Column = tuple[int, Explainer]  # index of the network, and how it is explained


@dataclass(frozen=True, eq=False)
class CellTiles:
    """Cells of a comparison, a row for each image, and how each is coloured.

    Attributes
    ----------
    columns
        Network and method of each column.
    cells
        One list for each image; None where a cell is not computed.
    ranges
        The same for their colours; maps of one method share them where the scale says so.
    scale
        One of ``SCALES``.
    """

    columns: Sequence[Column]
    cells: Sequence[Sequence[Cell | None]]
    ranges: Sequence[Sequence[ColourRange | None]]
    scale: str

    @classmethod
    def of(
        cls, columns: Sequence[Column], cells: Sequence[Sequence[Cell | None]], scale: str
    ) -> CellTiles:
        """Choose the colours of cells."""
        ranges: list[list[ColourRange | None]] = [[None] * len(columns) for _ in cells]
        for method in dict.fromkeys(method for _, method in columns):
            own = [index for index, column in enumerate(columns) if column[1] == method]
            positions = [(row, column) for row in range(len(cells)) for column in own]
            chosen = colour_ranges([cells[row][column] for row, column in positions], scale)
            for (row, column), colours in zip(positions, chosen, strict=True):
                ranges[row][column] = colours
        return cls(columns, cells, ranges, scale)

    def tiles(self, below: Callable[[int, Cell, ColourRange | None], str]) -> list[list[Tile]]:
        """Return a tile for each cell, with ``below(column, cell, range)`` as its words."""
        return [
            [
                Tile(note="not computed")
                if cell is None
                else Tile(coloured(cell, colours), (below(column, cell, colours),), why_empty(cell))
                for column, (cell, colours) in enumerate(zip(cells, row, strict=True))
            ]
            for cells, row in zip(self.cells, self.ranges, strict=True)
        ]

    def bars(self) -> list[Bar]:
        """Return a bar for each kind of colours in use."""
        used = list(dict.fromkeys(one for row in self.ranges for one in row if one is not None))
        bars = []
        for signed in (False, True):
            limits = {one.limit for one in used if one.signed == signed}
            if limits:
                bars.append(_bar(signed, self.scale, limits))
        return bars


def _bar(signed: bool, scale: str, limits: set[float | None]) -> Bar:
    """Return the bar of one kind of colours, with the value at its end where it is the only one."""
    (limit,) = limits if len(limits) == 1 else (None,)
    value = "" if limit is None else number(limit)
    if signed:
        low, high = "against", "for the unit" + " (by rank)" * (scale == "all alike")
        ends = (f"−{value} {low}", f"{high} {value}") if value else (low, high)
        return Bar(ramp(True), "", *ends)
    strongest = {
        "each map": "the map's strongest pixels",
        "each method": "the method's strongest pixels",
        "all alike": "strongest pixels (by rank)",
    }
    return Bar(ramp(False), "", "0", value or strongest[scale])


def compute_cells(
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
    for name, call in (("progress", progress), ("cancelled", cancelled)):
        function_or_none(name, call)
    target.check_count(len(comparison.images))
    rows: list[list[Cell]] = [[] for _ in range(len(comparison.images))]
    total, errors = len(rows) * len(columns), []
    for index, (network, method) in enumerate(columns):
        for image, row in enumerate(rows):
            step(index * len(rows) + image, total, progress, cancelled)
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


def why_empty(cell: Cell) -> str:
    """Return why there is nothing to see in a cell; ``""`` where there is something."""
    if cell.error is not None:
        return cell.error
    return cell.zero_reason if cell.map is not None and cell.limit == 0 else ""


def range_label(cell: Cell, colours: ColourRange | None) -> str:
    """Return from where to where the colours of a map go."""
    if colours is None or colours.limit is None or cell.limit == 0:
        return ""
    return f"±{number(colours.limit)}" if colours.signed else f"0 … {number(colours.limit)}"


def score_label(cells: Iterable[Cell | None], target: Target, classes: ClassNames) -> str:
    """Return which unit was explained and its score, of the first cell that has one."""
    for cell in cells:
        if cell is not None and cell.unit is not None and cell.score is not None:
            unit = classes.get(cell.unit) if target.layer is None else None
            score = f"{cell.score:.0f}" if 1e3 <= abs(cell.score) < 1e6 else f"{cell.score:.3g}"
            name = unit or f"unit {cell.unit}"
            name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
            return f"{name}, {score.replace('-', '−')}"
    return ""


def target_label(target: Target, classes: ClassNames) -> str:
    """Return in words what is explained."""
    where = f"layer {target.layer}" if target.layer else "the output"
    where += "" if target.output is None else f" {target.output}"
    if target.unit is None:
        return f"strongest unit of {where}"
    if isinstance(target.unit, tuple):
        return f"a unit of {where} for each image"
    unit = classes.get(target.unit) if target.layer is None else None
    return f"{unit or f'unit {target.unit}'} of {where}"


def number(value: float) -> str:
    """Return a number with two significant digits.

    >>> number(0.01234), number(123.4), number(1.2e-7)
    ('0.012', '120', '1.2e−7')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.1e}")
    if 1e-3 <= abs(rounded) < 1e5:
        return f"{rounded:.10g}".replace("-", "−")
    mantissa, _, power = f"{rounded:.1e}".partition("e")
    return f"{mantissa}e{int(power)}".replace("-", "−")
