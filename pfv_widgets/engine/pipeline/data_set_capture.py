"""What a fit over a data set takes of each batch that runs through the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.device_transfer import Sender
from pfv_widgets.engine.network.activity import channel_sum
from pfv_widgets.engine.network.capture import Reduce, capture, modules_by_name, run_captured
from pfv_widgets.engine.network.capture_layers import images_at_once
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import floating_dtype, ran_out_of_memory, run
from pfv_widgets.errors import PFVValueError


@dataclass(eq=False)
class DataSetCapture:
    """Some layers of a network, and the earlier ones that weight them.

    Attributes
    ----------
    network
        In evaluation mode, on ``device``.
    device
        Where it runs.
    layers
        Name → layer that a basis is fitted to.
    chains
        Name → the earlier layers that weight it, in forward order.
    """

    network: nn.Module
    device: torch.device
    layers: dict[str, Layer] = field(default_factory=dict)
    chains: dict[str, tuple[Layer, ...]] = field(default_factory=dict)
    _listed: tuple[Layer, ...] = ()

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        return modules_by_name(self.network)  # which takes as long as a small pass on a GPU

    @cached_property
    def _dtype(self) -> torch.dtype:
        return floating_dtype(self.network)

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self.device)

    def choose(self, names: Sequence[str | None], images: Tensor) -> None:
        """Find the layers of these names (None: the default) for images like ``(n, 3, H, W)``."""
        listing = list_layers(self.network, self.sent(images[:1]), run)
        self._listed = listing.layers
        for name in names:
            layer = listing[listing.default if name is None else name]
            self.layers[layer.name] = layer
            self.chains[layer.name] = listing.chain(layer.same_as or layer.name)

    def sent(self, images: Tensor) -> Tensor:
        """Return images as the network takes them, on its device."""
        return self._sender.send(images.to(self._dtype))

    def maps(self, images: Tensor, *, sums: bool = False) -> dict[str, Tensor]:
        """Return the feature maps ``(n, C, h, w)`` of the layers, by name, for images sent.

        ``sums`` adds those of the earlier layers, summed over their channels, ``(n, h, w)``.
        Where memory runs out, one half runs and then the other.
        """
        reduces: dict[str, Reduce | None] = dict.fromkeys(self.layers)
        if sums:
            earlier = [one.name for chain in self.chains.values() for one in chain]
            reduces = dict.fromkeys(earlier, channel_sum) | reduces
        by_name = {one.name: one for chain in self.chains.values() for one in chain} | self.layers
        layouts = {name: (by_name[name].layout, reduce) for name, reduce in reduces.items()}
        step = images_at_once(self._listed, self.device, len(images))
        parts = images.chunk(-(-len(images) // step))
        return _joined([self._run(layouts, part) for part in parts])

    def _run(
        self, layouts: Mapping[str, tuple[Layout, Reduce | None]], images: Tensor
    ) -> dict[str, Tensor]:
        try:
            with capture(self.network, layouts, modules=self._modules) as captured:
                run_captured(partial(run, self.network, images))
            return dict(captured)
        except PFVValueError as error:
            if not ran_out_of_memory(error) or len(images) == 1:
                raise
        return _joined([self._run(layouts, half) for half in images.chunk(2)])

    def sums(self, layer: str, captured: Mapping[str, Tensor]) -> list[tuple[Layer, Tensor]]:
        """Return the earlier layers of a layer with their channel sums ``(n, h, w)``."""
        pairs = [(one, captured[one.name]) for one in self.chains[layer]]
        return [(one, maps if maps.ndim == 3 else channel_sum(maps)) for one, maps in pairs]


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what was captured of all images, by layer."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
