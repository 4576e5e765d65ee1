"""Networks that take more than the images."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.model_guard import as_its_owner_runs, unwrap
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed, suggestion

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class NetworkWithInputs(nn.Module):
    """A network with its other inputs: it is called with images alone.

    Its modules keep the names that they have in the network. A tensor with ``count`` rows has
    one for each photo; anything else is given as it is.

    Attributes
    ----------
    rows
        Which photo each image of a batch is made of, or the one that all of them are made of.
    """

    def __init__(
        self, network: nn.Module, count: int, inputs: Mapping[str, Any], argument: str | None
    ) -> None:
        super().__init__()
        self.network = network
        self.count = count
        self.inputs = dict(inputs)
        self.argument = argument
        self.rows: tuple[int, ...] = (0,)
        self._repeated: frozenset[str] = frozenset()  # whose only row is repeated for a batch

    def forward(self, images: Tensor) -> object:
        """Run the network on images ``(N, 3, H, W)``."""
        others = {name: self._of_images(name, images) for name in self.inputs}
        try:
            if self.argument is None:
                return self.network(images, **others)
            return self.network(**{self.argument: images}, **others)
        except (PFVError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if not others:
                raise
            raise PFVValueError(_failure(error, images, others)) from error

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Name the network's own modules, as they are called there."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)

    def probe_rows(self, image: Tensor) -> None:
        """Find out how tensors are taken that have other than one row for each photo.

        Where the network fails with one as it is, but not with its first row for each image, a
        single row is repeated from now on; ``image`` is ``(1, 3, H, W)``. Call it inside of
        ``guarded``.
        """
        others = {
            name: len(value)
            for name, value in self.inputs.items()
            if isinstance(value, Tensor) and value.ndim > 0 and len(value) != self.count
        }
        if not others:
            return
        number = next(one for one in range(2, len(others) + 3) if one not in others.values())
        batch = image.expand(number, -1, -1, -1).clone()
        single = frozenset(name for name, rows in others.items() if rows == 1)
        for tried in (frozenset[str](), single, frozenset(others)):
            self._repeated = tried
            if _works(self, batch):
                break
        else:  # something else is wrong, and the next pass raises the error
            self._repeated = frozenset()
        repeated = self._repeated - single
        wrong = [name for name, rows in others.items() if name in repeated or rows == 0]
        if wrong:
            each = f", or {self.count}, one for each" if self.count > 1 else ""
            raise PFVValueError(
                f"inputs[{wrong[0]!r}] has {others[wrong[0]]} rows, which the network cannot "
                f"take: give one row for all{each}."
            )

    def _of_images(self, name: str, images: Tensor) -> object:
        value = self.inputs[name]
        if not isinstance(value, Tensor):
            return value
        value = value.detach()
        if value.ndim > 0 and name in self._repeated:
            value = _repeated(value, (0,), len(images))
        elif value.ndim > 0 and len(value) == self.count:
            value = _repeated(value, self.rows, len(images))
        return value.to(images.device, copy=True)  # the network may change it in place


@dataclass(frozen=True)
class _Takes:
    """What a network takes."""

    names: tuple[str, ...]  # what can be given by name, in order
    needed: tuple[str, ...]  # those of them without a default
    first: str | None  # the input that takes what is given without a name; None: it has none
    anything: bool  # whether other names can be given as well


def bind_inputs(
    network: nn.Module, count: int, inputs: Mapping[str, Any] | None, argument: str | None
) -> nn.Module:
    """Return the network, bound to its other inputs where there are any."""
    if not isinstance(argument, str | None):
        raise PFVTypeError(f"argument={argument!r:.60}: expected the name of an input, or None.")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise PFVTypeError(
            f"inputs={inputs!r:.60}: expected the other inputs by name, as {{'mask': mask}}."
        )
    takes = _takes(network)
    if takes is not None:
        _check(type(network).__name__, takes, inputs or {}, argument)
    elif argument is not None and argument in (inputs or {}):
        raise PFVValueError(f"inputs has {argument!r}, which takes the images. Leave it out.")
    if not inputs and argument is None:
        return network
    return NetworkWithInputs(network, count, inputs or {}, argument)


def with_inputs(
    model: nn.Module, inputs: Mapping[str, Any] | None = None, argument: str | None = None
) -> nn.Module:
    """Return a network that is called with images alone, around one that takes more.

    Parameters
    ----------
    model
        Any ``nn.Module``; its layers keep their names.
    inputs
        Its other inputs by name. A tensor with a single row is given to each image; anything else
        is given as it is.
    argument
        The name of the input that takes the images; None: the first.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the input that is missing, or that the network does not take.
    """
    return bind_inputs(unwrap(model), 1, inputs, argument)


def _takes(network: nn.Module) -> _Takes | None:
    """Read what a network takes; None where that cannot be known."""
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    named = [one for one in parameters if one.kind in _NAMED]
    ordered = [one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    return _Takes(
        tuple(one.name for one in named),
        tuple(one.name for one in named if one.default is inspect.Parameter.empty),
        next((one.name for one in ordered if one.kind is not inspect.Parameter.VAR_KEYWORD), None),
        any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters),
    )


def _check(kind: str, takes: _Takes, inputs: Mapping[str, Any], argument: str | None) -> None:
    """Say which names do not fit what the network takes, and which it takes."""
    if argument is not None and argument not in takes.names and not takes.anything:
        raise PFVValueError(
            f"argument={argument!r}: {kind} has no such input. {_choice(argument, takes.names)}"
        )
    images = argument if argument is not None else takes.first
    if images is None:
        raise PFVValueError(
            f"argument=None: {kind} takes its inputs by name alone. "
            f"{_choice('images', takes.names)}"
        )
    others = [name for name in takes.names if name != images]
    if images in inputs and (argument is not None or images in takes.names):
        free = [name for name in others if name not in inputs]
        other = f", or name another input for them: argument={free[0]!r}" if free else ""
        raise PFVValueError(f"inputs has {images!r}, which takes the images. Leave it out{other}.")
    for name in inputs:
        if name not in others and not takes.anything:
            raise PFVValueError(
                f"inputs has {name!r}, which {kind} does not take beside the images. "
                f"{_choice(str(name), others)}"
            )
    missing = [name for name in takes.needed if name not in inputs and name != images]
    if missing:
        entries = ", ".join(f"{name!r}: ..." for name in [*inputs, *missing])
        raise PFVValueError(
            f"inputs lacks {listed(missing)}: {kind} takes {listed(takes.names)}, and {images!r} "
            f"is given the images. Pass inputs={{{entries}}}, or give the images another name with "
            "argument=..."
        )


def _choice(name: str, names: Iterable[str]) -> str:
    known = list(names)
    return suggestion(name, known) if known else "It takes the images alone: leave it out."


def _failure(error: Exception, images: Tensor, others: Mapping[str, object]) -> str:
    reason = (str(error).strip().splitlines() or [""])[0]
    examples = "".join(
        f", {name}: {tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__}"
        for name, one in others.items()
    )
    return (
        f"images, inputs: the model failed on a batch of shape {tuple(images.shape)}{examples} "
        f"({type(error).__name__}: {reason:.300}). Load the images at the size that it was made "
        "for, load_images(..., size=...), and give each of inputs the shape that it takes, a "
        "tensor with one row for each image."
    )


def _works(network: NetworkWithInputs, batch: Tensor) -> bool:
    """Whether a batch runs through, and gives a row for each image."""
    try:
        with as_its_owner_runs(network):
            result = network(batch.clone())
    except Exception:  # the network is the user's code and may raise anything
        return False
    parts = result.values() if isinstance(result, Mapping) else result
    several = parts if isinstance(parts, Iterable) and not isinstance(parts, Tensor) else [parts]
    tensors = [one for one in several if isinstance(one, Tensor)]
    return not tensors or any(one.ndim > 0 and len(one) == len(batch) for one in tensors)


def _repeated(value: Tensor, rows: tuple[int, ...], number: int) -> Tensor:
    """Return a row of a tensor for each of ``number`` images; all have the first if they differ."""
    return value[list(rows if len(rows) == number else rows[:1] * number)]
