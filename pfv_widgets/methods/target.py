"""What is explained: one unit of a layer or of the output, as a score to differentiate."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.capture import hooked, modules_by_name
from pfv_widgets.engine.guest import run
from pfv_widgets.engine.layout import Layout
from pfv_widgets.engine.survey import survey
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes
    ----------
    layer
        Dotted name of a layer, with ``#2`` for the second run of one that runs several times;
        None: the network's output.
    unit
        Index of a channel, feature or class; None: the strongest unit of each image.
    output
        Which of several outputs, by name or position; None where there is one.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the field, its value and what is legal.
    """

    layer: str | None = None
    unit: int | None = None
    output: str | int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str | None):
            raise PFVTypeError(f"layer={self.layer!r:.80}: expected a layer's name, or None.")
        legal = "expected a whole number from 0, or None for the strongest unit of each image"
        if self.unit is not None:
            try:
                unit = operator.index(self.unit)
            except TypeError:
                raise PFVTypeError(f"unit={self.unit!r:.80}: {legal}.") from None
            if isinstance(self.unit, bool):
                raise PFVTypeError(f"unit={self.unit!r}: {legal}.")
            if unit < 0:
                raise PFVValueError(f"unit={self.unit!r}: {legal}.")
            object.__setattr__(self, "unit", unit)
        if isinstance(self.output, bool) or not isinstance(self.output, str | int | None):
            raise PFVTypeError(
                f"output={self.output!r:.80}: expected the name or position of one of the "
                "network's outputs, or None."
            )


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured scores of a batch.

    Attributes
    ----------
    scores
        float ``(N,)``; can be differentiated where the batch requires gradients.
    units
        int64 ``(N,)``: which unit was taken for each image.
    """

    scores: Tensor
    units: Tensor


# ``run(batch)`` or ``run(batch, units)``; units (N,) keep the unit of each image as it was
Measure = Callable[..., Measured]


def measuring(network: nn.Module, target: Target) -> Measure:
    """Return ``run(batch, units=None)``, which gives the scores of a batch ``(N, 3, H, W)``.

    The score of a unit with a map is the **sum over its places**, for all methods: its gradient
    starts with 1 at each place, and its relevance with the activation of each place. Call it
    inside :func:`pfv_widgets.engine.guest.guest`; the forward pass ends at the target's layer,
    and no hook stays behind. ``batch`` itself is left alone by in-place operations.

    Parameters
    ----------
    network
        The guest, on the device of the batches.
    target
        What is measured.

    Raises
    ------
    PFVValueError, PFVTypeError
        (the function that is returned) For an unknown layer or output, one without that unit,
        or one that gives neither ``(N, K)`` nor maps.
    """
    read: Callable[[Tensor], Tensor] | None = None  # how the layer is read, once it was seen

    def measure(batch: Tensor, units: Tensor | None = None) -> Measured:
        nonlocal read
        if target.layer is None:
            output = chosen_output(run(network, batch.clone()), target.output, "the network")
            return _measured(_vector(output, len(batch)), target, units)
        if read is None:
            with torch.no_grad():
                read = _reader(network, target, batch[:1].detach())
        return _measured(_at_layer(network, target, read, batch), target, units)

    return measure


def gradient(measured: Measured, batch: Tensor) -> Tensor:
    """Return the derivative of each image's score by its own pixels, of the shape of ``batch``.

    No ``.grad`` is written.

    Raises
    ------
    PFVValueError
        If the scores do not depend on the images in a way that can be differentiated.
    """
    reason = "the scores do not depend on the images"
    if measured.scores.requires_grad:
        try:
            (found,) = torch.autograd.grad(measured.scores.sum(), batch, allow_unused=True)
        except RuntimeError as error:
            raise PFVValueError(_no_path((str(error).splitlines() or [""])[0])) from error
        if found is not None:
            return found
    raise PFVValueError(_no_path(reason))


def chosen_output(value: object, output: str | int | None, what: str) -> Tensor:
    """Return one tensor of what a module gave, by name or position.

    Raises
    ------
    PFVValueError
        Listing the outputs that there are.
    """
    if isinstance(value, Tensor):
        if output not in (None, 0):
            raise PFVValueError(f"output={output!r}: {what} gives one tensor. Leave output out.")
        return value
    named: dict[str | int, Tensor] = {}
    if isinstance(value, Mapping):
        named = {str(key): one for key, one in value.items() if isinstance(one, Tensor)}
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", range(len(value)))
        named = {
            name: one for name, one in zip(fields, value, strict=True) if isinstance(one, Tensor)
        }
    if not named:
        raise PFVValueError(f"model: {what} gives a {type(value).__name__} without any tensor.")
    names = ", ".join(repr(name) for name in named)
    if output is None and len(named) > 1:
        raise PFVValueError(f"output=None: {what} gives several tensors. Choose one of {names}.")
    if output is None:
        return next(iter(named.values()))
    if isinstance(output, int) and output not in named and 0 <= output < len(named):
        return list(named.values())[output]
    if output not in named:
        raise PFVValueError(f"output={output!r} is unknown: {what} gives {names}.")
    return named[output]


class _Enough(BaseException):
    """Leaves a forward pass in which the target's layer was seen."""


def _at_layer(
    network: nn.Module, target: Target, read: Callable[[Tensor], Tensor], batch: Tensor
) -> Tensor:
    name, number = _split(target)
    seen: list[Tensor] = []
    runs = 0

    def see(_: nn.Module, __: str, ___: tuple[object, ...], output: object) -> None:
        nonlocal runs
        runs += 1
        if runs == (number or 1):
            # at once: a later in-place operation may rewrite the map
            seen.append(read(chosen_output(output, target.output, f"layer {target.layer!r}")))
            raise _Enough

    with hooked({name: modules_by_name(network)[name]}, see):
        try:
            run(network, batch.clone())
        except _Enough:
            return seen[0]
    raise PFVValueError(f"layer={target.layer!r} did not run for all images of the batch.")


def _split(target: Target) -> tuple[str, int | None]:
    base, _, number = (target.layer or "").partition("#")
    return base, int(number) if number.isdecimal() else None


def _reader(network: nn.Module, target: Target, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what turns the layer's tensor into ``(N, K)``, or raise what is wrong with it."""
    name, number = _split(target)
    modules = modules_by_name(network)
    if name not in modules or not name:
        raise PFVValueError(_unknown(target.layer or "", [one for one in modules if one]))
    shapes: list[tuple[int, ...]] = []

    def see(_: nn.Module, __: str, ___: tuple[object, ...], output: object) -> None:
        shapes.append(
            chosen_output(output, target.output, f"layer {target.layer!r}").shape,
        )

    with hooked({name: modules[name]}, see):
        run(network, example.clone())
    shape = shapes[_checked_run(target, name, number, len(shapes)) - 1]
    if len(shape) <= 2 or shape[2:].count(1) == len(shape) - 2:
        return partial(_vector, count=None)
    layout = _layout(network, target, example, shape)
    return lambda output: layout.maps(output).flatten(2).float().sum(2)


def _checked_run(target: Target, name: str, number: int | None, times: int) -> int:
    if not times:
        raise PFVValueError(
            f"layer={target.layer!r} did not run in the forward pass, or lies inside a traced or "
            "scripted part. Choose one of pfv.layers."
        )
    options = listed([f"{name}#{index}" for index in range(1, times + 1)])
    if number is None and times > 1:
        raise PFVValueError(
            f"layer={target.layer!r} runs {times} times in one forward pass. "
            f"Choose one of {options}."
        )
    if number is not None and not 1 <= number <= times:
        raise PFVValueError(f"layer={target.layer!r} is not there. Choose one of {options}.")
    return number or 1


def _layout(network: nn.Module, target: Target, example: Tensor, shape: tuple[int, ...]) -> Layout:
    seen = survey(network, example.clone(), run)
    for layer in seen.layers:
        if layer.name == target.layer:
            return layer.layout
    if len(shape) == 4 and target.layer not in seen.refused:
        return Layout()
    reason = seen.refused.get(target.layer or "", f"gives values of shape {tuple(shape)}")
    raise PFVValueError(f"layer={target.layer!r} {reason}")


def _vector(output: Tensor, count: int | None = None) -> Tensor:
    """Return ``(N, K)`` float values, or raise why the output has no units."""
    fix = (
        "Choose the network's logits with output=..., or a layer with layer=...: "
        "a unit with a map is summed over its places"
    )
    if not output.is_floating_point() or output.is_quantized:
        raise PFVValueError(f"model: its output has values of type {output.dtype}. {fix}.")
    shape = tuple(output.shape)
    if output.ndim == 1:
        output = output[:, None]
    elif output.ndim > 2 and shape[2:].count(1) == output.ndim - 2:
        output = output.flatten(1)
    if output.ndim != 2 or 0 in shape or (count is not None and len(output) != count):
        raise PFVValueError(
            f"model: its output has the shape {shape}, not (N, K) with one row an image. {fix}."
        )
    return output.float()


def _measured(values: Tensor, target: Target, units: Tensor | None) -> Measured:
    if units is None and target.unit is not None:
        if target.unit >= values.shape[1]:
            where = f"layer {target.layer!r}" if target.layer else "the output"
            raise PFVValueError(
                f"unit={target.unit}: {where} has {values.shape[1]} units. "
                f"Choose one from 0 to {values.shape[1] - 1}."
            )
        units = torch.full((len(values),), target.unit, device=values.device)
    elif units is None:
        # NaN would win every comparison
        units = values.detach().nan_to_num(nan=-torch.inf).argmax(1)
    units = units.to(values.device)
    return Measured(values.gather(1, units[:, None])[:, 0], units)


def _unknown(layer: str, names: list[str]) -> str:
    near = difflib.get_close_matches(layer, names, n=4, cutoff=0.3) or names[-4:]
    return (
        f"layer={layer!r} is not in this network. The nearest names are "
        f"{', '.join(map(repr, near))}; pfv.layers lists those with maps."
    )


def _no_path(reason: str) -> str:
    return (
        f"model: no gradient reaches the images ({reason}). A network under inference_mode, "
        "quantised, with detach() or rounding inside cannot be differentiated: pass the float "
        "network, or a method without gradients such as method='occlusion'."
    )
