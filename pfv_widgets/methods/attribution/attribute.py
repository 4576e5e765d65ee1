"""One call for every method: a network, images and a target in, an :class:`Attribution` out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import unwrap
from pfv_widgets.engine.network.named_models import normalisation_doubt
from pfv_widgets.errors import PFVValueError, warn
from pfv_widgets.methods.attribution.registry import DEFAULT
from pfv_widgets.methods.attribution.result import Attribution
from pfv_widgets.methods.attribution.runner import (
    check_gradient_of,
    in_chunks,
    method_of,
)
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs, bind_inputs
from pfv_widgets.methods.core.method import Cancelled, Method, Progress, Result, reduce_channels
from pfv_widgets.methods.core.target import Target, checked_unit
from pfv_widgets.validation import function_or_none, whole_number

CHUNK = 16  # images that a method is given at a time


@own_modes()
def attribute(
    model: nn.Module,
    images: object,
    method: str | Method = DEFAULT,
    layer: str | None = None,
    unit: int | Sequence[int] | None = None,
    *,
    output: str | int | None = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    chunk_size: int = CHUNK,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    **options: Any,
) -> Attribution:
    """Say which pixels a score of the network depends on.

    Parameters
    ----------
    model
        Any eager ``nn.Module`` that takes the images; it is given back as it came.
    images
        An :class:`ImageBatch`, or whatever :func:`load_images` takes.
    method
        A name in ``pw.METHODS``, or an instance of one of its classes. The default,
        :data:`DEFAULT`, is faithful and passes the randomisation check of Adebayo et al. (2018);
        ``pw.METHODS[name].caution`` says which methods fail it.
    layer, unit, output
        What is explained, see :class:`pfv_widgets.methods.core.target.Target`: by default the
        strongest unit of the network's output, for each image its own. ``unit=7`` explains unit 7
        in every image, ``unit=[14, 776]`` another in each of two images.
    inputs
        The network's other inputs by name. A tensor with as many rows as there are images gives
        one row to each; one with a single row, and anything else, is given to all.
    argument
        Name of the input that takes the images; None: the first.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"`` or a ``torch.device``.
    chunk_size
        Images that the method is given at a time, or as many as its ``batch_size`` if that is
        less. The maps do not depend on it, unless the network mixes the images of a batch; where a
        ``BatchNorm`` does, a warning says so.
    progress
        Called as ``progress(done, all)``.
    cancelled
        Asked between steps; where it says True, a :class:`CancelledError` ends the work.
    **options
        The method's own options.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and the fix. What is doubtful about a map is a
        ``PFVWarning``, and is in ``Attribution.warnings``.
    """
    for role, call in (("progress", progress), ("cancelled", cancelled)):
        function_or_none(role, call)
    name, chosen = method_of(method, options)
    target = Target(layer, checked_unit(unit), output)
    batch = batch_of(images)
    network = unwrap(model)
    check_gradient_of(network, chosen)
    where = choose_device(network, device)
    network = bind_inputs(on_device(network, where), len(batch), inputs, argument)
    forward = Forward(network, batch.tensor, where)
    size = (
        1 if isinstance(network, NetworkWithInputs) else whole_number("chunk_size", chunk_size, 1)
    )
    results = in_chunks(
        forward, batch, chosen, target, size=size, progress=progress, cancelled=cancelled
    )
    attribution = _attribution(results, name, chosen, target, batch)
    if doubt := normalisation_doubt(model, batch):
        attribution = replace(attribution, warnings=(doubt, *attribution.warnings))
    for text in attribution.warnings:
        warn(text)
    return attribution


def _attribution(
    results: list[Result], name: str, method: Method, target: Target, images: ImageBatch
) -> Attribution:
    signed = torch.cat([signed for signed, _, _ in results])
    scores = torch.cat([measured.scores.detach().float().cpu() for _, measured, _ in results])
    units = torch.cat([measured.units.cpu() for _, measured, _ in results])
    messages = list(dict.fromkeys(text for _, _, texts in results for text in texts))
    broken = ~scores.isfinite() | ~signed.flatten(1).isfinite().all(1)
    if broken.all():
        raise PFVValueError(
            "model: its activations are NaN or infinite for every image, so there is nothing to "
            "explain. Look at its weights and at the normalisation of the images."
        )
    if broken.any():
        named = [one for one, bad in zip(images.names, broken.tolist(), strict=True) if bad]
        messages.append(
            f"NaN or infinite values in {len(named)} of {len(images)} images "
            f"({', '.join(named[:5])}): they count as 0 in the maps."
        )
        signed = signed.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    maps = reduce_channels(signed, method.reduction)
    empty = (maps.abs().flatten(1).amax(1) == 0) & ~broken
    if empty.any():
        named = [one for one, no in zip(images.names, empty.tolist(), strict=True) if no]
        messages.append(
            f"The map is zero everywhere in {len(named)} of {len(images)} images "
            f"({', '.join(named[:5])}): nothing of the signal reaches the pixels. Take another "
            "unit, an earlier layer, or another method."
        )
    options = {f.name: getattr(method, f.name) for f in dataclasses.fields(method)}
    return Attribution(
        maps, signed, scores, units, name,
        options, target, images.names, images.pixels, tuple(messages),
        method.details(images.size),
    )  # fmt: skip
