"""The networks of a comparison: their names, what can be explained of each, and its images."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.engine.network.devices import choose_device, on_device
from pfv_widgets.engine.network.fingerprint import Fingerprint, State
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.model_guard import guarded, run, unwrap
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.methods.core.class_names import ClassNames, class_names, names_that_fit
from pfv_widgets.methods.core.extra_inputs import bind_inputs
from pfv_widgets.methods.core.read_out import Output, outputs_of, vector


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
        Names of the output's units, see :func:`class_names`.
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
        classes: object = None,
        device: str | torch.device = "auto",
        inputs: Mapping[str, Any] | None = None,
        argument: str | None = None,
    ) -> None:
        self.name, self.images = name, images
        self._original = unwrap(model)
        self.device = choose_device(self._original, device)
        self.model = on_device(self._original, self.device)
        self._inputs, self._argument = inputs, argument
        self._fed(0)  # wrong inputs are an error at once
        self.classes: ClassNames = class_names(classes)
        if self.classes:
            self.classes = self._names_that_fit(classes)
        self._making = threading.Lock()

    def _names_that_fit(self, classes: object) -> ClassNames:
        try:
            return names_that_fit(classes, self.outputs.values())
        except PFVValueError as error:
            own = f"Or give each network its own: classes={{{self.name!r}: ...}}."
            raise PFVValueError(f"{error} {own}") from error

    def forward(self, image: int) -> Forward:
        """Return one image of the batch with the network that takes it."""
        return Forward(self._fed(image), self.images.tensor[image : image + 1], self.device)

    @property
    def pfv(self) -> PFV:
        """Principal Feature Visualisation of the whole batch."""
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

    def update(self) -> None:
        """Forget what the network was: it has changed."""
        self.close()
        self.model = on_device(self._original, self.device)
        for known in ("_pfv", "layers", "outputs"):
            vars(self).pop(known, None)

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return Fingerprint(self._original)

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


def _tensors(output: object) -> dict[Output, Tensor]:
    if isinstance(output, Tensor):
        return {None: output}
    tensors: dict[Output, Tensor] = {
        name: one for name, one in outputs_of(output).items() if isinstance(one, Tensor)
    }
    return tensors if len(tensors) != 1 else {None: next(iter(tensors.values()))}
