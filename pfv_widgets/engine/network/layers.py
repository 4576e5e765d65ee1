"""The layers of a network: names, shapes, order, and why others cannot be shown."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from pfv_widgets.engine.network.feature_layout import Grid, Layout
from pfv_widgets.engine.network.model_guard import clean_name
from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import listed


@dataclass(frozen=True)
class Layer:
    """One feature map that the network computes: what can be chosen.

    Attributes
    ----------
    name
        The module's dotted name; the second run of a module that runs several times ends
        in ``#2``.
    kind
        The module's class.
    shape
        Channels, height and width of the map, ``(C, h, w)``.
    layout
        How the module's output is turned into ``(N, C, h, w)``.
    same_as
        Name of the layer that gives the same numbers and stands for both; ``None`` for
        those that stand for themselves.
    verified
        Whether its positions are known to be those of the picture. Where a change of the picture
        left that open, the layer can be chosen but takes no part in weightings.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    layout: Layout
    same_as: str | None = None
    verified: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes of one image's map."""
        return 4 * math.prod(self.shape)


@dataclass(frozen=True)
class LayerListing:
    """The layers of a network.

    Attributes
    ----------
    layers
        All spatial feature maps in forward order.
    default
        Name of the last spatial feature map before the read-out of the main output.
    last
        The same for any output: of an auxiliary head where one runs last.
    refused
        Module name → why it cannot be chosen, for those that are not in ``layers``.
    maps
        Name → ``(n, C, h, w)`` of the default layer and its chain for the images that ran;
        a layer is missing where a later operation rewrote its output.
    scripted
        Names of traced and scripted parts, which ignore hooks inside them.
    channels_last
        Whether the images that ran had their channels last in memory.
    mixing
        Names of layers whose maps of one image are known to depend on the images that run with it,
        as those of a ``BatchNorm`` without running statistics do.
    """

    layers: tuple[Layer, ...]
    default: str
    last: str
    refused: Mapping[str, str]
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    scripted: tuple[str, ...] = ()
    channels_last: bool = False
    mixing: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of that name, which may have the parts that wrappers add."""
        by_name = self._by_name
        if name not in by_name and name not in self.refused:
            name = clean_name(name)
        if name in by_name:
            return by_name[name]
        if name in self.refused:
            raise PFVValueError(f"layer={name!r} {self.refused[name]}")
        raise unknown_layer(name, list(by_name), f"; it has {len(by_name)} in all")

    def chain(self, name: str) -> tuple[Layer, ...]:
        """Return the last feature map of each other resolution before layer ``name``, in order.

        Layers whose positions are not verified are left out.
        """
        if name not in self._chains:
            before = [layer for layer in self._before(name) if layer.verified]
            last = _last_of_each_grid(before)
            last.pop(self[name].shape[1:], None)
            self._chains[name] = tuple(self[one.same_as or one.name] for one in last.values())
        return self._chains[name]

    def warnings(self, name: str) -> tuple[str, ...]:
        """Return what a user must know of a picture of layer ``name``."""
        messages = [
            f"{part} is traced or scripted: the layers inside it cannot be seen."
            for part in self.scripted
        ]
        if not self[name].verified:
            messages.append(
                f"{name}: changing the picture did not show whether its positions are those of "
                "the picture. Its heatmap may not match the photo below it."
            )
        until = {name, *(layer.name for layer in self._before(name))}
        if mixed := [one for one in self.mixing if one in until]:
            messages.append(
                f"{mixed[0]} depends on all images that run together, so that those beside a "
                "photo change its picture, and so does chunk_size."
            )
        chain = {layer.shape[1:] for layer in self.chain(name)} | {self[name].shape[1:]}
        grids = _last_of_each_grid(self._before(name))
        hidden = [layer for grid, layer in grids.items() if grid not in chain]
        left_out = [layer.same_as or layer.name for layer in hidden]
        if left_out:
            messages.append(
                f"{', '.join(left_out)}: left out of the weighting, because changing the picture "
                "did not show whether the positions are those of the picture."
            )
        return tuple(messages)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def _chains(self) -> dict[str, tuple[Layer, ...]]:
        return {}

    def _before(self, name: str) -> list[Layer]:
        names = [layer.name for layer in self.layers]
        return list(self.layers[: names.index(name)])


def unknown_layer(name: str, names: list[str], more: str = "") -> PFVValueError:
    """Return the error for a layer that is none of ``names``, with those nearest to it."""
    near = difflib.get_close_matches(name, names, n=4, cutoff=0.6)
    which = "The nearest" if near else "Its last"
    found = listed(near or names[-4:])
    return PFVValueError(f"layer={name!r} is not in this network. {which} layers: {found}{more}.")


def _last_of_each_grid(layers: Iterable[Layer]) -> dict[Grid, Layer]:
    """Height and width → the last layer with them, in the order of these last layers."""
    last: dict[Grid, Layer] = {}
    for layer in layers:
        grid = layer.shape[1:]
        last.pop(grid, None)
        last[grid] = layer
    return last
