"""Forward passes of images that differ from a known batch in a box: only its reach is computed.

What a convolution or a pooling gives outside of the reach of the box is taken from the pass of
the untouched images (exact incremental inference, Nakandala et al. 2019, "Krypton"). An operation
without a rule gets the whole map, so that any network runs, and the rest of it as usual. Numbers
agree with whole passes up to rounding. The rules are given to :class:`Tape`; those of torch's
operations are ``incremental_operations.LOCAL_OPERATIONS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.engine.network.module_calls import mapped, tensors_in
from pfv_widgets.engine.network.pass_recording import PROPERTIES
from pfv_widgets.methods.core.occluders import PixelBox
from pfv_widgets.methods.core.relu_operations import Args, Kwargs, Operation

Boxes = tuple[PixelBox, ...]
Make = Callable[..., Tensor]
# ``rule(func, args, kwargs)`` → the window after the operation; None: the whole map is needed
Rule = Callable[[Operation, Args, Kwargs], "Window | None"]
Rules = Mapping[Operation, Rule]
_MOST = 0.8  # share of a map from which on all of it is computed


class Base:
    """What one operation gives for the untouched images; stored where it is worth it."""

    def __init__(self, shape: torch.Size, make: Callable[[], Tensor]) -> None:
        self.shape = shape
        self._make = make
        self._value: Tensor | None = None
        self._reads = 0

    def get(self) -> Tensor:
        """Return the map and store it."""
        if self._value is None:
            self._value = self._make()
        return self._value

    def peek(self) -> Tensor:
        """Return the map on the way to another; the second time it is stored."""
        self._reads += 1
        return self.get() if self._value is not None or self._reads > 1 else self._make()

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return 0 if self._value is None else self._value.numel() * self._value.element_size()


class Tape:
    """The operations of a network on a batch, in their order.

    Parameters
    ----------
    batch
        The untouched images ``(N, 3, H, W)``.
    rules
        How each operation that is known to be local runs on a window.
    """

    def __init__(self, batch: Tensor, rules: Rules) -> None:
        self.rules = rules
        stored = batch.contiguous(memory_format=torch.channels_last)
        self._start = Base(batch.shape, lambda: stored)
        self._known: list[tuple[object, tuple[Base, ...], Sequence[object], Base]] = []
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes of the maps that are held."""
        return sum(base.size for *_, base in self._known)

    def changed(self, boxes: Sequence[PixelBox], values: Sequence[Tensor]) -> Window:
        """Return copies of the batch for one forward pass, each with other values in one box.

        Values are ``(N, 3, h, w)`` for each of P boxes; the copies ``(P · N, 3, H, W)`` begin with
        all images of the first box.
        """
        self._at = 0
        window = Window(self, self._start, aligned(boxes, self._start.shape), None)
        parts = window.part.view(len(boxes), -1, *window.part.shape[1:])
        for part, box, origin, value in zip(parts, boxes, window.boxes, values, strict=True):
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
        known, sources, options, base = self._known[self._at]
        same = known is func and len(sources) == len(inputs) and len(options) == len(others)
        same = same and all(one is other for one, other in zip(sources, inputs, strict=True))
        if not same or not all(map(_equal, options, others)):
            return None
        self._at += 1
        return base


class Window(Tensor):
    """Maps ``(P · N, C, H, W)`` of which only the parts that differ from their base are there."""

    tape: Tape
    base: Base  # the maps of the N untouched images
    boxes: Boxes  # where the parts lie: P boxes of one size
    part: Tensor  # ``(P · N, C, h, w)``, the images of the first box first

    @staticmethod
    def __new__(cls, tape: Tape, base: Base, boxes: Boxes, part: Tensor | None) -> Window:
        """Make a tensor that has a shape and no numbers of its own."""
        like = base.get() if part is None else part
        shape = (len(boxes) * base.shape[0], *base.shape[1:])
        window: Window = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=like.dtype, device=like.device
        )
        return window

    def __init__(self, tape: Tape, base: Base, boxes: Boxes, part: Tensor | None) -> None:
        self.tape = tape
        self.base = base
        self.become(base, boxes, self._of_base(boxes, 0.0) if part is None else part)

    def become(self, base: Base, boxes: Boxes, part: Tensor) -> None:
        """Take other values, as after an operation in place."""
        self.base, self.boxes, self.part = base, boxes, part

    @classmethod
    def __torch_function__(
        cls,
        func: Operation,
        types: Sequence[type],
        args: Args = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation: on the window where that is enough, else on the whole map."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in PROPERTIES:
                return func(*args, **kwargs)
            window = next(one for one in tensors_in((args, kwargs)) if isinstance(one, Window))
            rule = window.tape.rules.get(func)
            after = None if rule is None else rule(func, args, kwargs)
            if after is not None:
                return after
            args, kwargs = mapped((args, kwargs), _whole)
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: object, *_: object, **__: object
    ) -> Any:
        """Refuse: a traced part that takes no subclass would read numbers that are not there."""
        raise NotImplementedError(f"{func} does not take a part of a map.")

    def whole(self) -> Tensor:
        """Return the maps themselves; they stay the window's own, for operations in place."""
        every = ((0, self.base.shape[2], 0, self.base.shape[3]),) * len(self.boxes)
        self.become(self.base, every, self.over(every))
        return self.part

    def over(self, boxes: Boxes, padding: float = 0.0) -> Tensor:
        """Return the maps at other boxes of one size, ``padding`` outside of the borders."""
        if boxes == self.boxes:
            return self.part
        patch = self._of_base(boxes, padding)
        count = len(boxes)
        patches, parts = (one.view(count, -1, *one.shape[1:]) for one in (patch, self.part))
        for into, box, part, own in zip(patches, boxes, parts, self.boxes, strict=True):
            both = _intersection(own, box)
            if both[0] < both[1] and both[2] < both[3]:
                into[_cut(both, box)] = part[_cut(both, own)]
        return patch

    def _of_base(self, boxes: Boxes, padding: float) -> Tensor:
        base = self.base.get()
        number, channels, height, width = base.shape
        top, bottom, left, right = boxes[0]
        shape = (len(boxes) * number, channels, bottom - top, right - left)
        patch = torch.empty(
            shape, dtype=base.dtype, device=base.device, memory_format=torch.channels_last
        )
        inside = [_intersection(box, (0, height, 0, width)) for box in boxes]
        if inside != list(boxes):
            patch.fill_(padding)
        for index, (box, part) in enumerate(zip(boxes, inside, strict=True)):
            patch[index * number : (index + 1) * number][_cut(part, box)] = base[_cut(part)]
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


def union(boxes: Sequence[PixelBox]) -> PixelBox:
    """Return the smallest box around several."""
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def aligned(boxes: Sequence[PixelBox], shape: torch.Size) -> Boxes:
    """Return boxes of one size around some in maps of ``shape``, all inside of the map."""
    tall = max(bottom - top for top, bottom, _, _ in boxes)
    broad = max(right - left for _, _, left, right in boxes)
    height, width = shape[2:]
    moved = [(min(top, height - tall), min(left, width - broad)) for top, _, left, _ in boxes]
    return tuple((top, top + tall, left, left + broad) for top, left in moved)


def too_large(boxes: Boxes, shape: torch.Size) -> bool:
    """Whether a box is so much of a map that cutting costs more than it saves."""
    top, bottom, left, right = boxes[0]
    return (bottom - top) * (right - left) >= _MOST * math.prod(shape[2:])


def _intersection(one: PixelBox, other: PixelBox) -> PixelBox:
    """Return what two boxes share; empty where an end lies before its begin."""
    return (
        max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3]),
    )  # fmt: skip


def _cut(box: PixelBox, origin: PixelBox = (0, 0, 0, 0)) -> tuple[Any, ...]:
    top, bottom, left, right = box
    return (
        ..., slice(top - origin[0], bottom - origin[0]), slice(left - origin[2], right - origin[2]),
    )  # fmt: skip


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, Window) else value


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other  # weights that are computed for each image are not those of the base
    return one is other or one == other
