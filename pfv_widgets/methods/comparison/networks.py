"""The networks of a comparison: their names, what can be explained of each, and its images."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import Normalisation, normalisation_of
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.fingerprint import Fingerprint, State
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import choose_device, guarded, on_device, run, unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.core.class_names import ClassNames
from pfv_widgets.methods.core.extra_inputs import bind_inputs
from pfv_widgets.methods.core.read_out import vector

Output = str | int | None
NamedModels = dict[str, tuple[nn.Module, object]]  # each with images or a transform of its own


class Network:
    """One network of a comparison, on its device, with its images.

    Parameters
    ----------
    name
        For people.
    model
        It is given back as it came.
    images
        The batch of the comparison, normalised for this network.
    classes
        Names of the output's units.
    device
        As for :func:`attribute`.
    inputs, argument
        The network's other inputs, as for :func:`attribute`.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        images: ImageBatch,
        *,
        classes: ClassNames | None = None,
        device: str | torch.device = "auto",
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
    ) -> None:
        self.name, self.images, self.classes = name, images, classes or {}
        network = unwrap(model)
        self.device = choose_device(network, device)
        self.model = on_device(network, self.device)
        self._inputs, self._argument = inputs, argument
        self._fed(0)  # wrong inputs are an error at once
        self._making = threading.Lock()

    def forward(self, image: int) -> Forward:
        """Return one image of the batch with the network that takes it."""
        return Forward(self._fed(image), self.images.tensor[image : image + 1], self.device)

    @property
    def pfv(self) -> PFV:
        """Principal Feature Visualisation of the whole batch.

        Raises
        ------
        PFVValueError
            If the network has no feature maps, or another input for each image.
        """
        with self._making:
            return self._pfv

    @cached_property
    def layers(self) -> dict[str, int]:
        """Name → channels of each layer with maps, in forward order; none where it has none."""
        try:
            return {one.name: one.shape[0] for one in self.pfv.layers if one.same_as is None}
        except PFVError:
            return {}

    @cached_property
    def outputs(self) -> dict[Output, int]:
        """Name → units of each output that has some; the only one is called None."""
        try:
            forward = self.forward(0)
            with guarded(forward.model) as network:
                output = run(network, forward.batch(0, 1))
            return {name: len(vector(one)[0]) for name, one in _tensors(output).items()}
        except PFVError:  # explaining it meets the same error, and shows it
            return {None: 0}

    def has(self, layer: str) -> bool:
        """Whether a module of this name is there, with maps or without."""
        return layer.partition("#")[0] in modules_by_name(self.model)

    def state(self) -> State:
        """Tell apart the states of the network's numbers."""
        return self._fingerprint.state()

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return Fingerprint(self.model)

    def close(self) -> None:
        """Free what PFV keeps."""
        with self._making:
            if "_pfv" in vars(self):
                self._pfv.close()

    @cached_property
    def _pfv(self) -> PFV:
        if any(self._is_of_images(value) for value in (self._inputs or {}).values()):
            raise PFVValueError(
                "PFV takes all images at once, so it cannot give each its row of the other inputs."
            )
        return PFV(self._fed(0), self.images, self.device)

    def _fed(self, image: int) -> nn.Module:
        rows: Any = self._inputs
        if isinstance(self._inputs, Mapping):
            rows = {
                name: value[image : image + 1] if self._is_of_images(value) else value
                for name, value in self._inputs.items()
            }
        return bind_inputs(self.model, 1, rows, self._argument)

    def _is_of_images(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == len(self.images) > 1


def named_models(models: object) -> NamedModels:
    """Return networks by name: of one network, a list of some, or a mapping.

    Without names they are called by their class, numbered where it comes again. In a list or a
    mapping each may be a pair of the network and its own images or transform; None without.

    Raises
    ------
    PFVTypeError, PFVValueError
        For anything else, or none at all.
    """
    if isinstance(models, nn.Module) and not isinstance(models, nn.ModuleList | nn.ModuleDict):
        models = [models]
    entries: dict[str, Any]
    if isinstance(models, Mapping | nn.ModuleDict):
        entries = {str(name): entry for name, entry in models.items()}
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
    for name, (model, _) in pairs.items():
        if not isinstance(model, nn.Module):
            raise PFVTypeError(
                f"models[{name!r}]={entries[name]!r:.60}: expected a torch.nn.Module, or a pair "
                "(network, images)."
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

    Raises
    ------
    PFVTypeError, PFVValueError
        For images of another number or size.
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
    network = unwrap(model)
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(network, attribute, None)
        values = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
        mean, std = values.get("mean"), values.get("std")
        if isinstance(mean, Sequence) and isinstance(std, Sequence):
            try:
                return Normalisation(tuple(mean), tuple(std))
            except PFVError:  # such as one channel
                continue
    return None


def in_normalisation(images: ImageBatch, by: Normalisation) -> ImageBatch:
    """Return a batch whose tensor is normalised in another way; pixels stay."""
    if by == images.normalisation:
        return images
    tensor = by.apply(images.normalisation.undo(images.tensor))
    return replace(images, tensor=tensor, mean=by.mean, std=by.std)


def _tensors(output: object) -> dict[Output, Tensor]:
    if isinstance(output, Tensor):
        return {None: output}
    named: dict[Any, object]
    if isinstance(output, Mapping):
        named = {str(key): one for key, one in output.items()}
    else:
        sequence = output if isinstance(output, tuple | list) else ()
        names: Iterable[Any] = getattr(sequence, "_fields", range(len(sequence)))
        named = dict(zip(names, sequence, strict=True))
    tensors: dict[Output, Tensor] = {k: one for k, one in named.items() if isinstance(one, Tensor)}
    return tensors if len(tensors) != 1 else {None: next(iter(tensors.values()))}
