"""Which network and which layer stands on each side, as functions of the settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pfv_widgets.errors import PFVValueError
from pfv_widgets.parameters import suggestion
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import (
    CompareSettings,
    SideSettings,
    joined,
    side_settings,
)
from pfv_widgets.widgets.compare.snapshots import Snapshots

SIDES = ("first", "second")


class Links:
    """Fills in what the settings leave open, and lets one side follow the other."""

    def __init__(self, networks: Networks | Snapshots) -> None:
        self.networks = networks

    def names(self, settings: CompareSettings) -> tuple[str, str]:
        """Return the names of the two networks; a PFVValueError says that there is no such one."""
        names = self.networks.names
        first = names[0] if settings.first is None else settings.first
        self._check("first", first)
        after = names[(names.index(first) + 1) % len(names)]
        second = after if settings.second is None else settings.second
        self._check("second", second)
        return first, second

    def _check(self, argument: str, name: str) -> None:
        names = self.networks.names
        if name not in names:
            raise PFVValueError(f"{argument}={name!r:.80} is not here. {suggestion(name, names)}")

    def layers(self, settings: CompareSettings) -> tuple[str, str]:
        """Return the names of the two layers; open the networks.

        Where a network cannot be opened, whatever is asked for stands for its layer; where it has
        no such layer, a PFVError is raised.
        """
        first, second = self.names(settings)
        layer = settings.layer or ""
        if self.networks.visit(first) is None:
            layer = self.networks.layer(first, settings.layer).name
        if settings.second_layer is None:
            return layer, self._like(first, layer, second)
        if self.networks.visit(second) is not None:
            return layer, settings.second_layer
        return layer, self.networks.layer(second, settings.second_layer).name

    def _like(self, name: str, layer: str, other: str) -> str:
        """Return the counterpart of a layer, as far as both networks can be opened."""
        if self.networks.visit(other) is not None:
            return layer
        if self.networks.visit(name) is None:
            return self.networks.counterpart(name, self.networks.layer(name, layer), other).name
        theirs = [one.name for one in self.networks.layers(other)]
        return layer if layer in theirs else self.networks.layer(other, None).name

    def layers_of(self, settings: CompareSettings, names: Iterable[str]) -> dict[str, str]:
        """Return the layer that the second side shows where each of these networks stands there."""
        linked = settings.second_layer is None
        side = 0 if linked else 1
        like, layer = self.names(settings)[side], self.layers(settings)[side]
        return {name: self._like(like, layer, name) for name in names}

    def with_pair(self, old: CompareSettings, layer: str, other: str) -> CompareSettings:
        """Choose both layers; they stay linked where one is the counterpart of the other."""
        first, second = self.names(old)
        if self._like(first, layer, second) == other:
            return replace(old, layer=layer, second_layer=None if old.linked else other)
        return replace(old, layer=layer, second_layer=other, linked=False)

    def complete(self, settings: CompareSettings) -> CompareSettings:
        """Return settings in which both networks and the first layer have their names."""
        first, second = self.names(settings)
        layer = self.layers(settings)[0]
        return replace(settings, first=first, second=second, layer=layer)

    def sides(self, settings: CompareSettings) -> tuple[SideSettings, SideSettings]:
        """Return what each gallery is to show."""
        first, second = (
            joined(*pair) for pair in zip(self.names(settings), self.layers(settings), strict=True)
        )
        reference = first if settings.aligned else None
        return side_settings(settings, first), side_settings(settings, second, reference)

    def with_network(self, old: CompareSettings, side: str, name: str) -> CompareSettings:
        """Put another network on a side; its layer is the counterpart of the one before."""
        index = SIDES.index(side)
        before, layer = self.names(old)[index], self.layers(old)[index]
        found = self._like(before, layer, name)
        if side == "first":
            return replace(self.complete(old), first=name, layer=found)
        second_layer = None if old.linked else found
        return replace(self.complete(old), second=name, second_layer=second_layer)

    def with_layer(self, old: CompareSettings, side: str, layer: str) -> CompareSettings:
        """Choose the layer of a side; where they are linked the other one follows."""
        if side == "first":
            return replace(old, layer=layer, second_layer=None if old.linked else old.second_layer)
        new = replace(old, second_layer=layer)
        if not old.linked:
            return new
        first, second = self.names(old)
        return replace(new, layer=self._like(second, layer, first))

    def with_link(self, old: CompareSettings, linked: bool) -> CompareSettings:
        """Link the layers, or leave each as it is."""
        layer = None if linked else self.layers(old)[1]
        return replace(old, linked=linked, second_layer=layer)
