"""Which calls of a network answer as earlier ones do, so that a test of them can end early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from pfv_widgets.engine.network.feature_layout import Layout, keeps_positions
from pfv_widgets.engine.network.module_calls import CallKey, ModuleCall, TensorKey, tensor_key

Kind = tuple[object, ...]


def tested_instead(
    modules: Mapping[str, nn.Module],
    calls: Sequence[ModuleCall],
    layouts: Mapping[CallKey, Sequence[Layout]],
    batch: Tensor,
) -> dict[CallKey, CallKey]:
    """Return for each call the one that is tested in its place: itself, or an earlier one.

    Behind the last call that is like none before it, each answers as the last one before that which
    is like it: networks repeat one block, on one grid or on grids that shrink. So the pass with the
    changed picture can end there. What follows from the maps that it was made from is left out: a
    convolution of them, or a view of them with its axes in another order.
    """
    kinds = {call.key: tuple(_kinds(modules, call, layouts[call.key])) for call in calls}
    of_output: dict[Kind, tuple[Kind, ...]] = {}
    for call in calls:  # a container that returns what its last module gave answers as that one
        same = (call.version, *layouts[call.key])
        kinds[call.key] = of_output.setdefault(same, kinds[call.key])
    seen: set[Kind] = set()
    axes, outputs = {_axes(batch)}, {tensor_key(batch)}
    follows: set[CallKey] = set()
    end = 0
    for index, call in enumerate(calls, 1):
        assert isinstance(call.output, Tensor)
        known = {key for _, key in call.inputs} & outputs
        convolution = keeps_positions(call.module) and call.output.ndim == 4
        if _axes(call.output) in axes or (known and convolution):
            follows.add(call.key)
        elif seen.isdisjoint(kinds[call.key]):
            end = index
        seen.update(kinds[call.key])
        axes.add(_axes(call.output))
        outputs.add(tensor_key(call.output))
    instead: dict[CallKey, CallKey] = {call.key: call.key for call in calls[:end]}
    last: dict[Kind, CallKey] = {kind: call.key for call in calls[:end] for kind in kinds[call.key]}
    for call in calls[end:]:
        like = next((last[kind] for kind in kinds[call.key] if kind in last), None)
        if like is not None:
            instead[call.key] = like
            last |= {kind: like for kind in kinds[call.key] if kind not in last}
    return instead


def _axes(values: Tensor) -> TensorKey:
    """Equal for views of one memory whose axes are in any order."""
    return (values.data_ptr(), *sorted(zip(values.shape, values.stride(), strict=True)))


def _kinds(
    modules: Mapping[str, nn.Module], call: ModuleCall, layouts: Sequence[Layout]
) -> Iterator[Kind]:
    """Yield what makes a call like an earlier one, the surest first.

    The same part of a block of the same class, then a module of the same class with an output of
    the same shape. Containers and layers of PyTorch are no blocks: they are used for anything.
    """
    module, output = call.module, call.output
    assert isinstance(output, Tensor)
    options = tuple(
        (name, value)
        for name, value in vars(module).items()
        if name[:1] != "_" and name != "training" and isinstance(value, str | bool)
    )
    what = (type(module), options, output.ndim, *((one.kind, one.extra_tokens) for one in layouts))
    parts = call.base.split(".")
    for depth in range(1, len(parts) + 1):
        block = modules.get(".".join(parts[:depth]))
        if block is not None and _is_block(block):
            yield (type(block), tuple(parts[depth:]), *what)
    yield (type(module), tuple(output.shape), *layouts)


def _is_block(module: nn.Module) -> bool:
    own = not type(module).__module__.startswith("torch.nn.")
    return own and (any(module.children()) or any(True for _ in module.parameters()))
