"""The numbers of a transfer report, and what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pfv_widgets.analysis.core.intervals import Interval
from pfv_widgets.analysis.transfer.class_evidence import ClassComponent, ConfusedPair, DoubtfulPhoto
from pfv_widgets.engine.lazy_import import lazy_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLOSE = 0.05  # difference in accuracy that one may give for a smaller network


@dataclass(frozen=True)
class LayerProbes:
    """What probes say of one layer.

    Attributes
    ----------
    name, kind, shape
        Of the layer; shape is ``(C, h, w)``.
    linear, knn
        Share of held-out photos that the linear probe and the nearest neighbours name right.
    untrained
        The linear probe on the same layer of the untrained network; None where there is none.
    gain
        ``linear`` minus ``untrained``, on the same photos.
    log_me, effective_rank
        Hints; NaN where they are not defined.
    used
        Whether the network's output depends on it. The report advises to cut at no other, unless
        there is none.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    linear: Interval
    knn: Interval
    untrained: Interval | None
    gain: Interval | None
    log_me: float
    effective_rank: float
    used: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class TransferReport:
    """Which layer of a network transfers to labelled photos.

    Attributes
    ----------
    network
        Name of its class.
    layers
        What probes say of each layer, in forward order.
    best
        Index of the layer with the best linear probe.
    comes_first
        Share of bootstrap samples of the photos in which it is the best one.
    behind
        Accuracy of the best layer minus that of each, on the same photos.
    classes
        Name of each class → its number of photos.
    components
        The components most tied to each class, in the best layer.
    confused
        Pairs of classes with mistakes, those that cannot be told apart first.
    doubtful
        Photos that look mislabelled, then photos that are like none of the others.
    thumbnails
        Index of a doubtful photo → the photo, uint8 ``(h, w, 3)``.
    names
        Of all photos.
    warnings
        What was left out, in words.
    """

    network: str
    layers: tuple[LayerProbes, ...]
    best: int
    comes_first: float
    behind: tuple[Interval, ...]
    classes: Mapping[str, int]
    components: tuple[ClassComponent, ...]
    confused: tuple[ConfusedPair, ...]
    doubtful: tuple[DoubtfulPhoto, ...]
    thumbnails: Mapping[int, npt.NDArray[np.uint8]]
    names: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return f"<TransferReport: {self.advice}>"

    @property
    def layer(self) -> str:
        """Name of the layer to cut at."""
        return self.layers[self.best].name

    @property
    def majority(self) -> float:
        """Share of the photos that are of the largest class: what needs no network."""
        return max(self.classes.values()) / sum(self.classes.values())

    @property
    def equals(self) -> tuple[str, ...]:
        """Names of the other layers that these photos cannot tell from the best one.

        Those that the output does not depend on are left out, unless the best one is such.
        """
        own = self.layers[self.best].used
        return tuple(
            one.name
            for index, (one, apart) in enumerate(zip(self.layers, self.behind, strict=True))
            if index != self.best and one.used == own and apart.low <= 0
        )

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row for each layer, as ``pandas.DataFrame`` takes it."""
        return [_row(one) for one in self.layers]

    @property
    def advice(self) -> str:
        """Where to cut, and how sure that is."""
        one, number = self.layers[self.best], len(self.names)
        start = (
            f"Cut at {one.name}: a linear probe on its pooled features is right on "
            f"{per_cent(one.linear)} of {number} photos that were held out, the largest class "
            f"alone would be on {100 * self.majority:.0f} %."
        )
        if not one.linear.low > self.majority:
            start = (
                f"Do not transfer yet: the best linear probe, at {one.name}, is right on "
                f"{per_cent(one.linear)} of {number} photos that were held out. That is not "
                f"clearly more than the {100 * self.majority:.0f} % of the largest class alone."
            )
        return " ".join((start, *self._unused(), self._training(), self._sureness()))

    def _unused(self) -> list[str]:
        name = self.layers[self.best].name
        words = f"The network's output does not depend on {name}: only its features are of use."
        return [] if self.layers[self.best].used else [words]

    def _training(self) -> str:
        gain = self.layers[self.best].gain
        if gain is None:
            return "How much training helped is not known: the network has no untrained copy."
        points = f"{_points(gain.value)} points (95 % interval {_points(gain.low)} to "
        points += f"{_points(gain.high)})"
        if gain.low > 0:
            return f"Training gained {points} over the same network with random weights."
        if gain.high < 0:
            return f"The same layer does better with random weights: training gained {points}."
        return (
            f"These photos do not show that its training helps: it gained {points} over the same "
            "network with random weights."
        )

    def _sureness(self) -> str:
        number = sum(one.used == self.layers[self.best].used for one in self.layers)
        if number == 1:
            which = "" if len(self.layers) == 1 else " that the output depends on"
            return f"No other layer{which} was probed."
        times = f"{100 * self.comes_first:.0f} %"
        start = f"it comes first of {number} layers in {times} of bootstrap samples of the photos"
        if not self.equals:
            return f"How sure: {start}, and every other layer is clearly behind."
        named = ", ".join(self.equals)
        more = "is" if len(self.equals) == 1 else "are"
        end = f"; {named} {more} not clearly behind: more photos would tell."
        cheaper = [
            one.name
            for one, apart in zip(self.layers[: self.best], self.behind, strict=False)
            if one.name in self.equals and apart.high <= _CLOSE
        ]
        if cheaper:
            end = f"{end[:-1]}, and the earlier {cheaper[0]} costs at most 5 points."
        return f"How sure: {start}{end}"

    def figure(self) -> Figure:
        """Draw accuracies by layer with their intervals, and the components tied to classes."""
        figure: Figure = lazy_import("analysis.transfer.figure", "draw_report")(self)
        return figure

    def save(self, path: str | Path) -> None:
        """Write a page (``.html``), the numbers (``.json``) or the figure, as the suffix says.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, or a path that cannot be written.
        """
        lazy_import("analysis.transfer.page", "save_report")(self, path)

    def to_json(self) -> str:
        """Write all numbers as JSON; what is not defined is null."""
        content = {
            "network": self.network,
            "advice": self.advice,
            "layer": self.layer,
            "comes_first": self.comes_first,
            "equals": list(self.equals),
            "majority": self.majority,
            "classes": dict(self.classes),
            "layers": self.table,
            "components": [
                {
                    "class": one.label, "component": one.component + 1, "sign": one.sign,
                    "auc": one.auc, "chance": one.chance,
                    "photos": [self.names[i] for i in one.photos],
                }
                for one in self.components
            ],
            "confused": [
                {
                    "classes": [one.first, one.second], "distinguishable": one.is_distinguishable,
                    "mistaken": one.mistaken, "photos": one.photos, "chance": one.chance,
                    **_columns("accuracy", one.accuracy),
                }
                for one in self.confused
            ],
            "doubtful": [
                {
                    "photo": one.name, "label": one.label,
                    "looks_like": one.looks_like or None, "strength": one.strength,
                }
                for one in self.doubtful
            ],
            "warnings": list(self.warnings),
        }  # fmt: skip
        return json.dumps(_defined(content), indent=2, ensure_ascii=False, allow_nan=False)

    def _repr_html_(self) -> str:
        html: str = lazy_import("analysis.transfer.page", "embedded_page")(self)
        return html


def per_cent(value: Interval) -> str:
    """Write a share with its interval, in per cent."""
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:.0f} % (95 % interval {low:.0f} to {high:.0f} %)"


def _points(value: float) -> str:
    return f"{100 * value:.0f}".replace("-", "−")


def _row(one: LayerProbes) -> dict[str, Any]:
    return {
        "layer": one.name,
        "kind": one.kind,
        "used": one.used,
        "channels": one.shape[0],
        "height": one.shape[1],
        "width": one.shape[2],
        **_columns("linear", one.linear),
        **_columns("knn", one.knn),
        **_columns("untrained", one.untrained),
        **_columns("gain", one.gain),
        "log_me": one.log_me,
        "effective_rank": one.effective_rank,
    }


def _columns(name: str, value: Interval | None) -> dict[str, float]:
    value = value or Interval(math.nan, math.nan, math.nan)
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _defined(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_defined(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
