"""What a comparison asks of its source: networks, or snapshots of one that is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.settings import CompareSettings
from pfv_widgets.widgets.gallery.renderer import Renderer
from pfv_widgets.widgets.toolkit.protocols import Tab


class NetworkSet(Protocol):
    """Networks, or snapshots of one, by name, with one batch of photos.

    Attributes
    ----------
    noun
        What each of them is, for labels.
    notes
        What was done to the photos for one of them, by name.
    """

    noun: str
    notes: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""

    @property
    def images(self) -> ImageBatch:
        """The photos."""

    def check(self, name: str) -> None:
        """Raise a PFVValueError with the nearest names unless there is such a one."""

    def visit(self, name: str) -> PFVError | None:
        """Open it where that is needed; return why it cannot be shown, None where it can."""

    def is_visited(self, name: str) -> bool:
        """Whether :meth:`visit` returns at once."""

    def layers(self, name: str) -> tuple[Layer, ...]:
        """Return its layers in forward order."""

    def layer(self, name: str, layer: str | None) -> Layer:
        """Return one of its layers; None: the default."""

    def counterpart(self, name: str, layer: Layer, other: str) -> Layer:
        """Return the layer of ``other`` that is like this one of ``name``."""

    def refresh(self) -> None:
        """Start again with what is there now."""

    def close(self) -> None:
        """Free what is cached."""


class Similarities(Protocol):
    """How similar the networks of a comparison are.

    Attributes
    ----------
    on_demand
        Whether they are computed when a person asks; else they are there.
    """

    on_demand: bool

    def points(self, settings: CompareSettings) -> Mapping[str, CurvePoint]:
        """Return what is known of each one beside the first, by name."""

    def lines(self, settings: CompareSettings) -> Mapping[str, Mapping[str, float]]:
        """Return more lines over the names: what each is → name → number."""

    def pair(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of the two layers on show, where it is known."""

    def compute_pair(self, settings: CompareSettings) -> Similarity:
        """Compute it."""

    def map(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of all layers of the two on show, where it is known."""

    def compute_map(self, settings: CompareSettings, report: OnProgress) -> Similarity:
        """Compute it."""

    def compute_points(
        self, settings: CompareSettings, report: OnProgress, seen: Callable[[], object]
    ) -> None:
        """Compare each one with the first; ``seen`` is called after each."""

    def clear(self) -> None:
        """Forget everything."""


@dataclass(frozen=True)
class ComparisonSource:
    """Where the pictures and similarities of a comparison come from.

    Attributes
    ----------
    networks
        What is chosen among.
    renderer, difference
        Make what renders a side, and where the two differ.
    agreement
        Share of variance in common of two layers, each joined to its name by ``joined``.
    similarities
        Of their layers.
    tabs
        Title → what makes the tab.
    network
        Returns a network with its photos by name.
    code
        The call that opens such an explorer on ``settings``; ``{more}`` are further keywords.
    fixed
        Fields of the settings, with their values, that cannot be changed.
    on_growth
        Called with a callback, for when there are more names; None: there are never more.
    """

    networks: NetworkSet
    renderer: Callable[[], Renderer]
    difference: Callable[[], Renderer]
    agreement: Callable[[str, str, CompareSettings], float]
    similarities: Similarities
    tabs: Mapping[str, Callable[[Any], Tab]]
    network: Callable[[str], PFV]
    code: str
    fixed: Mapping[str, object]
    on_growth: Callable[..., None] | None = None
