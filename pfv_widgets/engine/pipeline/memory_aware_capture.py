"""Feature maps of layers from one pass of the network, as far as memory allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

from torch import Tensor

from pfv_widgets.engine.network.capture_layers import Captured, capture_layers, images_at_once
from pfv_widgets.engine.network.forward import Forward, Results
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import ran_out_of_memory
from pfv_widgets.engine.pipeline.cache import release_memory
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.errors import PFVValueError

Chains = Mapping[str, tuple[Layer, Sequence[Layer]]]  # name → layer, and those that weight it


class MemoryAwareCapture:
    """Runs a network for layers; where memory runs out, with half as many images at a time.

    Parameters
    ----------
    forward
        The network with its images.
    chunk_size
        Images in one forward pass, at most.

    Attributes
    ----------
    forward
        As given; its images may come in another memory format.
    halved
        Whether ``chunk_size`` is less than it was, since memory ran out.
    coming
        Names of the layers whose maps the pass that runs will give.
    """

    def __init__(self, forward: Forward, chunk_size: int) -> None:
        self.forward = forward
        self.chunk_size, self.halved = chunk_size, False
        self.coming: frozenset[str] = frozenset()

    def run(
        self,
        chains: Chains,
        layers: Sequence[Layer],
        known: Mapping[str, Tensor],
        report: OnProgress,
        results: Results | None = None,
    ) -> dict[str, Captured]:
        """Return the maps of each layer, and how active its chain is; ``known`` may have them.

        ``results`` are those of a run that was stopped, which may go on. Where memory does not
        suffice for several layers, the first one alone is returned. ``layers`` are all of the
        network, which decide how many images run at a time.
        """
        forward = self.forward
        try:
            while True:
                self.coming = frozenset(chains)
                at_once = images_at_once(layers, forward.device, self.chunk_size)
                capture = partial(
                    forward.capture, known=known, chunk_size=at_once, report=report, results=results
                )
                try:
                    return capture_layers(chains, capture)
                except PFVValueError as error:
                    chunk = min(at_once, len(forward.images))
                    if not ran_out_of_memory(error) or len(chains) == chunk == 1:
                        raise
                    if len(chains) > 1:
                        chains = dict(islice(chains.items(), 1))
                    else:
                        self.chunk_size, self.halved = chunk // 2, True
                    release_memory(forward.device)
        finally:
            self.coming = frozenset()
