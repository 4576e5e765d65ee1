"""A batch through a network in chunks, and what its layers gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import Reduce, capture, run_captured
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.model_guard import floating_dtype, guest, run

Progress = Callable[[int, int], None]


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
        progress: Progress | None,
    ) -> dict[str, Tensor]:
        """Run the batch in chunks and return what was caught, ``(N, …)`` by layer name.

        Parameters
        ----------
        layouts
            How each layer's output is read, and what is kept of it (None: all).
        known
            May hold the maps of the first images.
        progress
            Called as ``progress(done, all)`` with numbers of images.
        """
        complete = known.keys() >= layouts.keys()
        chunks: dict[str, list[Tensor]] = {name: [] for name in layouts}
        for name, (_, reduce) in layouts.items() if complete else ():
            chunks[name].append(known[name] if reduce is None else reduce(known[name]))
        first = len(next(iter(known.values()))) if complete else 0
        with guest(self.model) as network, capture(network, layouts) as caught:
            if progress is not None and first < len(self.images):
                progress(first, len(self.images))
            for start in range(first, len(self.images), chunk_size):
                run_captured(partial(run, network, self.batch(start, start + chunk_size)))
                for name in layouts:
                    chunks[name].append(caught[name])
                if progress is not None:
                    progress(min(start + chunk_size, len(self.images)), len(self.images))
        return {name: torch.cat(parts) for name, parts in chunks.items()}

    def versions(self) -> list[tuple[int, int]] | None:
        """Tell apart the states of the network's numbers; None where nobody counts the changes."""
        values = [*self.model.parameters(), *self.model.buffers()]
        if any(value.is_inference() for value in values):
            return None
        return [(value.data_ptr(), value._version) for value in values]
