"""The networks of a comparison: their names, what can be explained of each, and its images."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import choose_device, guest, place, run, unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.core.extra_inputs import fed
from pfv_widgets.methods.core.read_out import vector

Output = str | int | None


class Network:
    """One network of a comparison, on its device, with the images that it is given.

    Parameters
    ----------
    name
        For people.
    model
        It is given back as it came.
    images
        The batch of the comparison.
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
        device: str | torch.device = "auto",
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
    ) -> None:
        self.name, self.images = name, images
        network = unwrap(model)
        self.device = choose_device(network, device)
        self.model = place(network, self.device)
        self._inputs, self._argument = inputs, argument
        self._fed(0)  # what is wrong with the inputs is told at once
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
            with guest(forward.model) as network:
                given = run(network, forward.batch(0, 1))
            return {name: len(vector(one)[0]) for name, one in _tensors(given).items()}
        except PFVError:  # explaining it meets the same error, and tells it
            return {None: 0}

    def has(self, layer: str) -> bool:
        """Whether a module of this name is there, with maps or without."""
        return layer.partition("#")[0] in modules_by_name(self.model)

    def versions(self) -> list[tuple[int, int]] | None:
        """Tell apart the states of the network's numbers."""
        return Forward(self.model, self.images.tensor, self.device).versions()

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
        return fed(self.model, 1, rows, self._argument)

    def _is_of_images(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == len(self.images) > 1


def named_models(models: object) -> dict[str, nn.Module]:
    """Return networks by name: of one network, a list of some, or a mapping.

    Without names they are called by their class, numbered where it comes again.

    Raises
    ------
    PFVTypeError, PFVValueError
        For anything else, or none at all.
    """
    if isinstance(models, nn.Module) and not isinstance(models, nn.ModuleList | nn.ModuleDict):
        models = [models]
    if isinstance(models, Mapping | nn.ModuleDict):
        found = {str(name): model for name, model in models.items()}
    elif isinstance(models, list | tuple | nn.ModuleList):
        found = {}
        kinds = [type(model).__name__ for model in models]
        for place_, (kind, model) in enumerate(zip(kinds, models, strict=True)):
            number = kinds[: place_ + 1].count(kind)
            found[kind if number == 1 else f"{kind} {number}"] = model
    else:
        raise PFVTypeError(
            f"models={models!r:.80}: expected a network, a list of networks, or networks by name."
        )
    if not found:
        raise PFVValueError("models is empty: give at least one network.")
    for name, model in found.items():
        if not isinstance(model, nn.Module):
            raise PFVTypeError(f"models[{name!r}]={model!r:.60}: expected a torch.nn.Module.")
    return found


def _tensors(given: object) -> dict[Output, Tensor]:
    if isinstance(given, Tensor):
        return {None: given}
    named: dict[Any, object]
    if isinstance(given, Mapping):
        named = {str(key): one for key, one in given.items()}
    else:
        sequence = given if isinstance(given, tuple | list) else ()
        names: Iterable[Any] = getattr(sequence, "_fields", range(len(sequence)))
        named = dict(zip(names, sequence, strict=True))
    found: dict[Output, Tensor] = {k: one for k, one in named.items() if isinstance(one, Tensor)}
    return found if len(found) != 1 else {None: next(iter(found.values()))}
