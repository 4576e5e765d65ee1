"""One call for pictures that a network makes: from an activation, a unit, or a PFV component."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import MAX_SIDE
from pfv_widgets.engine.network.model_guard import (
    choose_device,
    floating_dtype,
    guest,
    place,
    unwrap,
)
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.errors import PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.core.extra_inputs import Fed, fed
from pfv_widgets.methods.core.method import Cancelled, Progress
from pfv_widgets.methods.inversion.best_so_far import Found, Preview, Watch, as_shown
from pfv_widgets.methods.inversion.image_parameterisation import Canvas
from pfv_widgets.methods.inversion.objective import Goal
from pfv_widgets.methods.inversion.optimisation import searching
from pfv_widgets.methods.inversion.options import Reconstruct, checked_names
from pfv_widgets.methods.inversion.reconstruction import Reconstruction
from pfv_widgets.methods.inversion.targets import Asked, asked, photos_of
from pfv_widgets.validation import function_or_none, number, size_in_pixels

_SMALLEST = 8  # pixels of a side


def reconstruct(
    model: nn.Module,
    target: object = None,
    *,
    layer: str | None = None,
    unit: int | Iterable[int] | None = None,
    component: int | Iterable[int] | None = None,
    sign: int = 1,
    output: str | int | None = None,
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
    """Make the picture that a network would most like to see.

    ``reconstruct(model, photo, layer="features.12")`` shows what the layer still knows of a
    photo, ``reconstruct(model, unit=13)`` what stands for a class, with ``layer`` for a channel,
    and ``reconstruct(model, frame, component=0, sign=-1)`` what would make a colour of PFV.

    Parameters
    ----------
    model
        Any eager, differentiable ``nn.Module`` that takes the images; it is given back as it came.
    target
        A photo or several (an :class:`ImageBatch`, or whatever :func:`load_images` takes but a
        tensor): its activation is matched. A :class:`Frame` or a :class:`PrincipalBasis`: its
        components. A float tensor ``(C, h, w)``, ``(N, C, h, w)`` or ``(C,)``: the activation of
        ``layer`` itself. None: ``unit`` says what.
    layer
        Dotted name; None: the network's output, or the layer of a frame or basis.
    unit
        Class, channel or feature to raise; several give a picture each.
    component, sign
        Component of the basis, from 0 (None: each of them), and whether more or less of it.
    output
        Which of several outputs, by name or position.
    size
        Pixels, an int or (H, W); None: those of the photos, of the frame, or 224.
    transform
        As in :func:`load_images`: how the network's images are normalised. None: as the photos
        were, else by ImageNet's mean and deviation.
    start
        A photo to start from in place of noise.
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
        often than each ``every`` seconds, at the start, and with the best pictures at the end.
    cancelled
        Asked before each step; where it says True, the best so far is returned. So it is
        where the kernel is interrupted.
    quiet
        Leave warnings to ``Reconstruction.warnings``.
    options, **changes
        A :class:`Reconstruct`, and fields of it: ``steps=512, runs=3, seed=1``. Without options
        the usual ones, for activations those of :meth:`Reconstruct.matching`.

    Raises
    ------
    PFVTypeError, PFVValueError
        Naming the argument, its value and the fix. What is doubtful about a picture is a
        ``PFVWarning``, and stands in ``Reconstruction.warnings``.
    """
    height, width = _size(size, target)
    wanted = asked(
        target, layer=layer, unit=unit, component=component, sign=sign, output=output,
        size=(height, width),
    )  # fmt: skip
    chosen = _options(options, changes, wanted)
    function_or_none("transform", transform, "what load_images takes, a callable on a PIL image")
    _check_size(wanted, size, (height, width))
    network = unwrap(model)
    _check_numbers(network)
    device = choose_device(network, device)
    network = fed(place(network, device), wanted.number, inputs, argument)
    for name, call in (("progress", progress), ("preview", preview), ("cancelled", cancelled)):
        function_or_none(name, call)
    watch = Watch(
        progress, preview, cancelled, number("every", every, 0, legal="seconds, a number from 0")
    )
    with torch.inference_mode(False):  # what is made under it has no gradient
        by = normalisation_of(transform) if transform is not None else wanted.normalisation
        canvas = Canvas(chosen.parametrisation, (height, width), by or IMAGENET, device)
        _settle(network, canvas)
        goal = wanted.goal(network, device)
        search = searching(network, goal, canvas, chosen, len(goal.names))
        found = search.run(_start(start, canvas, len(search.rows), by), watch)
        made = _reconstruction(found, goal, canvas, chosen, wanted)
    for text in () if quiet else made.warnings:
        warnings.warn(text, PFVWarning, 2)
    return made


def _reconstruction(
    found: Found, goal: Goal, canvas: Canvas, options: Reconstruct, wanted: Asked
) -> Reconstruction:
    pixels = as_shown(found.pictures)
    names = tuple(name for name in goal.names for _ in range(options.runs))
    photos = wanted.photos
    originals = None if photos is None else np.repeat(photos.pixels, options.runs, axis=0)
    losses = [one.float().cpu() for one in found.losses]
    return Reconstruction(
        pixels,
        canvas.taken(found.pictures).float().cpu(),
        torch.stack(losses, dim=1) if losses else torch.zeros(len(pixels), 0),
        found.best.float().cpu(),
        found.scores.float().cpu(),
        goal.scored,
        names,
        goal.where.layer,
        options,
        originals,
        found.stopped,
        _told(found, names),
        canvas.by.mean,
        canvas.by.std,
    )


def _told(found: Found, names: tuple[str, ...]) -> tuple[str, ...]:
    """Say in words which pictures are not what was looked for."""

    def named(which: Tensor) -> str:
        some = [one for one, is_it in zip(names, which.tolist(), strict=True) if is_it]
        return f"{len(some)} of {len(names)} pictures ({', '.join(dict.fromkeys(some[:5]))})"

    told = []
    if bool(found.broken.any()):
        told.append(
            f"The search diverged to NaN or infinite values in {named(found.broken)}: the best "
            "finite picture is kept. Choose a smaller rate, or another seed."
        )
    if bool(found.silent.any()):
        told.append(
            f"Nothing of the gradient reaches the start of {named(found.silent)}: the unit is "
            "silent on noise. Start from a photo with start=..., or choose another unit."
        )
    stuck = (found.best >= found.first) & ~found.broken & ~found.silent
    if len(found.losses) > 1 and not found.stopped and bool(stuck.any()):
        told.append(
            f"No step improved on the start of {named(stuck)}: choose a smaller rate, or other "
            "options."
        )
    return tuple(told)


def _options(options: Reconstruct | None, changes: Mapping[str, Any], wanted: Asked) -> Reconstruct:
    if options is not None and not isinstance(options, Reconstruct):
        raise PFVTypeError(f"options={options!r:.80}: expected a Reconstruct, or None.")
    checked_names(changes)
    if options is not None:
        return dataclasses.replace(options, **changes)
    return Reconstruct.matching(**changes) if wanted.matches else Reconstruct(**changes)


def _size(size: int | tuple[int, int] | None, target: object) -> tuple[int, int]:
    if size is not None:
        return size_in_pixels("size", size, MAX_SIDE, _SMALLEST, square=True)
    if isinstance(target, ImageBatch):
        return target.size
    if isinstance(target, Frame):
        height, width = target.heatmaps.shape[1:3]
        return height, width
    return 224, 224


def _check_size(wanted: Asked, size: object, own: tuple[int, int]) -> None:
    if wanted.photos is not None and wanted.photos.size != own:
        raise PFVValueError(
            f"size={size!r}: the photos have {wanted.photos.size}, and their activation has "
            "places of its own. Load them at that size, or leave size out."
        )


def _settle(network: nn.Module, canvas: Canvas) -> None:
    """Say what is wrong with the other inputs of a network, where there are any."""
    if isinstance(network, Fed):
        with guest(network):
            example = torch.zeros(1, 3, *canvas.size, device=canvas.device)
            network.settle(example.to(floating_dtype(network)))


def _check_numbers(network: nn.Module) -> None:
    for name, values in (*network.named_parameters(), *network.named_buffers()):
        if values.is_inference():
            raise PFVValueError(
                f"model: {name!r} was made under torch.inference_mode, so that no gradient passes. "
                "Build or load the network outside of it."
            )


def _start(start: object, canvas: Canvas, number: int, by: Normalisation | None) -> Tensor | None:
    """Return the pictures ``(B, 3, H, W)`` in [0, 1] to start from."""
    if start is None:
        return None
    if isinstance(start, Tensor) and by is not None:
        raise PFVTypeError("start: give a photo, an array or an ImageBatch in place of a tensor.")
    photos = photos_of("start", start, canvas.size)
    if photos.size != canvas.size:
        raise PFVValueError(
            f"start: its pictures have {photos.size} pixels (rows, columns), and those that are "
            f"made have {canvas.size}. Load them at that size."
        )
    if len(photos) not in (1, number):
        each = f", or {number}, one for each that is made" if number > 1 else ""
        raise PFVValueError(f"start: {len(photos)} pictures. Give one for all{each}.")
    levels = torch.from_numpy(photos.pixels).to(canvas.device).permute(0, 3, 1, 2)
    return (levels.float() / 255).expand(number, -1, -1, -1).contiguous()
