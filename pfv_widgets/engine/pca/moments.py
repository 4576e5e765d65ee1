"""Count, mean and scatter of feature vectors: what a basis needs, additive over images.

The scatter is taken about each image's own mean and merged pairwise (Chan, Golub and LeVeque,
1979), so that float32 stays exact where the mean is large beside the spread; a sum of raw
outer products does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import send
from pfv_widgets.engine.progress import MOMENTS, OnProgress, Progress, silent

_AT_ONCE = 1 << 22  # numbers of a part's feature maps or of its scatter


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of N groups of feature vectors, one group an image.

    Attributes
    ----------
    count
        Number of vectors of each group, ``(N,)``; weights included, so not always whole.
    mean
        Mean feature vector of each group, ``(N, C)``.
    scatter
        Sum of outer products of the deviations from that mean, ``(N, C, C)``; zero where the mean
        is not finite, so that such a group spoils nothing while it has no weight.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of_maps(cls, maps: Tensor, report: OnProgress = silent) -> Moments:
        """Moments of each image of ``(N, C, h, w)``, in at least float32."""
        number, channels, height, width = maps.shape
        dtype = torch.promote_types(maps.dtype, torch.float32)
        mean = maps.new_empty(number, channels, dtype=dtype)
        scatter = maps.new_empty(number, channels, channels, dtype=dtype)
        step = max(1, _AT_ONCE // (channels * max(channels, height * width)))
        for start in range(0, number, step):  # a part at a time: working copies stay small
            report(Progress(MOMENTS, start, number))
            part = slice(start, start + step)
            vectors = maps[part].flatten(2).to(dtype)
            mean[part] = vectors.mean(dim=2)
            centred = vectors - mean[part, :, None]
            finite = torch.isfinite(mean[part]).all(dim=1)
            centred.masked_fill_(~finite[:, None, None], 0.0)
            torch.bmm(centred, centred.transpose(1, 2), out=scatter[part])
        count = torch.full_like(mean[:, 0], height * width)
        return cls(count, mean, scatter)

    def pooled(self, weights: Tensor | Sequence[float] | None = None) -> Moments:
        """Merge the groups into one, each counted ``weights`` ``(N,)`` ≥ 0 times."""
        factors = torch.ones_like(self.count)
        if weights is not None:
            factors = send(torch.as_tensor(weights, dtype=factors.dtype), factors.device)
        amounts = factors * self.count
        total = amounts.sum()
        mean = torch.where(amounts[:, None] > 0, self.mean, 0.0)  # zero times NaN is NaN
        centre = (amounts / total) @ mean
        apart = (mean - centre) * amounts.sqrt()[:, None]
        within = (factors @ self.scatter.flatten(1)).view(self.scatter.shape[1:])
        return Moments(total[None], centre[None], torch.addmm(within, apart.T, apart)[None])

    def merged(self, other: Moments) -> Moments:
        """Merge with the groups of another batch into one."""
        return Moments(
            torch.cat([self.count, other.count]),
            torch.cat([self.mean, other.mean]),
            torch.cat([self.scatter, other.scatter]),
        ).pooled()
