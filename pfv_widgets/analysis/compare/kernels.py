"""What one layer says of the similarity of positions: its kernel and its leading directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfv_widgets.analysis.compare.alignment import centred
from pfv_widgets.engine.pca.eigensolvers import leading_eigenvectors

LEAST = 4  # samples, for the unbiased estimate
_PARTS = ("whole", "by_photo", "scores", "scores_by_photo")


@dataclass(frozen=True, eq=False)
class LayerKernel:
    """One layer at the same positions of all photos, or several layers stacked.

    Attributes
    ----------
    whole
        float32 ``(n, n)`` over all positions of all photos, U-centred and of unit length: the
        sum of the products of two layers' is their debiased CKA. NaN where it is undefined.
    by_photo
        The same for the positions of each photo, ``(N, p, p)``.
    scores, scores_by_photo
        Orthonormal scores of the leading components, float64 ``(n, k)`` and ``(N, p, k)``: zero
        columns where there are fewer.

    Each has a dimension of layers in front where they are stacked: see :meth:`room_for`.
    """

    whole: Tensor
    by_photo: Tensor
    scores: Tensor
    scores_by_photo: Tensor

    @classmethod
    def of(cls, maps: Tensor, components: int) -> LayerKernel:
        """Return that of feature maps ``(N, C, h, w)`` that are finite."""
        photos, channels, height, width = maps.shape
        vectors = maps.movedim(1, 3).reshape(-1, channels)
        features = centred(vectors, "maps")
        by_photo = torch.stack([centred(one, "maps") for one in vectors.chunk(photos)])
        scores = _leading_scores(features, components)
        own = scores.view(photos, height * width, -1)
        varies = (by_photo != 0).flatten(1).any(1)[:, None, None]
        return cls(
            unit_kernel(features @ features.T).float(),
            unit_kernel(by_photo @ by_photo.mT).float(),
            scores,
            _orthonormal((own - own.mean(1, keepdim=True)) * varies),
        )

    def room_for(self, layers: int) -> LayerKernel:
        """Return room for so many layers of this shape, to be filled one by one.

        Kernels are large: a stack of those that are there already would hold them twice.
        """
        return LayerKernel(*(getattr(self, name).new_empty(layers, *getattr(self, name).shape)
                             for name in _PARTS))  # fmt: skip

    def put(self, row: int, layer: LayerKernel) -> None:
        """Put a layer into a stack."""
        for name in _PARTS:
            getattr(self, name)[row] = getattr(layer, name)


def unit_kernel(kernel: Tensor) -> Tensor:
    """U-centre kernels ``(…, n, n)`` and divide them by their lengths; NaN where those are 0.

    With ``n (n - 3)`` the sum of products of two U-centred kernels is the unbiased estimate of
    the Hilbert–Schmidt independence criterion (Székely and Rizzo 2014; Song et al. 2012), so that
    that of unit ones is debiased CKA.
    """
    n = kernel.shape[-1]
    if n < LEAST:
        return torch.full_like(kernel, torch.nan)
    diagonal = torch.eye(n, dtype=torch.bool)
    kernel = kernel.masked_fill(diagonal, 0)
    rows = kernel.sum(-1, keepdim=True) / (n - 2)
    total = rows.sum(-2, keepdim=True) / (n - 1)
    kernel = (kernel - rows - rows.mT + total).masked_fill(diagonal, 0)
    length = kernel.flatten(-2).norm(dim=-1)[..., None, None]
    return kernel / torch.where(length > 0, length, torch.nan)


def angles_between(first: Tensor, second: Tensor) -> Tensor:
    """Principal angles in degrees, rising, of orthonormal scores ``(…, n, k)``: ``(…, k)``.

    NaN beyond the smaller number of columns that are not zero.
    """
    cosines = torch.linalg.svdvals(first.mT @ second).clamp(0, 1)
    number = torch.minimum(_columns(first), _columns(second))
    beyond = torch.arange(cosines.shape[-1]) >= number[..., None]
    return torch.rad2deg(cosines.arccos()).masked_fill(beyond, torch.nan)


def _columns(scores: Tensor) -> Tensor:
    return (scores.square().sum(-2) > 0.5).sum(-1)


def _leading_scores(features: Tensor, components: int) -> Tensor:
    """Return orthonormal ``(n, k)``; zero columns beyond the rank."""
    n, channels = features.shape
    number = min(components, n, channels)
    tall = channels < n
    values, vectors = leading_eigenvectors(
        features.T @ features if tall else features @ features.T, number
    )
    scores = features @ vectors.T if tall else vectors.T * values.sqrt()
    return _orthonormal(torch.nn.functional.pad(scores, (0, components - number)))


def _orthonormal(scores: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns of ``(…, n, k)``, zero beyond their rank."""
    missing = max(0, scores.shape[-1] - scores.shape[-2])
    left, values, _ = torch.linalg.svd(scores, full_matrices=False)
    resolved = (values > 1e-6 * values[..., :1]) & (values > 0)  # maps are float32
    return torch.nn.functional.pad(left * resolved[..., None, :], (0, missing))
