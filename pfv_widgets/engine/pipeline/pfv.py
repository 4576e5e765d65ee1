"""From a network and a batch to a frame, in stages that each remember their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring.heatmaps import paint
from pfv_widgets.engine.colouring.similarity import Place, cell_of, nearest_places, paint_similarity
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import choose_device, place, unwrap
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.feature_store import Images, Kept, Size
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.functional import Weights, weighting_warnings
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import Slider, parameters_of
from pfv_widgets.validation import Pin, checked_images, checked_pins, checked_size

_MOST_COMPONENTS = int(cast(Slider, parameters_of(Settings)["components"]).maximum)
# what has no say in which colours a picture has
_LOOK: dict[str, Any] = {"layer": None, "images": None, "opacity": 1.0, "view": "heatmap"} | {
    "split": 0.5, "stable_colours": True, "pins": (), "similarity": True
}  # fmt: skip


class PFV(Kept):
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
        batch = images if isinstance(images, ImageBatch) else load_images(images)
        target = choose_device(network, device)
        super().__init__(
            Forward(place(network, target), batch.tensor, target), batch, chunk_size, memory
        )
        self.progress = progress
        self._anchors: dict[str, PrincipalBasis] = {}
        self._computed_with = self._listed_with

    def render(
        self,
        settings: Settings | None = None,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        **changes: Any,
    ) -> Frame:
        """Paint the batch, or some images of it.

        Parameters
        ----------
        settings
            What to paint (None: the defaults); ``changes`` are merged into it.
        size
            Height and width of the heatmaps in pixels; None: those of the images. Above that,
            colours are those of the pictures at the size of the images.
        only
            Indices of the images to paint, in order; None: all. Basis and colours are those of
            the whole batch. The frame holds these images alone, also of scores and weights.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the setting, its value and what to do; nothing that was kept is lost.
        """
        settings = settings_of(settings, changes)
        number = len(self.images)
        weights, pins = settings.weights(number), settings.pinned(number)
        chosen, size = checked_images(only, number), checked_size(size) or self.images.size
        with self._lock, torch.no_grad():
            self._forget_if_changed()
            layer = self.layer(settings.layer)
            name = layer.same_as or layer.name
            arrangement, basis = self._arranged(name, weights, settings)
            view = name, weights, arrangement
            told = self._warnings(name, settings.weighting)
            if pins:
                alike = self.similarity(pins, name).transpose(0, 1)
                heatmaps = paint_similarity(_some(alike, chosen), size)
            else:
                heatmaps, more = self._painted(view, settings, size, chosen)
                told += more
            indices, labels = chosen or tuple(range(number)), self.images.labels
            return Frame(
                heatmaps,
                _some(self.scores(*view), chosen).clone(),  # copies: what is kept stays as it is
                replace(basis, mean=basis.mean.clone(), layer=layer.name),
                replace(settings, layer=layer.name),
                tuple(weights[index] for index in indices),
                self.images.pixels if chosen is None else self.images.pixels[list(chosen)],
                tuple(self.images.names[index] for index in indices),
                told,
                indices,
                labels and tuple(labels[index] for index in indices),
            )

    def similarity(self, pins: Iterable[Pin], layer: str | None = None) -> Tensor:
        """How similar every place is to each pinned place, as a layer sees them.

        The cosine of their feature vectors about the mean of the batch, of all images alike.

        Parameters
        ----------
        pins
            ``(image, x, y)`` each, x and y as fractions of width and height.
        layer
            Name of a layer; None: the default.

        Returns
        -------
        Tensor
            ``(P, N, h, w)`` in [-1, 1]; 0 in images with a value that is not finite.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the pin or the layer, and what to do.
        """
        pins = checked_pins(pins, len(self.images))
        if not pins:
            raise PFVValueError("pins is empty: give at least one (image, x, y).")
        with self._lock, torch.no_grad():
            self._forget_if_changed()
            known = self.layer(layer)
            name = known.same_as or known.name
            cells = [(image, cell_of(x, y, known.shape)) for image, x, y in pins]
            return torch.stack([self.likeness(name, image, cell) for image, cell in cells])

    def nearest(
        self, image: int, x: float, y: float, *, number: int = 5, layer: str | None = None
    ) -> tuple[Place, ...]:
        """Find the most similar place in each other image, best first.

        Parameters
        ----------
        image, x, y
            The place to compare with; x and y as fractions of width and height.
        number
            How many places to return at most, from 1. Images in which nothing is similar
            are left out.
        layer
            Name of a layer; None: the default.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the place or the layer, and what to do.
        """
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise PFVValueError(f"number={number!r}: expected a whole number ≥ 1.")
        return nearest_places(self.similarity([(image, x, y)], layer)[0], image, number)

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

    def close(self) -> None:
        """Free everything that is kept; the next picture computes anew."""
        with self._lock:
            self.cache.clear()
            self._last.clear()
            self._anchors.clear()

    def _arranged(
        self, layer: str, weights: Weights, settings: Settings
    ) -> tuple[tuple[int, ...], PrincipalBasis]:
        """Fit a basis and bring it into the order and signs in which its colours hold still."""
        basis = self.basis(layer, weights, settings.components)
        last = anchor = None
        if settings.stable_colours:
            last, anchor = self._last.get(layer), self._anchors.get(layer)
        arrangement = basis.matching(last, settings.components, anchor)
        shown = basis.arranged(arrangement)
        self._last[layer] = shown if last is None else shown.followed_by(last)
        self._anchors[layer] = shown if anchor is None else anchor.followed_by(shown)
        return arrangement, shown

    def _painted(
        self,
        view: tuple[str, Weights, tuple[int, ...]],
        settings: Settings,
        size: Size,
        only: Images,
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Paint the components of ``view`` (layer, weights, arrangement), with warnings."""
        layer, weights, _ = view
        scores = _some(self.scores(*view), only)
        colours: Tensor | None = None
        told: tuple[str, ...] = ()
        if settings.sharing != "all":
            shared = self.shared(*view, replace(settings, **_LOOK))
            colours, told = shared.shown, shared.warnings
        height, width = (min(pair) for pair in zip(size, self.images.size, strict=True))
        spread = None
        if only is not None or (height, width) != size:
            spread = self.spread(*view, settings.weighting, (height, width))
        factors = self.factors(layer, settings.weighting, size, only)
        heatmaps = paint(scores, factors, weights, settings, size, spread=spread, colours=colours)
        return heatmaps, told

    def _forget_if_changed(self) -> None:
        """Drop what was computed with other weights than the network has now."""
        now = self._forward.versions()
        if now != self._computed_with:
            self.close()
            self._computed_with = now

    def _warnings(self, layer: str, weighting: str) -> tuple[str, ...]:
        names = [one.name for one in self._listing.chain(layer)]
        closed = tuple(
            f"{name} is traced or scripted: the layers inside it cannot be seen."
            for name in self._listing.scripted
        )
        return closed + weighting_warnings(self.captured(layer)[1], names, weighting)


def _some(values: Tensor, images: Images) -> Tensor:
    return values if images is None else values[list(images)]
