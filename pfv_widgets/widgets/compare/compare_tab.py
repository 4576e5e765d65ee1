"""The tab "Compare": how the two sides are linked, and how much they agree."""

from __future__ import annotations

import math
from typing import Protocol

import ipywidgets as w

from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.widgets.compare.curve_plot import CurvePlot
from pfv_widgets.widgets.compare.layer_map import LayerMap
from pfv_widgets.widgets.compare.links import Links
from pfv_widgets.widgets.compare.network_similarities import NetworkSimilarities
from pfv_widgets.widgets.compare.settings import CompareSettings
from pfv_widgets.widgets.compare.similarity_panel import SimilarityPanel
from pfv_widgets.widgets.compare.snapshots import SnapshotSimilarities
from pfv_widgets.widgets.compare.stoppable_task import Task
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.protocols import Explorer

_HINT = (
    "Share of the variance of the scores that both have in common after the rotation. "
    "1: the same up to a rotation and a scale."
)
_TRAINING = (
    "Curves: each snapshot beside the first one, with the numbers that were given. A click goes to "
    "a snapshot."
)


class ComparingExplorer(Explorer[CompareSettings], Protocol):
    """An explorer of two networks, as this tab sees it."""

    links: Links
    similarities: NetworkSimilarities | SnapshotSimilarities

    def choose_network(self, side: str, name: str) -> None:
        """Put a network on a side, once it is open."""


class CompareTab:
    """What two networks have in common: agreement, a map of all layers, curves over a sequence."""

    visible = False

    def __init__(self, explorer: ComparingExplorer) -> None:
        self._explorer, self._links = explorer, explorer.links
        self._similarities, self._settings = explorer.similarities, explorer.settings
        self.agreement = w.HTML()
        self.pair = SimilarityPanel()
        self.map_task = Task(
            explorer, "Compare all layers",
            "A map of CKA: every layer of the first network by every one of the second.",
            self._compute_map,
        )  # fmt: skip
        self.curve_task = Task(
            explorer, "Compare all networks",
            "Curves of similarity to the first network, over all networks. Rank correlation is "
            "about the mean over the photos: borders, which any two networks share, do not count.",
            self._compute_curve,
        )  # fmt: skip
        self.map = LayerMap(
            lambda first, second: explorer.edit(
                lambda old: self._links.with_pair(old, first, second)
            )
        )
        self.curve = CurvePlot(lambda name: explorer.choose_network("second", name))
        self.widget = w.VBox(
            [self.agreement, w.HTML(text.hint(_HINT)), *self._parts()],
            layout=w.Layout(width="100%"),
        )
        self.show(self._settings)

    def show(self, settings: CompareSettings) -> None:
        """Show what is known for these settings: the knobs follow by themselves."""
        self._settings = settings
        _, second = self._links.names(settings)
        self.pair.show(self._similarities.pair(settings))
        found = self._similarities.map(settings)
        self.map.show(found)
        if found is None:
            self.map_task.forget()
        self.map.mark(*self._links.layers(settings))
        similarities, names = self._similarities, self._links.networks.names
        self.curve.show(names, similarities.points(settings), second, similarities.lines(settings))

    def show_agreement(self, agreement: float | None) -> None:
        """Show the share in common; None: a side has no picture; NaN: it is undefined."""
        if agreement is None:
            self.pair.show_none()
        self.agreement.value = text.heading(agreement_in_words(agreement))

    def close(self) -> None:
        """Stop what runs and close every widget."""
        self.map_task.stop()
        self.curve_task.stop()
        parts = [part.widget for part in (self, self.pair, self.map, self.curve)]
        for task in (self.map_task, self.curve_task):
            parts += [task.button, task.line]
        for widget in parts:
            close_all(widget)

    def _parts(self) -> list[w.Widget]:
        """Return what this comparison has: a curve over many, a map where features are held.

        What a button brings stands below all buttons, which it would push from under the pointer.
        """
        if not self._similarities.on_demand:
            return [w.HTML(text.hint(_TRAINING)), self.curve.widget]
        many = len(self._links.networks.names) > 2
        tasks = [*[self.curve_task] * many, self.map_task]
        return [
            self.pair.widget,
            *(task.button for task in tasks),
            *(task.line for task in tasks),
            *[self.curve.widget] * many,
            self.map.widget,
        ]

    def _compute_map(self, report: OnProgress) -> str:
        found = self._similarities.compute_map(self._settings, report)
        self.show(self._explorer.settings)
        return " ".join(found.warnings)

    def _compute_curve(self, report: OnProgress) -> str:
        self._similarities.compute_points(
            self._settings, report, lambda: self.show(self._explorer.settings)
        )
        return ""


def agreement_in_words(agreement: float | None) -> str:
    """Return the number as a line of text.

    >>> agreement_in_words(0.8)
    'Agreement: 0.800'
    """
    if agreement is None:
        return "Agreement: –"
    if math.isnan(agreement):
        return "Agreement: undefined (one side is constant)"
    return f"Agreement: {agreement:.3f}"
