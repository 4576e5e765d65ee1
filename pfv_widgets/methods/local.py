"""Forward passes of images that differ from a known batch in one box: only its reach is computed.

What a convolution or a pooling gives outside of the reach of the box is taken from the pass of
the untouched images (exact incremental inference, Nakandala et al. 2019, "Krypton"). An operation
that is not known to be local gets the whole map, so that any network runs, and the rest of it as
usual. Numbers agree with whole passes up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Place = tuple[int, int, int, int]  # top, bottom, left, right; the ends are outside
Make = Callable[..., Tensor]
_MOST = 0.8  # share of a map from which on all of it is computed


class Base:
    """What one operation gives for the untouched images; kept where it is worth it."""

    def __init__(self, shape: torch.Size, make: Callable[[], Tensor]) -> None:
        self.shape = shape
        self._make = make
        self._value: Tensor | None = None
        self._asked = 0

    def get(self) -> Tensor:
        """Return the map and keep it."""
        if self._value is None:
            self._value = self._make()
        return self._value

    def peek(self) -> Tensor:
        """Return the map on the way to another; the second time it is kept."""
        self._asked += 1
        return self.get() if self._value is not None or self._asked > 1 else self._make()

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return 0 if self._value is None else self._value.numel() * self._value.element_size()


class Tape:
    """The operations of a network on a batch, in their order."""

    def __init__(self, batch: Tensor) -> None:
        kept = batch.contiguous(memory_format=torch.channels_last)
        self._start = Base(batch.shape, lambda: kept)
        self._known: list[tuple[object, tuple[Base, ...], Sequence[object], Base]] = []
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes of the maps that are held."""
        return sum(base.size for *_, base in self._known)

    def changed(self, place: Place, values: Tensor) -> Window:
        """Return the batch with other ``values`` at one place, for one forward pass."""
        self._at = 0
        values = values.clone(memory_format=torch.channels_last)
        return Window(self, self._start, place, values)

    def base(
        self,
        func: object,
        inputs: tuple[Base, ...],
        others: Sequence[object],
        shape: torch.Size,
        make: Callable[[], Tensor],
    ) -> Base | None:
        """Return the next operation's base; None where this pass has left the way of the first."""
        if self._at == len(self._known):
            self._known.append((func, inputs, others, Base(shape, make)))
        known, sources, given, base = self._known[self._at]
        same = known is func and len(sources) == len(inputs) and len(given) == len(others)
        same = same and all(one is other for one, other in zip(sources, inputs, strict=True))
        if not same or not all(map(_equal, given, others)):
            return None
        self._at += 1
        return base


class Window(Tensor):
    """A map ``(N, C, H, W)`` of which only the part that differs from its base is there."""

    tape: Tape
    base: Base
    place: Place
    part: Tensor

    @staticmethod
    def __new__(cls, tape: Tape, base: Base, place: Place, values: Tensor) -> Window:
        """Make a tensor that has a shape and no numbers of its own."""
        made: Window = torch.Tensor._make_wrapper_subclass(
            cls, base.shape, dtype=values.dtype, device=values.device
        )
        return made

    def __init__(self, tape: Tape, base: Base, place: Place, values: Tensor) -> None:
        self.tape = tape
        self.become(base, place, values)

    def become(self, base: Base, place: Place, values: Tensor) -> None:
        """Take other values, as after an operation in place."""
        self.base, self.place, self.part = base, place, values

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation: on the window where that is enough, else on the whole map."""
        from pfv_widgets.methods.local_rules import RULES

        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in _ABOUT:
                return func(*args, **kwargs)
            if func in RULES:
                found = RULES[func](func, args, kwargs)
                if found is not None:
                    return found
            return func(*_whole(args), **_whole(kwargs))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: object, *_: object, **__: object
    ) -> Any:
        """Refuse: a traced part that takes no subclass would read numbers that are not there."""
        raise NotImplementedError(f"{func} does not take a part of a map.")

    def whole(self) -> Tensor:
        """Return the map itself; it stays the window's own, for operations in place."""
        every = (0, self.base.shape[2], 0, self.base.shape[3])
        self.become(self.base, every, self.over(every))
        return self.part

    def over(self, place: Place, padding: float = 0.0) -> Tensor:
        """Return the map at another place, ``padding`` outside of its borders."""
        if place == self.place:
            return self.part
        top, bottom, left, right = place
        count, channels, height, width = self.base.shape
        inside = (max(top, 0), min(bottom, height), max(left, 0), min(right, width))
        part = self.base.get()[_cut(inside)]
        if inside == place:
            patch = part.clone(memory_format=torch.channels_last)
        else:
            patch = torch.empty(
                (count, channels, bottom - top, right - left), dtype=part.dtype,
                device=part.device, memory_format=torch.channels_last,
            ).fill_(padding)  # fmt: skip
            patch[_cut(inside, place)] = part
        both = intersection(self.place, place)
        if both[0] < both[1] and both[2] < both[3]:
            patch[_cut(both, place)] = self.part[_cut(both, self.place)]
        return patch

    def after(
        self, func: object, inputs: Sequence[Window], others: Sequence[object],
        shape: torch.Size, make: Make,
    ) -> Base | None:  # fmt: skip
        """Return the base that follows by an operation on the bases of ``inputs``."""
        bases = tuple(one.base for one in inputs)
        # a copy: the operation may work in place
        return self.tape.base(
            func, bases, others, shape, lambda: make(*(base.peek().clone() for base in bases))
        )


def intersection(one: Place, other: Place) -> Place:
    """Return what two places share; empty where an end lies before its begin."""
    return (
        max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3]),
    )  # fmt: skip


def union(places: Sequence[Place]) -> Place:
    """Return the smallest place around several."""
    tops, bottoms, lefts, rights = zip(*places, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def too_large(place: Place, shape: torch.Size) -> bool:
    """Whether a place is so much of a map that cutting costs more than it saves."""
    top, bottom, left, right = place
    return (bottom - top) * (right - left) >= _MOST * math.prod(shape[2:])


def _cut(place: Place, origin: Place = (0, 0, 0, 0)) -> tuple[Any, ...]:
    top, bottom, left, right = place
    return (
        ..., slice(top - origin[0], bottom - origin[0]), slice(left - origin[2], right - origin[2]),
    )  # fmt: skip


def _whole(value: Any) -> Any:
    if isinstance(value, Window):
        return value.whole()
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_whole(one) for one in value)
    return value


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other  # weights that are made anew for each image are not those of the base
    return one is other or one == other


def _getter(name: str) -> Any:
    return getattr(Tensor, name).__get__


_ABOUT = {
    *map(_getter, ("shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "layout")),
    _getter("is_quantized"), Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel,
    Tensor.__len__, Tensor.is_floating_point, Tensor.is_complex, Tensor.is_inference,
}  # fmt: skip
