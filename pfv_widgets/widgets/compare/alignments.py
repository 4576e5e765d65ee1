"""The pictures of a comparison: each network's own, and one's in the colours of another's."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pfv_widgets.analysis.compare.alignment import Rotation, align
from pfv_widgets.engine.colouring.colour_memory import Arrangement
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.pca.basis import ComponentRotation, PrincipalBasis
from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import OnProgress
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import parted

T = TypeVar("T")
_REMEMBERED = 512


class _Recent(Generic[T]):
    """What was found for some keys, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, value: T) -> None:
        with self._lock:
            self._entries[key] = value
            while len(self._entries) > _REMEMBERED:
                self._entries.popitem(last=False)

    def keep(self, usable: Callable[[T], bool]) -> None:
        """Forget the entries that are not usable any more."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if not usable(entry)]:
                del self._entries[key]


@dataclass(frozen=True, eq=False)
class OwnColours:
    """Components of a network in the order and with the signs in which it shows them."""

    pfv: PFV
    layer: str  # the name by which its store knows it
    basis: PrincipalBasis  # by falling variance
    arrangement: tuple[int, ...]  # order and signs
    weights: Weights  # of the images

    def scores(self, arrangement: Arrangement | None = None) -> Tensor:
        """Scores ``(N, k, h, w)``, in another arrangement or in the own one."""
        chosen = self.arrangement if arrangement is None else arrangement
        return self.pfv.store.scores(self.layer, self.weights, chosen)

    @property
    def usable(self) -> list[int]:
        """Images that are in the basis."""
        return [index for index, weight in enumerate(self.weights) if weight > 0]


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the components of one network are turned to be like those of another.

    The ``rotation`` leads from the source's components by falling variance to the target's as they
    are shown; ``arrangement`` is the same for the engine.
    """

    source: OwnColours
    target: OwnColours
    rotation: Rotation
    arrangement: ComponentRotation


class Alignments:
    """Which colours each network has, and how they are aligned: found once, and remembered.

    Whoever asks gets the same answer in every thread: what one picture refers to is what the
    other shows.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self._own: _Recent[OwnColours] = _Recent()
        self._aligned: _Recent[Alignment] = _Recent()

    def own(
        self, name: str | None, settings: Settings, report: OnProgress | None = None
    ) -> OwnColours:
        """Return the own colours of a layer, a network and its layer joined by ``joined``."""
        network, layer = parted(name)
        pfv = self.networks.pfv(network)
        number = settings.components
        weights, stable = settings.weights(len(pfv.images)), settings.stable_colours
        store = pfv.store
        with store.reporting(report), own_modes():
            store.clear_if_changed()
            known = store.key_of(layer)
            basis = store.basis(known, weights, number)
            key = network, known, weights, number, stable
            found = self._own.get(key)
            if found is not None and found.basis is basis and found.pfv is pfv:
                return found
            pfv.anchor(layer, on_progress=report)
            arrangement, pfv.colours = pfv.colours.arranged(known, basis, number, stable=stable)
            found = OwnColours(pfv, known, basis, arrangement, weights)
            self._forget_closed()
            self._own.put(key, found)
            return found

    def alignment(
        self,
        name: str | None,
        reference: str | None,
        settings: Settings,
        report: OnProgress | None = None,
    ) -> Alignment:
        """Return how the components of ``name`` are turned to be like those of ``reference``.

        A PFVError says why there is nothing to align, as where a side has no picture.
        """
        target = self.own(reference, settings, report)
        source = self.own(name, settings, report)
        key = source, target
        found = self._aligned.get(key)
        if found is None:
            found = _aligned(source, target)
            self._aligned.put(key, found)
        return found

    def _forget_closed(self) -> None:
        """Let go of networks that were closed: what is remembered of them would hold them."""
        still_open = self.networks.is_open
        self._own.keep(lambda own: still_open(own.pfv))
        self._aligned.keep(lambda one: still_open(one.source.pfv) and still_open(one.target.pfv))


def _aligned(source: OwnColours, target: OwnColours) -> Alignment:
    plain = tuple(range(1, len(source.arrangement) + 1))
    with torch.no_grad():
        usable = source.usable
        rotation = align(source.scores(plain)[usable], target.scores()[usable])
    return Alignment(source, target, rotation, ComponentRotation(rotation.matrix))


def arranged(
    alignments: Alignments, settings: Settings, reference: str | None, report: OnProgress | None
) -> tuple[OwnColours, Arrangement, tuple[str, ...]]:
    """Return the colours of ``settings.layer``, and the arrangement that aligns them.

    Where that fails they keep their own arrangement, and the words say why.
    """
    own = alignments.own(settings.layer, settings, report)
    if reference is None or reference == settings.layer:
        return own, own.arrangement, ()
    try:
        alignment = alignments.alignment(settings.layer, reference, settings, report)
    except PFVError as error:
        return own, own.arrangement, (f"Colours are not aligned: {error}",)
    return own, alignment.arrangement, ()
