"""Which layer is shown first: the last feature map before the read-out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.backward_graph import nodes_behind
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.module_calls import (
    CallKey,
    ModuleCall,
    WatchedNetwork,
    tensors_in,
)
from pfv_widgets.errors import PFVError

READ_OUT_POOLING = ("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "Flatten")  # for the classifier


def choose_default(
    call_of: Mapping[Layer, ModuleCall],
    calls: Sequence[ModuleCall],
    result: object,
    auxiliary: set[CallKey],
) -> Layer:
    """Return the last spatial feature map before the read-out, of layers in forward order.

    Left out, as long as others remain, are auxiliary heads (the calls that only outputs besides the
    main one depend on), final 1×1 convolutions and linear layers with what follows them, modules
    that take maps and give none (detection heads, pooling by attention), layers whose positions are
    not verified, and pooling for the classifier.
    """
    calls = [call for call in calls if call.key not in auxiliary]
    end = _read_out_start(call_of, calls, result)
    before = {call.key for call in calls[:end]}
    heads = _heads(call_of, calls)
    conditions: tuple[Callable[[Layer, ModuleCall], bool], ...] = (
        lambda _, call: call.key not in auxiliary,
        lambda _, call: call.key in before,
        lambda _, call: not call.base.startswith(heads),
        lambda layer, _: layer.verified,
        lambda layer, _: layer.kind not in READ_OUT_POOLING,
    )
    left = list(call_of.items())
    for holds in conditions:
        left = [pair for pair in left if holds(*pair)] or left
    return left[-1][0]


def _read_out_start(
    call_of: Mapping[Layer, ModuleCall], calls: Sequence[ModuleCall], result: object
) -> int:
    """Return how many calls come before the read-out: the last pointwise layers.

    The last layer with weights is one if it is a 1×1 convolution; so are linear layers whose
    maps nothing follows, and all directly before them that give as many channels as the network.
    """
    weighted = [index for index, call in enumerate(calls) if _is_weighted_leaf(call.module)]
    units = _number_of_units(result)
    end = len(calls)
    for index in reversed(weighted):
        module = calls[index].module
        last = end == len(calls)
        gives_units = _width(module) == units
        one_by_one = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        pointwise = one_by_one and (last or gives_units)
        linear = isinstance(module, nn.Linear) and gives_units
        if not pointwise and not (linear and not (last and _is_followed(call_of, calls, index))):
            break
        end = index
    return end


def _is_followed(
    call_of: Mapping[Layer, ModuleCall], calls: Sequence[ModuleCall], index: int
) -> bool:
    """Whether other maps come after a call."""
    versions = {call.version for call in call_of.values()}
    return any(call.version in versions - {calls[index].version} for call in calls[index + 1 :])


def _heads(call_of: Mapping[Layer, ModuleCall], calls: Sequence[ModuleCall]) -> tuple[str, ...]:
    """Return prefixes of the names inside modules that take maps and give none.

    A module that holds half of the weights or more is the network's trunk with its read-out.
    """
    shapes = {
        tuple(call.output.shape) for call in call_of.values() if isinstance(call.output, Tensor)
    }
    spatial = {call.key for call in call_of.values()}
    heads = []
    for call in calls:
        if call.key in spatial or not any(call.module.children()):
            continue
        takes_maps = any(tuple(shape) in shapes for shape, _ in call.inputs)
        gives_maps = any(tuple(one.shape) in shapes for one in tensors_in(call.output))
        if takes_maps and not gives_maps:
            inside = sum(map(_number_of_weights, call.module.modules()))
            whole = sum(map(_number_of_weights, {call.module for call in calls}))
            heads += [f"{call.base}."] if 2 * inside < whole else []
    return tuple(heads)


def _number_of_weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module._parameters.values() if one is not None)


def _is_weighted_leaf(module: nn.Module) -> bool:
    return not any(module.children()) and _number_of_weights(module) > 0


def _width(module: nn.Module) -> int | None:
    """Return how many channels a convolution or a linear layer gives."""
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    return module.out_features if isinstance(module, nn.Linear) else None


def _number_of_units(result: object) -> int | None:
    """Channels of the first output with more than one axis; None where there is none."""
    for one in tensors_in(result):
        if one.ndim > 1:
            return int(one.shape[1] if one.ndim == 4 else one.shape[-1])
    return None


def auxiliary_calls(network: WatchedNetwork, image: Tensor, result: object) -> set[CallKey]:
    """Return the calls that only outputs besides the first one of the same shape depend on.

    A network with such outputs, as those of auxiliary classifiers, runs once more with gradients.
    """
    outputs = _outputs_like_the_first(result)
    if len(outputs) < 2:
        return set()
    functions: dict[CallKey, Any] = {}

    def note(key: CallKey, _: nn.Module, __: tuple[object, ...], output: object) -> None:
        for one in tensors_in(output):
            functions[key] = one.grad_fn

    try:
        with torch.enable_grad():
            pixels = image.clone().requires_grad_() * 1  # in-place operations refuse a leaf
            again = _outputs_like_the_first(network.watch(pixels, note))
    except PFVError:
        return set()
    main, *others = (set(nodes_behind(one)) for one in again)
    beside = set().union(*others) - main
    return {key for key, function in functions.items() if function in beside}


def _outputs_like_the_first(result: object) -> list[Tensor]:
    values = list(result.values()) if isinstance(result, Mapping) else result
    if not isinstance(values, list | tuple):
        return []
    tensors = [one for one in values if isinstance(one, Tensor) and one.ndim > 1]
    return [one for one in tensors if one.shape == tensors[0].shape]
