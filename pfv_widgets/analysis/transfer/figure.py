"""The figure of a transfer report: accuracies by layer, and the components tied to classes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pfv_widgets.analysis.transfer.result import TransferReport
from pfv_widgets.engine.export.image_grid import SMALL, ImageGrid, Tile, draw_image_grid, drawable

_MOST_TILES = 12
_COLOURS = {"linear": "#0b62c4", "knn": "#333333", "untrained": "#b4530a"}
_NAMES = {"linear": "linear probe", "knn": "nearest neighbours", "untrained": "linear, untrained"}
_PLOT = 2.6  # inches


def draw_report(report: TransferReport) -> Figure:
    """Draw a report; components are those of the first classes."""
    tiles = [
        Tile(
            one.pictures[0],
            (
                one.label,
                f"component {one.component + 1}",
                f"{'high' if one.sign > 0 else 'low'}, AUC {one.auc:.2f}",
            ),
        )
        for one in report.components
        if one.pictures
    ][:_MOST_TILES] or [Tile(note="no components")]
    return draw_image_grid(
        ImageGrid(
            title=f"Transfer report of {report.network}",
            subtitle=f" · cut at {report.layer}",
            tiles=tiles,
            columns=min(6, max(4, len(tiles))),
            size=(1.15, 1.15),
            plot=(_PLOT, lambda axis: _draw_layers(axis, report)),
            caption=report.advice,
        )
    )


def _draw_layers(axis: Axes, report: TransferReport) -> None:
    for offset, kind in ((-0.16, "untrained"), (0.0, "linear"), (0.16, "knn")):
        values = [(x, getattr(one, kind)) for x, one in enumerate(report.layers)]
        there = [(x + offset, one) for x, one in values if one is not None]
        if there:
            xs = [x for x, _ in there]
            ys = [one.value for _, one in there]
            spans = [
                [one.value - one.low for _, one in there],
                [one.high - one.value for _, one in there],
            ]
            axis.errorbar(
                xs, ys, spans, fmt="o", ms=3.5, lw=1.2, color=_COLOURS[kind], label=_NAMES[kind],
                mfc="white" if kind == "knn" else _COLOURS[kind],
            )  # fmt: skip
    axis.axhline(report.majority, ls="--", lw=0.8, color="#777777", label="largest class")
    axis.set(ylim=(0, 1.03), xlim=(-0.5, len(report.layers) - 0.5))
    names = [drawable(one.name)[-18:] + ("" if one.used else " (unused)") for one in report.layers]
    axis.set_xticks(range(len(names)), names, size=SMALL, rotation=12, ha="right", parse_math=False)
    axis.tick_params(axis="y", labelsize=SMALL)
    axis.set_ylabel("held-out accuracy", size=SMALL)
    axis.legend(
        fontsize=SMALL, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=4, frameon=False
    )
    axis.spines[["top", "right"]].set_visible(False)
