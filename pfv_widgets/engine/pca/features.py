"""Feature maps of a layer, centred so that float32 keeps its digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.engine.pca.basis import PrincipalBasis


@dataclass(frozen=True, eq=False)
class Features:
    """Feature maps of a layer, held about their mean so that float32 keeps its digits.

    Attributes
    ----------
    maps
        Activations minus ``offset``, ``(N, C, h, w)``, at least float32.
    offset
        Mean of each channel over the images that are finite, ``(C,)``.
    broken
        Images with a NaN or an infinite value.
    """

    maps: Tensor
    offset: Tensor
    broken: tuple[int, ...]

    def scores(self, basis: PrincipalBasis) -> Tensor:
        """Projections ``(N, k, h, w)``; zero where the activations are not finite."""
        vectors = self.maps.flatten(2)
        shift = basis.components @ (self.offset - basis.mean)
        scores = (basis.components @ vectors + shift[:, None]).view(
            len(vectors), -1, *self.maps.shape[2:]
        )
        return torch.nan_to_num(scores, 0.0, 0.0, 0.0) if self.broken else scores


def features_of(activations: Tensor) -> Features:
    """Centre activations ``(N, C, h, w)`` and note the images that are not finite."""
    maps = activations.to(torch.promote_types(activations.dtype, torch.float32))
    means = maps.mean(dim=(2, 3))
    finite = torch.isfinite(means).all(dim=1)
    if not bool(finite.all()):  # a mean may overflow where no value is infinite
        finite = torch.isfinite(maps).flatten(1).all(dim=1)
    offset = means[finite].mean(dim=0) if bool(finite.any()) else torch.zeros_like(means[0])
    broken = tuple((~finite).nonzero()[:, 0].tolist())
    return Features(maps - offset[:, None, None], offset, broken)
