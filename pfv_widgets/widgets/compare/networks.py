"""The networks of a comparison: each opened when it is first visited, on photos that fit it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import Normalisation
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.named_models import (
    declared_normalisation,
    declared_size,
    images_by_network,
    in_normalisation,
    in_size,
)
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, named
from pfv_widgets.parameters import suggestion

MEMORY = 2 << 30  # bytes of features of all networks together
_MOST_OPEN = 24  # networks that are ready to be shown
_NORMALISED = "photos in its own normalisation"
_BESIDE = 2  # that are on show, and stay

Models = Mapping[str, nn.Module]


class Networks:
    """Networks by name, with one batch of photos.

    Parameters
    ----------
    models
        Two or more, by name; a value is fetched when its network is first visited.
    images
        The photos.
    device
        As for :class:`PFV`.
    memory
        Bound in bytes for the features of all networks that were visited.

    Raises
    ------
    PFVTypeError, PFVValueError
        For fewer than two networks.
    """

    noun = "Network"

    def __init__(
        self,
        models: Models,
        images: ImageBatch,
        device: str | torch.device = "auto",
        *,
        memory: int = MEMORY,
    ) -> None:
        self.names = tuple(models)
        self.images = images
        self.notes: dict[str, str] = {}  # what was done to the photos for a network
        self._models, self.device, self._memory = models, device, memory
        self._lock = threading.Lock()  # of what is known here, never held for long
        self._opening = threading.RLock()  # one at a time: photos depend on who was opened before
        self._open: OrderedDict[str, PFV] = OrderedDict()
        self._opened_with: dict[str, Hashable] = {}  # the weights at that time
        self._refused: dict[str, PFVError] = {}
        self._declared: dict[str, Normalisation] = {}  # of networks that are made when visited
        self._batches = _batches(models, images)

    def pfv(self, name: str) -> PFV:
        """Return a network with its photos; a bound on memory closes those not seen for longest.

        A PFVError names the network, and says why it cannot be opened.
        """
        self.check(name)
        found = self._known(name)
        if found is None:
            with self._opening:
                found = self._known(name) or self._opened(name)
        with self._lock:
            surplus = self._surplus()
        for one in surplus:
            one.close()
        return found

    def _known(self, name: str) -> PFV | None:
        """Return a network that is open; raise why it could not be opened."""
        with self._lock:
            if (refused := self._refused.get(name)) is not None:
                # a new one: each time that an error is raised, its traceback grows
                raise type(refused)(str(refused)) from refused.__cause__
            if name in self._open:
                self._open.move_to_end(name)
            return self._open.get(name)

    def model(self, name: str) -> nn.Module:
        """Return a network as it was given."""
        self.check(name)
        return self._models[name]

    def visit(self, name: str) -> PFVError | None:
        """Open a network; return why it cannot be shown, None where it can.

        It is tried once, until :meth:`refresh`.
        """
        self.check(name)
        try:
            self.pfv(name)
        except PFVError as error:
            return error
        return None

    def state(self, name: str) -> Hashable:
        """Return what is equal as long as a network shows the same; None where it is not open."""
        with self._lock:
            if name not in self._open:
                return None
            pfv = self._open[name]
            return self._opened_with[name], pfv.store.version, pfv.images.normalisation

    def is_visited(self, name: str) -> bool:
        """Whether :meth:`visit` returns at once."""
        with self._lock:
            return name in self._open or name in self._refused

    def is_open(self, pfv: PFV) -> bool:
        """Whether :meth:`pfv` would return it now."""
        with self._lock:
            return any(pfv is one for one in self._open.values())

    def check(self, name: str) -> None:
        """Raise a PFVValueError with the nearest names unless there is such a network."""
        if name not in self.names:
            raise PFVValueError(f"{name!r:.80} is no network here. {suggestion(name, self.names)}")

    def layers(self, name: str) -> tuple[Layer, ...]:
        """Return the layers of a network in forward order, each once."""
        return tuple(one for one in self.pfv(name).layers if one.same_as is None)

    def layer(self, name: str, layer: str | None) -> Layer:
        """Return a layer of a network by the name under which it is listed; None: the default.

        A PFVError names the network, and the nearest names.
        """
        pfv = self.pfv(name)
        try:
            found = pfv.layer(layer)
            return pfv.layer(found.same_as or found.name)
        except PFVError as error:
            raise type(error)(f"{name}: {error}") from error

    def counterpart(self, name: str, layer: Layer, other: str) -> Layer:
        """Return the layer of network ``other`` that has this name, else this relative depth."""
        if any(one.name == layer.name for one in self.pfv(other).layers):
            return self.layer(other, layer.name)  # or of those that are the same
        own, theirs = [one.name for one in self.layers(name)], self.layers(other)
        depth = own.index(layer.name) / max(len(own) - 1, 1)
        return theirs[round(depth * (len(theirs) - 1))]

    def close(self) -> None:
        """Free the features of all networks."""
        with self._lock:
            surplus = list(self._open.values())
            self._open.clear()
        for one in surplus:
            one.close()

    def refresh(self) -> None:
        """Start again with the weights that the networks have now."""
        with self._lock:
            opened = list(self._open.values())
            self._refused.clear()
        for one in opened:
            one.refresh()

    def _opened(self, name: str) -> PFV:
        try:
            model = _fetched(self._models, name)
            batch = self._batch(name, model)
            pfv, note = _fitting(model, batch, self.device, self._memory)
            own = "" if batch.normalisation == self.images.normalisation else _NORMALISED
            self.notes[name] = "; ".join(filter(None, [note, own]))
        except Exception as error:  # memory may run out
            kind = type(error) if isinstance(error, PFVError) else PFVValueError
            self._refused[name] = kind(f"{name}: {named(error)}")
            raise self._refused[name] from error
        with self._lock:
            self._open[name], self._opened_with[name] = pfv, pfv.store.forward.state()
        return pfv

    def _batch(self, name: str, model: nn.Module) -> ImageBatch:
        """Return the photos for a network: see :func:`images_by_network`.

        Of networks that are made when they are visited, nobody knows before which normalisation
        they declare. Where the first one differs, those that are open already get theirs as well.
        """
        if name in self._batches:
            return self._batches[name]
        alike = len(set(self._declared.values())) < 2
        self._declared[name] = declared_normalisation(model) or self.images.normalisation
        if len(set(self._declared.values())) < 2:
            return self.images
        if alike:
            self.close()  # they are opened again in their own normalisation
        return in_normalisation(self.images, self._declared[name])

    def _surplus(self) -> list[PFV]:
        """Take out what was not seen for longest until the rest is within the bounds."""
        surplus: list[PFV] = []
        while len(self._open) > _BESIDE and (
            len(self._open) > _MOST_OPEN
            or sum(one.store.cache.nbytes for one in self._open.values()) > self._memory
        ):
            surplus.append(self._open.popitem(last=False)[1])
        return surplus


def named_networks(models: object) -> Models:
    """Return networks by name: a mapping as it is, a sequence of networks or of (name, network).

    Networks without names are called by their class, numbered where it comes again.

    Raises
    ------
    PFVTypeError, PFVValueError
        For anything else, fewer than two networks, or a name that comes twice.
    """
    if isinstance(models, nn.ModuleDict):
        models = dict(models.items())
    elif isinstance(models, nn.Module) and not isinstance(models, nn.ModuleList):
        models = [models]
    if isinstance(models, Mapping):
        named: Models = models
        names = list(models)
        for name in names:
            if not isinstance(name, str):
                raise PFVTypeError(f"models has the name {name!r:.60}: expected texts.")
    elif isinstance(models, Sequence | nn.ModuleList) and not isinstance(models, str):
        pairs = _pairs(list(models))
        names, named = [name for name, _ in pairs], dict(pairs)
    else:
        raise PFVTypeError(
            f"models={models!r:.80}: expected two or more networks, by name or in a list."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PFVValueError(f"models has the name {twice[0]!r:.60} twice: give each its own.")
    if len(names) < 2:
        raise PFVValueError(
            f"models has {len(names)} network{'s' * (len(names) != 1)}: give at least two to "
            "compare; pw.explore shows a single one, and pw.randomised(model) makes others of it."
        )
    if isinstance(named, dict):  # another mapping may load a network when it is asked for
        for name, model in named.items():
            _check_network(name, model)
    return named


def _pairs(entries: list[Any]) -> list[tuple[str, nn.Module]]:
    pairs: list[tuple[str, nn.Module]] = []
    kinds: list[str] = []
    for entry in entries:
        if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
            pairs.append(entry)
            continue
        kind = type(entry[0] if isinstance(entry, tuple) and entry else entry).__name__
        kinds.append(kind)
        number = kinds.count(kind)
        pairs.append((kind if number == 1 else f"{kind} {number}", entry))
    return pairs


def _fetched(models: Models, name: str) -> nn.Module:
    """Return a network of a mapping, which may load it just now."""
    try:
        model = models[name]
    except PFVError:
        raise
    except Exception as error:  # the user's mapping may raise anything
        raise PFVValueError(
            f"models[{name!r:.60}] cannot be loaded ({type(error).__name__}: {error!s:.200})."
        ) from error
    _check_network(name, model)
    return model


def _check_network(name: str, model: object) -> None:
    if isinstance(model, tuple) and model and isinstance(model[0], nn.Module):
        raise PFVTypeError(
            f"models[{name!r:.60}] is a tuple: expected a network alone. All are given the same "
            "photos, as images; for photos in another normalisation, set "
            "network.pretrained_cfg = {'mean': …, 'std': …}."
        )
    if not isinstance(model, nn.Module):
        raise PFVTypeError(f"models[{name!r:.60}]={model!r:.60}: expected a torch.nn.Module.")


def _batches(models: Models, images: ImageBatch) -> dict[str, ImageBatch]:
    """Return the photos for each network; none for a mapping that loads networks when asked."""
    if not isinstance(models, dict):
        return {}
    return images_by_network({name: (model, None) for name, model in models.items()}, images)


def _fitting(
    model: nn.Module, images: ImageBatch, device: str | torch.device, memory: int
) -> tuple[PFV, str]:
    """Open a network; where it refuses the photos' size, at the size that it names itself."""
    try:
        return PFV(model, images, device, memory=memory), ""
    except PFVValueError as refused:
        size = declared_size(model)
        if size is None or size == images.size:
            raise
        try:
            pfv = PFV(model, in_size(images, size), device, memory=memory)
        except PFVError:
            raise refused from None
        return pfv, f"photos resized to {size[0]} × {size[1]} pixels"
