"""From a network and a batch to a frame, in stages that each remember their results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pfv_widgets.engine.basis import PrincipalBasis
from pfv_widgets.engine.cache import ByteBoundedCache, stage
from pfv_widgets.engine.capture import Reduce, capture, run_captured
from pfv_widgets.engine.frame import Frame
from pfv_widgets.engine.guest import (
    choose_device,
    clean_name,
    floating_dtype,
    guest,
    place,
    run,
    unwrap,
)
from pfv_widgets.engine.images import load_images
from pfv_widgets.engine.loading.batch import ImageBatch
from pfv_widgets.engine.moments import Moments
from pfv_widgets.engine.settings import Settings, settings_of
from pfv_widgets.engine.stages import (
    Features,
    Weights,
    checked_size,
    features_of,
    fit,
    paint,
    weighting_warnings,
)
from pfv_widgets.engine.survey import Layer, Survey, survey
from pfv_widgets.engine.weighting import WEIGHTINGS, Level, channel_sum
from pfv_widgets.errors import PFVTypeError, PFVValueError

# Above this number of channels the Gram matrices of all images outweigh their feature maps.
_MOST_CHANNELS_FOR_MOMENTS = 1024
_MOST_COMPONENTS = 12  # that Settings allows


class PFV:
    """Principal Feature Visualisation of one network on one batch (Bakken et al. 2020).

    Parameters
    ----------
    model
        Any ``nn.Module`` that takes the images; it is given back as it came. On another device
        than its own it is copied.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"`` or a ``torch.device``.
    chunk_size
        Images in one forward pass.
    memory
        Bound in bytes for results that are kept.
    progress
        Called as ``progress(done, all)`` with numbers of images while a layer is computed.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the argument, its value and what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Any,
        device: str | torch.device = "auto",
        *,
        chunk_size: int = 16,
        memory: int = 2 << 30,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
            raise PFVValueError(f"chunk_size={chunk_size!r}: expected a whole number ≥ 1.")
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
            raise PFVValueError(f"memory={memory!r}: expected a whole number of bytes ≥ 0.")
        if progress is not None and not callable(progress):
            raise PFVTypeError(f"progress={progress!r}: expected a function of (done, all).")
        network = unwrap(model)
        self.images: ImageBatch = images if isinstance(images, ImageBatch) else load_images(images)
        self.device = choose_device(network, device)
        self.model = place(network, self.device)
        self.chunk_size = chunk_size
        self.progress = progress
        self.cache = ByteBoundedCache(memory)
        self._dtype = floating_dtype(self.model)
        self._lock = threading.RLock()
        self._last: dict[str, PrincipalBasis] = {}
        self._anchors: dict[str, PrincipalBasis] = {}
        with guest(self.model) as network:
            # two images: what does not follow the number of images is no map of them
            example = self._batch(0, 2)
            example = example if len(example) == 2 else example.repeat(2, 1, 1, 1)
            self._survey: Survey = survey(network, example, run)
        self._surveyed = self._computed_with = _versions(self.model)

    @property
    def layers(self) -> list[Layer]:
        """All spatial feature maps in forward order: what can be chosen."""
        return list(self._survey.layers)

    @property
    def default_layer(self) -> str:
        """Name of the last spatial feature map before the read-out."""
        return self._survey.default

    def layer(self, name: str | None = None) -> Layer:
        """Return the layer of that name (None: the default).

        Raises
        ------
        PFVValueError
            Naming why it cannot be shown, or the nearest names.
        """
        if name is None:
            return self._survey[self.default_layer]
        known = any(layer.name == name for layer in self._survey.layers)
        return self._survey[name if known else clean_name(name)]

    def is_ready(self, name: str | None) -> bool:
        """Whether a layer's feature maps are kept, so that it needs no forward pass."""
        layer = self.layer(name)
        return ("captured", layer.same_as or layer.name) in self.cache

    def render(
        self,
        settings: Settings | None = None,
        *,
        size: tuple[int, int] | None = None,
        **changes: Any,
    ) -> Frame:
        """Paint the batch.

        Parameters
        ----------
        settings
            What to paint (None: the defaults); ``changes`` are merged into it.
        size
            Height and width of the heatmaps in pixels; None: those of the images.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the setting, its value and what to do; nothing that was kept is lost.
        """
        settings = settings_of(settings, changes)
        weights = settings.weights(len(self.images))
        with self._lock, torch.no_grad():
            self._forget_if_changed()
            layer = self.layer(settings.layer)
            name = layer.same_as or layer.name
            basis = self.basis(name, weights, settings.components)
            last = anchor = None
            if settings.stable_colours:
                last, anchor = self._last.get(name), self._anchors.get(name)
            arrangement = basis.matching(last, settings.components, anchor)
            shown = basis.arranged(arrangement)
            self._last[name] = shown if last is None else shown.followed_by(last)
            self._anchors[name] = shown if anchor is None else anchor.followed_by(shown)
            scores = self.scores(name, weights, arrangement)
            size = checked_size(size) or self.images.size
            factors = self.factors(name, settings.weighting, size)
            heatmaps = paint(scores, factors, weights, settings, size)
            own = replace(shown, mean=shown.mean.clone(), layer=layer.name)
            return Frame(
                heatmaps, scores.clone(), own,  # copies: what is kept stays as it is
                replace(settings, layer=layer.name), weights, self.images.pixels,
                self.images.names, self._warnings(name, settings.weighting),
            )  # fmt: skip

    def anchor(self, name: str | None = None) -> None:
        """Let the colours of a layer refer to the basis of all images, before one is shown.

        Otherwise they refer to the first basis that is shown. Nothing happens for a layer that
        has a reference, or whose basis of all images does not exist.
        """
        with self._lock, torch.no_grad(), suppress(PFVValueError):
            layer = self.layer(name)
            name = layer.same_as or layer.name
            if name not in self._anchors:
                places = len(self.images) * layer.shape[1] * layer.shape[2]
                number = min(layer.shape[0], places - 1, _MOST_COMPONENTS)
                self._anchors[name] = self.basis(name, (1.0,) * len(self.images), number)

    @stage
    def captured(self, layer: str) -> tuple[Features, list[Level]]:
        """Feature maps of a layer and how active its chain is, from one forward pass."""
        chain = self._survey.chain(layer)
        wanted: dict[str, Reduce | None] = {one.name: channel_sum for one in chain}
        caught = self._run(wanted | {layer: None}, self._known())
        levels = [Level.of_sums(caught[one.name], one.shape[0]) for one in chain]
        return features_of(caught[layer]), levels

    @stage
    def factors(self, layer: str, weighting: str, size: tuple[int, int]) -> list[Tensor]:
        """Return the maps ``(N, 1, h, w)`` that the scores are multiplied by, coarse to fine."""
        return WEIGHTINGS[weighting](self.captured(layer)[1], self.brightness, size)

    @stage
    def brightness(self, size: tuple[int, int]) -> Tensor:
        """Channel mean of the photos as shown, ``(N, 1, H, W)`` in [0, 1]."""
        mean = torch.from_numpy(self.images.pixels).float().mean(dim=3)[:, None] / 255
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

    def close(self) -> None:
        """Free everything that is kept; the next picture computes anew."""
        with self._lock:
            self.cache.clear()
            self._last.clear()
            self._anchors.clear()

    def _forget_if_changed(self) -> None:
        """Drop what was computed with other weights than the network has now."""
        now = _versions(self.model)
        if now != self._computed_with:
            self.close()
            self._computed_with = now

    def _batch(self, start: int, stop: int) -> Tensor:
        return self.images.tensor[start:stop].to(self.device, self._dtype)

    def _known(self) -> dict[str, Tensor]:
        """Hand out the maps that the survey saw, once, if the network is still the same."""
        maps, self._survey = self._survey.maps, replace(self._survey, maps={})
        same = self._surveyed is not None and self._surveyed == _versions(self.model)
        return {name: one[: len(self.images)] for name, one in maps.items()} if same else {}

    def _run(self, wanted: dict[str, Reduce | None], known: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the batch in chunks and return what was caught, ``(N, …)`` by layer name.

        ``known`` may hold the maps of the first images.
        """
        layouts = {name: (self.layer(name).layout, reduce) for name, reduce in wanted.items()}
        complete = known.keys() >= wanted.keys()
        chunks: dict[str, list[Tensor]] = {name: [] for name in wanted}
        for name, reduce in wanted.items() if complete else ():
            chunks[name].append(known[name] if reduce is None else reduce(known[name]))
        first = len(next(iter(known.values()))) if complete else 0
        with guest(self.model) as network, capture(network, layouts) as caught:
            for start in range(first, len(self.images), self.chunk_size):
                batch = self._batch(start, start + self.chunk_size)
                run_captured(partial(run, network, batch))
                for name in wanted:
                    chunks[name].append(caught[name])
                if self.progress is not None:
                    self.progress(min(start + self.chunk_size, len(self.images)), len(self.images))
        return {name: torch.cat(parts) for name, parts in chunks.items()}

    def _warnings(self, layer: str, weighting: str) -> tuple[str, ...]:
        names = [one.name for one in self._survey.chain(layer)]
        closed = tuple(
            f"{name} is traced or scripted: the layers inside it cannot be seen."
            for name in self._survey.closed
        )
        return closed + weighting_warnings(self.captured(layer)[1], names, weighting)


def _versions(model: nn.Module) -> list[tuple[int, int]] | None:
    """Tell apart the states of a network's numbers; None where nobody counts the changes."""
    values = [*model.parameters(), *model.buffers()]
    if any(value.is_inference() for value in values):
        return None
    return [(value.data_ptr(), value._version) for value in values]
