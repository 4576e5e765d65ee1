"""A forward pass up to a layer, recorded so that what ran before it need not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.module_calls import mapped, tensors_in

Key = tuple[str, int]  # a module's name, and which of its calls from 0


IMAGES: Key = ("", 0)  # stands for the images among the calls


class NeededError(BaseException):
    """Something used the numbers of an output that is not stored.

    ``except Exception``, as in a network that handles errors itself, does not catch it.
    """

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.key = key


class UnclearError(BaseException):
    """A module before the layer does more than it returns; no :class:`Exception` either."""


_READ_ONLY = (
    "shape", "ndim", "dtype", "device", "layout", "requires_grad", "is_cuda", "is_quantized",
)  # fmt: skip
PROPERTIES = {
    *(getattr(Tensor, name).__get__ for name in _READ_ONLY),
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.__len__,
    Tensor.is_floating_point, Tensor.is_complex, Tensor.is_inference,
}  # fmt: skip
"""What a tensor without numbers knows of itself."""


class Placeholder(Tensor):
    """A tensor's shape and type without its numbers."""

    key: Key

    @staticmethod
    def __new__(cls, like: Tensor, key: Key) -> Placeholder:
        """Make one with the shape of ``like`` that stands for what the call ``key`` returned."""
        placeholder: Placeholder = torch.Tensor._make_wrapper_subclass(
            cls, like.shape, dtype=like.dtype, device=like.device
        )
        placeholder.key = key
        return placeholder

    def fetch(self) -> Tensor:
        """Raise :class:`NeededError`: there are no numbers."""
        raise NeededError(self.key)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in PROPERTIES:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        raise NeededError(_key_in((args, kwargs)))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: object, _: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise NeededError(_key_in((args, kwargs)))


def _key_in(arguments: object) -> Key:
    """Return the key of the first placeholder among arguments."""
    return next(one.key for one in tensors_in(arguments) if isinstance(one, Placeholder))


@dataclass(eq=False)
class _Call:
    """One call of a module before the layer."""

    name: str
    begin: int
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    end: int = -1
    output: Any = None


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a module that is not run returns.

    Attributes
    ----------
    output
        The output with placeholders, stored tensors, or the number of an input in their place.
    changed
        Number of an input → what the module makes of it in place, None where that is not stored.
    """

    output: Any
    changed: Mapping[int, Tensor | None]


@dataclass(frozen=True, eq=False)
class Recording:
    """What the modules before the layer answer.

    Attributes
    ----------
    answers
        Call → answer, for calls that are made where all others of this mapping are answered.
    layer
        The call of the layer itself, the last of them.
    images
        What stands for the images; None: their numbers are used.
    """

    answers: Mapping[Key, _Answer]
    layer: Key
    images: Placeholder | None

    @property
    def size(self) -> int:
        """Bytes of the numbers that are stored."""
        values = [tensors_in((one.output, dict(one.changed))) for one in self.answers.values()]
        stored = [one for some in values for one in some if not isinstance(one, Placeholder)]
        return sum(one.numel() * one.element_size() for one in stored)

    @contextmanager
    def answering(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Let the modules, by name, answer from the recording inside the block."""
        counts: Counter[str] = Counter()

        def wrap(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
            def answer(*args: Any, **kwargs: Any) -> Any:
                key = (name, counts[name])
                counts[name] += 1
                recorded = self.answers.get(key)
                if recorded is None:
                    return forward(*args, **kwargs)
                return _output_of(recorded, key, list(tensors_in((args, kwargs))))

            return answer

        with _wrapped({name: modules[name] for name, _ in self.answers}, wrap):
            yield

    def behind(self, modules: Mapping[str, nn.Module]) -> list[nn.Module]:
        """Return the modules, of those by name, that may run where all others answer."""
        answering = {name for name, _ in self.answers}
        running = []
        for name, module in modules.items():
            parts = name.split(".")
            if answering.isdisjoint(".".join(parts[: end + 1]) for end in range(len(parts))):
                running.append(module)
        return running


def _output_of(answer: _Answer, key: Key, inputs: list[Tensor]) -> Any:
    """Return what the module returned, and change its inputs as it did."""
    for number, values in answer.changed.items():
        if not isinstance(inputs[number], Placeholder):
            if values is None:
                raise NeededError(key)
            inputs[number].copy_(values)

    def make(one: Any) -> Any:
        if isinstance(one, _Same):
            return inputs[one.number]
        if isinstance(one, Tensor) and not isinstance(one, Placeholder):
            return one.clone()
        return one

    return mapped(answer.output, make)


@dataclass(frozen=True)
class _Same:
    """Stands for an input that is returned as it is."""

    number: int


@dataclass(eq=False)
class Recorder:
    """Watches a pass up to the layer."""

    needed: frozenset[Key]
    calls: list[_Call] = field(default_factory=list)
    clock: int = 0
    reached: int = -1  # when the layer had run
    stored: dict[int, tuple[Any, dict[int, Tensor]]] = field(default_factory=dict)

    def reach_layer(self) -> None:
        """Note that the layer has run."""
        self.reached = self.clock

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Watch every module below the root inside the block."""

        def wrap(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
            def watch(*args: Any, **kwargs: Any) -> Any:
                if self.reached >= 0:
                    return forward(*args, **kwargs)
                inputs = tuple(tensors_in((args, kwargs)))
                versions = tuple(one._version for one in inputs)
                call = _Call(name, self.clock, inputs, versions)
                self.calls.append(call)
                self.clock += 1
                output = forward(*args, **kwargs)
                if self.reached < 0:
                    self._note(call, output)
                return output

            return watch

        with _wrapped({name: one for name, one in modules_by_name(network).items() if name}, wrap):
            yield

    def _note(self, call: _Call, output: Any) -> None:
        """Copy what may be needed at once: later operations may rewrite it in place."""
        call.end, self.clock = self.clock, self.clock + 1
        needed = call.name in {name for name, _ in self.needed}
        self.stored[call.begin] = (_storable(call, output, copied=needed), {})
        for number, (one, before) in enumerate(zip(call.inputs, call.versions, strict=True)):
            if one._version != before:
                self.stored[call.begin][1][number] = one.detach().clone() if needed else one
        call.inputs = ()

    def recording(self, images: Tensor) -> Recording:
        """Return what the modules answer, their calls numbered as in a pass with answers."""
        answers: dict[Key, _Answer] = {}
        counts: Counter[str] = Counter()
        inside = -1  # until when a module answers, so that nothing in it is called
        for call in self.calls:
            if call.begin < inside:
                continue
            key = (call.name, counts[call.name])
            counts[call.name] += 1
            if 0 <= call.end < self.reached:
                inside = call.end
                output, changed = self.stored[call.begin]
                answers[key] = _answer(key, output, changed, stored=key in self.needed)
        if not answers:
            raise UnclearError
        used = IMAGES in self.needed
        return Recording(
            answers, next(reversed(answers)), None if used else Placeholder(images, IMAGES)
        )


def _storable(call: _Call, output: Any, *, copied: bool) -> Any:
    """Return an output with its inputs by number and its tensors copied, or by their shape."""
    if not any(True for _ in tensors_in(output)) or not _is_plain(output):
        raise UnclearError
    memory = {one.untyped_storage().data_ptr() for one in call.inputs}

    def stored(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        for number, source in enumerate(call.inputs):
            if one is source:
                return _Same(number)
        if one.untyped_storage().data_ptr() in memory:
            raise UnclearError  # a view of an input: what is written to one is seen in the other
        return one.detach().clone() if copied else Placeholder(one, (call.name, -1))

    return mapped(output, stored)


def _answer(key: Key, output: Any, changed: Mapping[int, Tensor], *, stored: bool) -> _Answer:
    def make(one: Any) -> Any:
        if not isinstance(one, Tensor) or (stored and not isinstance(one, Placeholder)):
            return one
        return Placeholder(one, key)

    own = {number: one if stored else None for number, one in changed.items()}
    return _Answer(mapped(output, make), own)


@contextmanager
def _wrapped(
    modules: Mapping[str, nn.Module],
    wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]],
) -> Iterator[None]:
    """Put a function around the forward of each module inside the block."""
    before: list[tuple[nn.Module, Callable[..., Any] | None]] = []
    try:
        for name, module in modules.items():
            own = vars(module).get("forward")
            before.append((module, own))
            vars(module)["forward"] = wrap(name, module.forward)
        yield
    finally:
        for module, own in before:
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if type(value) in (list, tuple) or hasattr(value, "_make"):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, Tensor | int | float | str)
