"""Feature maps that are captured before they are needed, from as few passes as possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.network.capture_layers import first_fitting
from pfv_widgets.engine.network.forward import Results
from pfv_widgets.engine.network.model_guard import LOCK, runs_apart
from pfv_widgets.engine.pipeline.feature_store import AHEAD, FeatureStore
from pfv_widgets.engine.progress import Cancelled, Progress

_PART = 0.25  # of the memory, at most
_AROUND = 4 << 20  # bytes for each image, of layers around one: a pass takes little longer
_ALONG = 32 << 20  # bytes for each image, of layers all along the network
_STOPPED = "captured in part"  # key of a pass in time to spare that was stopped, with its layers


def capture_ahead(store: FeatureStore, layers: Sequence[str], most: float = math.inf) -> None:
    """Run the network once for the first layer, and for as many next ones as there is room.

    Nothing happens where the first one is cached. ``most`` bounds the room, in bytes.
    """
    with store.lock:
        names = list(dict.fromkeys(map(store.key_of, layers)))
        if not names or store.is_ready(names[0]):
            return
        names = [name for name in names if not store.is_ready(name)]
        room = min(store.cache.limit * _PART, most)
        fit = first_fitting([store.layer(name) for name in names], len(store.images), room)
        for name, captured in reversed(store.run(names[:fit]).items()):
            store.cache.put((AHEAD, name), captured)  # the first is dropped last


def capture_around(store: FeatureStore, name: str | None, before: str) -> None:
    """Run the network once for a layer and the nearest ones, mainly on the way from another."""
    names = [layer.name for layer in store.layers if layer.same_as is None]
    order = nearest_first(names, store.key_of(name), before)
    capture_ahead(store, order, _AROUND * len(store.images))


def capture_along(store: FeatureStore, is_wanted: Callable[[], bool]) -> bool:
    """Run the network for some layers all along it; return whether that is done.

    For time to spare: it stops between two modules once it is not wanted or another thread needs
    the network or the store, and the next call goes on from there. Of the memory it takes what is
    free. A network that cannot be replicated, which somebody may train meanwhile, is left alone.
    """

    def check(_: Progress) -> None:
        if not is_wanted() or store.lock.waiting or LOCK.waiting:
            raise Cancelled

    with store.lock, store.reporting(check), own_modes():
        if store.is_outdated or not runs_apart(store.model):
            return True
        names, results = store.cache.pop(_STOPPED) or (_along(store), Results(len(store.images)))
        if not names:
            return True
        try:
            if not LOCK.is_free:  # nobody waits here with the store in hand
                raise Cancelled
            captured = store.run(names, results)
        except Cancelled:
            store.cache.put(_STOPPED, (names, results))
            return False
        for name in [name for name in captured if not store.is_ready(name)]:
            store.cache.put((AHEAD, name), captured[name])
        return True


def _along(store: FeatureStore) -> list[str]:
    layers = [layer for layer in store.layers if layer.same_as is None]
    sizes = [len(store.images) * layer.nbytes for layer in layers]
    ready = {index for index, layer in enumerate(layers) if store.is_ready(layer.name)}
    cache = store.cache
    room = min(cache.limit * _PART, _ALONG * len(store.images), cache.limit - cache.nbytes)
    return [layers[index].name for index in spread(sizes, ready, room)]


def nearest_first(names: Sequence[str], name: str, before: str) -> list[str]:
    """Return names by their distance in a list from one of them, which is the first.

    The way from ``before`` goes on behind it: there, names count as half as far.

    >>> nearest_first("abcdef", "c", "b")
    ['c', 'd', 'e', 'b', 'f', 'a']
    """
    middle = names.index(name)
    way = -1 if before in names[middle:] else 1

    def distance(index: int) -> tuple[float, int]:
        on = way * (index - middle)
        return (on, 0) if on >= 0 else (-2 * on, 1)

    return [names[index] for index in sorted(range(len(names)), key=distance)]


def spread(sizes: Sequence[int], ready: Collection[int], room: float) -> list[int]:
    """Return which layers of a list, by their sizes, to compute so that some all along are ready.

    One of as many next to each other, as few as have room: one that is ready, else the smallest.

    >>> spread([4, 1, 2, 9, 5, 3], ready={4}, room=8)
    [1, 2]
    """
    indices = range(len(sizes))
    for width in indices:
        windows = [indices[first : first + width + 1] for first in indices[:: width + 1]]
        chosen = [min(one, key=lambda index: (index not in ready, sizes[index])) for one in windows]
        if sum(sizes[index] for index in chosen) <= room:
            return [index for index in chosen if index not in ready]
    return []
