"""From a network and a batch to a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.colour_memory import Arrangement, ColourMemory
from pfv_widgets.engine.colouring.heatmaps import render_heatmaps
from pfv_widgets.engine.colouring.similarity import (
    Position,
    cell_of,
    nearest_positions,
    render_similarity,
)
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.device_transfer import select
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import BasisSource, FixedBasis, source_of
from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.engine.pipeline.capture_ahead import capture_along, capture_around
from pfv_widgets.engine.pipeline.explained_variance import Explained
from pfv_widgets.engine.pipeline.feature_store import FeatureStore, Images, Size
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.functional import basis_warnings, weighting_warnings
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.engine.progress import OnProgress, images_run
from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import Slider, parameters_of
from pfv_widgets.validation import (
    Pin,
    checked_images,
    checked_pins,
    checked_position,
    function_or_none,
    size_in_pixels,
    truth_value,
    whole_number,
)

_MOST_COMPONENTS = int(cast(Slider, parameters_of(Settings)["components"]).maximum)
_View = tuple[str, Weights, Arrangement]  # a layer, weights of images, an order of components


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
    basis
        A :class:`PrincipalBasis` made elsewhere, whose mean and components are used instead of
        those of the images, or a ``BasisSource``; None: fitted to the images.
    chunk_size
        Images in one forward pass, at most: a processor takes fewer of large feature maps.
    memory
        Bound in bytes for results that are cached. On top of it come what the network itself
        takes for a chunk of images, the feature maps of the layer that is computed (once) and
        the heatmaps of the frame that is made.
    progress
        Called as ``progress(done, all)`` with numbers of images while a layer is computed.
    autocast
        Whether the network computes in bfloat16 what PyTorch deems safe in it. Its feature maps
        have 8 bits then; all that follows them is computed in float32 as ever.
    channels_last
        Whether images have their channels last in memory, where possible; None: on a processor.

    Attributes
    ----------
    store
        The layers, and the stages with their cached results.
    colours
        Which component has which colour: a value, replaced by each picture.
    holds_colours
        Whether components keep their colours where the network changes, as in a training.
    on_progress
        Called with a :class:`Progress` in every slow stage. It may raise :class:`Cancelled`
        to stop there: what is cached stays valid, and the next picture goes on from it.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the argument, its value and what to do.
    """

    @own_modes()
    def __init__(
        self,
        model: nn.Module,
        images: Any,
        device: str | torch.device = "auto",
        *,
        basis: PrincipalBasis | BasisSource | None = None,
        chunk_size: int = 16,
        memory: int = 2 << 30,
        progress: Callable[[int, int], None] | None = None,
        autocast: bool = False,
        channels_last: bool | None = None,
    ) -> None:
        chunk_size = whole_number("chunk_size", chunk_size, 1)
        memory = whole_number("memory", memory, legal="a whole number of bytes from 0")
        function_or_none("progress", progress, "a function of (done, all)")
        source = source_of(basis)
        network, batch = unwrap(model), batch_of(images)
        last = None if channels_last is None else truth_value("channels_last", channels_last)
        autocast = truth_value("autocast", autocast)
        forward = Forward.of(network, batch.tensor, device, autocast=autocast, channels_last=last)
        self.store = FeatureStore(forward, batch, chunk_size, memory, source)
        self.colours = ColourMemory()
        self.holds_colours = False
        self.progress = progress
        self.on_progress: OnProgress | None = None

    @property
    def images(self) -> ImageBatch:
        """The batch."""
        return self.store.images

    @property
    def model(self) -> nn.Module:
        """The network, on :attr:`device`."""
        return self.store.model

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.store.device

    @property
    def layers(self) -> list[Layer]:
        """All spatial feature maps in forward order: what can be chosen."""
        return self.store.layers

    @property
    def default_layer(self) -> str:
        """Name of the last spatial feature map before the read-out, or of the basis given."""
        return self.store.default_layer

    def layer(self, name: str | None = None) -> Layer:
        """Return the layer of that name (None: the default).

        Raises
        ------
        PFVValueError
            Naming why it cannot be shown, or the nearest names.
        """
        return self.store.layer(name)

    def render(
        self,
        settings: Settings | None = None,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
        **changes: Any,
    ) -> Frame:
        """Render the batch, or some images of it.

        Parameters
        ----------
        settings
            What to render (None: the defaults); ``changes`` are merged into it.
        size
            Height and width of the heatmaps in pixels; None: those of the images. Above that,
            colours are those of the pictures at the size of the images.
        only
            Indices of the images to render, in order; None: all. Basis and colours are those of
            the whole batch. The frame holds these images alone, also of scores and weights.
        on_progress
            Called with this picture's progress instead of the attribute and ``progress``.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the setting, its value and what to do; nothing that is cached is lost.
        """
        settings = settings_of(settings, changes)
        with self.store.lock:
            frame, self.colours = self.render_with(
                self.colours, settings, size=size, only=only, on_progress=on_progress
            )
        return frame

    def render_with(
        self,
        colours: ColourMemory,
        settings: Settings,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
        on_progress: OnProgress | None = None,
        arrangement: Arrangement | None = None,
    ) -> tuple[Frame, ColourMemory]:
        """Render as :meth:`render`, with a colour memory of one's own: return the new one.

        :attr:`colours` stay as they are. Where the network has changed, a new memory begins.
        An ``arrangement`` of the components, by order and signs or by a rotation, takes the place
        of what the memory says.
        """
        number = len(self.images)
        weights, pins = settings.basis_weights(number), settings.pinned(number)
        chosen = checked_images(only, number)
        size = self.images.size if size is None else size_in_pixels("size", size)
        with self._working(on_progress) as changed:
            if changed and not self.holds_colours:
                colours = ColourMemory()
            self.store.use(settings.basis_of)
            layer, name = self.layer(settings.layer), self.store.key_of(settings.layer)
            self.store.compare_with(name, colours.references(name))
            basis = self.store.basis(name, weights, settings.components)
            if arrangement is None:
                # those of a data set have the same colours everywhere, whatever was shown before
                stable = settings.stable_colours and not isinstance(self.store.source, FixedBasis)
                arrangement, colours = colours.arranged(
                    name, basis, settings.components, stable=stable
                )
            view = name, weights, arrangement
            messages = self._warnings(layer.name, settings.weighting)
            if pins:
                alike = self._alike(pins, name).transpose(0, 1)
                heatmaps = render_similarity(_some(alike, chosen), size)
            else:
                heatmaps, more = self._rendered(view, settings, size, chosen)
                messages += more
            basis = basis.arranged(arrangement)
            messages += () if pins else basis_warnings(basis, settings.shown)
            indices, labels = chosen or tuple(range(number)), self.images.labels
            frame = Frame(
                heatmaps,
                _some(self.store.scores(*view), chosen).clone(),  # copies: the cache stays as it is
                replace(basis, mean=basis.mean.clone(), layer=layer.name),
                replace(settings, layer=layer.name),
                tuple((settings.images or weights)[index] for index in indices),
                self.images.pixels if chosen is None else self.images.pixels[list(chosen)],
                tuple(self.images.names[index] for index in indices),
                messages,
                indices,
                labels and tuple(labels[index] for index in indices),
                self.store.source.description,
                self.store.forward,
            )
            return frame, colours

    def similarity(self, pins: Iterable[Pin], layer: str | None = None) -> Tensor:
        """How similar every position is to each pin, as a layer sees them.

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
        with self._working(None):
            return self._alike(pins, self.store.key_of(layer))

    def nearest(
        self, image: int, x: float, y: float, *, number: int = 5, layer: str | None = None
    ) -> tuple[Position, ...]:
        """Find the most similar position in each other image, best first.

        Parameters
        ----------
        image, x, y
            The position to compare with; x and y as fractions of width and height.
        number
            How many positions to return at most, from 1. Images in which nothing is similar
            are left out.
        layer
            Name of a layer; None: the default.

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the position or the layer, and what to do.
        """
        pins = [checked_position(image, x, y, len(self.images))]
        number = whole_number("number", number, 1)
        return nearest_positions(self.similarity(pins, layer)[0], pins[0][0], number)

    def anchor(self, name: str | None = None, *, on_progress: OnProgress | None = None) -> None:
        """Let the colours of a layer refer to the basis of all images, before one is shown.

        Otherwise they refer to the first basis that is shown. Nothing happens for a layer that
        has a reference, or whose basis of all images does not exist. ``on_progress`` is that of
        :meth:`render`.
        """
        layer = self.layer(name)
        with suppress(PFVValueError), self._working(on_progress):
            if (key := self.store.key_of(name)) not in self.colours.anchors:
                positions = len(self.images) * layer.shape[1] * layer.shape[2]
                number = min(layer.shape[0], positions - 1, self.most_components)
                basis = self.store.basis(key, (1.0,) * len(self.images), number)
                self.colours = self.colours.anchored(key, basis)

    @property
    def most_components(self) -> int:
        """The largest number of components to show: of a basis given, at most as many as it has."""
        source = self.store.external_source
        fixed = source.principal.components if isinstance(source, FixedBasis) else ()
        return min(len(fixed) or _MOST_COMPONENTS, _MOST_COMPONENTS)

    def explained(self, settings: Settings | None = None, **changes: Any) -> Explained | None:
        """Measure how well a basis given explains these images; None where theirs is used.

        Raises
        ------
        PFVValueError, PFVTypeError
            As :meth:`render`.
        """
        settings = settings_of(settings, changes)
        weights = settings.weights(len(self.images))
        with self._working(None):
            self.store.use(settings.basis_of)
            name = self.store.key_of(settings.layer)
            return self.store.explained(name, weights, settings.components)

    def is_ready(self, name: str | None, *, soon: bool = False) -> bool:
        """Whether a layer's feature maps are cached; ``soon``: or come from the pass that runs."""
        return self.store.is_ready(name) or (soon and self.store.is_coming(name))

    def capture(
        self, name: str | None, *, before: str | None = None, on_progress: OnProgress | None = None
    ) -> None:
        """Cache the feature maps of a layer, which is shown next.

        Where another one was shown ``before``, as many of those around as there is room for come
        from the same pass: somebody moves from layer to layer. Errors are those of :meth:`render`.
        """
        with self._working(on_progress):
            if before is not None:
                capture_around(self.store, name, before)
            self.store.captured(self.store.key_of(name))

    def capture_along(self, is_wanted: Callable[[], bool]) -> bool:
        """Cache maps of layers all along the network in time to spare; whether that is done."""
        return capture_along(self.store, is_wanted)

    def detail(self, layer: str | None, weighting: str) -> int:
        """Width in pixels of the finest map that a picture of the layer is made of."""
        with self._working(None):
            return self.store.detail(layer, weighting)

    def close(self) -> None:
        """Free the caches and give memory back; the next picture is computed again."""
        with self.store.lock:
            self.store.clear()
            self.colours = ColourMemory()

    def refresh(self) -> None:
        """Start again, where a change of the network was not noticed.

        Writes to weights are noticed, in place or through ``.data``, and so are other modules and
        options of PyTorch's; a few single numbers through ``.data`` among many, and hooks, are not.
        """
        with self.store.lock:
            self.store.refresh()
            self._begin_colours()

    @contextmanager
    def _working(self, on_progress: OnProgress | None) -> Iterator[bool]:
        """Hold the lock, report to the callbacks what the stages do, and record no gradients.

        What was computed with other weights than the network has now is dropped; that is yielded.
        """
        function_or_none("on_progress", on_progress, "a function of a Progress")
        own = self.on_progress, images_run(self.progress)
        reporting = self.store.reporting(*(own if on_progress is None else (on_progress,)))
        with reporting, own_modes():
            if changed := self.store.clear_if_changed():
                self._begin_colours()
            yield changed

    def _alike(self, pins: Iterable[Pin], layer: str) -> Tensor:
        shape, likeness = self.layer(layer).shape, self.store.likeness
        return torch.stack([likeness(layer, image, cell_of(x, y, shape)) for image, x, y in pins])

    def _rendered(
        self, view: _View, settings: Settings, size: Size, only: Images
    ) -> tuple[Tensor, tuple[str, ...]]:
        """Render the components of ``view`` (layer, weights, arrangement), with warnings."""
        layer, weights, _ = view
        scores = _some(self.store.scores(*view), only)
        weighting, colouring = settings.weighting, settings.colouring
        colour_filter = COLOUR_FILTERS[settings.sharing]
        filtered = colour_filter and self.store.visible_colours(
            *view, weighting, colouring, colour_filter=colour_filter
        )
        height, width = (min(pair) for pair in zip(size, self.images.size, strict=True))
        own = only is None and (height, width) == size and self.store.data is None
        spread = None if own else self.store.spread(*view, weighting, (height, width))
        heatmaps = render_heatmaps(
            scores,
            self.store.factors(layer, weighting, size, only),
            weights,
            colouring,
            size,
            spread=spread,
            sums=self.store.pixel_sums(layer, weighting, size) if own else None,
            colours=filtered.shown if filtered else None,
            report=self.store.report,
        )
        return heatmaps, filtered.warnings if filtered else ()

    def _begin_colours(self) -> None:
        if not self.holds_colours:
            self.colours = ColourMemory()

    def _warnings(self, layer: str, weighting: str) -> tuple[str, ...]:
        key = self.store.key_of(layer)
        names = [one.name for one in self.store.chain(key)]
        activities = self.store.captured(key)[1]
        return self.store.warnings(layer) + weighting_warnings(activities, names, weighting)


def _some(values: Tensor, images: Images) -> Tensor:
    return values if images is None else select(values, images)
