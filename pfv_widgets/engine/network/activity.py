"""How active layers are at each position: what weights the scores of later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import read, select

_LOOKED_AT = 8  # positions along each side that tell how large the numbers of a map are
# What is left of the sum of the magnitudes where channels cancel, in which type.
_CANCELLED = {
    torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Activity:
    """How active one earlier layer is at each position."""

    total: Tensor  # sum over the channels, ``(N, h, w)``, float32; zero where it is not finite
    channels: int  # number of channels summed
    broken: tuple[int, ...] = ()  # images in which a sum is NaN or infinite
    largest: float = 1.0  # largest magnitude of a sum in the whole batch

    @property
    def silent(self) -> bool:
        """Whether every sum of the batch is zero."""
        return not self.largest > 0

    @classmethod
    def of_sums(cls, sums: Tensor, channels: int) -> Activity:
        """Take channel sums ``(N, h, w)``; one bad position spoils neither image nor batch."""
        finite = torch.isfinite(sums)
        good = finite.flatten(1).all(dim=1)
        largest, whole = read(torch.where(finite, sums, 0.0).abs().max(), good)
        broken = tuple(index for index, one in enumerate(whole) if not one)
        sums = torch.where(finite, sums, 0.0) if broken else sums
        return cls(sums, channels, broken, float(largest))

    def of(self, images: Sequence[int]) -> Activity:
        """Keep some images; the largest magnitude stays that of the batch."""
        return replace(self, total=select(self.total, images))


def channel_sum(maps: Tensor) -> Tensor:
    """Sum ``(N, C, h, w)`` over the channels, in at least float32.

    The sums of an image are zero where all of them are rounding, as those of a layer normalisation
    that has not been trained are: its channels cancel at every position.
    """
    dtype = torch.promote_types(maps.dtype, torch.float32)
    sums = maps.sum(dim=1, dtype=dtype)
    step = max(1, max(maps.shape[2:]) // _LOOKED_AT)
    sizes = maps[:, :, ::step, ::step].abs().sum(dim=1, dtype=dtype).amax(dim=(1, 2))
    rounding = _CANCELLED.get(maps.dtype, 0.0) * sizes
    largest = sums.abs().amax(dim=(1, 2))
    cancelled = (largest <= rounding) & largest.isfinite()
    return sums.masked_fill_(cancelled[:, None, None], 0)
