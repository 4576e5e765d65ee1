"""Reconstruct an image from an activation, or maximise a unit or a PFV component, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import MAX_SIDE
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded, isolated, unwrap
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.errors import PFVTypeError, PFVValueError, warn
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs, bind_inputs
from pfv_widgets.methods.core.method import Cancelled, Progress
from pfv_widgets.methods.core.target import check_differentiable
from pfv_widgets.methods.inversion.image_parametrisation import ImageParametrisation
from pfv_widgets.methods.inversion.optimisation_loop import (
    BestSoFar,
    Callbacks,
    Optimisation,
    Preview,
    to_pixels,
)
from pfv_widgets.methods.inversion.options import Reconstruct, checked_names
from pfv_widgets.methods.inversion.reconstruction import Reconstruction
from pfv_widgets.methods.inversion.targets import InversionTarget, inversion_target, photos_of
from pfv_widgets.validation import function_or_none, number, size_in_pixels

_SMALLEST = 8  # pixels of a side


@own_modes()
def reconstruct(
    model: nn.Module,
    target: object = None,
    *,
    layer: str | None = None,
    unit: int | str | Iterable[int | str] | None = None,
    component: int | Iterable[int] | None = None,
    sign: int = 1,
    output: str | int | None = None,
    classes: object = None,
    size: int | tuple[int, int] | None = None,
    transform: Callable[..., Any] | None = None,
    start: object = None,
    inputs: Mapping[str, Any] | None = None,
    argument: str | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    preview: Preview | None = None,
    every: float = 0.2,
    cancelled: Cancelled | None = None,
    quiet: bool = False,
    options: Reconstruct | None = None,
    **changes: Any,
) -> Reconstruction:
    """Optimise an image until the network answers as the target says.

    ``reconstruct(model, photo, layer="features.12")`` shows what the layer still knows of a
    photo, ``reconstruct(model, unit=13)`` what maximises a class, with ``layer`` a channel, and
    ``reconstruct(model, frame, component=0, sign=-1)`` a colour of PFV.

    Parameters
    ----------
    model
        Any eager, differentiable ``nn.Module`` that takes the images; it is given back as it came.
    target
        A photo or several (an :class:`ImageBatch`, or whatever :func:`load_images` takes but a
        tensor): its activations are matched. A :class:`Frame` or a :class:`PrincipalBasis`: its
        components. A float tensor ``(C, h, w)``, ``(N, C, h, w)`` or ``(C,)``: the activations
        of ``layer`` themselves. None: ``unit`` says what.
    layer
        Dotted name; None: the network's output, or the layer of a frame or basis.
    unit
        Class, channel or feature to maximise; several give an image each. With ``classes`` a
        class may be given by its name.
    component, sign
        Component of the basis, from 0 (None: each of them), and whether more or less of it.
    output
        Which of several outputs, by name or position.
    classes
        Names of the output's units, as :func:`pfv_widgets.methods.core.class_names.class_names`
        takes them: a list, a mapping from unit to name, or ``"imagenet"``.
    size
        Pixels, an int or (H, W); None: those of the photos, of the frame, or 224.
    transform
        As in :func:`load_images`: how the network's images are normalised. None: as the photos
        were, else by ImageNet's mean and deviation.
    start
        A photo to start from instead of noise.
    inputs, argument
        The network's other inputs by name, and the name of the one that takes the images. A
        tensor with as many rows as there are targets (units, components, photos) gives one to
        each, to all of its ``runs``; one with a single row, and anything else, is given to all.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"`` or a ``torch.device``.
    progress
        Called as ``progress(done, all)`` after each step.
    preview
        Called as ``preview(step, all, pixels, losses)`` with uint8 ``(B, H, W, 3)``, not more
        often than each ``every`` seconds, at the start, and with the best images at the end. If
        it raises an error it is not called again, and a warning says so.
    cancelled
        Asked before each step; True: the best so far is returned, as where the kernel is
        interrupted.
    quiet
        Leave warnings to ``Reconstruction.warnings``.
    options, **changes
        A :class:`Reconstruct`, and fields of it: ``steps=512, runs=3, seed=1``. Without options
        the usual ones, for activations those of :meth:`Reconstruct.matching`.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the argument, its value and the fix. What is doubtful about an image is a
        ``PFVWarning``, and is in ``Reconstruction.warnings``.
    """
    height, width = _size(size, target)
    spec = inversion_target(
        target, layer=layer, unit=unit, classes=classes, component=component,
        sign=sign, output=output, size=(height, width),
    )  # fmt: skip
    chosen = _options(options, changes, spec)
    function_or_none("transform", transform, "what load_images takes, a callable on a PIL image")
    _check_size(spec, size, (height, width))
    network = unwrap(model)
    check_differentiable(network)
    device = choose_device(network, device)
    network = isolated(bind_inputs(on_device(network, device), spec.number, inputs, argument))
    for name, call in (("progress", progress), ("preview", preview), ("cancelled", cancelled)):
        function_or_none(name, call)
    callbacks = Callbacks(
        progress, preview, cancelled, number("every", every, 0, legal="seconds, a number from 0")
    )
    known = normalisation_of(transform) if transform is not None else spec.normalisation
    images = ImageParametrisation(
        chosen.parametrisation, (height, width), known or IMAGENET, device
    )
    _probe_inputs(network, images)
    objective = spec.objective(network, device)
    optimisation = Optimisation.of(network, objective, images, chosen)
    start_images = _start(start, images, len(optimisation.rows), known)
    best = optimisation.run(start_images, callbacks)
    result = _reconstruction(best, optimisation, spec, callbacks)
    for text in () if quiet else result.warnings:
        warn(text)
    return result


def _reconstruction(
    best: BestSoFar, optimisation: Optimisation, spec: InversionTarget, callbacks: Callbacks
) -> Reconstruction:
    objective, options = optimisation.objective, optimisation.options
    images, photos = optimisation.parametrisation, spec.photos
    pixels = to_pixels(best.images)
    names = tuple(name for name in objective.names for _ in range(options.runs))
    history = [one.float().cpu() for one in best.history]
    return Reconstruction(
        pixels,
        images.normalised(best.images).float().cpu(),
        torch.stack(history, dim=1) if history else torch.zeros(len(pixels), 0),
        best.losses.float().cpu(),
        best.scores.float().cpu(),
        objective.score_name,
        names,
        objective.at.layer,
        options,
        None if photos is None else np.repeat(photos.pixels, options.runs, axis=0),
        best.stopped,
        _warnings(best, names, callbacks),
        images.normalisation.mean,
        images.normalisation.std,
    )


def _warnings(best: BestSoFar, names: tuple[str, ...], callbacks: Callbacks) -> tuple[str, ...]:
    """Say in words which images are not what they should be."""

    def listed(which: Tensor) -> str:
        some = [one for one, is_it in zip(names, which.tolist(), strict=True) if is_it]
        return f"{len(some)} of {len(names)} images ({', '.join(dict.fromkeys(some[:5]))})"

    texts = []
    if bool(best.diverged.any()):
        texts.append(
            f"The optimisation diverged to NaN or infinite values in {listed(best.diverged)}: the "
            "best finite image is returned. Choose a smaller rate, or another seed."
        )
    if bool(best.silent.any()):
        texts.append(
            f"The gradient at the start of {listed(best.silent)} is zero: the unit is silent on "
            "noise. Start from a photo with start=..., or choose another unit."
        )
    stuck = (best.losses >= best.start_losses) & ~best.diverged & ~best.silent
    if len(best.history) > 1 and not best.stopped and bool(stuck.any()):
        texts.append(
            f"No step improved on the start of {listed(stuck)}: choose a smaller rate, or other "
            "options."
        )
    if callbacks.preview_error is not None:
        texts.append(f"preview raised an error and was not called again: {callbacks.preview_error}")
    return tuple(texts)


def _options(
    options: Reconstruct | None, changes: Mapping[str, Any], spec: InversionTarget
) -> Reconstruct:
    if options is not None and not isinstance(options, Reconstruct):
        raise PFVTypeError(f"options={options!r:.80}: expected a Reconstruct, or None.")
    checked_names(changes)
    if options is not None:
        return dataclasses.replace(options, **changes)
    return Reconstruct.matching(**changes) if spec.matches else Reconstruct(**changes)


def _size(size: int | tuple[int, int] | None, target: object) -> tuple[int, int]:
    if size is not None:
        return size_in_pixels("size", size, MAX_SIDE, _SMALLEST, square=True)
    if isinstance(target, ImageBatch):
        return target.size
    if isinstance(target, Frame):
        height, width = target.heatmaps.shape[1:3]
        return height, width
    return 224, 224


def _check_size(spec: InversionTarget, size: object, own: tuple[int, int]) -> None:
    if spec.photos is not None and spec.photos.size != own:
        raise PFVValueError(
            f"size={size!r}: the photos have {spec.photos.size}, and their activations "
            "belong to it. Load them at that size, or leave size out."
        )


def _probe_inputs(network: nn.Module, images: ImageParametrisation) -> None:
    """Raise a PFVValueError where a network cannot take its other inputs, if it has any."""
    if isinstance(network, NetworkWithInputs):
        with guarded(network):
            example = torch.zeros(1, 3, *images.size, device=images.device)
            network.probe_rows(example.to(floating_dtype(network)))


def _start(
    start: object, images: ImageParametrisation, number: int, known: Normalisation | None
) -> Tensor | None:
    """Return the images ``(B, 3, H, W)`` in [0, 1] to start from."""
    if start is None:
        return None
    if isinstance(start, Tensor) and known is not None:
        raise PFVTypeError("start: give a photo, an array or an ImageBatch instead of a tensor.")
    photos = photos_of("start", start, images.size)
    if photos.size != images.size:
        raise PFVValueError(
            f"start: its photos have {photos.size} pixels (rows, columns), and the images to make "
            f"{images.size}. Load them at that size."
        )
    if len(photos) not in (1, number):
        each = f", or {number}, one for each image" if number > 1 else ""
        raise PFVValueError(f"start: {len(photos)} photos. Give one for all{each}.")
    levels = torch.from_numpy(photos.pixels).to(images.device).permute(0, 3, 1, 2)
    return (levels.float() / 255).expand(number, -1, -1, -1).contiguous()
