"""Methods × networks × images: one map each, computed once, each error in its own cell alone."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.network.named_models import (
    images_by_network,
    named_models,
    normalisation_note,
)
from pfv_widgets.engine.pipeline.cache import ByteBoundedCache
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.attribution.colours import limits
from pfv_widgets.methods.attribution.runner import check_gradient_of, in_chunks
from pfv_widgets.methods.comparison.compared_methods import Explainer, PrincipalFeatures
from pfv_widgets.methods.comparison.networks import Network
from pfv_widgets.methods.core.class_names import classes_by_network, names_of
from pfv_widgets.methods.core.method import Cancelled, Method, Progress, reduce_channels, step
from pfv_widgets.methods.core.target import Target


@dataclass(frozen=True)
class Task:
    """One cell of a comparison: indices of network and image, how it is explained, and what.

    Of a target with one unit an image it keeps the unit of its own; PFV knows of none.
    """

    network: int
    image: int
    method: Explainer
    target: Target

    def __post_init__(self) -> None:
        unit = None if isinstance(self.method, PrincipalFeatures) else self.target.unit
        target = dataclasses.replace(self.target, unit=unit).of(self.image)
        object.__setattr__(self, "target", target)


@dataclass(frozen=True, eq=False)
class Cell:
    """The result of a task.

    Attributes
    ----------
    values
        float32 on the CPU: a map ``(H, W)``, or the colours ``(H, W, 3)`` of PFV in [0, 1];
        None where it failed.
    score, unit
        What was explained; None with PFV.
    warnings
        What should be known beside the picture, in words.
    error
        Why there is no map.
    zero_reason
        Why the map is zero everywhere, if it is.
    """

    values: Tensor | None = None
    score: float | None = None
    unit: int | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    zero_reason: str = ""

    @cached_property
    def limit(self) -> float:
        """Strength at which the colours of the map end, see :func:`limits`; 0: zero everywhere."""
        return 0.0 if self.map is None else float(limits(self.map[None])[0])

    @property
    def map(self) -> Tensor | None:
        """The map ``(H, W)``; None for PFV and errors."""
        return self.values if self.values is not None and self.values.ndim == 2 else None


class Comparison:
    """Networks and images with cached results: each cell is computed once.

    Parameters
    ----------
    models
        A network, a list of networks, or networks by name; they are given back as they came. In
        a list or a mapping a pair ``(network, images)`` or ``(network, transform)`` says how the
        images of that network are normalised; see :func:`images_by_network` for the others.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes; every network gets the
        same photos.
    classes
        Names of the output's units, see :func:`class_names`; also by the name of the network.
        None: those that a network has as its ``classes``.
    inputs, argument, device
        As for :func:`attribute`, for every network.
    memory
        Bound in bytes of the cache.

    Attributes
    ----------
    given
        Which of ``classes``, ``inputs`` and ``argument`` were given.
    """

    def __init__(
        self,
        models: object,
        images: object,
        *,
        classes: object = None,
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
        device: str | torch.device = "auto",
        memory: int = 1 << 30,
    ) -> None:
        options = {"classes": classes, "inputs": inputs, "argument": argument}
        self.given = tuple(name for name, value in options.items() if value is not None)
        named = named_models(models)
        self.images = batch_of(images)
        batches = images_by_network(named, self.images)
        classes_of = classes_by_network(classes, named)
        self.networks = tuple(
            Network(
                name, model, batches[name],
                classes=names_of(model, classes_of[name]),
                device=device, inputs=inputs, argument=argument,
            )
            for name, (model, _) in named.items()
        )  # fmt: skip
        self.note = normalisation_note(batches)
        self._cache = ByteBoundedCache(memory)
        self._lock = threading.Lock()
        self._computed_with = [network.state() for network in self.networks]

    def cached(self, task: Task) -> Cell | None:
        """Return what was computed for a task before."""
        with self._lock:
            if task not in self._cache:
                return None
            cell: Cell = self._cache.get(task, Cell)
            return cell

    def compute(
        self, task: Task, progress: Progress | None = None, cancelled: Cancelled | None = None
    ) -> Cell:
        """Return the cell of a task, computed now unless it is cached.

        Raises
        ------
        CancelledError
            If it was cancelled; the cache stays.
        PFVValueError, PFVTypeError
            If the method cannot explain the target in this network.
        """
        cached = self.cached(task)
        if cached is not None:
            return cached
        self._check_layer(task)
        computed_with = self._computed_with
        if isinstance(task.method, PrincipalFeatures):
            cells = self._principal(task, task.method, progress, cancelled)
        else:
            cells = {task: self._explained(task, task.method, progress, cancelled)}
        with self._lock:
            if computed_with is self._computed_with:  # else refreshed meanwhile: it is out of date
                for one, cell in cells.items():
                    self._cache.get(one, lambda cell=cell: cell)  # type: ignore[misc] # bound now
        return cells[task]

    def _check_layer(self, task: Task) -> None:
        """Raise, in few words, where a layer is one of other networks alone."""
        layer, own = task.target.layer, self.networks[task.network]
        if layer and not own.has(layer) and any(one.has(layer) for one in self.networks):
            raise PFVValueError(f"layer={layer!r} is not in this network.")

    def layer_of(self, task: Task) -> str:
        """Name of the layer that PFV decomposes for a task."""
        network, layer = self.networks[task.network], task.target.layer
        without_maps = layer is not None and layer not in network.layers and network.has(layer)
        return network.pfv.layer(None if without_maps else layer).name

    @property
    def first_output(self) -> str | int | None:
        """Name of the first network's first output; None where it is the only one."""
        return next(iter(self.networks[0].outputs), None)

    def refresh(self) -> bool:
        """Forget what was computed with other weights than the networks have now.

        Return whether one has changed.
        """
        now = [network.state() for network in self.networks]
        pairs = enumerate(zip(now, self._computed_with, strict=True))
        changed = [index for index, (state, before) in pairs if state != before]
        if changed:
            for index in changed:
                self.networks[index].update()
            self._computed_with = now
            with self._lock:
                for task in self._cache:
                    if isinstance(task, Task) and task.network in changed:
                        self._cache.pop(task)
        return bool(changed)

    def close(self) -> None:
        """Empty the cache; a cell that is needed later is computed again."""
        with self._lock:
            self._cache.clear()
        for network in self.networks:
            network.close()

    def _explained(
        self,
        task: Task,
        method: Method,
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> Cell:
        network = self.networks[task.network]
        forward = network.forward(task.image)
        check_gradient_of(forward.model, method)
        ((signed, measured, warnings),) = in_chunks(
            forward, network.images, method, task.target,
            size=1, progress=progress, cancelled=cancelled,
        )  # fmt: skip
        score = measured.scores.detach().float().cpu()
        if not (score.isfinite().all() and signed.isfinite().all()):
            raise PFVValueError(
                "NaN or infinite values: look at the network's weights and at the normalisation "
                "of the images."
            )
        values = reduce_channels(signed, method.reduction)[0].clone()
        reason = f"zero everywhere: {method.zero_reason}"
        unit = int(measured.units[0])
        return Cell(values, float(score[0]), unit, tuple(warnings), zero_reason=reason)

    def _principal(
        self,
        task: Task,
        method: PrincipalFeatures,
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> dict[Task, Cell]:
        """Render the images of one network, all at once: their colours belong together."""
        step(0, 1, None, cancelled)
        pfv, layer = self.networks[task.network].pfv, self.layer_of(task)

        def report(done: int, total: int) -> None:
            step(done, total, progress, cancelled)

        pfv.progress = report
        try:
            options = {name: getattr(method, name) for name in ("components", "weighting", "sigma")}
            frame = pfv.render(Settings(layer=layer, **options))
        finally:
            pfv.progress = None
        step(1, 1, progress, None)
        heatmaps = frame.heatmaps.detach().float().cpu()
        return {
            dataclasses.replace(task, image=image): Cell(heatmap.clone(), warnings=frame.warnings)
            for image, heatmap in enumerate(heatmaps)
        }
