"""The figure of a repair: accuracy by group before and after it, the worst group first."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.core.intervals import Share
from pfv_widgets.analysis.repair.repair import Repair
from pfv_widgets.engine.export.image_grid import LARGE, PLAIN, SMALL, fitting
from pfv_widgets.engine.export.notebook_figure import NotebookFigure

_MOST = 20  # groups
_WIDTH, _NAMES, _ROW = 6.4, 2.2, 0.34  # inches
_APART = 0.17  # of a row, between before and after
_SIDES = (("before", "#b4530a", -_APART, "white"), ("after", "#0b62c4", _APART, "#0b62c4"))


def draw_repair(repair: Repair) -> Figure:
    """Draw a row for each group, and one for all photos below them."""
    names = list(repair.before)[:_MOST]
    rows = [(name, repair.before[name], repair.after[name]) for name in names]
    rows.append(("all photos as they are", repair.total_before, repair.total_after))
    more = len(repair.before) - len(names)
    notes = [f"{more} more groups are not shown."] if more else []
    notes += ["Bars: 95 % intervals over photos.", *repair.warnings]
    caption = textwrap.wrap(" ".join(notes), 108)
    height = 0.95 + _ROW * len(rows) + 0.13 * len(caption)
    figure = NotebookFigure(figsize=(_WIDTH, height), layout="constrained")
    axis = figure.subplots()
    _draw_rows(axis, rows)
    axis.set_title(f"Repair by {repair.method}: accuracy by group", size=LARGE)
    figure.supxlabel("\n".join(caption), size=SMALL, color="#666666", parse_math=False)
    return figure


def _draw_rows(axis: Axes, rows: list[tuple[str, Share, Share]]) -> None:
    for side, (label, colour, offset, face) in enumerate(_SIDES):
        points = [
            (tick + offset, one)
            for tick, (_, *both) in enumerate(rows)
            for one in [both[side]]
            if one.count
        ]
        values = np.array([one.value for _, one in points])
        low, high = np.array([one.interval for _, one in points]).reshape(-1, 2).T
        spans = np.maximum((values - low, high - values), 0)
        axis.errorbar(
            values, [tick for tick, _ in points], xerr=spans, fmt="o", ms=4.5, lw=1.3,
            color=colour, mfc=face, label=label,
        )  # fmt: skip
    axis.axhline(len(rows) - 1.5, color="#999999", lw=0.6)
    axis.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5))
    names = [fitting(f"{name} ({before.count})", _NAMES * 72, PLAIN) for name, before, _ in rows]
    axis.set_yticks(range(len(rows)), names, size=PLAIN, parse_math=False)
    axis.set_xticks(np.linspace(0, 1, 6), [f"{value:.1f}" for value in np.linspace(0, 1, 6)])
    axis.tick_params(axis="x", labelsize=SMALL)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(fontsize=SMALL, loc="upper left", ncols=1, frameon=True, framealpha=0.9)
