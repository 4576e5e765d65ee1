"""Moments of feature vectors of a whole data set, one batch of maps at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.pca.array_file import Arrays
from pfv_widgets.engine.pca.features import scale_of
from pfv_widgets.engine.pca.moments import Moments

_COPIED = 1 << 24  # numbers of the maps that are copied at a time
_SUMMED = 1024  # vectors whose products are summed in float32: more lose digits
_ROWS = 256  # of the scatter that a processor computes at a time, from the diagonal on


@dataclass
class StreamedMoments:
    """Count, mean and scatter of one layer's feature vectors so far, in float64.

    Each part is centred on its own mean, multiplied in the dtype of the maps, and merged in
    float64 (Chan, Golub and LeVeque, 1979): order and split of the data do not matter.

    Attributes
    ----------
    count
        Number of vectors.
    mean, scatter
        ``(C,)`` and ``(C, C)``, float64, of the activations over ``scale``. Of the scatter only
        the diagonal and what is above it counts; :meth:`pooled` gives all of it.
    scale
        A power of two near the activations where these are very small or large, else 1.
    """

    count: float
    mean: Tensor
    scatter: Tensor
    scale: float

    @classmethod
    def like(cls, maps: Tensor) -> StreamedMoments:
        """Begin with nothing, for maps such as these ``(N, C, h, w)``."""
        # MPS has no float64
        device = torch.device("cpu") if maps.device.type == "mps" else maps.device
        mean = torch.zeros(maps.shape[1], dtype=torch.float64, device=device)
        return cls(0.0, mean, mean.new_zeros(len(mean), len(mean)), scale_of(maps))

    def add(self, maps: Tensor) -> None:
        """Add the vectors of finite maps ``(N, C, h, w)``."""
        dtype = torch.promote_types(maps.dtype, torch.float32)
        step = max(1, _COPIED // maps[0].numel())
        for start in range(0, len(maps), step):
            rows = maps[start : start + step].to(dtype).transpose(0, 1).flatten(1)
            for part in torch.split(rows, _SUMMED, dim=1):
                self._add_rows(part / self.scale if self.scale != 1 else part)

    def _add_rows(self, rows: Tensor) -> None:
        centre = rows.mean(dim=1)
        rows = rows - centre[:, None]
        rest = rows.mean(dim=1)  # what rounding has left of a large mean
        centre, rest = centre.to(self.mean.device).double(), rest.to(self.mean.device).double()
        self._merge(
            float(rows.shape[1]),
            centre + rest,
            lambda part: (rows[part] @ rows[part.start :].T).to(self.scatter.device),
        )

    def add_moments(self, other: StreamedMoments) -> None:
        """Add the vectors of others."""
        factor = other.scale / self.scale
        if other.count:
            self._merge(
                other.count,
                other.mean.to(self.mean) * factor,
                lambda part: other.scatter[part, part.start :].to(self.scatter) * factor**2,
            )

    def _merge(self, count: float, mean: Tensor, scatter: Callable[[slice], Tensor]) -> None:
        """Add vectors of which ``scatter`` returns some rows, from the diagonal on.

        The matrix is symmetric: its half costs half. On an accelerator the whole takes fewer calls.
        """
        total, channels = self.count + count, len(mean)
        apart = mean - self.mean
        step = _ROWS if mean.device.type == "cpu" else channels
        for start in range(0, channels, step):
            part = slice(start, min(start + step, channels))
            rows = self.scatter[part, start:]
            rows += scatter(part)
            rows.addr_(apart[part], apart[start:], alpha=self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total

    def _whole(self) -> Tensor:
        """Return the scatter with its other half."""
        return self.scatter.triu() + self.scatter.triu(1).T

    def pooled(self) -> Moments:
        """Return them as moments of one group, of the activations over ``scale``."""
        count = self.mean.new_tensor([self.count])
        return Moments(count, self.mean[None], self._whole()[None])

    def arrays(self) -> Arrays:
        """Return what :meth:`of_arrays` takes."""
        return {
            "count": self.mean.new_tensor(self.count).cpu().numpy(),
            "mean": self.mean.cpu().numpy(),
            "scatter": self._whole().cpu().numpy(),
            "scale": self.mean.new_tensor(self.scale).cpu().numpy(),
        }

    @classmethod
    def of_arrays(cls, arrays: Arrays, device: torch.device) -> StreamedMoments:
        """Go on from what :meth:`arrays` returned."""
        device = torch.device("cpu") if device.type == "mps" else device
        mean, scatter = (torch.from_numpy(arrays[name]).to(device) for name in ("mean", "scatter"))
        return cls(float(arrays["count"]), mean, scatter, float(arrays["scale"]))
