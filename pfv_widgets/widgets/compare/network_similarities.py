"""How similar networks are: computed when a person asks, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from torch import nn

from pfv_widgets.analysis.compare.similarity import similarity, similarity_of_maps
from pfv_widgets.analysis.compare.similarity_curve import (
    LayerView,
    compare_views,
    maps_on_common_grid,
    view_of,
)
from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint
from pfv_widgets.analysis.compare.similarity_result import Similarity
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.named_models import in_normalisation
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress, Progress
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.links import Links
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import CompareSettings, picture_values

_Side = tuple[str, str, Hashable]  # a network, its layer, and the state of the network
_Key = tuple[_Side, _Side, Settings]


class NetworkSimilarities:
    """Similarity of layers, and curves over a sequence of networks."""

    on_demand = True

    def __init__(self, networks: Networks) -> None:
        self._links, self._networks = Links(networks), networks
        self._maps: dict[tuple[_Side, ...], Similarity] = {}
        self._pairs: dict[tuple[_Side, ...], Similarity] = {}
        self._points: dict[_Key, CurvePoint] = {}

    def map(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of all layers of the two networks, where it is known."""
        return self._maps.get(tuple(map(self._side, self._links.names(settings))))

    def compute_map(self, settings: CompareSettings, report: OnProgress) -> Similarity:
        """Compare all layers of the two networks, in one pass over both."""
        maps = self._maps  # those of after a change take no result of before it
        first, second = self._links.names(settings)
        self._links.layers(settings)  # opens both, which decides how their photos are normalised
        key = self._side(first), self._side(second)
        other = second if second != first else f"{second} (again)"
        models = {first: self._with_photos(first), other: self._with_photos(second)}
        found = similarity(
            models, self._networks.images, device=self._networks.device, on_progress=report
        )
        maps[key] = found
        return found

    def pair(self, settings: CompareSettings) -> Similarity | None:
        """Return the similarity of the two layers on show, where it is known."""
        return self._pairs.get(self._sides(settings))

    def compute_pair(self, settings: CompareSettings) -> Similarity:
        """Compare the two layers on show, from the features that are cached."""
        pairs = self._pairs
        (first, layer, _), (second, other, _) = key = self._sides(settings)
        maps = (
            {layer: maps_on_common_grid(self._networks.pfv(first), layer)},
            {other: maps_on_common_grid(self._networks.pfv(second), other)},
        )
        found = similarity_of_maps((first, second), maps, self._networks.images.names)
        pairs[key] = found
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
        shown: _Side | None = None  # what it was when it was viewed
        points = self._points
        names = list(self._networks.names)
        number = len(names)
        for done, name in enumerate(names):
            report(Progress("Comparing networks", done, len(names), "networks"))
            try:
                first, second, plain = key = self._keys(settings, [name])[name]
                if key in points:
                    continue
                if fixed is not None and first != shown and len(names) == number:
                    names += names[:done]  # those were compared with another state of it
                if fixed is None or first != shown:
                    fixed = self._view(plain, first, report)
                    shown = self._side(*first[:2])
                other = self._view(plain, second, report)
                points[shown, self._side(*second[:2]), plain] = compare_views(name, fixed, other)
            except PFVError as error:
                if fixed is None:
                    raise
                key = self._keys(settings, [name])[name]
                points[key] = CurvePoint(name, note=str(error))
            on_point()

    def clear(self) -> None:
        """Forget everything: a network has changed."""
        self._maps, self._pairs, self._points = {}, {}, {}

    def _view(self, settings: Settings, side: _Side, report: OnProgress) -> LayerView:
        name, layer, _ = side
        pfv = self._networks.pfv(name)
        return view_of(pfv, replace(settings, layer=layer), on_progress=report)

    def _with_photos(self, name: str) -> tuple[nn.Module, ImageBatch]:
        """Return a network with the photos in the normalisation in which they are on show."""
        by = self._networks.pfv(name).images.normalisation
        return self._networks.model(name), in_normalisation(self._networks.images, by)

    def _side(self, name: str, layer: str = "") -> _Side:
        return name, layer, self._networks.state(name)

    def _sides(self, settings: CompareSettings) -> tuple[_Side, _Side]:
        layers = self._links.layers(settings)  # opens both
        first, second = map(self._side, self._links.names(settings), layers)
        return first, second

    def _keys(self, settings: CompareSettings, names: Sequence[str]) -> dict[str, _Key]:
        others, plain = self._links.layers_of(settings, names), _plain(settings)
        first = self._sides(settings)[0]
        return {name: (first, self._side(name, others[name]), plain) for name in names}


def _plain(settings: CompareSettings) -> Settings:
    """Return the settings of a picture that decide on its heatmaps without a photo or a pin."""
    usual, unused = Settings(), ("layer", "opacity", "view", "split", "pins", "similarity")
    return Settings(**(picture_values(settings) | {name: getattr(usual, name) for name in unused}))
