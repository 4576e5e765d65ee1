"""Methods × networks × images: one map each, computed once, each error kept to its own cell."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.pipeline.cache import ByteBoundedCache
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.attribution.figures import limits
from pfv_widgets.methods.attribution.runner import check_differentiable, in_chunks
from pfv_widgets.methods.comparison.networks import Network, named_models
from pfv_widgets.methods.comparison.rows import Explainer, PrincipalFeatures
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
    """What was found for a task.

    Attributes
    ----------
    values
        float32 on the CPU: a map ``(H, W)``, or the colours ``(H, W, 3)`` of PFV in [0, 1];
        None where it failed.
    score, unit
        What was explained; None with PFV.
    told
        What should be known beside the picture, in words.
    error
        Why there is no map.
    """

    values: Tensor | None = None
    score: float | None = None
    unit: int | None = None
    told: tuple[str, ...] = ()
    error: str | None = None

    @cached_property
    def end(self) -> float:
        """Strength at which the colours of the map end, see :func:`limits`; 0: zero everywhere."""
        return 0.0 if self.map is None else float(limits(self.map[None])[0])

    @property
    def map(self) -> Tensor | None:
        """The map ``(H, W)``; None for PFV and errors."""
        return self.values if self.values is not None and self.values.ndim == 2 else None


class Comparison:
    """Networks and images with the results that are kept: each cell is computed once.

    Parameters
    ----------
    models
        A network, a list of networks, or networks by name; they are given back as they came.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes; every network gets the
        same pixels.
    inputs, argument, device
        As for :func:`attribute`, for every network.
    memory
        Bound in bytes for what is kept.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the argument, its value and what to do.
    """

    def __init__(
        self,
        models: object,
        images: object,
        *,
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
        device: str | torch.device = "auto",
        memory: int = 1 << 30,
    ) -> None:
        named = named_models(models)
        self.images = images if isinstance(images, ImageBatch) else load_images(images)
        self.networks = tuple(
            Network(name, model, self.images, device=device, inputs=inputs, argument=argument)
            for name, model in named.items()
        )
        self._cache = ByteBoundedCache(memory)
        self._lock = threading.Lock()
        self._computed_with = [network.versions() for network in self.networks]

    def known(self, task: Task) -> Cell | None:
        """Return what was computed for a task before."""
        with self._lock:
            if task not in self._cache:
                return None
            kept: Cell = self._cache.get(task, Cell)
            return kept

    def compute(
        self, task: Task, progress: Progress | None = None, cancelled: Cancelled | None = None
    ) -> Cell:
        """Return the cell of a task, computed now unless it is known.

        Raises
        ------
        CancelledError
            If it was cancelled; what is known stays.
        PFVValueError, PFVTypeError
            If the method cannot explain the target in this network.
        """
        found = self.known(task)
        if found is not None:
            return found
        if isinstance(task.method, PrincipalFeatures):
            cells = self._principal(task, task.method, progress, cancelled)
        else:
            cells = {task: self._explained(task, task.method, progress, cancelled)}
        with self._lock:
            for one, cell in cells.items():
                self._cache.get(one, lambda cell=cell: cell)  # type: ignore[misc] # bound now
        return cells[task]

    def layer_of(self, task: Task) -> str:
        """Name of the layer that PFV decomposes for a task.

        Raises
        ------
        PFVValueError
            If the network has no such layer.
        """
        network, wanted = self.networks[task.network], task.target.layer
        elsewhere = wanted is not None and wanted not in network.layers and network.has(wanted)
        return network.pfv.layer(None if elsewhere else wanted).name

    @property
    def first_output(self) -> str | int | None:
        """Name of the first network's first output; None where it is the only one."""
        return next(iter(self.networks[0].outputs), None)

    def refresh(self) -> None:
        """Forget what was computed with other weights than the networks have now."""
        now = [network.versions() for network in self.networks]
        if now != self._computed_with:
            self.close()
            self._computed_with = now

    def close(self) -> None:
        """Free everything that is kept; a cell that is asked for later is computed anew."""
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
        forward = self.networks[task.network].forward(task.image)
        if method.needs_gradient:
            check_differentiable(forward.model)
        ((signed, measured, told),) = in_chunks(
            forward, self.images, method, task.target,
            size=1, progress=progress, cancelled=cancelled,
        )  # fmt: skip
        score = measured.scores.detach().float().cpu()
        if not (score.isfinite().all() and signed.isfinite().all()):
            raise PFVValueError(
                "NaN or infinite values: look at the network's weights and at the normalisation "
                "of the images."
            )
        values = reduce_channels(signed, method.reduction)[0].clone()
        return Cell(values, float(score[0]), int(measured.units[0]), tuple(told))

    def _principal(
        self,
        task: Task,
        row: PrincipalFeatures,
        progress: Progress | None,
        cancelled: Cancelled | None,
    ) -> dict[Task, Cell]:
        """Paint the images of one network, all at once: their colours belong together."""
        step(0, 1, None, cancelled)
        pfv, layer = self.networks[task.network].pfv, self.layer_of(task)

        def told(done: int, total: int) -> None:
            step(done, total, progress, cancelled)

        pfv.progress = told
        try:
            options = {name: getattr(row, name) for name in ("components", "weighting", "sigma")}
            frame = pfv.render(Settings(layer=layer, **options))
        finally:
            pfv.progress = None
        step(1, 1, progress, None)
        heatmaps = frame.heatmaps.detach().float().cpu()
        return {
            dataclasses.replace(task, image=image): Cell(heatmap.clone(), told=frame.warnings)
            for image, heatmap in enumerate(heatmaps)
        }
