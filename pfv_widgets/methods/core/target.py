"""What is explained: one unit of a layer or of the output, as a score to differentiate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.backward_graph import kind_of, nodes_behind
from pfv_widgets.engine.network.model_guard import run
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.read_out import (
    EVEN,
    Read,
    at_layer,
    averaged_layer,
    checked_output,
    chosen_output,
    reader,
    vector,
)
from pfv_widgets.validation import one_or_more_whole_numbers, text_or_none


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes
    ----------
    layer
        Dotted name of a layer, with ``#2`` for the second run of one that runs several times;
        None: the network's output.
    unit
        Index of a channel, feature or class for all images, or one for each image; None: the
        strongest unit of each image.
    output
        Which of several outputs, by name or position; None where there is one.
    """

    layer: str | None = None
    unit: int | tuple[int, ...] | None = None
    output: str | int | None = None

    def __post_init__(self) -> None:
        text_or_none("layer", self.layer, "a layer's name")
        object.__setattr__(self, "unit", checked_unit(self.unit))
        checked_output(self.output)

    def check_count(self, images: int) -> None:
        """Raise an error where there is one unit an image, but not for ``images`` of them."""
        if isinstance(self.unit, tuple) and len(self.unit) != images:
            raise PFVValueError(
                f"unit={self.unit!r:.80}: {len(self.unit)} units for {images} "
                f"image{'s' * (images != 1)}. Give one unit for all, or one for each image."
            )

    def of(self, images: int | Sequence[int]) -> Target:
        """Return the target of the image at an index, or of several in that order."""
        if not isinstance(self.unit, tuple):
            return self
        last = max((images,) if isinstance(images, int) else images)
        if last >= len(self.unit):
            self.check_count(last + 1)
        if isinstance(images, int):
            return replace(self, unit=self.unit[images])
        return replace(self, unit=tuple(self.unit[image] for image in images))


def checked_unit(unit: object) -> int | tuple[int, ...] | None:
    """Return a unit, one for each image, or None."""
    legal = (
        "a whole number from 0, one for each image, or None for the strongest unit of each image"
    )
    return None if unit is None else one_or_more_whole_numbers("unit", unit, 0, legal)


@dataclass(frozen=True, eq=False)
class UnitScores:
    """The measured scores of a batch."""

    scores: Tensor  # float ``(N,)``; can be differentiated where the batch requires gradients
    units: Tensor  # int64 ``(N,)``: which unit was taken for each image


# ``run(batch)`` or ``run(batch, units)``; units (N,) keep the unit of each image as it was
ScoreFunction = Callable[..., UnitScores]


def score_function(network: nn.Module, target: Target, start: str = EVEN) -> ScoreFunction:
    """Return ``run(batch, units=None)``, which gives the scores of a batch ``(N, 3, H, W)``.

    The score of a unit with a map is the **sum over its positions**, for all methods: its gradient
    starts with 1 at each position (with ``start="activation"``: with the map itself, as in
    FeatureVis, also where an output is the mean of a map), and its relevance with the activation
    of each position. Call it inside :func:`pfv_widgets.engine.network.model_guard.guarded`; the
    forward pass ends at the target's layer, and no hook stays behind. ``batch`` itself is left
    alone by in-place operations.

    Parameters
    ----------
    network
        In eval mode, on the device of the batches.
    target
        What is measured.
    start
        One of ``STARTS``: the signal at a map's positions with which the gradient begins.
    """
    layer, output, positions = target.layer, target.output, 1
    read: Read | None = None  # how the layer is read, once it was seen

    def measure(batch: Tensor, units: Tensor | None = None) -> UnitScores:
        nonlocal layer, output, positions, read
        if read is None and layer is None and start != EVEN:
            averaged = averaged_layer(network, output, batch[:1].detach())
            layer, positions = averaged or (None, 1)
            output = None if averaged else output
        if layer is None:
            values = chosen_output(run(network, batch), output, "the network")
            return _measured(vector(values, len(batch)), target, units)
        if read is None:
            with torch.no_grad():
                read = reader(network, layer, output, batch[:1].detach(), start)
        values = at_layer(network, layer, output, read, batch)
        return _measured(values / positions, target, units)

    return measure


def gradient(measured: UnitScores, batch: Tensor) -> Tensor:
    """Return the derivative of each image's score by its own pixels, of the shape of ``batch``.

    No ``.grad`` is written. Call it, and what measured, inside ``torch.enable_grad()``.
    """
    return differentiated(measured.scores, batch, _ANOTHER_METHOD)


def differentiated(values: Tensor, inputs: Tensor, instead: str, *, check: bool = True) -> Tensor:
    """Return the derivative of each image's value ``(N,)`` by its own part of the inputs.

    Where that is impossible, ``instead`` says what to do, beside passing the float network.
    ``check`` looks at each operation for one without a gradient.
    """
    cause: RuntimeError | None = None
    reason = "the scores do not depend on the images in a way that can be differentiated"
    if check and any(kind_of(node) == _UNKNOWN for node in nodes_behind(values)):
        reason = "an operation, such as a quantised one, has no gradient"  # autograd takes zero
    elif values.requires_grad:
        try:
            (derivative,) = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            derivative, cause, reason = None, error, (str(error).splitlines() or [""])[0]
        if derivative is not None:
            return derivative
    raise PFVValueError(
        f"model: no gradient reaches the images ({reason}). A network under inference_mode, "
        "quantised, with detach() or rounding inside cannot be differentiated: pass the float "
        f"network, or {instead}."
    ) from cause


def check_differentiable(network: nn.Module, instead: str = "") -> None:
    """Raise a PFVValueError where the network's numbers cannot take part in a gradient.

    ``instead`` is what else can be done than to build the network anew, in words.
    """
    for name, values in (*network.named_parameters(), *network.named_buffers()):
        if values.is_inference():
            raise PFVValueError(
                f"model: {name!r} was made under torch.inference_mode, so there is no gradient "
                f"path. Build or load the network outside of it{instead}."
            )


_ANOTHER_METHOD = "a method without gradients, one of input modification"
_UNKNOWN = "WarnNotImplemented"  # what autograd calls an operation without a gradient


def _measured(values: Tensor, target: Target, units: Tensor | None) -> UnitScores:
    if units is None and target.unit is not None:
        target.check_count(len(values))
        chosen = target.unit if isinstance(target.unit, tuple) else (target.unit,) * len(values)
        if max(chosen) >= values.shape[1]:
            where = f"layer {target.layer!r}" if target.layer else "the output"
            raise PFVValueError(
                f"unit={max(chosen)}: {where} has {values.shape[1]} units. "
                f"Choose from 0 to {values.shape[1] - 1}."
            )
        units = torch.tensor(chosen, device=values.device)
    elif units is None:
        # NaN would win every comparison
        units = values.detach().nan_to_num(nan=-torch.inf).argmax(1)
    units = units.to(values.device)
    return UnitScores(values.gather(1, units[:, None])[:, 0], units)
