"""Following a training: scores and bases of chosen layers, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pfv_widgets.analysis.compare.alignment import align
from pfv_widgets.analysis.compare.similarity_curve import (
    LayerView,
    compare_views,
    features_cka,
    view_of,
)
from pfv_widgets.analysis.compare.similarity_curve_result import CurvePoint, SimilarityCurve
from pfv_widgets.analysis.training.layer_snapshot import LayerSnapshot, compressed
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.pca.basis import ComponentRotation
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed, suggestion
from pfv_widgets.validation import (
    checked_images,
    function_or_none,
    number,
    plain,
    size_in_pixels,
    whole_number,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST = 160  # pixels of what sharpens the heatmaps


def track(
    model: nn.Module,
    images: Any,
    layers: str | Iterable[str] | None = None,
    settings: Settings | None = None,
    *,
    device: str | torch.device = "auto",
    chunk_size: int = 16,
    **changes: Any,
) -> Tracker:
    """Return a tracker that records what layers of a network in training show.

    Parameters
    ----------
    model
        The network that is trained; each snapshot runs it in eval mode and leaves it as it is.
    images
        A few photos, the same throughout: an :class:`ImageBatch`, or whatever
        :func:`load_images` takes.
    layers
        Names of layers; None: the default layer.
    settings
        Of the pictures (None: the defaults), ``changes`` merged into them.
    device, chunk_size
        As for :class:`PFV`.

    Raises
    ------
    PFVTypeError, PFVValueError
        For a layer that is not there, or images that the network does not take.

    Examples
    --------
    In a loop of one's own:

    >>> import pfv_widgets as pw
    >>> model = pw.demo_model()
    >>> tracker = pw.track(model, pw.demo_images(4), "stage4", components=2)
    >>> for epoch in range(2):
    ...     for values in model.parameters():  # train here
    ...         _ = values.data.mul_(0.99)
    ...     tracker.snapshot(f"epoch {epoch}", accuracy=0.5 + epoch / 4)
    >>> tracker.curve().names
    ('epoch 0', 'epoch 1')

    As a callback of Lightning::

        class Follow(lightning.Callback):
            def on_fit_start(self, trainer, module):
                self.tracker = pw.track(module.net, photos, ["layer3", "layer4"])

            def on_validation_epoch_end(self, trainer, module):
                accuracy = float(trainer.callback_metrics["val_acc"])
                self.tracker.snapshot(f"epoch {trainer.current_epoch}", accuracy=accuracy)
    """
    network = unwrap(model)
    batch = batch_of(images)
    settings = replace(settings_of(settings, changes), pins=())
    chunk_size = whole_number("chunk_size", chunk_size, 1)
    pfv = PFV(network, batch, device, chunk_size=chunk_size)
    names = plain(layers)
    if names is not None and not isinstance(names, str | Iterable):
        raise PFVTypeError(f"layers={layers!r:.80}: expected names of layers, or None.")
    names = [names] if isinstance(names, str) else [] if names is None else list(names)
    followed = [pfv.layer(name) for name in names] or [pfv.layer(settings.layer)]
    by_name = {layer.name: layer for layer in followed}
    pfv.close()
    return Tracker(network, batch, by_name, settings=settings, device=device, chunk_size=chunk_size)


class Tracker:
    """Snapshots of layers of a network in training, made by :func:`track`.

    A snapshot takes the memory of its scores and of what sharpens its heatmaps, about 0.1 MB a
    photo and layer; no weights are held. :meth:`explore` slides through them.

    Attributes
    ----------
    images
        The photos.
    layers
        Names of the layers that are followed.
    settings
        Of the pictures.
    """

    def __init__(
        self,
        model: nn.Module,
        images: ImageBatch,
        layers: dict[str, Layer],
        *,
        settings: Settings,
        device: str | torch.device = "auto",
        chunk_size: int = 16,
    ) -> None:
        self.images, self.layers, self.settings = images, tuple(layers), settings
        self._maps = layers
        self._callbacks: list[Callable[[], object]] = []
        self._model, self._device, self._chunk_size = model, device, chunk_size
        self._metrics: dict[str, dict[str, float]] = {}
        self._snapshots: dict[str, dict[str, LayerSnapshot | CurvePoint]] = {
            one: {} for one in layers
        }
        self._start: dict[str, LayerView] = {}
        self._last: dict[str, tuple[Tensor, Tensor]] = {}  # features and scores

    def __repr__(self) -> str:
        layers = listed(self.layers, most=3)
        return f"<Tracker: {len(self.names)} snapshots of {layers}, {len(self.images)} photos>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the snapshots, in order."""
        return tuple(self._metrics)

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Snapshot → the metrics given with it, such as its accuracy."""
        return {name: dict(metrics) for name, metrics in self._metrics.items()}

    @own_modes()
    def snapshot(
        self, name: str, *, on_progress: OnProgress | None = None, **metrics: float
    ) -> None:
        """Record what the layers show now.

        A layer that has no picture, because its activations are constant or not finite, is
        recorded as undefined, with the reason: a training goes on.

        Parameters
        ----------
        name
            Of this state, such as ``"epoch 3"``.
        on_progress
            Called with a :class:`Progress`.
        **metrics
            Numbers that belong to it, such as ``accuracy=0.93``.

        Raises
        ------
        PFVTypeError, PFVValueError
            For a name that was given before, or a metric that is no number.
        """
        if not isinstance(name, str):
            raise PFVTypeError(f"name={name!r:.80}: expected a text, such as 'epoch 3'.")
        if name in self._metrics:
            raise PFVValueError(f"name={name!r}: this snapshot exists. Give each its own name.")
        function_or_none("on_progress", on_progress, "a function of a Progress")
        checked = {key: _metric(key, value) for key, value in metrics.items()}
        pfv = PFV(self._model, self.images, self._device, chunk_size=self._chunk_size)
        views: dict[str, LayerView] = {}
        recorded: dict[str, LayerSnapshot | CurvePoint] = {}
        try:
            for layer in self.layers:
                settings = replace(self.settings, layer=layer)
                try:
                    view = view_of(pfv, settings, longest=_LONGEST, on_progress=on_progress)
                    recorded[layer], views[layer] = self._recorded(name, layer, view), view
                except PFVError as error:
                    recorded[layer] = CurvePoint(name, note=str(error))
        finally:
            pfv.close()
        for layer, measured in recorded.items():  # last: an interrupted one leaves no trace
            self._snapshots[layer][name] = measured
            if isinstance(measured, LayerSnapshot):
                self._start.setdefault(layer, views[layer])
                self._last[layer] = views[layer].features, measured.scores
        self._metrics[name] = checked
        for callback in tuple(self._callbacks):
            callback()

    def on_snapshot(self, callback: Callable[[], object], *, remove: bool = False) -> None:
        """Call back after each snapshot, or no longer; what is no function is refused."""
        if not callable(callback):
            raise PFVTypeError(f"callback={callback!r:.80}: expected a function of no arguments.")
        (self._callbacks.remove if remove else self._callbacks.append)(callback)

    def layer(self, name: str | None = None) -> Layer:
        """Return what is known of a layer that is followed; None: the first.

        Raises
        ------
        PFVValueError
            For one that is not followed, naming those nearest to it.
        """
        return self._maps[self._layer(name)]

    def layer_snapshot(self, name: str, layer: str | None = None) -> LayerSnapshot:
        """Return the snapshot of one layer; None: the first layer.

        Raises
        ------
        PFVValueError
            For an unknown name, or a layer that had no picture then, with the reason.
        """
        layer = self._layer(layer)
        self.check(name)
        snapshot = self._snapshots[layer][name]
        if isinstance(snapshot, CurvePoint):
            raise PFVValueError(f"{name}: {layer} has no picture: {snapshot.note}")
        return snapshot

    def check(self, name: str) -> None:
        """Raise a PFVValueError with the nearest names unless there is such a snapshot."""
        if not isinstance(name, str) or name not in self._metrics:
            raise PFVValueError(
                f"name={name!r:.80}: no such snapshot. {suggestion(name, self.names)}"
            )

    @own_modes()
    def frame(
        self,
        name: str,
        layer: str | None = None,
        settings: Settings | None = None,
        *,
        size: tuple[int, int] | None = None,
        only: Iterable[int] | None = None,
    ) -> Frame:
        """Return the picture of a snapshot, its colours aligned to those of the one before.

        Parameters
        ----------
        name
            Of the snapshot.
        layer
            One of ``layers``; None: the first.
        settings
            Contrast, colours, view and the like (None: those of the tracker). Components,
            weighting and the weights of the photos stay what they were when it was made.
        size
            Height and width of the heatmaps in pixels; None: those of the images.
        only
            Indices of the images to render, in order; None: all.

        Raises
        ------
        PFVValueError, PFVTypeError
            For an unknown name, a layer that had no picture then, with the reason, or images that
            are not there.
        """
        snapshot, layer = self.layer_snapshot(name, layer), self._layer(layer)
        own = self.settings
        settings = replace(
            settings_of(own if settings is None else settings, {}),
            layer=layer, components=own.components, weighting=own.weighting, images=own.images,
        )  # fmt: skip
        size = self.images.size if size is None else size_in_pixels("size", size)
        indices = checked_images(only, len(self.images)) or tuple(range(len(self.images)))
        pixels, names, labels = self.images.pixels, self.images.names, self.images.labels
        weights = settings.weights(len(self.images))
        return Frame(
            snapshot.heatmaps(settings, size, indices),
            snapshot.scores[list(indices)].clone(),
            snapshot.basis,
            settings,
            tuple(weights[index] for index in indices),
            pixels[list(indices)],
            tuple(names[index] for index in indices),
            indices=indices,
            labels=labels and tuple(labels[index] for index in indices),
            basis_source=f"fitted at {name}, aligned to the snapshots before",
        )

    def frames(self, layer: str | None = None) -> dict[str, Frame]:
        """Return the pictures of all snapshots that have one, by name, in order."""
        return {name: self.frame(name, layer) for name in self.names_with_pictures(layer)}

    def names_with_pictures(self, layer: str | None = None) -> tuple[str, ...]:
        """Return the names of the snapshots in which a layer has a picture, in order."""
        snapshots = self._snapshots[self._layer(layer)].items()
        return tuple(name for name, one in snapshots if isinstance(one, LayerSnapshot))

    @own_modes()
    def curve(self, layer: str | None = None) -> SimilarityCurve:
        """Return the similarity of each snapshot to the start, which is the first with a picture.

        Raises
        ------
        PFVValueError
            For an unknown layer, or before the first snapshot.
        """
        layer = self._layer(layer)
        if not self._metrics:
            raise PFVValueError("tracker: there is no snapshot yet. Call tracker.snapshot(name).")
        snapshots = self._snapshots[layer]
        points = [
            one.point if isinstance(one, LayerSnapshot) else one for one in snapshots.values()
        ]
        return SimilarityCurve(
            (self.names_with_pictures(layer) or self.names)[0],
            layer,
            tuple(points),
            len(self.images),
        )

    def cka_to_last(self, layer: str | None = None) -> dict[str, float]:
        """Snapshot → debiased CKA to the one before; NaN for the first and where undefined."""
        return {
            name: one.cka_to_last if isinstance(one, LayerSnapshot) else float("nan")
            for name, one in self._snapshots[self._layer(layer)].items()
        }

    def explore(self, **settings: Any) -> Any:
        """Open an explorer that slides through the snapshots, and follows those still to come.

        Parameters
        ----------
        **settings
            As for :func:`pfv_widgets.compare`: fields of ``Settings``, and ``first`` and ``second``
            (names of snapshots), ``difference``.

        Returns
        -------
        CompareExplorer
            The start beside the newest snapshot.

        Raises
        ------
        PFVError
            Before the first snapshot, or naming the setting, its value and what to do.
        """
        return lazy_import("widgets.compare.compare", "compare")(self, **settings)

    def figure(self, layer: str | None = None, photos: int = 3) -> Figure:
        """Draw the curves over the snapshots, and the heatmaps of the first photos.

        Parameters
        ----------
        layer
            One of ``layers``; None: the first.
        photos
            How many photos are shown, from 1.

        Raises
        ------
        PFVValueError, PFVTypeError
            As :meth:`curve`, or for another number of photos.
        """
        photos = whole_number("photos", photos, 1)
        figure: Figure = lazy_import("analysis.training.figure", "draw_training")(
            self, self._layer(layer), photos
        )
        return figure

    def save(self, path: str | Path, layer: str | None = None, *, duration: int = 700) -> None:
        """Write the heatmaps as an animation over the snapshots, or the figure.

        Parameters
        ----------
        path
            Ends in ``.gif`` or another of ``ANIMATIONS`` for an animation that loops, in ``.png``
            or another of ``FIGURE_FORMATS`` for the figure.
        layer
            One of ``layers``; None: the first.
        duration
            Milliseconds that a picture stays, from 20; the first and the last stay longer.

        Raises
        ------
        PFVValueError, PFVTypeError
            For a path that cannot be written, an unknown layer, or where no snapshot has a picture.
        """
        lazy_import("analysis.training.figure", "save_training")(
            self, path, self._layer(layer), whole_number("duration", duration, 20, 60_000)
        )

    def _layer(self, layer: str | None) -> str:
        if layer is None:
            return self.layers[0]
        if not isinstance(layer, str) or layer not in self.layers:
            raise PFVValueError(
                f"layer={layer!r:.80} is not followed. {suggestion(layer, self.layers)}"
            )
        return layer

    def _recorded(self, name: str, layer: str, view: LayerView) -> LayerSnapshot:
        start = self._start.get(layer, view)
        features, before = self._last.get(layer, (None, view.scores))
        rotation = align(view.scores, before)
        scores = rotation.apply(view.scores).float().cpu()
        return LayerSnapshot(
            scores,
            view.basis.arranged(ComponentRotation(rotation.matrix)),
            compressed(view.factors),
            compare_views(name, start, view),
            float("nan") if features is None else features_cka(features, view.features),
        )


def _metric(name: str, value: Any) -> float:
    """Return a number; NaN stands for one that is not known."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return value
    return number(name, value, legal="a finite number, or NaN")
