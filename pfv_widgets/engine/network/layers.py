"""Which feature maps a network computes: names, shapes, order, and why others cannot be seen."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import hooked, modules_by_name
from pfv_widgets.engine.network.feature_layout import Layout, find_layout
from pfv_widgets.errors import PFVValueError

_PASSIVE = ("Dropout", "Dropout2d", "Identity", "StochasticDepth")
_READ_OUT = ("AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "Flatten")  # pooling for the classifier


@dataclass(frozen=True)
class Layer:
    """One feature map that the network computes: what can be chosen.

    Attributes
    ----------
    name
        The module's dotted name; the second run of a module that runs several times ends
        in ``#2``.
    kind
        The module's class.
    shape
        Channels, height and width of the map, ``(C, h, w)``.
    layout
        How the module's output is turned into ``(N, C, h, w)``.
    same_as
        Name of the layer that gives the same numbers and stands for both; ``None`` for
        those that stand for themselves.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    layout: Layout
    same_as: str | None = None


@dataclass(frozen=True)
class LayerListing:
    """What one forward pass showed of a network.

    Attributes
    ----------
    layers
        All spatial feature maps in forward order.
    default
        Name of the last spatial feature map before the read-out.
    refused
        Module name → why it cannot be chosen, for those that are not in ``layers``.
    maps
        Name → ``(n, C, h, w)`` of the default layer and its chain for the images that ran;
        a layer is missing where a later operation rewrote its output.
    scripted
        Names of traced and scripted parts, which ignore hooks inside them.
    """

    layers: tuple[Layer, ...]
    default: str
    refused: Mapping[str, str]
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    scripted: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of that name.

        Raises
        ------
        PFVValueError
            Naming the reason, and the nearest names where the layer is unknown.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        if name in self.refused:
            raise PFVValueError(f"layer={name!r} {self.refused[name]}")
        names = [layer.name for layer in self.layers]
        near = difflib.get_close_matches(name, names, n=4, cutoff=0.3) or names[-4:]
        raise PFVValueError(
            f"layer={name!r} is not in this network. The nearest names are "
            f"{', '.join(map(repr, near))}; pfv.layers lists all {len(names)}."
        )

    def chain(self, name: str) -> tuple[Layer, ...]:
        """Return the last feature map of each other resolution before layer ``name``, in order."""
        own = self[name].shape[1:]
        last: dict[tuple[int, int], Layer] = {}
        for layer in self.layers:
            if layer.name == name:
                break
            last.pop(layer.shape[1:], None)
            last[layer.shape[1:]] = layer
        last.pop(own, None)
        return tuple(self[layer.same_as or layer.name] for layer in last.values())


@dataclass(frozen=True)
class _Call:
    """One run of one module; the identity tells tensors and their states apart."""

    base: str
    module: nn.Module
    output: object
    identity: tuple[object, ...]
    moved: bool  # the output holds the input's values in another order


def list_layers(
    model: nn.Module, example: Tensor, run: Callable[[nn.Module, Tensor], object]
) -> LayerListing:
    """Run ``example`` ``(n, 3, H, W)`` once and list every spatial feature map.

    The model must already be in the mode in which it will be captured.

    Raises
    ------
    PFVValueError
        If no layer gives a spatial feature map.
    """
    calls: list[_Call] = []

    def record(module: nn.Module, name: str, inputs: tuple[object, ...], output: object) -> None:
        calls.append(_Call(name, module, output, _identity(output), _is_moved(inputs, output)))

    modules = {name: module for name, module in modules_by_name(model).items() if name}
    with hooked(modules, record):
        run(model, example)
    found, refused = _sort_out(calls, example)
    ran = {call.base for call in calls}
    scripted, inside = _scripted(modules)
    refused |= inside
    refused |= {
        name: "did not run in the forward pass. Choose one of pfv.layers."
        for name in modules
        if name not in ran and name not in refused
    }
    if not found:
        raise PFVValueError(
            "model: none of its layers gives a spatial feature map (N, C, h, w) with more than "
            "one place for these images. Load larger images, or take another network."
        )
    seen = LayerListing(_mark_same(found), _default(found, calls), refused)
    outputs = {layer.name: call for layer, call in found.items()}
    kept = [seen[seen.default], *seen.chain(seen.default)]
    maps = dict(_unchanged((layer, outputs[layer.name]) for layer in kept))
    return replace(seen, maps=maps, scripted=scripted)


def _scripted(modules: Mapping[str, nn.Module]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Name the traced and scripted parts, and say for each module inside so."""
    scripted = [name for name, one in modules.items() if isinstance(one, torch.jit.ScriptModule)]
    outer = [n for n in scripted if not any(n.startswith(f"{one}.") for one in scripted)]
    inside = {
        name: f"lies inside {one!r}, which is traced or scripted: hooks in it are ignored. "
        "Use the eager module that it was made from."
        for name in modules
        for one in outer
        if name.startswith(f"{one}.")
    }
    return tuple(outer), inside


def _unchanged(seen: Iterable[tuple[Layer, _Call]]) -> Iterator[tuple[str, Tensor]]:
    for layer, call in seen:
        if isinstance(call.output, Tensor) and _identity(call.output) == call.identity:
            yield layer.name, layer.layout.maps(call.output.detach())


def _identity(output: object) -> tuple[object, ...]:
    """Equal for outputs that are one tensor in one state: an in-place operation changes it."""
    if not isinstance(output, Tensor) or output.is_quantized:
        return (id(output),)
    return (output.data_ptr(), tuple(output.shape), output.stride(), output._version)


def _is_moved(inputs: tuple[object, ...], output: object) -> bool:
    """Whether a module may only have rearranged its input, as window partitions do."""
    given = inputs[0] if inputs else None
    if not (isinstance(given, Tensor) and isinstance(output, Tensor)):
        return False
    return given.shape != output.shape and given.numel() == output.numel()


def _sort_out(calls: list[_Call], example: Tensor) -> tuple[dict[Layer, _Call], dict[str, str]]:
    """Split the calls into spatial layers and the reasons why others are none."""
    total = Counter(call.base for call in calls)
    runs: Counter[str] = Counter()
    found: dict[Layer, _Call] = {}
    refused: dict[str, str] = {}
    grids: list[tuple[int, int]] = []
    for call in calls:
        runs[call.base] += 1
        name = call.base if total[call.base] == 1 else f"{call.base}#{runs[call.base]}"
        layout = find_layout(call.output, call.module, example, grids, moved=call.moved)
        if isinstance(layout, str):
            refused[name] = layout
        else:
            grids.append(layout[1][1:])
            found[Layer(name, type(call.module).__name__, layout[1], layout[0])] = call
    for base, times in total.items():
        if times > 1:
            options = ", ".join(f"'{base}#{index}'" for index in range(1, times + 1))
            refused[base] = f"runs {times} times in one forward pass. Choose one of {options}."
    return found, refused


def _mark_same(found: dict[Layer, _Call]) -> tuple[Layer, ...]:
    """Let one name stand for all layers whose output is one tensor in one state."""
    groups: dict[object, list[Layer]] = {}
    for layer, call in found.items():
        groups.setdefault(call.identity, []).append(layer)
    marked = []
    for layer, call in found.items():
        chosen = max(groups[call.identity], key=_aptness).name
        marked.append(replace(layer, same_as=None if chosen == layer.name else chosen))
    return tuple(marked)


def _aptness(layer: Layer) -> tuple[bool, bool, bool, int]:
    """Prefer modules that work, names without a run number, and ``block.index`` as names."""
    works = layer.kind not in _PASSIVE
    depth = layer.name.count(".")
    return (works, "#" not in layer.name, depth == 1, -depth)


def _default(found: dict[Layer, _Call], calls: list[_Call]) -> str:
    """Return the last spatial map; a final 1×1 convolution is the read-out, like a final Linear."""
    end = len(calls)
    weighted = [index for index, call in enumerate(calls) if _is_weighted_leaf(call.module)]
    if weighted and _is_pointwise(calls[weighted[-1]].module):
        end = weighted[-1]
    before = {id(call) for call in calls[:end]}
    maps = [
        layer for layer, call in found.items() if id(call) in before and layer.kind not in _READ_OUT
    ] or list(found)
    same = {layer.name: layer.same_as or layer.name for layer in _mark_same(found)}
    return same[maps[-1].name]


def _is_weighted_leaf(module: nn.Module) -> bool:
    return not any(module.children()) and any(p.numel() for p in module.parameters(recurse=False))


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
