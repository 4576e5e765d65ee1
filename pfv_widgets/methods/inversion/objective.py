"""Objectives of the optimisation: match activations, raise units or principal components.

Each has a row for each target, ``names``, and ``at`` which layer and output its values are.
``check`` refuses values ``(1, C, h, w)`` that do not fit; ``scale`` is the divisor ``(B,)`` of each
score, from the values of the starts; ``score``, ``score_name`` in words, is in the layer's own
units; ``loss`` is minimised. ``rows`` ``(B,)`` are the targets of the images whose values
``(B, C, h, w)`` are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.core.class_names import class_names
from pfv_widgets.methods.core.target import Target

_UNIT = 0.1  # of a usual activation: from there on the loss is logarithmic
_DEEP = -15.0  # below it log softplus(s) is s, to a ten-millionth
_LEVEL, _SHARE = 128.0, 0.01  # of FeatureVis: half the range of grey levels, and a hundredth


@dataclass(frozen=True, eq=False)
class ActivationMatch:
    """Match activations: ``‖φ(x) − t‖² / ‖t‖²``."""

    at: Target
    names: tuple[str, ...]
    values: Tensor  # ``(R, C, h, w)``, or ``(R, C, 1, 1)`` without positions
    score_name: str = "distance"

    def check(self, values: Tensor) -> None:
        """Raise where the layer gives another shape, or the target has no length."""
        if self.values.shape[1:] != values.shape[1:]:
            raise PFVValueError(
                f"target: activations of shape {_shape(self.values)}, but {_name(self.at)} "
                f"gives {_shape(values)} for images of this size. Give a float tensor "
                f"{_shape(values)}, another layer, or another size=(H, W)."
            )
        lengths = self.values.flatten(1).norm(dim=1)
        if not bool(torch.isfinite(lengths).all()) or float(lengths.min()) == 0:
            raise PFVValueError(
                f"target: its activations at {_name(self.at)} are NaN, infinite or zero "
                "everywhere, so that nothing can be near to them. Give another photo or layer."
            )

    def scale(self, values: Tensor) -> Tensor:
        """Return 1: the loss has its own scale."""
        return values.new_ones(len(values))

    def score(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return ``‖φ − t‖ / ‖t‖``."""
        return self._distance(values, rows).sqrt()

    def loss(self, values: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """Return ``‖φ − t‖² / ‖t‖²``."""
        return self._distance(values, rows) / scale

    def _distance(self, values: Tensor, rows: Tensor) -> Tensor:
        target = self.values.to(values)[rows].flatten(1)
        return (values.flatten(1) - target).square().sum(1) / target.square().sum(1)


@dataclass(frozen=True, eq=False)
class UnitActivation:
    """Raise units, channels or classes, on average over positions."""

    at: Target
    names: tuple[str, ...]
    units: tuple[int, ...]
    classes: object = None  # names of all units, where the network's output has some
    score_name: str = "activation"

    def check(self, values: Tensor) -> None:
        """Raise where the layer has fewer units, or the names are those of another output."""
        class_names(self.classes, values.shape[1])
        for unit in self.units:
            if unit >= values.shape[1]:
                raise PFVValueError(
                    f"unit={unit}: {_name(self.at)} has {values.shape[1]} units. "
                    f"Choose one from 0 to {values.shape[1] - 1}."
                )

    def scale(self, values: Tensor) -> Tensor:
        """Return a tenth of the root mean square of all units' mean activations."""
        scale = _UNIT * values.mean((2, 3)).square().mean(1).sqrt()
        return torch.where(scale.isfinite() & (scale > 0), scale, torch.ones_like(scale))

    def score(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return the mean activation over the positions."""
        units = torch.tensor(self.units, device=values.device)[rows]
        return values.mean((2, 3)).gather(1, units[:, None])[:, 0]

    def loss(self, values: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """Return :func:`softplus_loss` of the mean activation."""
        return softplus_loss(self.score(values, rows) / scale)


@dataclass(frozen=True, eq=False)
class ComponentScore:
    """Raise the scores of principal components, on one side of the mean.

    Attributes
    ----------
    mean, directions
        ``(C,)`` and ``(R, C)``: unit vectors that have their sign.
    deviations
        ``(R,)`` of the photos' scores along each.
    """

    at: Target
    names: tuple[str, ...]
    mean: Tensor
    directions: Tensor
    deviations: Tensor
    score_name: str = "deviations from the mean"

    def check(self, values: Tensor) -> None:
        """Raise where the layer has another number of channels."""
        if values.shape[1] != len(self.mean):
            raise PFVValueError(
                f"target: a basis of {len(self.mean)} channels, but {_name(self.at)} has "
                f"{values.shape[1]}. Give the network and the layer that it was made from."
            )

    def scale(self, values: Tensor) -> Tensor:
        """Return a tenth: scores are in deviations of the photos."""
        return values.new_full((len(values),), _UNIT)

    def score(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return the mean score over the positions, in deviations of the photos' scores."""
        about = values.mean((2, 3)) - self.mean.to(values)
        along = torch.einsum("bc,bc->b", self.directions.to(values)[rows], about)
        return along / self.deviations.to(values)[rows]

    def loss(self, values: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """Return :func:`softplus_loss` of the mean score."""
        return softplus_loss(self.score(values, rows) / scale)


Objective = ActivationMatch | UnitActivation | ComponentScore


def softplus_loss(scores: Tensor) -> Tensor:
    """Return ``−log softplus(s)``: it falls by 1 with each 1 below 0, by log 2 with each doubling.

    So the priors keep their weight beside scores that grow a thousandfold.
    """
    near = scores.clamp(min=_DEEP)
    return torch.where(scores > _DEEP, -torch.nn.functional.softplus(near).log(), -scores)


def priors(levels: Tensor, p_norm: float, total_variation: float) -> Tensor:
    """Return what makes an image unlike a photo, ``(B,)``, as FeatureVis measures it.

    Parameters
    ----------
    levels
        ``(B, 3, H, W)``: pixels in grey levels, 0 … 255 less the mean colour.
    p_norm
        Weight of ``Σ|x|⁶ / (H·W·128⁶)``.
    total_variation
        Weight of ``Σ((x↓ − x)² + (x→ − x)²) / (H·W·128²·0.01²)``.
    """
    pixels = levels.shape[2] * levels.shape[3]
    loss = levels.new_zeros(len(levels))
    if p_norm:
        loss = loss + p_norm * (levels / _LEVEL).square().pow(3).flatten(1).sum(1) / pixels
    if total_variation:
        shares = levels / (_LEVEL * _SHARE)
        down = (shares[:, :, 1:] - shares[:, :, :-1]).square().flatten(1).sum(1)
        across = (shares[..., 1:] - shares[..., :-1]).square().flatten(1).sum(1)
        loss = loss + total_variation * (down + across) / pixels
    return loss


def _name(at: Target) -> str:
    return f"layer {at.layer!r}" if at.layer else "the output"


def _shape(values: Tensor) -> tuple[int, ...]:
    shape = tuple(values.shape[1:])
    return shape[:1] if shape[1:] == (1, 1) else shape
