"""A batch through a network in chunks, and what its layers gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import Reduce, before_each_leaf, capture, run_captured
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.model_guard import floating_dtype, guest, run
from pfv_widgets.engine.progress import RUNNING, OnProgress, Progress, silent


@dataclass(frozen=True, eq=False)
class Forward:
    """A network in its place and the images that run through it.

    Attributes
    ----------
    model
        On ``device``.
    images
        float32 ``(N, 3, H, W)`` on the CPU.
    device
        Where the images are taken, chunk by chunk.
    """

    model: nn.Module
    images: Tensor
    device: torch.device

    def batch(self, start: int, stop: int) -> Tensor:
        """Return some of the images as the network takes them."""
        return self.images[start:stop].to(self.device, floating_dtype(self.model))

    def catch(
        self,
        layouts: Mapping[str, tuple[Layout, Reduce | None]],
        known: Mapping[str, Tensor],
        chunk_size: int,
        report: OnProgress = silent,
    ) -> dict[str, Tensor]:
        """Run the batch in chunks and return what was caught, ``(N, …)`` by layer name.

        Parameters
        ----------
        layouts
            How each layer's output is read, and what is kept of it (None: all).
        known
            May hold the maps of the first images.
        report
            Called with the number of images that are done, before each module that runs.
        """
        complete = known.keys() >= layouts.keys()
        chunks: dict[str, list[Tensor]] = {name: [] for name in layouts}
        for name, (_, reduce) in layouts.items() if complete else ():
            chunks[name].append(known[name] if reduce is None else reduce(known[name]))
        first = len(next(iter(known.values()))) if complete else 0
        done = first

        def tell() -> None:
            report(Progress(RUNNING, done, len(self.images)))

        with (
            guest(self.model) as network,
            capture(network, layouts) as caught,
            before_each_leaf(network, tell),
        ):
            while done < len(self.images):
                run_captured(partial(run, network, self.batch(done, done + chunk_size)))
                for name in layouts:
                    chunks[name].append(caught[name])
                done = min(done + chunk_size, len(self.images))
                tell()
        return {name: torch.cat(parts) for name, parts in chunks.items()}

    def versions(self) -> list[tuple[int, int]] | None:
        """Tell apart the states of the network's numbers; None where nobody counts the changes."""
        values = [*self.model.parameters(), *self.model.buffers()]
        if any(value.is_inference() for value in values):
            return None
        return [(value.data_ptr(), value._version) for value in values]
