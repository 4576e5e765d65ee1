"""A batch through a network in chunks, and what its layers gave."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.device_transfer import large_empty, send
from pfv_widgets.engine.network.capture import Reduce, before_each_leaf, capture, run_captured
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.fingerprint import Fingerprint, State
from pfv_widgets.engine.network.layers import LayerListing
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded, run
from pfv_widgets.engine.progress import RUNNING, OnProgress, Progress, silent


@dataclass(frozen=True, eq=False)
class Forward:
    """A network on its device and the images that run through it.

    Attributes
    ----------
    model
        On ``device``.
    images
        float32 ``(N, 3, H, W)`` on the CPU.
    device
        Where the images are taken, chunk by chunk.
    original
        What the user holds, where ``model`` may be a copy of it on another device.
    autocast
        Whether the network computes in bfloat16 what PyTorch deems safe in it.
    channels_last
        Whether images come with their channels last in memory, which suits some convolutions.
    """

    model: nn.Module
    images: Tensor
    device: torch.device
    original: nn.Module | None = None
    autocast: bool = False
    channels_last: bool = False

    def batch(self, start: int, stop: int) -> Tensor:
        """Return some of the images as the network takes them."""
        batch = self.images[start:stop].to(floating_dtype(self.model))
        batch = send(batch, self.device)
        return batch.to(memory_format=torch.channels_last) if self.channels_last else batch

    def run(self, network: nn.Module, batch: Tensor) -> object:
        """Call the model, or a replica of it, as :func:`run` does."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            return run(network, batch)

    def list_layers(self) -> LayerListing:
        """Run two of the images, and list every spatial feature map: see :func:`list_layers`."""
        with guarded(self.model) as network:
            # two: what does not follow the number of images is no map of them
            example = self.batch(0, 2)
            example = example if len(example) == 2 else example.repeat(2, 1, 1, 1)
            return list_layers(network, example, self.run)

    def capture(
        self,
        layouts: Mapping[str, tuple[Layout, Reduce | None]],
        known: Mapping[str, Tensor],
        chunk_size: int,
        report: OnProgress = silent,
    ) -> dict[str, Tensor]:
        """Run the batch in chunks and return what was captured, ``(N, …)`` by layer name.

        Parameters
        ----------
        layouts
            How each layer's output is read, and which part of it is stored (None: all).
        known
            May hold the maps of the first images.
        chunk_size
            Images in one forward pass, at most.
        report
            Called with the number of images that are done, before each module that runs.
        """
        complete = known.keys() >= layouts.keys()
        number = len(self.images)
        whole: dict[str, Tensor] = {}
        done = 0

        in_place: set[str] = set()  # names of what this pass has written where it belongs

        def add(name: str, part: Tensor) -> None:
            # one tensor from the start: parts that are put together later take twice the memory
            if name not in whole and len(part) == number and layouts[name][1] is None:
                whole[name] = part
                return
            if name not in whole:
                whole[name] = large_empty(part, number, *part.shape[1:])
            if name not in in_place:
                whole[name][done : done + len(part)] = part

        def copy(name: str, maps: Tensor) -> Tensor:
            """Store maps, which a later in-place operation may rewrite, where they belong."""
            target = whole[name][done : done + len(maps)] if name in whole else None
            if target is None or target.shape != maps.shape:
                in_place.discard(name)
                return large_empty(maps, *maps.shape).copy_(maps)
            in_place.add(name)
            return target.copy_(maps)

        stored = {
            name: (layout, reduce or partial(copy, name))
            for name, (layout, reduce) in layouts.items()
        }
        for name, (_, reduce) in layouts.items() if complete else ():
            add(name, known[name].clone() if reduce is None else reduce(known[name]))
        done = len(next(iter(known.values()))) if complete else 0
        passes = -(-(number - done) // chunk_size)
        step = -(-(number - done) // max(passes, 1))  # of equal size: a single image costs most

        def report_done() -> None:
            report(Progress(RUNNING, done, number))

        with (
            guarded(self.model) as network,
            capture(network, stored) as captured,
            nullcontext() if report is silent else before_each_leaf(network, report_done),
        ):
            while done < number:
                run_captured(partial(self.run, network, self.batch(done, done + step)))
                for name in layouts:
                    add(name, captured[name])
                done = min(done + step, number)
                report_done()
        return whole

    def state(self) -> State:
        """Return what is equal as long as the network is: see :class:`Fingerprint`."""
        return self._fingerprint.state()

    def structure(self) -> State:
        """Return what is equal as long as the network's modules are."""
        return self._fingerprint.structure()

    def update(self) -> None:
        """Give a copy on another device the numbers that the original has now."""
        if self.original is not None and self.original is not self.model:
            self.model.load_state_dict(self.original.state_dict())

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return Fingerprint(self.original or self.model)
