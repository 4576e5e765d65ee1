"""How similar networks are: computed when a person asks, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pfv_widgets.analysis.compare.similarity import similarity, similarity_of_maps
from pfv_widgets.analysis.compare.similarity_curve import (
    LayerView,
    compare_views,
    maps_on_common_grid,
    view_of,
)
from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress, Progress
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.links import Links
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import CompareSettings, picture_values

_Key = tuple[str, str, str, str, Settings]  # both networks, both layers, and the settings


class NetworkSimilarities:
    """Similarity of layers, and curves over a sequence of networks."""

    on_demand = True

    def __init__(self, networks: Networks) -> None:
        self._links, self._networks = Links(networks), networks
        self._maps: dict[tuple[str, str], Similarity] = {}
        self._pairs: dict[tuple[str, str, str, str], Similarity] = {}
        self._points: dict[_Key, CurvePoint] = {}

    def map(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of all layers of the two networks, where it is known."""
        return self._maps.get(self._links.names(settings))

    def compute_map(self, settings: CompareSettings, report: OnProgress) -> Similarity:
        """Compare all layers of the two networks, in one pass over both."""
        maps = self._maps  # those of after a change take no result of before it
        first, second = self._links.names(settings)
        other = second if second != first else f"{second} (again)"
        models = {first: self._networks.model(first), other: self._networks.model(second)}
        found = similarity(
            models, self._networks.images, device=self._networks.device, on_progress=report
        )
        maps[first, second] = found
        return found

    def pair(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of the two layers on show, where it is known."""
        return self._pairs.get((*self._links.names(settings), *self._links.layers(settings)))

    def compute_pair(self, settings: CompareSettings) -> Similarity:
        """Compare the two layers on show, from the features that are cached."""
        pairs = self._pairs
        first, second = self._links.names(settings)
        layer, other = self._links.layers(settings)
        maps = (
            {layer: maps_on_common_grid(self._networks.pfv(first), layer)},
            {other: maps_on_common_grid(self._networks.pfv(second), other)},
        )
        found = similarity_of_maps((first, second), maps, self._networks.images.names)
        pairs[first, second, layer, other] = found
        return found

    def points(self, settings: CompareSettings) -> dict[str, CurvePoint]:
        """Return what is known of each network beside the first one, by name."""
        if not self._points:
            return {}
        names = [name for name in self._networks.names if self._networks.is_visited(name)]
        keys = self._keys(settings, names)
        return {name: self._points[key] for name, key in keys.items() if key in self._points}

    def lines(self, settings: CompareSettings) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """No more lines."""
        return {}

    def compute_points(
        self, settings: CompareSettings, report: OnProgress, on_point: Callable[[], object]
    ) -> None:
        """Compare each network with the first one; ``on_point`` is called after each."""
        fixed: LayerView | None = None
        points = self._points
        names = self._networks.names
        first, layer = self._links.names(settings)[0], self._links.layers(settings)[0]
        for done, name in enumerate(names):
            report(Progress("Comparing networks", done, len(names), "networks"))
            try:
                key = self._keys(settings, [name])[name]
                if key in points:
                    continue
                if fixed is None:
                    fixed = self._view(settings, first, layer, report)
                other = self._view(settings, name, key[3], report)
                points[key] = compare_views(name, fixed, other)
            except PFVError as error:
                if fixed is None:
                    raise
                key = self._keys(settings, [name])[name]
                points[key] = CurvePoint(name, note=str(error))
            on_point()

    def clear(self) -> None:
        """Forget everything: a network has changed."""
        self._maps, self._pairs, self._points = {}, {}, {}

    def _view(
        self, settings: CompareSettings, name: str, layer: str, report: OnProgress
    ) -> LayerView:
        return view_of(
            self._networks.pfv(name), replace(_plain(settings), layer=layer), on_progress=report
        )

    def _keys(self, settings: CompareSettings, names: Sequence[str]) -> dict[str, _Key]:
        first, layer = self._links.names(settings)[0], self._links.layers(settings)[0]
        others, plain = self._links.layers_of(settings, names), _plain(settings)
        return {name: (first, name, layer, others[name], plain) for name in names}


def _plain(settings: CompareSettings) -> Settings:
    """Return the settings of a picture that decide on its heatmaps without a photo or a pin."""
    usual, unused = Settings(), ("layer", "opacity", "view", "split", "pins", "similarity")
    return Settings(**(picture_values(settings) | {name: getattr(usual, name) for name in unused}))
