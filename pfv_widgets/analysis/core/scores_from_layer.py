"""From a layer to class scores: the part of a network behind the layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import hooked, modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer
from pfv_widgets.engine.network.model_guard import guarded, isolated, run
from pfv_widgets.engine.network.partial_forward import PartialForward, Read
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.methods.core.read_out import (
    Output,
    checked_output,
    chosen_output,
    outputs_of,
    vector,
)

_WITHOUT_SCORES = (
    "Give a network that ends in its read-out, or say which output holds its class scores (output=)"
)


def class_scores(output: Output = None) -> Read:
    """Return what makes scores ``(n, K)`` of what a network returned for n images.

    The function raises a ``PFVValueError`` where the network returns several tensors and none is
    chosen, or maps instead of one row an image.
    """
    output = checked_output(output)
    return lambda value, count: vector(
        chosen_output(value, output, "the network"), count, _WITHOUT_SCORES
    )


class UnusedLayerError(PFVValueError):
    """Scores do not depend on a layer's feature map.

    Attributes
    ----------
    instead
        Name of the last layer that they depend on; None where there is none.
    """

    def __init__(self, layer: str, instead: str | None) -> None:
        such = "" if instead is None else f", such as {instead!r},"
        super().__init__(
            f"layer={layer!r}: the network's scores do not depend on its feature map. Choose a "
            f"layer that lies on the way to the output{such} or the output that depends on it with "
            "output=..."
        )
        self.instead = instead


def scores_from_layer(
    forward: Forward,
    layer: Layer,
    output: Output = None,
    *,
    check: Callable[[], None] | None = None,
) -> PartialForward:
    """Return the part of a network behind a layer, with class scores as its result.

    ``check`` is called before each module that runs; what it raises ends the pass.

    Raises
    ------
    UnusedLayerError
        If the scores do not depend on the layer.
    PFVValueError
        If the network gives no class scores.
    """
    part = PartialForward(forward, layer, class_scores(output), check=check)
    if _depends(part):
        return part
    other = _last_on_the_way(forward, layer, forward.list_layers().layers, output)
    raise UnusedLayerError(layer.name, None if other is None else other.name)


def scores_from_last_used_layer(
    forward: Forward,
    default: Layer,
    layers: Iterable[Layer],
    output: Output = None,
    *,
    check: Callable[[], None] | None = None,
) -> tuple[Layer, PartialForward]:
    """Return a layer with what lies behind it: the default, or else the last that scores depend on.

    Scores of a transformer that reads its class token alone do not depend on the positions of its
    last layers.

    Raises
    ------
    UnusedLayerError
        If the scores depend on no layer.
    PFVValueError
        If the network gives no class scores.
    """
    part = PartialForward(forward, default, class_scores(output), check=check)
    if _depends(part):
        return default, part
    other = _last_on_the_way(forward, default, layers, output)
    if other is None:
        raise UnusedLayerError(default.name, None)
    return other, PartialForward(forward, other, class_scores(output), check=check)


def _last_on_the_way(
    forward: Forward, layer: Layer, layers: Iterable[Layer], output: Output
) -> Layer | None:
    """Return the last layer that scores depend on, one of the shape of ``layer`` where there is."""
    every = [one for one in reversed(tuple(layers)) if one.same_as is None]
    every.sort(key=lambda one: one.shape != layer.shape)
    try:
        return next(iter(_reached(forward, every, class_scores(output))), None)
    except (PFVError, RuntimeError, IndexError):  # no gradient runs: each is tried by itself
        few = replace(forward, images=forward.images[:2])
        parts = ((one, PartialForward(few, one, class_scores(output))) for one in every)
        return next((one for one, part in parts if _depends(part)), None)


def unused_layers(forward: Forward, layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers of which nothing depends that the network returns, scores or not.

    The list is empty where it returns nothing that has a row for each image.
    """
    try:
        used = _reached(forward, layers, _everything)
    except (PFVError, RuntimeError, IndexError):  # no gradient runs: each is tried by itself
        used = []
    few = replace(forward, images=forward.images[:2])
    parts = ((one, PartialForward(few, one, _everything)) for one in layers if one not in used)
    return [one for one, part in parts if part.scores.numel() and not _depends(part)]


def _everything(value: object, count: int) -> Tensor:
    """Return all numbers that a network returned for ``count`` images, ``(count, K)``."""
    if isinstance(value, Tensor):
        rows = value.ndim > 0 and len(value) == count
        return value.reshape(count, -1).float() if rows else value.new_zeros(count, 0)
    inside = outputs_of(value).values()
    parts = [part for one in inside if (part := _everything(one, count)).numel()]
    return torch.cat(parts, 1) if parts else torch.zeros(count, 0)


def _reached(forward: Forward, layers: Sequence[Layer], read: Read) -> list[Layer]:
    """Return the layers to whose positions a gradient of the scores runs, in one pass."""
    outputs: dict[str, list[Tensor]] = defaultdict(list)

    def note(_: nn.Module, name: str, __: tuple[object, ...], result: object) -> None:
        outputs[name] += [result] if isinstance(result, Tensor) else []

    with guarded(isolated(forward.model)) as network, torch.enable_grad():
        pixels = forward.batch(0, 1).clone().requires_grad_() * 1  # operations in place refuse it
        with hooked(modules_by_name(network), note):
            scores = read(run(network, pixels), 1)
        weights = torch.linspace(1, 2, scores.numel()).to(scores).view_as(scores)
        results = []
        for layer in layers:
            base, _, number = layer.name.partition("#")
            results.append(outputs[base][int(number or 1) - 1])
        slopes = torch.autograd.grad((scores * weights).sum(), results, allow_unused=True)
    return [
        layer for layer, slope in zip(layers, slopes, strict=True)
        if slope is not None and bool((layer.layout.maps(slope) != 0).any())
    ]  # fmt: skip


def _depends(part: PartialForward) -> bool:
    """Whether scores change with the features of a layer."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(part.features.shape[1:], generator=generator).to(part.features)
    features = part.features.nan_to_num(0.0, 0.0, 0.0)
    spread = features.std() + features.abs().mean()
    return bool((part.run(features + spread * (noise - 0.5)) != part.scores).any())
