"""The principal components of feature vectors, with signs and order that hold still."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.eigen import leading_eigenvectors
from pfv_widgets.engine.moments import Moments
from pfv_widgets.errors import PFVValueError

# Two unit vectors with a cosine above this have no other partner that near.
_RECOGNISED = 0.5**0.5


@dataclass(frozen=True, eq=False)
class PrincipalBasis:
    """Mean and leading principal components of feature vectors.

    Attributes
    ----------
    mean
        ``(C,)``.
    components
        Unit vectors in rows, ``(k, C)``, by falling variance unless matched to another basis.
    variances
        Population variance along each component, ``(k,)``.
    total_variance
        Variance summed over all C directions.
    count
        Number of feature vectors, weights included.
    layer
        Name of the layer, where known.
    """

    mean: Tensor
    components: Tensor
    variances: Tensor
    total_variance: float
    count: float
    layer: str = ""

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the total variance along each component, ``(k,)``, each in [0, 1]."""
        return (self.variances / self.total_variance).clamp(0, 1)

    def project(self, maps: Tensor) -> Tensor:
        """Scores ``(N, k, h, w)`` of feature maps ``(N, C, h, w)``.

        Raises
        ------
        PFVValueError
            If the maps have another number of channels.
        """
        if maps.ndim != 4 or maps.shape[1] != self.mean.shape[0]:
            raise PFVValueError(
                f"maps of shape {tuple(maps.shape)}: this basis takes (N, C, h, w) with "
                f"C={self.mean.shape[0]} channels. Use maps of the layer that it was made from."
            )
        vectors = maps.to(self.components).flatten(2) - self.mean[:, None]
        return (self.components @ vectors).view(len(maps), -1, *maps.shape[2:])

    def arranged(self, arrangement: tuple[int, ...]) -> PrincipalBasis:
        """Pick components by signed numbers from 1: ``(2, -1)`` is the second, then −first."""
        index = torch.tensor([abs(number) - 1 for number in arrangement])
        index = index.to(self.variances.device)
        signs = torch.tensor([1.0 if number > 0 else -1.0 for number in arrangement])
        components = self.components[index] * signs.to(self.components)[:, None]
        return PrincipalBasis(
            self.mean,
            components,
            self.variances[index],
            self.total_variance,
            self.count,
            self.layer,
        )

    def followed_by(self, other: PrincipalBasis) -> PrincipalBasis:
        """Add the components of a longer basis, so that their places are remembered."""
        number = len(self.components)
        if len(other.components) <= number:
            return self
        return replace(
            self,
            components=torch.cat([self.components, other.components[number:]]),
            variances=torch.cat([self.variances, other.variances[number:]]),
        )

    def matching(self, previous: PrincipalBasis | None, number: int) -> tuple[int, ...]:
        """Return the arrangement of the first ``number`` components that keeps colours still.

        A component that is recognisably one of ``previous`` (cosine above 0.71) takes its
        place and sign; the others keep their order of variance, and the sign that is nearer
        to what was in their place. Without a previous basis: order of variance.
        """
        if previous is None or previous.mean.shape != self.mean.shape:
            return tuple(range(1, number + 1))
        cosines = (previous.components[:number].to(self.components) @ self.components.T).cpu()
        places: dict[int, int] = {}
        for place, row in enumerate(cosines[:, :number]):
            best = int(row.abs().argmax())
            if abs(float(row[best])) > _RECOGNISED:
                places[place] = best
        free = [index for index in range(number) if index not in places.values()]
        arrangement = []
        for place in range(number):
            index = places[place] if place in places else free.pop(0)
            known = place < len(cosines) and float(cosines[place, index]) < 0
            arrangement.append(-(index + 1) if known else index + 1)
        return tuple(arrangement)

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` file that :meth:`load` reads, without pickle."""
        with Path(path).open("wb") as file:
            np.savez(
                file,
                mean=self.mean.cpu().numpy(),
                components=self.components.cpu().numpy(),
                variances=self.variances.cpu().numpy(),
                total_variance=np.float64(self.total_variance),
                count=np.float64(self.count),
                layer=np.str_(self.layer),
            )

    @classmethod
    def load(cls, path: str | Path) -> PrincipalBasis:
        """Read a basis that :meth:`save` wrote.

        Raises
        ------
        PFVValueError
            If the file is absent or holds no basis.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                mean, components, variances = (
                    torch.from_numpy(file[key]) for key in ("mean", "components", "variances")
                )
                total, count = float(file["total_variance"]), float(file["count"])
                layer = str(file["layer"])
            _check_arrays(mean, components, variances)
            return cls(mean, components, variances, total, count, layer)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise PFVValueError(
                f"path={str(path)!r} holds no basis ({str(error).splitlines()[0]:.120}). "
                "Give a file that PrincipalBasis.save wrote."
            ) from error


def _check_arrays(mean: Tensor, components: Tensor, variances: Tensor) -> None:
    """Raise ``ValueError`` unless the arrays of a file fit together as a basis."""
    shape = (len(variances.flatten()), len(mean.flatten()))
    if mean.ndim != 1 or variances.ndim != 1 or tuple(components.shape) != shape:
        shapes = ", ".join(str(tuple(one.shape)) for one in (mean, components, variances))
        raise ValueError(f"shapes {shapes} of mean, components, variances")
    for one in (mean, components, variances):
        if not one.is_floating_point() or not bool(torch.isfinite(one).all()):
            raise ValueError("numbers that are not finite, or no floats")


def fit_moments(
    moments: Moments, number: int, *, start: Tensor | None = None, layer: str = ""
) -> PrincipalBasis:
    """Principal components of pooled moments (one group), signs by :func:`canonical_signs`."""
    count = float(moments.count[0])
    covariance = moments.scatter[0] / count
    variances, components = leading_eigenvectors(covariance, number, start)
    total = float(
        covariance.diagonal().sum(dtype=torch.promote_types(covariance.dtype, torch.float32))
    )
    signs = canonical_signs(components)
    return PrincipalBasis(
        moments.mean[0], components * signs[:, None], variances, total, count, layer
    )


def fit_maps(maps: Tensor, weights: Tensor, number: int, *, layer: str = "") -> PrincipalBasis:
    """Principal components of ``(N, C, h, w)`` by the Gram matrix of the places.

    The smaller problem where channels outnumber places. Images count ``weights`` ``(N,)``
    times.
    """
    places = maps.shape[2] * maps.shape[3]
    used = weights > 0
    vectors = maps[used].flatten(2).transpose(1, 2).flatten(0, 1)
    amounts = weights[used].to(vectors).repeat_interleave(places)
    count = float(amounts.sum())
    mean = (amounts / count) @ vectors
    rows = (vectors - mean) * (amounts / count).sqrt()[:, None]
    gram = rows @ rows.T
    variances, left = leading_eigenvectors(gram, number)
    components = left @ rows
    components = components / components.norm(dim=1, keepdim=True).clamp_min(1e-30)
    signs = canonical_signs(components)
    total = float(gram.diagonal().sum())
    return PrincipalBasis(mean, components * signs[:, None], variances, total, count, layer)


def canonical_signs(components: Tensor) -> Tensor:
    """Signs ``(k,)`` that make the entry of largest magnitude of each row positive."""
    largest = components.abs().argmax(dim=1, keepdim=True)
    picked = components.gather(1, largest)[:, 0]
    return torch.where(picked < 0, -1.0, 1.0).to(components)
