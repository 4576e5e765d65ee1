"""How a layer's or a network's output becomes one row of units an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import StopForward, hooked, modules_by_name, run_captured
from pfv_widgets.engine.network.feature_layout import Layout, guess_layout, recurrent_layout
from pfv_widgets.engine.network.layers import unknown_layer
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.parameters import listed

Read = Callable[[Tensor], Tensor]
Output = str | int | None
EVEN, STARTS = "even", ("even", "activation")


def checked_output(output: object) -> Output:
    """Return the name or position of one of several outputs, or None."""
    if isinstance(output, bool) or not isinstance(output, str | int | None):
        raise PFVTypeError(
            f"output={output!r:.80}: expected the name or position of one of the network's "
            "outputs, or None."
        )
    return output


def chosen_output(value: object, output: Output, what: str) -> Tensor:
    """Return one tensor of what a module gave, by name or position."""
    if isinstance(value, Tensor):
        if output not in (None, 0):
            raise PFVValueError(f"output={output!r}: {what} gives one tensor. Leave output out.")
        return value
    parts = outputs_of(value)
    named = {name: one for name, one in parts.items() if isinstance(one, Tensor)}
    if not named and any(_holds_tensor(one) for one in parts.values()):
        raise PFVValueError(
            f"model: {what} gives a {type(value).__name__} whose tensors lie inside other dicts, "
            "lists or tuples, which are not searched. Wrap the network in a module whose forward "
            "returns the one tensor that is meant."
        )
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


def outputs_of(value: object) -> dict[str | int, object]:
    """Return what a module gave by name or position."""
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    if isinstance(value, tuple | list):
        return dict(zip(getattr(value, "_fields", range(len(value))), value, strict=True))
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name, None) for one in fields(value)}
    return {}


def _holds_tensor(value: object) -> bool:
    inside = outputs_of(value).values()
    return isinstance(value, Tensor) or any(_holds_tensor(one) for one in inside)


_OR_A_LAYER = (
    "Choose the network's logits with output=..., or a layer with layer=...: "
    "a unit with a map is summed over its positions"
)


def vector(output: Tensor, count: int | None = None, fix: str = _OR_A_LAYER) -> Tensor:
    """Return ``(N, K)`` float values, or raise why the output has no units, and the ``fix``."""
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
    return at_least_float32(output)


def at_least_float32(values: Tensor) -> Tensor:
    """Return values that can be summed: half precision overflows, float64 stays what it is."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def split(layer: str) -> tuple[str, int | None]:
    """Return a layer's module name and which of its runs is meant.

    >>> split("block.relu#2")
    ('block.relu', 2)
    """
    base, _, number = layer.partition("#")
    return base, int(number) if number.isdecimal() else None


def at_layer(network: nn.Module, layer: str, output: Output, read: Read, batch: Tensor) -> Tensor:
    """Return what ``read`` makes of the layer's tensor; the forward pass ends there."""
    name, number = split(layer)
    outputs: list[Tensor] = []
    runs = 0

    def see(_: nn.Module, __: str, ___: tuple[object, ...], result: object) -> None:
        nonlocal runs
        runs += 1
        if runs == (number or 1):
            # at once: a later in-place operation may rewrite the map
            outputs.append(read(chosen_output(result, output, f"layer {layer!r}")))
            raise StopForward

    with hooked({name: modules_by_name(network)[name]}, see):
        run_captured(partial(run, network, batch))
    if outputs and len(outputs[0]) == len(batch):
        return outputs[0]
    raise PFVValueError(
        f"layer={layer!r} did not run, or gives other than one row an image. "
        "Choose a layer with feature maps."
    )


def reader(
    network: nn.Module, layer: str, output: Output, example: Tensor, start: str = EVEN
) -> Read:
    """Return what turns the layer's tensor into ``(N, K)``, maps summed over their positions.

    ``start``, one of ``STARTS``, is the signal with which the gradient of a sum begins at each
    position of the map.
    """
    layout = layout_of(network, layer, output, example)
    if layout is None:
        return vector
    total = _sum if start == EVEN else _weighted_sum
    return lambda values: total(at_least_float32(layout.maps(values)).flatten(2))


def _sum(maps: Tensor) -> Tensor:
    return maps.sum(2)


def _weighted_sum(maps: Tensor) -> Tensor:
    """Return the sums ``(N, K)`` of maps ``(N, K, P)``, whose gradient is the maps themselves."""
    halves = 0.5 * maps.square().sum(2)
    return halves + (maps.sum(2) - halves).detach()


def averaged_layer(network: nn.Module, output: Output, example: Tensor) -> tuple[str, int] | None:
    """Return the layer whose maps the network's output is the mean of, and their positions.

    So it is where a fully convolutional classifier ends in global average pooling; None for other
    networks. The last such layer is taken, as an example ``(n, 3, H, W)`` shows.
    """
    means: list[tuple[str, int, Tensor]] = []
    runs: dict[str, int] = {}

    def see(_: nn.Module, name: str, __: tuple[object, ...], values: object) -> None:
        runs[name] = runs.get(name, 0) + 1
        if isinstance(values, Tensor) and values.ndim == 4 and values.shape[2:].numel() > 1:
            layer = name if runs[name] == 1 else f"{name}#{runs[name]}"
            means.append((layer, values.shape[2:].numel(), at_least_float32(values).mean((2, 3))))

    modules = {name: module for name, module in modules_by_name(network).items() if name}
    with torch.no_grad(), hooked(modules, see):
        units = vector(chosen_output(run(network, example), output, "the network"))
    for layer, positions, mean in reversed(means):
        if mean.shape == units.shape and torch.allclose(mean, units, rtol=1e-3, atol=1e-5):
            return layer, positions
    return None


def layout_of(network: nn.Module, layer: str, output: Output, example: Tensor) -> Layout | None:
    """Return how the layer's tensor is laid out; None where it has features and no positions."""
    name, number = split(layer)
    modules = modules_by_name(network)
    if name not in modules or not name:
        known = [one for one in modules if one]
        raise unknown_layer(layer, known)
    runs: list[tuple[Tensor, object]] = []

    def see(_: nn.Module, __: str, ___: tuple[object, ...], result: object) -> None:
        runs.append((chosen_output(result, output, f"layer {layer!r}"), result))

    with hooked({name: modules[name]}, see):
        run(network, example)
    values, result = runs[_checked_run(layer, number, len(runs)) - 1]
    shape = tuple(values.shape)
    if len(shape) <= 2 or shape[2:].count(1) == len(shape) - 2:
        return None
    if isinstance(result, Tensor):
        return _layout(network, layer, example, shape)
    return _layout_of_part(network, layer, example, values, first=_first(result) is values)


def _checked_run(layer: str, number: int | None, times: int) -> int:
    if not times:
        raise PFVValueError(
            f"layer={layer!r} did not run in the forward pass, or lies inside a traced or "
            "scripted part. Choose a layer with feature maps."
        )
    base = layer.partition("#")[0]
    options = listed([f"{base}#{index}" for index in range(1, times + 1)])
    if number is None and times > 1:
        raise PFVValueError(
            f"layer={layer!r} runs {times} times in one forward pass. Choose one of {options}."
        )
    if number is not None and not 1 <= number <= times:
        raise PFVValueError(f"layer={layer!r} is not there. Choose one of {options}.")
    return number or 1


def _layout(network: nn.Module, layer: str, example: Tensor, shape: tuple[int, ...]) -> Layout:
    listing = list_layers(network, example, run)
    known = {one.name: one.layout for one in listing.layers}
    base, number = split(layer)
    for name in (layer, base) if number == 1 else (layer,):
        if name in known:
            return known[name]
    if len(shape) == 4 and layer not in listing.refused:
        return Layout()
    reason = listing.refused.get(layer, f"gives values of shape {shape}, which have no channels.")
    raise PFVValueError(f"layer={layer!r} {reason}")


def _layout_of_part(
    network: nn.Module, layer: str, example: Tensor, values: Tensor, *, first: bool
) -> Layout:
    """Return the layout of one of the tensors of a layer that gives several."""
    module = modules_by_name(network)[split(layer)[0]]
    try:
        grids = [one.shape[1:] for one in list_layers(network, example, run).layers]
    except PFVValueError:  # no layer has maps, so there are no grids to compare with
        grids = []
    layout = guess_layout(values, module, example, grids)
    if not isinstance(layout, str):
        return layout
    if first and (steps := recurrent_layout(module, values.shape)):
        return steps
    raise PFVValueError(f"layer={layer!r} {layout}")


def _first(result: object) -> object:
    return next(iter(outputs_of(result).values()), None)
