"""Feature maps of a layer, centred so that float32 keeps its digits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import read, select
from pfv_widgets.engine.pca.basis import PrincipalBasis

_ORDINARY = 20  # exponents of two up to which squares and their sums are safe in float32
_LARGEST = 120  # exponents beyond, of either sign, are those of no float32 divisor


@dataclass(frozen=True, eq=False)
class Features:
    """Feature maps of a layer, held about their mean so that float32 keeps its digits.

    Attributes
    ----------
    maps
        Activations over ``scale`` minus ``offset``, ``(N, C, h, w)``, at least float32.
    offset
        Mean of each channel over ``scale`` and over the images that are finite, ``(C,)``.
    broken
        Images with a NaN or an infinite value.
    scale
        A power of two that brings very small and very large activations near to 1, so that
        their squares neither under- nor overflow; else 1.
    """

    maps: Tensor
    offset: Tensor
    broken: tuple[int, ...]
    scale: float = 1.0

    def scores(self, basis: PrincipalBasis) -> Tensor:
        """Projections ``(N, k, h, w)``.

        Zero where the activations are not finite, and along components that are rounding alone:
        there the sign and pattern would be noise.
        """
        vectors = self.maps.flatten(2)
        shift = basis.components @ (self.offset - basis.mean / self.scale)
        scores = (basis.components @ vectors).add_(shift[:, None]).mul_(self.scale)
        scores = scores.view(len(vectors), -1, *self.maps.shape[2:])
        # no index by a mask, which an accelerator would have to read
        scores.masked_fill_(~basis.is_resolved.view(1, -1, 1, 1), 0.0)
        return scores.nan_to_num_(0.0, 0.0, 0.0) if self.broken else scores


def features_of(activations: Tensor, *, overwrite: bool = False) -> Features:
    """Centre activations ``(N, C, h, w)`` and note the images that are not finite.

    ``overwrite`` lets them be centred in their own memory, where they are the caller's alone.
    """
    maps = activations.to(torch.promote_types(activations.dtype, torch.float32))
    scale = scale_of(maps)
    own = overwrite or maps is not activations
    if scale != 1:
        maps, own = maps / scale, True
    means = maps.mean(dim=(2, 3))
    finite = read(torch.isfinite(means).all(dim=1))[0]
    if not finite.all():  # a mean may overflow where no value is infinite
        finite = read(torch.isfinite(maps).flatten(1).all(dim=1))[0]
    good, broken = ([i for i, one in enumerate(finite) if one == kind] for kind in (True, False))
    offset = select(means, good).mean(dim=0) if good else torch.zeros_like(means[0])
    shift = offset[:, None, None]
    return Features(maps.sub_(shift) if own else maps - shift, offset, tuple(broken), scale)


def scale_of(values: Tensor) -> float:
    """Return :func:`power_of_two` of the largest finite magnitude."""
    dtype = torch.promote_types(values.dtype, torch.float32)  # NumPy has no bfloat16
    low, high = read(values.amin().to(dtype), values.amax().to(dtype))
    largest = max(-float(low), float(high))
    if not math.isfinite(largest):
        finite = torch.nan_to_num(values, 0.0, 0.0, 0.0).abs().amax()
        largest = float(read(finite.to(dtype))[0])
    return power_of_two(largest)


def power_of_two(largest: float) -> float:
    """Return a power of two near a magnitude, or 1 where that is not extreme.

    Dividing by it changes no digit, and leaves numbers whose squares float32 can hold.
    """
    exponent = math.frexp(largest)[1]
    if largest == 0 or abs(exponent) <= _ORDINARY:
        return 1.0
    return math.ldexp(1.0, min(max(exponent, -_LARGEST), _LARGEST))
