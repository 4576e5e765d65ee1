"""From a photo, a unit, a frame or a tensor to the objective of the optimisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.data.normalisation import Normalisation
from pfv_widgets.engine.network.model_guard import floating_dtype, guarded
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.core.class_names import ClassNames, class_names, unit_named
from pfv_widgets.methods.core.extra_inputs import NetworkWithInputs
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.inversion.activations import activations_of
from pfv_widgets.methods.inversion.objective import (
    ActivationMatch,
    ComponentScore,
    Objective,
    UnitActivation,
)
from pfv_widgets.validation import is_whole, one_or_more_whole_numbers

_NOTHING = (
    "Give unit=... (a class, or a channel of layer=...), a photo with layer=..., a frame with "
    "component=..., or the activations of layer=... as a tensor"
)


@dataclass(frozen=True, eq=False)
class InversionTarget:
    """What to reconstruct, before the network is run.

    Attributes
    ----------
    layer, output
        Where.
    units, classes
        Units to raise, and names of the output's units, see :func:`class_names`.
    components, sign
        Components to raise or lower, of ``basis``.
    photos
        Photos whose activations are matched.
    values
        Activations to match.
    """

    layer: str | None = None
    output: str | int | None = None
    units: tuple[int, ...] = ()
    classes: object = None
    basis: PrincipalBasis | None = None
    components: tuple[int, ...] = ()
    sign: int = 1
    photos: ImageBatch | None = None
    values: Tensor | None = None

    @property
    def matches(self) -> bool:
        """Whether activations are matched."""
        return self.photos is not None or self.values is not None

    @property
    def number(self) -> int:
        """How many targets there are."""
        values = self.photos if self.photos is not None else self.values
        return len(self.units or self.components) if values is None else len(values)

    @property
    def normalisation(self) -> Normalisation | None:
        """By which the photos were normalised, where there are any."""
        return None if self.photos is None else self.photos.normalisation

    def objective(self, network: nn.Module, device: torch.device) -> Objective:
        """Return the objective; photos run through the network here."""
        at = Target(self.layer, None, self.output)
        if self.units:
            classes = None if self.layer else self.classes
            known = class_names(classes)
            called = tuple(self._unit_name(unit, known) for unit in self.units)
            return UnitActivation(at, called, self.units, classes)
        if self.basis is not None:
            index = list(self.components)
            names = tuple(f"component {one + 1} {'−+'[self.sign > 0]}" for one in index)
            directions = self.sign * self.basis.components[index]
            deviations = self.basis.variances[index].clamp(min=0).sqrt()
            mean = self.basis.mean.clone()  # it may have been made under inference_mode
            return ComponentScore(at, names, mean, directions, deviations.clamp(min=1e-12))
        if self.photos is not None:
            batch = self.photos.tensor.to(device, floating_dtype(network))
            with torch.inference_mode(False), guarded(network):
                activations = activations_of(network, at, batch[:1])
                values = []
                for row, one in enumerate(batch):
                    if isinstance(network, NetworkWithInputs):
                        network.rows = (row,)
                    values.append(activations(one[None]).detach().clone())
            return ActivationMatch(at, self.photos.names, torch.cat(values))
        assert self.values is not None
        names = tuple(f"target {index + 1}" for index in range(len(self.values)))
        return ActivationMatch(at, names, self.values.to(device))

    def _unit_name(self, unit: int, names: ClassNames) -> str:
        if self.layer is not None:
            return f"channel {unit} of {self.layer}"
        return names.get(unit, f"class {unit}")


def inversion_target(
    target: object,
    *,
    layer: str | None,
    unit: int | str | Iterable[int | str] | None,
    classes: object,
    component: int | Iterable[int] | None,
    sign: int,
    output: str | int | None,
    size: tuple[int, int],
) -> InversionTarget:
    """Return what to reconstruct."""
    Target(layer, None, output)  # says what is wrong with them
    names = class_names(classes)
    basis = _basis_of(target)
    if basis is None and component is not None:
        raise PFVTypeError(
            f"component={component!r:.60} with target={target!r:.60}: components belong to a Frame "
            "or a PrincipalBasis. Give pfv.render(...) as the target."
        )
    if target is not None and unit is not None:
        raise PFVTypeError(
            f"unit={unit!r:.60} with target={target!r:.60}: give one of the two. {_NOTHING}."
        )
    if basis is None and not (is_whole(sign) and sign == 1):
        raise PFVTypeError(
            f"sign={sign!r:.60} without a component: it says whether more or less of one. Give a "
            "Frame or a PrincipalBasis as the target, or leave sign out."
        )
    if unit is not None:
        return InversionTarget(layer, output, units=_units(unit, layer, names), classes=classes)
    if target is None:
        raise PFVTypeError(f"target=None: there is nothing to reconstruct. {_NOTHING}.")
    if basis is not None:
        layer = _layer_of(target if isinstance(target, Frame) else basis, layer)
        components = _components(basis, layer, component, sign)
        return InversionTarget(layer, output, basis=basis, components=components, sign=sign)
    if isinstance(target, Tensor):
        return InversionTarget(layer, output, values=_activations(target))
    if not isinstance(target, ImageBatch):
        if target is False or target is True or isinstance(target, int | float):
            raise PFVTypeError(f"target={target!r:.60}: a number alone is no target. {_NOTHING}.")
        target = photos_of("target", target, size)
    return InversionTarget(layer, output, photos=target)


def photos_of(name: str, source: object, size: tuple[int, int]) -> ImageBatch:
    """Load the photos of the argument ``name``."""
    try:
        return load_images(source, size)
    except PFVError as error:
        kind = PFVTypeError if isinstance(error, PFVTypeError) else PFVValueError
        raise kind(f"{name}={source!r:.60}: {error}") from error


def _basis_of(target: object) -> PrincipalBasis | None:
    if isinstance(target, Frame):
        return target.basis
    return target if isinstance(target, PrincipalBasis) else None


def _layer_of(source: Frame | PrincipalBasis, layer: str | None) -> str | None:
    """Return the layer of a frame or a basis, which must be the same as ``layer``."""
    own = source.layer or None
    if layer is not None and own is not None and layer != own:
        kind = "frame" if isinstance(source, Frame) else "basis"
        raise PFVValueError(
            f"layer={layer!r}: this {kind} is of layer {own!r}, and its components say nothing "
            f"about another. Leave layer out, or give a {kind} of layer {layer!r}."
        )
    return layer or own


def _components(
    basis: PrincipalBasis, layer: str | None, component: int | Iterable[int] | None, sign: int
) -> tuple[int, ...]:
    if layer is None:
        raise PFVValueError("layer=None: this basis does not name its layer. Give layer='...'.")
    if not is_whole(sign) or sign not in (1, -1):
        raise PFVValueError(f"sign={sign!r:.60}: choose 1 for more of the component, -1 for less.")
    number = len(basis.components)
    components = _whole("component", range(number) if component is None else component)
    for one in components:
        if one >= number:
            raise PFVValueError(
                f"component={one}: this basis has {number}. Choose one from 0 to {number - 1}."
            )
    return components


def _activations(target: Tensor) -> Tensor:
    """Return activations as ``(R, C, h, w)``; one ``(C, h, w)`` or ``(C,)`` is one row."""
    legal = "expected the float activations of a layer, (C, h, w) or (N, C, h, w), or (C,)"
    if not target.is_floating_point() or target.is_quantized or target.is_meta:
        raise PFVTypeError(f"target: a tensor of {target.dtype}: {legal}.")
    if target.ndim not in (1, 2, 3, 4) or 0 in target.shape:
        raise PFVValueError(f"target: a tensor of shape {tuple(target.shape)}: {legal}.")
    values = target.detach().to(torch.promote_types(target.dtype, torch.float32), copy=True)
    values = values[None] if values.ndim in (1, 3) else values
    return values[:, :, None, None] if values.ndim == 2 else values


def _units(
    unit: int | str | Iterable[int | str], layer: str | None, classes: ClassNames
) -> tuple[int, ...]:
    """Return units of which those of the output may be given by name."""
    several = [unit] if isinstance(unit, str) else unit
    if layer is None and isinstance(several, list | tuple):
        numbers = [unit_named(one, classes) if isinstance(one, str) else one for one in several]
        return _whole("unit", numbers or ())
    return _whole("unit", unit)


def _whole(name: str, value: object) -> tuple[int, ...]:
    """Return one whole number or several, each from 0."""
    whole = one_or_more_whole_numbers(name, value)
    return (whole,) if isinstance(whole, int) else whole
