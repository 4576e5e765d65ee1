"""Networks by name, each made when it is first visited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from weakref import WeakValueDictionary

from torch import nn


class LazyNetworks(Mapping[str, nn.Module]):
    """A mapping of names to networks in order, each made when it is first visited.

    A network is the same object as long as anything uses it, and stays for a while after. It can
    be read from any thread.

    Parameters
    ----------
    names
        In order.
    make
        Returns the network of a name. What it raises passes, and the others stay usable.
    most
        How many networks that nothing else uses are held at most.
    """

    def __init__(
        self, names: tuple[str, ...], make: Callable[[str], nn.Module], most: int = 4
    ) -> None:
        self._names, self._make = dict.fromkeys(names), make
        self._made: WeakValueDictionary[str, nn.Module] = WeakValueDictionary()
        self._recent: list[nn.Module] = []  # each once, that of the last visit last
        self._most = most
        self._lock = threading.Lock()
        self._making = {name: threading.Lock() for name in names}

    def __getitem__(self, name: str) -> nn.Module:
        """Return the network of that name; the first time it is made."""
        if name not in self._names:
            raise KeyError(name)
        with self._making[name]:  # the others can be visited meanwhile
            network = self._made.get(name)
            if network is None:
                network = self._make(name)
            with self._lock:
                self._made[name] = network
                others = [one for one in self._recent if one is not network]
                self._recent = [*others, network][-self._most :]
                return network

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._names)})"
