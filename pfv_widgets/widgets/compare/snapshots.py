"""Snapshots of a training beside one another: each renders from what its tracker holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

import torch

from pfv_widgets.analysis.compare.alignment import Rotation, align, difference
from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.analysis.training.layer_snapshot import LayerSnapshot
from pfv_widgets.analysis.training.tracker import Tracker
from pfv_widgets.engine.colouring.similarity import Position
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.validation import checked_images
from pfv_widgets.widgets.compare.difference_frame import difference_frame
from pfv_widgets.widgets.compare.settings import CompareSettings, parted, plain_settings

_FIXED = ("components", "weighting", "images", "stable_colours", "basis_of", "cut", "cut_mode")


class Snapshots:
    """The snapshots of a tracker, as a comparison sees them."""

    noun = "Snapshot"

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.notes: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the snapshots, in order; there may be more later."""
        return self.tracker.names

    @property
    def images(self) -> ImageBatch:
        """The photos."""
        return self.tracker.images

    def check(self, name: str) -> None:
        """Raise a PFVValueError with the nearest names unless there is such a snapshot."""
        self.tracker.check(name)

    def visit(self, name: str) -> PFVError | None:
        """Nothing has to be opened."""
        self.check(name)
        return None

    def is_visited(self, name: str) -> bool:  # noqa: ARG002 - of the protocol
        """Nothing has to be opened."""
        return True

    def layers(self, name: str) -> tuple[Layer, ...]:
        """Return the layers that are followed."""
        self.check(name)
        return tuple(self.tracker.layer(one) for one in self.tracker.layers)

    def layer(self, name: str, layer: str | None) -> Layer:
        """Return a layer that is followed; None: the first."""
        self.check(name)
        return self.tracker.layer(layer)

    def counterpart(self, name: str, layer: Layer, other: str) -> Layer:
        """Return the same layer: the network is the same one."""
        self.check(name)
        return self.layer(other, layer.name)

    def refresh(self) -> None:
        """Leave the snapshots as they are."""

    def close(self) -> None:
        """Leave the snapshots to whoever holds the tracker."""


class SnapshotRenderer:
    """Renders any of the snapshots, as its settings say; layers are named by ``joined``."""

    progress: Callable[[int, int], None] | None = None
    on_progress: OnProgress | None = None
    capture_along = None  # all is there

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @property
    def images(self) -> ImageBatch:
        """The photos."""
        return self.tracker.images

    def layer(self, name: str | None = None) -> Layer:
        """Return a layer that is followed."""
        return self.tracker.layer(parted(name)[1])

    def is_ready(self, name: str | None, *, soon: bool = False) -> bool:  # noqa: ARG002 - of the protocol
        """All is there."""
        return True

    def capture(
        self, name: str | None, *, before: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """All is there."""

    def anchor(self, name: str | None = None, *, on_progress: OnProgress | None = None) -> None:
        """Leave the colours as they were aligned when the snapshot was made."""

    def detail(self, layer: str | None, weighting: str) -> int:  # noqa: ARG002 - of the protocol
        """Width in pixels of the finest map that a picture is made of."""
        snapshot = self.layer_snapshot(layer)
        return max(one.shape[3] for one in (snapshot.scores, *snapshot.factors))

    def nearest(
        self, image: int, x: float, y: float, *, number: int = 5, layer: str | None = None
    ) -> tuple[Position, ...]:
        """Find the position of each other photo whose scores are most similar, best first."""
        return self.layer_snapshot(layer).nearest(image, x, y, number)

    def render(
        self,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,  # noqa: ARG002 - of the protocol
    ) -> Frame:
        """Render a snapshot."""
        snapshot, layer = parted(settings.layer)
        plain = plain_settings(settings)
        with torch.no_grad():
            frame = self.tracker.frame(snapshot, layer, plain, size=size, only=only)
        if not plain.shows_similarity:
            return frame
        number = frame.scores.shape[1]
        note = f"Similarity of the {number} scores that are held, not of whole feature vectors."
        return replace(frame, warnings=(*frame.warnings, note))

    def layer_snapshot(self, name: str | None) -> LayerSnapshot:
        """Return the snapshot of the layer that a name like "epoch 3 · layer" stands for."""
        return self.tracker.layer_snapshot(*parted(name))


class SnapshotDifference(SnapshotRenderer):
    """Renders where two snapshots differ; ``reference`` is the first one's."""

    def render(
        self,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,  # noqa: ARG002 - of the protocol
    ) -> Frame:
        """Render the distance of the scores after alignment; grey where it is undefined."""
        source, target = (
            self.layer_snapshot(settings.layer),
            self.layer_snapshot(getattr(settings, "reference", None)),
        )
        with torch.no_grad():
            maps = difference(source.scores, target.scores, _aligned(source, target))
        return difference_frame(
            maps, source.basis, self.images, plain_settings(settings),
            size=size, chosen=checked_images(only, len(maps)),
        )  # fmt: skip


class SnapshotSimilarities:
    """The measures of a tracker: they are there, and nothing is computed."""

    on_demand = False

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def points(self, settings: CompareSettings) -> dict[str, CurvePoint]:
        """Return each snapshot beside the start."""
        return {point.name: point for point in self._tracker.curve(settings.layer).points}

    def lines(self, settings: CompareSettings) -> dict[str, Mapping[str, float]]:
        """Return the similarity to the snapshot before, and the metrics that were given."""
        tracker, metrics = self._tracker, self._tracker.metrics
        before = "CKA to the snapshot before"
        lines: dict[str, Mapping[str, float]] = {before: tracker.cka_to_last(settings.layer)}
        for key in dict.fromkeys(key for one in metrics.values() for key in one):
            lines[key] = {name: one.get(key, math.nan) for name, one in metrics.items()}
        return lines

    def pair(self, settings: CompareSettings) -> Similarity | None:  # noqa: ARG002
        """None: whole feature vectors are not held."""
        return None

    def compute_pair(self, settings: CompareSettings) -> Similarity:
        """Say that whole feature vectors are not held."""
        del settings
        without_network("CKA")

    def map(self, settings: CompareSettings) -> Similarity | None:  # noqa: ARG002 - of the protocol
        """No map: whole feature vectors are not held."""
        return None

    def compute_map(self, settings: CompareSettings, report: OnProgress) -> Similarity:
        """Say that whole feature vectors are not held."""
        del settings, report
        without_network("CKA of all layers")

    def compute_points(
        self, settings: CompareSettings, report: OnProgress, on_point: Callable[[], object]
    ) -> None:
        """Compute nothing: all is there."""

    def clear(self) -> None:
        """Forget nothing: it could not be found again."""


def agreement(tracker: Tracker, second: str, first: str) -> float:
    """Share of variance that two snapshots have in common; names are those of ``joined``."""
    source, target = (tracker.layer_snapshot(*parted(one)) for one in (second, first))
    return _aligned(source, target).agreement


def fixed_by(tracker: Tracker) -> dict[str, object]:
    """Return the fields of the settings that were decided when the snapshots were made."""
    return {name: getattr(tracker.settings, name) for name in _FIXED} | {
        "linked": True,
        "aligned": True,
    }


def without_network(name: str) -> NoReturn:
    """Raise a PFVValueError that says that a tracker holds no network."""
    raise PFVValueError(f"{name}: a tracker holds scores of a network, and not the network itself.")


def _aligned(source: LayerSnapshot, target: LayerSnapshot) -> Rotation:
    return align(source.scores, target.scores)
