"""The tab "Compare": how the two sides are linked, and how much they agree."""

from __future__ import annotations

import math
from typing import Any, Protocol

import ipywidgets as w

from pfv_widgets.widgets.compare.settings import CompareSettings
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.protocols import Explorer

_HINT = (
    "Agreement: share of the variance of the components that both have in common once the second "
    "is rotated to the first, over all positions of the images in the basis. 1: the same up to a "
    "rotation and a scale."
)


class ComparingExplorer(Explorer[CompareSettings], Protocol):
    """An explorer of two networks, as this tab sees it."""

    @property
    def names(self) -> tuple[str, str]:
        """Names of the two networks on show."""


class CompareTab:
    """What two networks have in common.

    Parameters
    ----------
    explorer
        What the tab belongs to.
    """

    visible = False

    def __init__(self, explorer: ComparingExplorer) -> None:
        self._explorer = explorer
        self.agreement = w.HTML()
        self.widget = w.VBox(
            [self.agreement, w.HTML(text.hint(_HINT))], layout=w.Layout(width="100%")
        )

    def show(self, settings: Any) -> None:
        """Follow the settings: the knobs do it by themselves."""

    def show_agreement(self, agreement: float | None) -> None:
        """Show the share in common; None: it is not known; NaN: it is undefined."""
        self.agreement.value = text.heading(agreement_in_words(agreement))

    def close(self) -> None:
        """Close every widget."""
        close_all(self.widget)


def agreement_in_words(agreement: float | None) -> str:
    """Return the figure as a line of text.

    >>> agreement_in_words(0.8)
    'Agreement: 0.800'
    """
    if agreement is None:
        return "Agreement: –"
    if math.isnan(agreement):
        return "Agreement: undefined (one side is constant)"
    return f"Agreement: {agreement:.3f}"
