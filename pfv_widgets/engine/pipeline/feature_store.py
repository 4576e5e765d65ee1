"""What one network computes for one batch, in stages with cached results."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn

from pfv_widgets.engine.colouring.colour_filter import ColourFilter, VisibleColours, counting_size
from pfv_widgets.engine.colouring.colour_memory import Arrangement, arranged_scores
from pfv_widgets.engine.colouring.heatmaps import Colouring, spread_of, visible_colours
from pfv_widgets.engine.colouring.pixel_sums import PixelSums, pixel_sums
from pfv_widgets.engine.colouring.score_scaling import Spread
from pfv_widgets.engine.colouring.similarity import lengths_of, likeness
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS, brightness
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.device_transfer import read, send
from pfv_widgets.engine.network.activity import Activity
from pfv_widgets.engine.network.capture_layers import Captured
from pfv_widgets.engine.network.fair_lock import FairLock
from pfv_widgets.engine.network.fingerprint import network_fingerprint
from pfv_widgets.engine.network.forward import Forward, Results
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.named_models import normalisation_doubt
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import (
    BASES,
    BasisSource,
    FittedBasis,
    FixedBasis,
    LayerSample,
)
from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.engine.pca.data_set_summary import DataSet
from pfv_widgets.engine.pca.features import Features, features_of
from pfv_widgets.engine.pca.fitted_basis_cache import FittedBasisCache
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.engine.pipeline.cache import ByteBoundedCache, release_memory, source_stage, stage
from pfv_widgets.engine.pipeline.explained_variance import Explained, basis_warnings, variance_of
from pfv_widgets.engine.pipeline.memory_aware_capture import MemoryAwareCapture
from pfv_widgets.engine.progress import OnProgress, Progress, silent
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import text_or_none

Size = tuple[int, int]
Images = tuple[int, ...] | None  # indices; None: all

# Up to this number of channels the Gram matrices of all images are small beside their feature maps,
# and a full decomposition costs next to nothing.
_MOST_CHANNELS_FOR_MOMENTS = 256
AHEAD = "captured ahead"  # key of maps that were not needed yet


class FeatureStore:
    """The layers of a network and the stages from its feature maps to scores.

    The arguments of a stage are exactly what it depends on: they are the key of its result.
    Every stage can be called from any thread.

    Parameters
    ----------
    forward
        The network with the images that run through it.
    images
        The same images, as shown.
    chunk_size
        Images in one forward pass, at most.
    memory
        Bound in bytes for results that are cached.
    source
        Where a basis comes from.

    Attributes
    ----------
    cache
        The results.
    lock
        Held by each stage; hold it where several stages must see the network in one state.
    """

    def __init__(
        self,
        forward: Forward,
        images: ImageBatch,
        chunk_size: int,
        memory: int,
        source: BasisSource | None = None,
    ) -> None:
        self.images = images
        self.device = forward.device
        self.cache = ByteBoundedCache(memory)
        self.lock = FairLock()
        self.external_source = None if isinstance(source, FittedBasis) else source
        self.uses_external_source = self.external_source is not None
        self._given = forward
        self.capture = MemoryAwareCapture(forward, chunk_size)
        self._listeners: tuple[OnProgress, ...] = ()
        self._starts: dict[str, Tensor] = {}  # layer → components that were fitted last
        self._others: dict[str, Sequence[Tensor]] = {}
        self._longest = FittedBasisCache()
        self.version = 0  # higher each time that the network was seen to have changed
        self._list_layers()
        self.capture.forward = self.forward.with_current_state()

    @property
    def forward(self) -> Forward:
        """The network with the images that run through it, in the format that it takes."""
        return self.capture.forward

    @property
    def model(self) -> nn.Module:
        """The network on its device, as it was when it was last seen to have changed."""
        return self.forward.model

    def _list_layers(self) -> None:
        self._listing = self._given.list_layers()
        self.capture.forward = replace(self._given, channels_last=self._listing.channels_last)
        self._listed_with = self.forward.state()
        self._structure = self.forward.structure()
        self._own_layer = self._layer_of_the_source()
        self._doubts = tuple(filter(None, [normalisation_doubt(self.model, self.images)]))

    @property
    def source(self) -> BasisSource:
        """Where a basis comes from: the external source, or the images."""
        external = self.external_source if self.uses_external_source else None
        return FittedBasis() if external is None else external

    def use(self, basis_of: str) -> None:
        """Choose one of :data:`BASES`; without an external source it is that of the images."""
        with self.lock:
            self.uses_external_source = self.external_source is not None and basis_of == BASES[0]

    def compare_with(self, layer: str, components: Sequence[Tensor]) -> None:
        """Say which components ``(m, C)`` the next bases of a layer will be compared with.

        Their cosines are then read in the same copy as the rest: each copy waits for the device.
        """
        self._others[layer] = components

    @property
    def data(self) -> DataSet | None:
        """What is known of the data set whose basis is used; None: it is no such basis."""
        source = self.source
        return source.principal.data if isinstance(source, FixedBasis) else None

    @property
    def layers(self) -> list[Layer]:
        """All spatial feature maps in forward order: what can be chosen."""
        return list(self._listing.layers)

    @property
    def default_layer(self) -> str:
        """Name of the last spatial feature map before the read-out, or of the basis given."""
        return self._listing.default if self._own_layer is None else self._own_layer.name

    def layer(self, name: str | None = None) -> Layer:
        """Return the layer of that name (None: the default)."""
        name = text_or_none("layer", name, "the name of a layer")
        return self._listing[self.default_layer if name is None else name]

    def key_of(self, name: str | None) -> str:
        """Return the name that the stages know a layer by, which equal layers share."""
        layer = self.layer(name)
        return layer.same_as or layer.name

    def chain(self, layer: str) -> tuple[Layer, ...]:
        """Return the earlier layers that weight a layer, in forward order."""
        return self._listing.chain(layer)

    def warnings(self, layer: str) -> tuple[str, ...]:
        """Return what a user must know of the layer and of those that weight it."""
        return self._doubts + self._listing.warnings(layer) + self._own_warnings(layer)

    def _own_warnings(self, layer: str) -> tuple[str, ...]:
        data, own = self.data, "" if self._own_layer is None else self._own_layer.name
        differs = data is not None and data.network not in ("", self._fingerprint())
        halved = f"Memory ran out: images run {self.capture.chunk_size} at a time."
        return (halved,) * self.capture.halved + basis_warnings(
            network=differs,
            layer=layer if self._is_elsewhere(self.key_of(layer)) else own,
            own=own,
            data=data,
            images=self.images,
        )

    def _is_elsewhere(self, layer: str) -> bool:
        """Whether the basis that is used was made of another layer."""
        own = self._own_layer if self.uses_external_source else None
        return own is not None and layer != (own.same_as or own.name)

    @stage
    def _fingerprint(self) -> str:
        return network_fingerprint(self.model)

    def is_ready(self, name: str | None) -> bool:
        """Whether a layer's feature maps are cached, so that it needs no forward pass."""
        key = self.key_of(name)
        return ("captured", key) in self.cache or (AHEAD, key) in self.cache

    def is_coming(self, name: str | None) -> bool:
        """Whether the forward pass that runs will cache a layer's feature maps."""
        return self.key_of(name) in self.capture.coming

    def clear(self) -> None:
        """Free everything that is cached; the next picture is computed again.

        Memory is given back to the system where the allocator can do that.
        """
        with self.lock:
            self.cache.clear()
            self._starts.clear()
            self._others.clear()
            self._longest.clear()
            self._listing = replace(self._listing, maps={})
        release_memory(self.device)

    def refresh(self) -> None:
        """Start again with the weights that the network has now, noticed or not."""
        with self.lock:
            self._start_anew()

    @property
    def is_outdated(self) -> bool:
        """Whether what is cached was computed with other weights or modules than there are now."""
        return self.forward.is_outdated

    def clear_if_changed(self) -> bool:
        """Free what was computed with other weights or modules than the network has now."""
        with self.lock:
            changed = self.is_outdated
            if changed:
                self._start_anew()
            return changed

    def _start_anew(self) -> None:
        self.version += 1
        self.clear()
        forward = self.forward.updated()
        self._given = replace(self._given, model=forward.model)
        self.capture.forward = forward
        if forward.structure() != self._structure:
            self._list_layers()
        self.capture.forward = self.forward.with_current_state()

    @contextmanager
    def reporting(self, *listeners: OnProgress | None) -> Iterator[None]:
        """Report to ``listeners`` in the block what the stages do; each may raise to stop them."""
        with self.lock:
            before = self._listeners
            self._listeners = tuple(one for one in listeners if one is not None)
            try:
                yield
            finally:
                self._listeners = before

    def report(self, progress: Progress) -> None:
        """Report how far a stage is; what a listener raises ends it."""
        for listener in self._listeners:
            listener(progress)

    @stage
    def captured(self, layer: str) -> tuple[Features, list[Activity]]:
        """Feature maps of a layer and how active its chain is, from one forward pass."""
        maps, activities = self.cache.pop((AHEAD, layer)) or self.run([layer])[layer]
        return features_of(maps, overwrite=True), activities

    def run(self, names: Sequence[str], results: Results | None = None) -> dict[str, Captured]:
        """Run the network once for layers, by the names of :meth:`key_of`; nothing is cached.

        ``results`` are those of a run for the same layers that was stopped, which goes on.
        """
        chains = {name: (self.layer(name), self.chain(name)) for name in names}
        report = self.report if self._listeners else silent
        return self.capture.run(chains, self._listing.layers, self._known(), report, results)

    @source_stage
    def factors(self, layer: str, weighting: str, size: Size, only: Images) -> list[Tensor]:
        """Return the maps ``(N, 1, h, w)`` that the scores are multiplied by, coarse to fine."""
        activities, data = self.captured(layer)[1], self.data
        if data is not None and not self._is_elsewhere(layer):  # one scale for all batches
            pairs = zip(self.chain(layer), activities, strict=True)
            activities = [
                replace(activity, largest=data.largest.get(one.name, activity.largest))
                for one, activity in pairs
            ]
        if only is not None:
            activities = [activity.of(only) for activity in activities]
        entry = WEIGHTINGS[weighting]
        return entry.factors(activities, lambda size: self.brightness(size, only), size)

    @source_stage
    def pixel_sums(self, layer: str, weighting: str, size: Size) -> PixelSums | None:
        """Return what tells how weighted scores are spread without their heatmaps."""
        maps = self.captured(layer)[0].maps
        return pixel_sums(maps, self.factors(layer, weighting, size, None), size)

    def detail(self, layer: str | None, weighting: str) -> int:
        """Width in pixels of the finest map that a picture of the layer is made of."""
        entry, width = WEIGHTINGS[weighting], self.layer(layer).shape[2]
        if entry.uses_image:
            return self.images.size[1]
        activities = self.captured(self.key_of(layer))[1] if entry.uses_layers else []
        return max((width, *(one.total.shape[2] for one in activities if not one.silent)))

    @stage
    def brightness(self, size: Size, only: Images = None) -> Tensor:
        """Channel mean of the photos as shown, ``(N, 1, H, W)`` in [0, 1]."""
        pixels = self.images.pixels if only is None else self.images.pixels[list(only)]
        return send(brightness(pixels, size), self.device)

    @stage
    def moments(self, layer: str) -> Moments | None:
        """Moments of each image; None where the channels are too many to keep them."""
        maps = self.captured(layer)[0].maps
        if maps.shape[1] > _MOST_CHANNELS_FOR_MOMENTS:
            return None
        return Moments.of_maps(maps, self.report)

    @stage
    def wide_fit(self, layer: str) -> WideFit:
        """Return what fits bases where the channels are too many to keep moments."""
        return WideFit(self.captured(layer)[0].maps)

    @source_stage
    def basis(self, layer: str, weights: Weights, number: int) -> PrincipalBasis:
        """Return ``number`` components for a layer, from :attr:`source`."""
        self._check_source(layer)
        source, sample = self.source, self._sample(layer)
        if isinstance(source, FittedBasis):
            basis = self._longest.basis(source, sample, weights, number)
        else:
            basis = source.basis(sample, weights, number)
        self._starts[layer] = basis.components
        return basis

    def _sample(self, layer: str) -> LayerSample:
        features = self.captured(layer)[0]
        return LayerSample(
            layer,
            features,
            lambda: self.moments(layer) or self.wide_fit(layer),
            self._starts.get(layer),
            self.report,
            [one for one in self._others.get(layer, ()) if one.shape[1] == features.maps.shape[1]],
        )

    @source_stage
    def projections(self, layer: str, weights: Weights, number: int) -> Tensor:
        """Scores ``(N, k, h, w)`` on ``number`` components, by falling variance."""
        return self.captured(layer)[0].scores(self.basis(layer, weights, number))

    @source_stage
    def scores(self, layer: str, weights: Weights, arrangement: Arrangement) -> Tensor:
        """Projections ``(N, k, h, w)`` on the components of an arrangement."""
        key = layer, weights, len(arrangement)
        return arranged_scores(self.projections(*key), self.basis(*key), arrangement)

    @source_stage
    def spread(
        self, layer: str, weights: Weights, arrangement: Arrangement, weighting: str, size: Size
    ) -> Spread:
        """How the weighted scores of all images are spread; of a data set, where one is used."""
        of_data = None if self.data is None else self.data.spreads.get(weighting)
        usable = of_data is not None and not self._is_elsewhere(layer)
        if of_data is not None and usable and isinstance(arrangement, tuple):
            picked = of_data[:, [abs(number) - 1 for number in arrangement]]
            return Spread(*picked[:, None].expand(-1, len(self.images), -1))
        scores = self.scores(layer, weights, arrangement)
        return spread_of(scores, self.factors(layer, weighting, size, None), size, self.report)

    @source_stage
    def visible_colours(
        self,
        layer: str,
        weights: Weights,
        arrangement: Arrangement,
        weighting: str,
        colouring: Colouring,
        *,
        colour_filter: ColourFilter,
    ) -> VisibleColours:
        """Which colours a filter shows, of those that all images have or only some."""
        size = counting_size(self.images.size)
        scores = self.scores(layer, weights, arrangement)
        factors = self.factors(layer, weighting, size, None)
        spread = self.spread(layer, weights, arrangement, weighting, size)
        return visible_colours(
            scores, factors, weights, colouring, colour_filter, size=size, spread=spread
        )

    @source_stage
    def explained(self, layer: str, weights: Weights, number: int) -> Explained | None:
        """Return how well a basis given explains the images; None where theirs is used."""
        if not self.uses_external_source:
            return None
        features, own = self.captured(layer)[0], math.nan
        scores = self.projections(layer, weights, number)
        here, all_of = read(variance_of(scores, weights), variance_of(features.maps, weights))
        total = float(all_of) * features.scale**2
        with contextlib.suppress(PFVValueError):
            fitted = FittedBasis().basis(self._sample(layer), weights, number)
            own = float(read(fitted.explained_variance_ratio)[0].sum())
        return Explained(float(here) / total if total > 0 else math.nan, own)

    @stage
    def lengths(self, layer: str) -> Tensor:
        """Length of each feature vector about the mean, ``(N, h, w)``."""
        features = self.captured(layer)[0]
        return lengths_of(features.maps, features.offset, features.broken)

    @stage
    def likeness(self, layer: str, image: int, cell: tuple[int, int]) -> Tensor:
        """Similarity of every position to one position of one image, ``(N, h, w)``."""
        return likeness(self.captured(layer)[0].maps, self.lengths(layer), image, cell)

    def _known(self) -> dict[str, Tensor]:
        """Return once the maps seen while listing the layers, if the network is still the same."""
        maps, self._listing = self._listing.maps, replace(self._listing, maps={})
        same = bool(maps) and self._listed_with == self.forward.state()
        return {name: one[: len(self.images)] for name, one in maps.items()} if same else {}

    def _layer_of_the_source(self) -> Layer | None:
        """Return the only layer that the source has a basis for; None: any."""
        if self.external_source is None or self.external_source.layer is None:
            return None
        try:
            return self.layer(self.external_source.layer)
        except PFVValueError as error:
            raise PFVValueError(f"basis is of another network: {error}") from error

    def _check_source(self, layer: str) -> None:
        own = self._own_layer
        if own is None or not self._is_elsewhere(layer):
            return
        if self.layer(layer).shape[0] != own.shape[0]:
            raise PFVValueError(
                f"layer={layer!r}: the basis given is of layer {own.name!r}. Choose that layer, "
                f"or basis_of={BASES[1]!r}, which fits one to the images."
            )
