"""Forward passes of images that differ from a known batch in a box: only its reach is computed.

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
Places = tuple[Place, ...]
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

    def changed(self, places: Sequence[Place], values: Sequence[Tensor]) -> Window:
        """Return copies of the batch for one forward pass, each with other values at one place.

        Parameters
        ----------
        places
            P boxes.
        values
            What is there, ``(N, 3, h, w)`` each.

        Returns
        -------
        Window
            ``(P · N, 3, H, W)``, the images of the first box first.
        """
        self._at = 0
        window = Window(self, self._start, aligned(places, self._start.shape), None)
        parts = window.part.view(len(places), -1, *window.part.shape[1:])
        for part, box, origin, value in zip(parts, places, window.places, values, strict=True):
            part[_cut(box, origin)] = value
        return window

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
    """Maps ``(P · N, C, H, W)`` of which only the parts that differ from their base are there.

    Attributes
    ----------
    base
        The maps of the N untouched images.
    places
        Where the parts lie: P places of one size.
    part
        ``(P · N, C, h, w)``, the images of the first place first.
    """

    tape: Tape
    base: Base
    places: Places
    part: Tensor

    @staticmethod
    def __new__(cls, tape: Tape, base: Base, places: Places, part: Tensor | None) -> Window:
        """Make a tensor that has a shape and no numbers of its own."""
        like = base.get() if part is None else part
        shape = (len(places) * base.shape[0], *base.shape[1:])
        made: Window = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=like.dtype, device=like.device
        )
        return made

    def __init__(self, tape: Tape, base: Base, places: Places, part: Tensor | None) -> None:
        self.tape = tape
        self.base = base
        self.become(base, places, self._of_base(places, 0.0) if part is None else part)

    def become(self, base: Base, places: Places, part: Tensor) -> None:
        """Take other values, as after an operation in place."""
        self.base, self.places, self.part = base, places, part

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation: on the window where that is enough, else on the whole map."""
        from pfv_widgets.methods.perturbation.incremental_operations import RULES

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
        """Return the maps themselves; they stay the window's own, for operations in place."""
        every = ((0, self.base.shape[2], 0, self.base.shape[3]),) * len(self.places)
        self.become(self.base, every, self.over(every))
        return self.part

    def over(self, places: Places, padding: float = 0.0) -> Tensor:
        """Return the maps at other places of one size, ``padding`` outside of the borders."""
        if places == self.places:
            return self.part
        patch = self._of_base(places, padding)
        count = len(places)
        patches, parts = (one.view(count, -1, *one.shape[1:]) for one in (patch, self.part))
        for into, place, part, own in zip(patches, places, parts, self.places, strict=True):
            both = _intersection(own, place)
            if both[0] < both[1] and both[2] < both[3]:
                into[_cut(both, place)] = part[_cut(both, own)]
        return patch

    def _of_base(self, places: Places, padding: float) -> Tensor:
        base = self.base.get()
        number, channels, height, width = base.shape
        top, bottom, left, right = places[0]
        shape = (len(places) * number, channels, bottom - top, right - left)
        patch = torch.empty(
            shape, dtype=base.dtype, device=base.device, memory_format=torch.channels_last
        )
        inside = [_intersection(place, (0, height, 0, width)) for place in places]
        if inside != list(places):
            patch.fill_(padding)
        for index, (place, part) in enumerate(zip(places, inside, strict=True)):
            patch[index * number : (index + 1) * number][_cut(part, place)] = base[_cut(part)]
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


def union(places: Sequence[Place]) -> Place:
    """Return the smallest place around several."""
    tops, bottoms, lefts, rights = zip(*places, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def aligned(places: Sequence[Place], shape: torch.Size) -> Places:
    """Return places of one size around some in maps of ``shape``, all inside of the map."""
    tall = max(bottom - top for top, bottom, _, _ in places)
    broad = max(right - left for _, _, left, right in places)
    height, width = shape[2:]
    moved = [(min(top, height - tall), min(left, width - broad)) for top, _, left, _ in places]
    return tuple((top, top + tall, left, left + broad) for top, left in moved)


def too_large(places: Places, shape: torch.Size) -> bool:
    """Whether a place is so much of a map that cutting costs more than it saves."""
    top, bottom, left, right = places[0]
    return (bottom - top) * (right - left) >= _MOST * math.prod(shape[2:])


def _intersection(one: Place, other: Place) -> Place:
    """Return what two places share; empty where an end lies before its begin."""
    return (
        max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3]),
    )  # fmt: skip


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
