"""What one network computes for one batch, in stages that each remember their results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pfv_widgets.engine.colouring.colour_filter import Shared, counting_size
from pfv_widgets.engine.colouring.heatmaps import shared_colours, spread_of
from pfv_widgets.engine.colouring.normalisation import Spread
from pfv_widgets.engine.colouring.similarity import lengths_of, likeness
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS, Level, channel_sum
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.capture import Reduce
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer, LayerListing, list_layers
from pfv_widgets.engine.network.model_guard import clean_name, guest, run
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pipeline.cache import ByteBoundedCache, stage
from pfv_widgets.engine.pipeline.functional import Features, Weights, features_of, fit
from pfv_widgets.engine.pipeline.settings import Settings

Size = tuple[int, int]
Images = tuple[int, ...] | None  # indices; None: all
Arrangement = tuple[int, ...]

# Above this number of channels the Gram matrices of all images outweigh their feature maps.
_MOST_CHANNELS_FOR_MOMENTS = 1024


class Kept:
    """The layers of a network and the stages from its feature maps to scores.

    The arguments of a stage are exactly what it depends on: they are the key of its result.

    Parameters
    ----------
    forward
        The network with the images that run through it.
    images
        The same images, as shown.
    chunk_size
        Images in one forward pass.
    memory
        Bound in bytes for results that are kept.
    """

    def __init__(self, forward: Forward, images: ImageBatch, chunk_size: int, memory: int) -> None:
        self.images = images
        self.model = forward.model
        self.device = forward.device
        self.chunk_size = chunk_size
        self.progress: Callable[[int, int], None] | None = None
        self.cache = ByteBoundedCache(memory)
        self._lock = threading.RLock()
        self._forward = forward
        self._last: dict[str, PrincipalBasis] = {}
        with guest(self.model) as network:
            # two images: what does not follow the number of images is no map of them
            example = forward.batch(0, 2)
            example = example if len(example) == 2 else example.repeat(2, 1, 1, 1)
            self._listing: LayerListing = list_layers(network, example, run)
        self._listed_with = forward.versions()

    @property
    def layers(self) -> list[Layer]:
        """All spatial feature maps in forward order: what can be chosen."""
        return list(self._listing.layers)

    @property
    def default_layer(self) -> str:
        """Name of the last spatial feature map before the read-out."""
        return self._listing.default

    def layer(self, name: str | None = None) -> Layer:
        """Return the layer of that name (None: the default).

        Raises
        ------
        PFVValueError
            Naming why it cannot be shown, or the nearest names.
        """
        if name is None:
            return self._listing[self.default_layer]
        known = any(layer.name == name for layer in self._listing.layers)
        return self._listing[name if known else clean_name(name)]

    def is_ready(self, name: str | None) -> bool:
        """Whether a layer's feature maps are kept, so that it needs no forward pass."""
        layer = self.layer(name)
        return ("captured", layer.same_as or layer.name) in self.cache

    @stage
    def captured(self, layer: str) -> tuple[Features, list[Level]]:
        """Feature maps of a layer and how active its chain is, from one forward pass."""
        chain = self._listing.chain(layer)
        wanted: dict[str, Reduce | None] = {one.name: channel_sum for one in chain}
        layouts = {
            name: (self.layer(name).layout, reduce)
            for name, reduce in (wanted | {layer: None}).items()
        }
        caught = self._forward.catch(layouts, self._known(), self.chunk_size, self.progress)
        levels = [Level.of_sums(caught[one.name], one.shape[0]) for one in chain]
        return features_of(caught[layer]), levels

    @stage
    def factors(self, layer: str, weighting: str, size: Size, only: Images = None) -> list[Tensor]:
        """Return the maps ``(N, 1, h, w)`` that the scores are multiplied by, coarse to fine."""
        levels = self.captured(layer)[1]
        if only is not None:
            levels = [level.of(only) for level in levels]
        return WEIGHTINGS[weighting](levels, lambda size: self.brightness(size, only), size)

    def detail(self, layer: str | None, weighting: str) -> int:
        """Width in pixels of the finest map that a picture of the layer is made of."""
        known = self.layer(layer)
        name, width = known.same_as or known.name, known.shape[2]
        with self._lock, torch.no_grad():
            levels = [one.of((0,)) for one in self.captured(name)[1] if not one.silent]
        ends_in_the_image = False

        def brightness(size: Size) -> Tensor:
            nonlocal ends_in_the_image
            ends_in_the_image = True
            return torch.ones(1, 1, *size, device=self.device)

        if not WEIGHTINGS[weighting](levels, brightness, (1, 1)):
            return width
        finest = max((width, *(one.total.shape[2] for one in levels)))
        return self.images.size[1] if ends_in_the_image else finest

    @stage
    def brightness(self, size: Size, only: Images = None) -> Tensor:
        """Channel mean of the photos as shown, ``(N, 1, H, W)`` in [0, 1]."""
        pixels = self.images.pixels if only is None else self.images.pixels[list(only)]
        mean = torch.from_numpy(pixels).float().mean(dim=3)[:, None] / 255
        return interpolate(mean, size=size, mode="bilinear", antialias=True).to(self.device)

    @stage
    def moments(self, layer: str) -> Moments | None:
        """Moments of each image; None where the channels are too many to keep them."""
        maps = self.captured(layer)[0].maps
        if maps.shape[1] > _MOST_CHANNELS_FOR_MOMENTS:
            return None
        return Moments.of_maps(maps)

    @stage
    def basis(self, layer: str, weights: Weights, number: int) -> PrincipalBasis:
        """Principal components of the images with a weight, by falling variance."""
        last = self._last.get(layer)
        start = None if last is None else last.components
        return fit(
            self.captured(layer)[0], self.moments(layer), weights, number, start=start, layer=layer
        )

    @stage
    def scores(self, layer: str, weights: Weights, arrangement: tuple[int, ...]) -> Tensor:
        """Projections ``(N, k, h, w)`` on the components of an arrangement."""
        features = self.captured(layer)[0]
        return features.scores(self.basis(layer, weights, len(arrangement)).arranged(arrangement))

    @stage
    def spread(
        self, layer: str, weights: Weights, arrangement: tuple[int, ...], weighting: str, size: Size
    ) -> Spread:
        """How the weighted scores of all images are spread."""
        scores = self.scores(layer, weights, arrangement)
        return spread_of(scores, self.factors(layer, weighting, size), size)

    @stage
    def shared(
        self, layer: str, weights: Weights, arrangement: tuple[int, ...], settings: Settings
    ) -> Shared:
        """Which colours are painted, of those that all images have or only some."""
        size = counting_size(self.images.size)
        scores = self.scores(layer, weights, arrangement)
        factors = self.factors(layer, settings.weighting, size)
        return shared_colours(scores, factors, weights, settings, size)

    @stage
    def lengths(self, layer: str) -> Tensor:
        """Length of each feature vector about the mean, ``(N, h, w)``."""
        features = self.captured(layer)[0]
        return lengths_of(features.maps, features.offset, features.broken)

    @stage
    def likeness(self, layer: str, image: int, cell: tuple[int, int]) -> Tensor:
        """Similarity of every place to one place of one image, ``(N, h, w)``."""
        return likeness(self.captured(layer)[0].maps, self.lengths(layer), image, cell)

    def _known(self) -> dict[str, Tensor]:
        """Return once the maps seen while listing the layers, if the network is still the same."""
        maps, self._listing = self._listing.maps, replace(self._listing, maps={})
        same = self._listed_with is not None and self._listed_with == self._forward.versions()
        return {name: one[: len(self.images)] for name, one in maps.items()} if same else {}
