"""Networks by name, and the images that each takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import MAX_SIDE, normalised
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import guarded, run, unwrap
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.validation import is_whole

NamedModels = dict[str, tuple[nn.Module, object]]  # each with images or a transform of its own


def named_models(models: object) -> NamedModels:
    """Return networks by name: of one network, a list of some, or a mapping.

    Without names they are called by their class, numbered where it comes again. In a list or a
    mapping each may be a pair of the network and its own images or transform; None without.
    """
    if isinstance(models, nn.Module) and not isinstance(models, nn.ModuleList | nn.ModuleDict):
        models = [models]
    entries: dict[str, Any]
    if isinstance(models, Mapping | nn.ModuleDict):
        entries = {str(name): entry for name, entry in models.items()}
        if len(entries) < len(models):
            raise PFVValueError(
                f"models: two of the names {[*models]!r:.200} read the same. Give each its own."
            )
    elif isinstance(models, list | tuple | nn.ModuleList):
        entries = {}
        kinds = [type(_pair(entry)[0]).__name__ for entry in models]
        for index, (kind, entry) in enumerate(zip(kinds, models, strict=True)):
            number = kinds[: index + 1].count(kind)
            entries[kind if number == 1 else f"{kind} {number}"] = entry
    else:
        raise PFVTypeError(
            f"models={models!r:.80}: expected a network, a list of networks, or networks by name."
        )
    if not entries:
        raise PFVValueError("models is empty: give at least one network.")
    pairs = {name: _pair(entry) for name, entry in entries.items()}
    for index, (name, (model, _)) in enumerate(pairs.items()):
        if not isinstance(model, nn.Module):
            which = index if isinstance(models, list | tuple) else name
            fix = " Give names in a mapping: {name: network}." * isinstance(model, str)
            raise PFVTypeError(
                f"models[{which!r}]={entries[name]!r:.60}: expected a torch.nn.Module, or a pair "
                f"(network, images).{fix}"
            )
    return pairs


def _pair(entry: Any) -> tuple[Any, object]:
    is_pair = isinstance(entry, tuple) and len(entry) == 2
    return (entry[0], entry[1]) if is_pair else (entry, None)


def images_by_network(named: NamedModels, images: ImageBatch) -> dict[str, ImageBatch]:
    """Return the batch for each network, in the normalisation that it takes.

    1. A network with images of its own is given those, and one with a transform the images in
       the transform's normalisation (:func:`normalisation_of`).
    2. Where the other networks declare different normalisations, each is given the images in
       its own. timm's networks declare it in ``pretrained_cfg``; a network that declares none
       counts as one that takes the images as they came.
    3. Otherwise all are given the images as they came: one normalisation was chosen for all.
    """
    declared = {
        name: declared_normalisation(model) or images.normalisation
        for name, (model, own) in named.items()
        if own is None
    }
    differ = len(set(declared.values())) > 1
    batches = {}
    for name, (_, own) in named.items():
        if own is None:
            batches[name] = in_normalisation(images, declared[name]) if differ else images
        elif callable(own):
            batches[name] = in_normalisation(images, normalisation_of(own))
        else:
            batches[name] = _own_images(name, own, images)
    return batches


def _own_images(name: str, own: object, images: ImageBatch) -> ImageBatch:
    batch = own if isinstance(own, ImageBatch) else load_images(own, images.size)
    if (len(batch), batch.size) != (len(images), images.size):
        raise PFVValueError(
            f"models[{name!r}]: its own images are {batch!r}, and those of the comparison are "
            f"{images!r}. Load the same photos at the same size."
        )
    return batch


def normalisation_note(batches: Mapping[str, ImageBatch]) -> str:
    """Say how each network's images are normalised, where they are not all alike; else ``""``."""
    if len({batch.normalisation for batch in batches.values()}) < 2:
        return ""
    each = [
        f"{name} by mean {_listed(batch.mean)} and deviation {_listed(batch.std)}"
        for name, batch in batches.items()
    ]
    return f"Images are normalised for each network: {'; '.join(each)}."


def _listed(values: Iterable[float]) -> str:
    numbers = [f"{value:.3g}" for value in values]
    return numbers[0] if len(set(numbers)) == 1 else ", ".join(numbers)


def declared_normalisation(model: nn.Module) -> Normalisation | None:
    """Return the normalisation that a network says its images have; None where it says nothing.

    Read from ``pretrained_cfg`` or ``default_cfg``, as timm's networks have it.
    """
    for values in _configs(unwrap(model)):
        mean, std = values.get("mean"), values.get("std")
        if isinstance(mean, Sequence) and isinstance(std, Sequence):
            try:
                return Normalisation(tuple(mean), tuple(std))
            except PFVError:  # such as one channel
                continue
    return None


def normalisation_doubt(model: nn.Module, images: ImageBatch) -> str:
    """Say that photos are normalised as by default, where the network declares another way.

    Tensors of the user's own count as what the network takes.
    """
    declared = declared_normalisation(model)
    if declared is None or declared == IMAGENET or images.normalisation != IMAGENET:
        return ""
    if not torch.allclose(normalised(images.pixels[:1], IMAGENET), images.tensor[:1], atol=1e-3):
        return ""
    return (
        f"The network declares photos normalised by mean {_listed(declared.mean)} and deviation "
        f"{_listed(declared.std)}, and these are by ImageNet's: load them with its own transform, "
        "load_images(..., transform=...)."
    )


def in_normalisation(images: ImageBatch, by: Normalisation) -> ImageBatch:
    """Return a batch whose tensor is normalised in another way; pixels stay."""
    if by == images.normalisation:
        return images
    tensor = by.apply(images.normalisation.undo(images.tensor))
    return replace(images, tensor=tensor, mean=by.mean, std=by.std)


def declared_size(model: nn.Module) -> tuple[int, int] | None:
    """Return height and width of the images that a network says it takes; None where it is silent.

    Read from ``pretrained_cfg`` or ``default_cfg``, as timm's networks have it, or from
    ``image_size``, as torchvision's transformers do.
    """
    network = unwrap(model)
    for config in _configs(network):
        size = config.get("input_size")
        if isinstance(size, Sequence) and len(size) == 3 and all(is_whole(one) for one in size):
            return int(size[1]), int(size[2])
    side: Any = getattr(network, "image_size", None)
    return (int(side), int(side)) if is_whole(side) and 0 < side <= MAX_SIDE else None


def images_that_fit(
    name: str, model: nn.Module, images: ImageBatch, device: str | torch.device = "auto"
) -> ImageBatch:
    """Return the images at a size that a network takes: theirs, or else the one that it declares.

    The network runs on one image, and on two sizes at most.
    """
    network = unwrap(model)
    target = choose_device(network, device)
    placed = on_device(network, target)
    try:
        _try(placed, images, target)
    except PFVError as error:
        own = declared_size(network)
        if own in (None, images.size):
            raise PFVValueError(f"models[{name!r}]: {error}") from error
        smaller = in_size(images.subset([0]), own)
        try:
            _try(placed, smaller, target)
        except PFVError:
            raise PFVValueError(f"models[{name!r}]: {error}") from error
        return in_size(images, own)
    return images


def _try(model: nn.Module, images: ImageBatch, device: torch.device) -> None:
    with guarded(model) as network:
        run(network, Forward(model, images.tensor, device).batch(0, 1))


def in_size(images: ImageBatch, size: tuple[int, int]) -> ImageBatch:
    """Return a batch at another height and width.

    Nothing is cut off: fractions of width and height stay the same positions in every network.
    """
    how = Image.Resampling.BILINEAR
    pixels = [np.asarray(Image.fromarray(one).resize(size[::-1], how)) for one in images.pixels]
    tensor = interpolate(images.tensor, size, mode="bilinear", antialias=True)
    return replace(images, pixels=np.stack(pixels), tensor=tensor)


def _configs(network: nn.Module) -> list[Mapping[str, Any]]:
    """Return what timm's networks say of themselves."""
    configs = (getattr(network, name, None) for name in ("pretrained_cfg", "default_cfg"))
    return [
        one if isinstance(one, Mapping) else getattr(one, "__dict__", {}) for one in configs if one
    ]
