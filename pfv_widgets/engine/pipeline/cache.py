"""Results of stages, kept while they fit into a bound in bytes."""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import Tensor

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
        self._kept: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under ``key``, or make and keep it."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]  # type: ignore[return-value] # kept by the call below
        value = make()
        self._kept[key] = (value, nbytes(value))
        self.nbytes += self._kept[key][1]
        while self.nbytes > self.limit and len(self._kept) > 1:
            self.nbytes -= self._kept.popitem(last=False)[1][1]
        return value

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self.nbytes = 0


def stage(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Keep a method's results in ``self.cache``, by its name and arguments."""

    @functools.wraps(method)
    def kept(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        cache: ByteBoundedCache = self.cache  # type: ignore[attr-defined] # the owner has one
        key = (method.__name__, *args, *sorted(kwargs.items()))
        return cache.get(key, lambda: method(self, *args, **kwargs))

    return kept  # type: ignore[return-value] # the same signature, by wraps


def nbytes(value: Any) -> int:
    """Bytes of all tensors inside tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return value.nbytes
    if dataclasses.is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return sum(nbytes(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return sum(nbytes(entry) for entry in value)
    return 0
