"""Results of stages, cached while they fit into a bound in bytes."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class ByteBoundedCache:
    """Least recently used results are dropped when the bound is passed.

    The newest result stays even where it is larger than the bound.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._entries: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is cached under ``key``, or make and cache it."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]  # type: ignore[return-value] # cached by the call below
        value = make()
        self.put(key, value)
        return value

    def put(self, key: Hashable, value: object) -> None:
        """Cache a result under a key that has none yet."""
        self._entries[key] = (value, nbytes(value))
        self.nbytes += self._entries[key][1]
        while self.nbytes > self.limit and len(self._entries) > 1:
            self.nbytes -= self._entries.popitem(last=False)[1][1]

    def pop(self, key: Hashable) -> Any:
        """Remove what is cached under ``key`` and return it; None where there is nothing."""
        value, size = self._entries.pop(key, (None, 0))
        self.nbytes -= size
        return value

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the keys of now, the least recently used first."""
        return iter(list(self._entries))

    def values(self) -> list[object]:
        """Return all results, the least recently used first."""
        return [value for value, _ in self._entries.values()]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.nbytes = 0


def stage(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Cache results of a method in ``self.cache``, by name and arguments, under ``self.lock``."""
    return _cached(method, by_source=False)


def source_stage(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Cache as :func:`stage` does, separately for an external source of bases and the images."""
    return _cached(method, by_source=True)


def _cached(
    method: Callable[Concatenate[S, P], T], *, by_source: bool
) -> Callable[Concatenate[S, P], T]:
    @functools.wraps(method)
    def cached(self: Any, *args: Any, **kwargs: Any) -> T:
        with self.lock:
            external = (self.uses_external_source,) if by_source else ()
            key = (method.__name__, *external, *args, *sorted(kwargs.items()))
            cache: ByteBoundedCache = self.cache
            return cache.get(key, lambda: method(self, *args, **kwargs))

    return cached  # type: ignore[return-value] # of what has a cache and a lock


def release_memory(device: torch.device) -> None:
    """Ask the allocators to give memory that is free back to the system, where they can.

    glibc keeps what was freed for the next request, and CUDA and MPS keep a pool of their own.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # another system, another C library
        ctypes.CDLL(None).malloc_trim(0)


def nbytes(value: Any) -> int:
    """Bytes of all tensors inside tuples, lists, dicts and dataclasses."""
    own = getattr(value, "nbytes", None)  # of a tensor, or of what counts its own
    if isinstance(own, int):
        return own
    if dataclasses.is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return sum(nbytes(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return sum(nbytes(entry) for entry in value)
    return 0
