"""Run a network once or twice and list the feature maps that it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.capture import (
    StopForward,
    accepts_hooks,
    modules_by_name,
    run_captured,
)
from pfv_widgets.engine.network.default_layer import auxiliary_calls, choose_default
from pfv_widgets.engine.network.feature_layout import (
    Grid,
    Layout,
    is_elementwise,
    keeps_positions,
    non_spatial,
    possible_layouts,
    refusal,
)
from pfv_widgets.engine.network.layers import Layer, LayerListing
from pfv_widgets.engine.network.module_calls import (
    CallKey,
    ModuleCall,
    Run,
    TensorKey,
    WatchedNetwork,
    tensor_key,
)
from pfv_widgets.engine.network.position_check import Answer, PositionCheck
from pfv_widgets.engine.network.repeated_calls import tested_instead
from pfv_widgets.errors import PFVError, PFVValueError

_SAMPLE = 256  # values by which outputs are compared
_PASSIVE = ("Dropout", "Dropout2d", "Identity", "StochasticDepth")

Layouts = Mapping[CallKey, Sequence[Layout]]
Answers = Mapping[CallKey, Sequence[Answer | None] | None]
Verdict = tuple[Layout, bool] | str  # the layout and whether it is verified, or why there is none


def list_layers(model: nn.Module, example: Tensor, run: Run) -> LayerListing:
    """Run two of the images ``(n, 3, H, W)`` and list every spatial feature map.

    The model must already be in the mode in which it will be captured. Unless all of it is plainly
    convolutional, a picture with changes runs as well, in a batch of another size: what does not
    follow the number of images is no map of them, and what answers elsewhere than where the
    picture was changed has no positions.

    Where the network does not take images with their channels last in memory, as one that calls
    ``view`` on its feature maps, they run in another format.
    """
    if example.is_contiguous(memory_format=torch.channels_last):
        with suppress(PFVError):  # what else is wrong with the images is said by the second try
            return replace(_list_layers(model, example, run), channels_last=True)
    return _list_layers(model, example.contiguous(), run)


def _list_layers(model: nn.Module, example: Tensor, run: Run) -> LayerListing:
    batch = example[:2] if len(example) > 1 else example.repeat(2, 1, 1, 1)
    modules = {name: module for name, module in modules_by_name(model).items() if name}
    scripted, refused = _scripted(modules)
    modules = {name: module for name, module in modules.items() if name not in refused}
    network = WatchedNetwork(model, modules, run)
    calls, result = network.record(batch)
    verdicts, changing = _verdicts(network, batch, calls)
    mixing_calls = _without_random(network, batch, calls, changing)
    call_of, without_map = _sort_out(calls, verdicts)
    ran = {call.base for call in calls}
    refused |= without_map | {
        name: "did not run in the forward pass. Choose a layer with feature maps."
        for name in modules
        if name not in ran
    }
    if not call_of:
        raise PFVValueError(_why_no_layer(model, calls))
    layers = _mark_same(call_of)
    auxiliary = auxiliary_calls(network, batch[:1], result)
    same = {layer.name: layer.same_as or layer.name for layer in layers}
    last = same[choose_default(call_of, calls, result, set()).name]
    default = last
    if auxiliary:
        default = same[choose_default(call_of, calls, result, auxiliary).name]
    mixing = tuple(
        layer.name
        for layer, call in call_of.items()
        if call.key in mixing_calls or mixes_images(call.module)
    )
    listing = LayerListing(layers, default, last, refused, scripted=scripted, mixing=mixing)
    by_name = {layer.name: call for layer, call in call_of.items()}
    maps = {
        layer.name: layer.layout.maps(result.detach())
        for layer in (listing[default], *listing.chain(default))
        if (result := by_name[layer.name].result) is not None
    }
    return replace(listing, maps=maps)


def _scripted(modules: Mapping[str, nn.Module]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Name the traced and scripted parts, and say why what takes no hooks cannot be seen."""
    parts = [name for name, one in modules.items() if isinstance(one, torch.jit.ScriptModule)]
    outer = [name for name in parts if not any(name.startswith(f"{one}.") for one in parts)]
    use = "Use the eager module that it was made from."
    refused = {
        name: f"lies inside {one!r}, which is traced or scripted: hooks in it are ignored. {use}"
        for name in modules
        for one in outer
        if name.startswith(f"{one}.")
    }
    for name in outer:
        if not accepts_hooks(modules[name]):
            refused[name] = f"is scripted, so its output cannot be seen. {use}"
    return tuple(outer), refused


def mixes_images(module: nn.Module) -> bool:
    """Whether a module's maps of one image depend on the others in the batch."""
    is_batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return is_batch_norm and (module.training or module.running_mean is None)


def _why_no_layer(model: nn.Module, calls: Sequence[ModuleCall]) -> str:
    outputs = [call.output for call in calls if isinstance(call.output, Tensor)]
    weights_ran = any(True for call in calls for _ in call.module.parameters(recurse=False))
    if any(output.is_quantized for output in outputs):
        reason = "They give quantised values. Pass the float network that it was made from."
    elif not weights_ran and any(True for _ in model.parameters()):
        reason = (
            "No module that holds weights ran, as in an exported network, whose forward calls "
            "functions instead. Pass the eager nn.Module that it was made from."
        )
    elif any(output.ndim == 4 and output.shape[2:] == (1, 1) for output in outputs):
        reason = "Load larger images, or take another network."
    else:
        reason = "Take a network with convolutions, or with tokens of patches."
    return (
        "model: none of its layers gives a spatial feature map (N, C, h, w) with more than one "
        f"position for these images. {reason}"
    )


def _sort_out(
    calls: Sequence[ModuleCall], verdicts: Sequence[Verdict]
) -> tuple[dict[Layer, ModuleCall], dict[str, str]]:
    """Split the calls into spatial layers and the reasons why others are none."""
    total = Counter(call.base for call in calls)
    call_of: dict[Layer, ModuleCall] = {}
    refused: dict[str, str] = {}
    for call, verdict in zip(calls, verdicts, strict=True):
        name = call.base if total[call.base] == 1 else f"{call.base}#{call.index}"
        if isinstance(verdict, str):
            refused[name] = verdict
        else:
            layout, verified = verdict
            channels, height, width = layout.maps(_tensor(call)).shape[1:]
            kind, shape = type(call.module).__name__, (channels, height, width)
            call_of[Layer(name, kind, shape, layout, verified=verified)] = call
    for base, times in total.items():
        if times > 1:
            options = ", ".join(f"'{base}#{index}'" for index in range(1, times + 1))
            refused[base] = f"runs {times} times in one forward pass. Choose one of {options}."
    return call_of, refused


def _verdicts(
    network: WatchedNetwork, batch: Tensor, calls: Sequence[ModuleCall]
) -> tuple[list[Verdict], set[CallKey]]:
    """Return for each call how its output is laid out, or why it is no map.

    And the calls whose output of a picture is another one beside other pictures, as far as that is
    tested: not where all of the network is plainly convolutional.
    """
    refusals = [refusal(call.output, len(batch)) for call in calls]
    spatial = [call for call, reason in zip(calls, refusals, strict=True) if reason is None]
    if _is_plain(spatial, batch):
        return [(Layout(), True) if reason is None else reason for reason in refusals], set()
    layouts = _possible_layouts(spatial, batch)
    tested = tested_instead(network.modules, spatial, layouts, batch)
    answers, changing = _answers(network, batch[:1], layouts, tested, spatial)
    shapes = {call.key: _tensor(call).shape for call in spatial}
    grids = {
        _grid(layout, shapes[key])
        for key, of_call in answers.items()
        for layout, answer in zip(layouts[key], of_call or (), strict=False)
        if answer is not None and answer.agrees
    }
    verdicts: list[Verdict] = []
    verified = {tensor_key(batch): Layout()}
    for call, reason in zip(calls, refusals, strict=True):
        if reason is not None:
            verdicts.append(reason)
            continue
        verdict = _verdict(_tensor(call), layouts[call.key], answers, call.key, grids)
        layout = _followed_layout(call, verified if answers else None, layouts[call.key])
        is_constant = not any(answers.get(call.key, [None, True]) or ())
        verdicts.append(verdict if layout is None or is_constant else (layout, True))
        if isinstance(verdicts[-1], tuple) and verdicts[-1][1]:
            layout, output = verdicts[-1][0], _tensor(call)
            verified |= {tensor_key(layout.maps(output)): Layout(), tensor_key(output): layout}
    return verdicts, changing


def _without_random(
    network: WatchedNetwork, batch: Tensor, calls: Sequence[ModuleCall], changing: set[CallKey]
) -> set[CallKey]:
    """Return those of some calls that give the same for the same images: they draw no numbers."""
    if not changing:
        return changing
    again = {call.key: call.result for call in network.record(batch)[0]}
    return {
        call.key
        for call in calls
        if call.key in changing and call.result is not None
        and (other := again.get(call.key)) is not None and _is_alike(call.result[0], other[0])
    }  # fmt: skip


def _followed_layout(
    call: ModuleCall, verified: Mapping[TensorKey, Layout] | None, layouts: Sequence[Layout]
) -> Layout | None:
    """Return the layout that an output has because of what it was made from, if that settles it.

    ``verified`` are the maps before it; None where the network could not be tested.
    """
    output = _tensor(call)
    if keeps_positions(call.module) and output.ndim == 4:
        follows = verified is None or any(key in verified for _, key in call.inputs)
        return Layout() if follows else None
    if verified is None or tensor_key(output) in verified:
        return None if verified is None else verified[tensor_key(output)]
    same = (layout for layout in layouts if tensor_key(layout.maps(output)) in verified)
    return next(same, None)  # the axes of verified maps in another order


def _is_plain(calls: Sequence[ModuleCall], batch: Tensor) -> bool:
    """Whether all maps follow from the images by steps that keep positions where they are.

    Each must come from the images or from a map before it, through one of PyTorch's modules for
    maps, or stay on the grid of the map before it, through an activation or a block of modules.
    """
    grid = tuple(batch.shape[2:])
    known: set[TensorKey] = set()
    for call in calls:
        output = _tensor(call)
        shape, key, module = tuple(output.shape), tensor_key(output), call.module
        from_known = any(one in known or shape == batch.shape for shape, one in call.inputs)
        follows = from_known or any(
            len(shape) == 4 and shape[2:] == grid for shape, _ in call.inputs
        )
        if len(shape) != 4 or not follows:
            return False
        if not keeps_positions(module):
            same_grid = (from_known and is_elementwise(module)) or key in known
            known_kind = is_elementwise(module) or any(module.children())
            unlike_last = shape[1:3] != grid  # else channels might come last
            if shape[2:] != grid or not (same_grid or (known_kind and unlike_last)):
                return False
        grid = shape[2:]
        known.add(key)
    return True


def _possible_layouts(calls: Sequence[ModuleCall], batch: Tensor) -> Layouts:
    layouts: dict[CallKey, Sequence[Layout]] = {}
    grids: list[Grid] = []
    image = (batch.shape[2], batch.shape[3])
    for call in calls:
        shape = _tensor(call).shape
        layouts[call.key] = possible_layouts(shape, call.module, image, grids)
        grids += [_grid(layout, shape) for layout in layouts[call.key][:1]]
    return layouts


def _answers(
    network: WatchedNetwork,
    image: Tensor,
    layouts: Layouts,
    tested: Mapping[CallKey, CallKey],
    calls: Sequence[ModuleCall],
) -> tuple[Answers, set[CallKey]]:
    """Change the picture and return how each output answers in each layout it may have.

    None stands for outputs that do not follow the number of images; what is missing did not run.
    With it are the calls whose output of the picture is another one beside other pictures.
    """
    changing: set[CallKey] = set()
    call_of = {call.key: call for call in calls}
    end = [key for key, instead in tested.items() if key == instead][-1:]
    position_test = PositionCheck(image)
    answers: dict[CallKey, Sequence[Answer | None] | None] = {}
    last: tuple[Tensor, int, Sequence[Layout], Sequence[Answer | None]] | None = None

    def test(key: CallKey, _: nn.Module, __: tuple[object, ...], output: object) -> None:
        nonlocal last
        if key not in layouts:
            return
        call = call_of[key]
        if not isinstance(output, Tensor) or output.shape != (4, *_tensor(call).shape[1:]):
            answers[key] = None
        elif last and last[0] is output and last[1:3] == (output._version, layouts[key]):
            answers[key] = last[3]  # a container that returns what its last module gave
        else:
            answers[key] = [position_test.answer_of(lay.maps(output)) for lay in layouts[key]]
            last = (output, output._version, layouts[key], answers[key] or ())
            if call.result is not None and not _is_alike(output[0], call.result[0]):
                changing.add(key)
        if [key] == end:
            raise StopForward

    with suppress(PFVError):  # a network made for one batch size: everything stays open
        run_captured(lambda: network.watch(position_test.pictures, test))
    known = {key: answers[instead] for key, instead in tested.items() if instead in answers}
    return known, changing


def _is_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs of one picture are the same but for rounding, at some of its values."""
    step = max(1, one.numel() // _SAMPLE)
    sample, same = (output.flatten()[::step].cpu().double() for output in (one, other))
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * float(same.abs().amax())
    return not float((sample - same).abs().amax()) > tolerance  # NaN says nothing


def _verdict(
    output: Tensor, layouts: Sequence[Layout], answers: Answers, key: CallKey, grids: set[Grid]
) -> Verdict:
    """Judge one output by how it answered; ``grids`` are those of the maps that are verified."""
    shape = tuple(output.shape)
    if not layouts:
        return non_spatial(shape)
    of_call = answers.get(key, [None] * len(layouts))
    if of_call is None:
        return f"gives a first axis that does not follow the number of images (shape {shape})."
    tested = [(lay, one) for lay, one in zip(layouts, of_call, strict=True) if one is not None]
    agreeing = [(layout, answer) for layout, answer in tested if answer.agrees]
    if agreeing:
        return max(agreeing, key=lambda pair: pair[1].agreement)[0], True
    # (N, a, b) with a known number of positions at its end rather has its channels before them
    channels_first = output.ndim == 3 and output.shape[2] in {h * w for h, w in grids}
    for layout, answer in tested:
        on_grid = _grid(layout, output.shape) in grids or (output.ndim == 3 and answer.says_nothing)
        if answer.says_little and (answer.undecided or (on_grid and not channels_first)):
            return layout, False
    if not tested:
        return layouts[0], False
    return (
        "responds to a change of the picture at other positions than where it was made: its axes "
        f"(shape {shape}) are not positions of the picture. Choose a layer with feature maps."
    )


def _tensor(call: ModuleCall) -> Tensor:
    assert isinstance(call.output, Tensor)
    return call.output


def _grid(layout: Layout, shape: Sequence[int]) -> Grid:
    """Height and width of the map that an output of that shape is."""
    height, width = layout.maps(torch.empty(tuple(shape), device="meta")).shape[2:]
    return int(height), int(width)


def _mark_same(call_of: Mapping[Layer, ModuleCall]) -> tuple[Layer, ...]:
    """Let one name stand for all layers whose output is one tensor in one state."""
    groups: dict[object, list[Layer]] = {}
    for layer, call in call_of.items():
        groups.setdefault(call.version, []).append(layer)
    marked = []
    for layer, call in call_of.items():
        group = groups[call.version]
        chosen = layer.name if len(group) == 1 else max(group, key=_name_preference).name
        marked.append(layer if chosen == layer.name else replace(layer, same_as=chosen))
    return tuple(marked)


def _name_preference(layer: Layer) -> tuple[bool, bool, bool, int]:
    """Prefer modules that work, names without a run number, and ``block.index`` as names."""
    works = layer.kind not in _PASSIVE
    depth = layer.name.count(".")
    return (works, "#" not in layer.name, depth == 1, -depth)
