"""One scale for all images, so that the same colour means the same score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import Numbers, select, send

NORMALISATIONS = ("global", "component")
_SMALLEST, _LARGEST = 1e-12, 1e12  # magnitudes whose squares are safe in float32


@dataclass(frozen=True, eq=False)
class Spread:
    """How values of score maps are spread, for each image and component.

    Attributes
    ----------
    mean, variance, low, high
        ``(N, k)``, float64, beside the maps or on the CPU; the variance is the population's.
    """

    mean: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of_maps(cls, maps: Tensor) -> Spread:
        """Measure weighted scores ``(N, k, H, W)``."""
        flat = maps.flatten(2)
        if maps.device.type not in ("cpu", "mps"):
            return cls._on_accelerator(flat)
        # two reductions: on a processor aminmax() costs four times as much
        low, high = flat.amin(dim=2), flat.amax(dim=2)
        numbers = _measured(flat, low, high)
        reach = max(float(numbers[3].max()), -float(numbers[2].min()))
        extreme = not _SMALLEST <= reach <= _LARGEST
        if extreme and reach and math.isfinite(reach):  # squares have under- or overflown
            flat = flat / reach
            numbers = _measured(flat, low / reach, high / reach)
        else:
            reach = 1.0
        square = numbers[1] ** 2 / flat.shape[2]
        numbers[1] = square - numbers[0] ** 2
        if (numbers[1] < 1e-4 * square).any():  # cancellation: take the slow two-pass form
            numbers[1] = torch.var(flat, dim=2, correction=0).cpu().numpy()
        mean, variance, low, high = torch.from_numpy(numbers)
        return cls(mean * reach, variance * reach**2, low * reach, high * reach)

    @classmethod
    def _on_accelerator(cls, flat: Tensor) -> Spread:
        """Measure on an accelerator, without waiting for it."""
        low, high = flat.amin(dim=2), flat.amax(dim=2)
        reach = torch.maximum(high, -low).amax().clamp_min(torch.finfo(flat.dtype).tiny)
        variance, mean = torch.var_mean(flat / reach, dim=2, correction=0)
        mean, variance, low, high, reach = (
            one.double() for one in (mean, variance, low, high, reach)
        )
        return cls(mean * reach, variance * reach**2, low, high)

    @classmethod
    def joined(cls, parts: Sequence[Spread]) -> Spread:
        """Put the images of several parts one after another."""
        fields = ("mean", "variance", "low", "high")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))

    def of(self, components: Sequence[int]) -> Spread:
        """Pick components, in that order."""
        fields = (self.mean, self.variance, self.low, self.high)
        return Spread(*(select(field, components, 1) for field in fields))


def _measured(flat: Tensor, low: Tensor, high: Tensor) -> Numbers:
    """Read mean, length, lowest and highest value of ``(N, k, m)``; float64 ``(4, N, k)``."""
    measured = torch.stack([flat.mean(dim=2), torch.linalg.vector_norm(flat, dim=2), low, high])
    return measured.cpu().numpy().astype(np.float64)  # which MPS does not have


def scaling(
    spread: Spread, weights: Sequence[float] | Tensor, sigma: float, normalisation: str
) -> tuple[Tensor, Tensor]:
    """Scale and shift ``(k,)`` that take mean ± ``sigma`` deviations, or the range, to [0, 1].

    Parameters
    ----------
    spread
        Of the weighted scores of N images.
    weights
        N numbers ≥ 0, not all zero. Statistics are those of the images with a weight; the
        others are coloured in the same scale.
    sigma
        Half-width in standard deviations (population).
    normalisation
        ``"global"``: one mean, deviation and range over images, components and pixels, as in
        the paper. ``"component"``: one for each component.

    Notes
    -----
    A constant map gets the scale 0 and stands at 0.5. The shift is the value of a score of
    zero.
    """
    low, high, first, last = _ends(spread, weights, sigma, normalisation)
    low, high = torch.maximum(low, first), torch.minimum(high, last)
    constant = ~(high - low > 1e-12 * torch.maximum(high.abs(), low.abs()))
    scale = torch.where(constant, 0.0, 1 / torch.where(constant, 1.0, high - low))
    return scale, torch.where(constant, 0.5, -low * scale)


def all_clipped(
    spread: Spread, weights: Sequence[float] | Tensor, sigma: float, normalisation: str
) -> bool:
    """Whether scores lie beyond the deviations on both sides: then no extreme decides a scale.

    Parameters are those of :func:`scaling`; the spread is on the CPU.
    """
    low, high, first, last = _ends(spread, weights, sigma, normalisation)
    return bool(((low <= first) & (high >= last)).numpy().all())


def _ends(
    spread: Spread, weights: Sequence[float] | Tensor, sigma: float, normalisation: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ``(k,)`` each: lowest and highest score, mean minus and plus the deviations."""
    shares = send(torch.as_tensor(weights, dtype=torch.float64), spread.mean.device)
    used, shares = shares > 0, shares / shares.sum()
    each = shares @ torch.where(used[:, None], spread.mean, 0.0)
    centre = each.mean().expand_as(each) if normalisation == "global" else each
    about = spread.variance + (spread.mean - centre) ** 2
    variance = shares @ torch.where(used[:, None], about, 0.0)
    low = torch.where(used[:, None], spread.low, math.inf).amin(0)
    high = torch.where(used[:, None], spread.high, -math.inf).amax(0)
    if normalisation == "global":
        variance = variance.mean().expand_as(each)
        low, high = low.amin().expand_as(low), high.amax().expand_as(high)
    reach = sigma * variance.clamp_min(0).sqrt()
    return low, high, centre - reach, centre + reach


def scaled(maps: Tensor, scale: Tensor, shift: Tensor, *, overwrite: bool = False) -> Tensor:
    """Apply a scale and a shift ``(k,)`` to ``(N, k, H, W)`` and clip to [0, 1].

    ``overwrite`` lets that happen in their own memory, where they are the caller's alone.
    """
    # the dtype first: not every accelerator takes float64
    shift, scale = (
        send(one.to(maps.dtype), maps.device).view(1, -1, 1, 1) for one in (shift, scale)
    )
    values = maps.mul_(scale) if overwrite else maps * scale
    return values.add_(shift).clamp_(0, 1)
