"""The principal components of feature vectors, with signs and order that hold still."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import SupportsFloat

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import Numbers, read, select, send
from pfv_widgets.engine.pca.array_file import (
    Arrays,
    FileContentError,
    check_digest,
    read_arrays,
    write_arrays,
)
from pfv_widgets.engine.pca.data_set_summary import DataSet
from pfv_widgets.engine.pca.eigensolvers import eigenvectors, orthonormal_rows
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.progress import OnProgress, silent
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import path_of

# Two unit vectors with a cosine above this have no other partner that near.
_RECOGNISED = 0.5**0.5
_NOISE = 16  # roundings of the largest variance that an eigenvalue may hold
_FIELDS = ("mean", "components", "variances", "total_variance", "count", "layer")
_VERSION = 1  # of the files; a later one may hold what this code does not know


@dataclass(frozen=True, eq=False)
class ComponentRotation:
    """Components turned among themselves, where others only change their order and signs."""

    matrix: Tensor  # orthogonal ``(k, k)``, float64: scores ``(n, k)`` become ``scores @ matrix``

    def __len__(self) -> int:
        return len(self.matrix)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is read of a basis in the same copy as its variances: each copy waits for a device."""

    offset: Tensor | None = None  # what its mean is about, ``(C,)``; None: zero
    others: Sequence[Tensor] = ()  # components of other bases, ``(m, C)`` each

    def tensors(self, mean: Tensor, components: Tensor) -> list[Tensor]:
        """Return the squared length of the mean, and the cosines with the others."""
        full = mean if self.offset is None else mean + self.offset
        cosines = [one.to(components) @ components.T for one in self.others]
        return [full.square().sum(), *cosines]

    def add_to(self, basis: PrincipalBasis, numbers: Sequence[Numbers]) -> PrincipalBasis:
        """Return the basis with what was read of :meth:`tensors`."""
        pairs = tuple(zip(self.others, numbers[1:], strict=True))
        return replace(basis, mean_square=float(numbers[0]), cosines=pairs)


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalBasis:
    """Mean and leading principal components of feature vectors.

    Attributes
    ----------
    mean
        ``(C,)``.
    components
        Unit vectors in rows, ``(k, C)``, by falling variance unless matched to another basis; zero
        where the feature vectors vary along fewer directions.
    variances
        Population variance along each component, ``(k,)``.
    total_variance
        Variance summed over all C directions.
    count
        Number of feature vectors, weights included.
    layer
        Name of the layer, where known.
    noise
        Variance up to which a component is rounding: 2·10⁻⁶ of the largest in float32.
    data
        The data set that it was fitted to, where it was fitted to one.
    mean_square
        Squared length of the mean, where it was read.
    cosines
        Components of other bases ``(m, C)``, and their cosines ``(m, k)`` with these.
    """

    mean: Tensor
    components: Tensor
    variances: Tensor
    total_variance: float
    count: float
    layer: str = ""
    noise: float = 0.0
    data: DataSet | None = None
    mean_square: float = math.nan
    cosines: tuple[tuple[Tensor, Numbers], ...] = ()

    def __post_init__(self) -> None:
        arrays = {name: getattr(self, name) for name in _FIELDS[:3]}
        for name, value in arrays.items():
            if not isinstance(value, Tensor):
                raise PFVTypeError(f"{name}={value!r:.60}: expected a tensor of a basis.")
        expected = (self.variances.numel(), self.mean.numel())
        flat = self.mean.ndim == self.variances.ndim == 1
        if not flat or tuple(self.components.shape) != expected:
            shapes = ", ".join(f"{name} {tuple(one.shape)}" for name, one in arrays.items())
            raise PFVValueError(f"arrays that do not fit together: {shapes}")

    def __repr__(self) -> str:
        (number, channels), share = self.components.shape, self.explained_variance_ratio.sum()
        what = f"{number} component{'s' * (number != 1)} of {channels} channels"
        where = f" of layer {self.layer!r}" if self.layer else ""
        return f"<PrincipalBasis: {what}{where}, {100 * float(share):.1f} % of the variance>"

    @property
    def explained_variance_ratio(self) -> Tensor:
        """Share of the total variance along each component, ``(k,)``, each in [0, 1]."""
        return (self.variances / self.total_variance).clamp(0, 1)

    @property
    def is_resolved(self) -> Tensor:
        """Whether each component is more than rounding: bool ``(k,)`` beside the components."""
        return send(self.variances > self.noise, self.components.device)

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

    def arranged(self, arrangement: tuple[int, ...] | ComponentRotation) -> PrincipalBasis:
        """Pick components by signed numbers from 1: ``(2, -1)`` is the second, then −first.

        A rotation makes each new component of all old ones; variances are those along the new.
        """
        if isinstance(arrangement, ComponentRotation):
            return self._rotated(arrangement.matrix.T)
        index = [abs(number) - 1 for number in arrangement]
        signs = torch.tensor([1.0 if number > 0 else -1.0 for number in arrangement])
        signs = send(signs.to(self.components.dtype), self.components.device)
        components = select(self.components, index) * signs[:, None]
        variances = select(self.variances, index)
        return replace(self, components=components, variances=variances, cosines=())

    def _rotated(self, rows: Tensor) -> PrincipalBasis:
        variances = rows.cpu().double() ** 2 @ self.variances.cpu().double()
        components = rows.to(self.components.dtype).to(self.components.device) @ self.components
        variances = variances.to(self.variances)
        return replace(self, components=components, variances=variances, cosines=())

    def scaled(self, scale: float) -> PrincipalBasis:
        """Return the basis of the same feature vectors times ``scale``.

        Variances are held in float64 where float32 may not reach so far.
        """
        if scale == 1:
            return self
        return replace(
            self,
            mean=self.mean * scale,
            variances=self.variances.cpu().double() * scale**2,
            total_variance=self.total_variance * scale**2,
            noise=self.noise * scale**2,
        )

    def first(self, number: int) -> PrincipalBasis:
        """Return the basis of its first components."""
        return replace(self, components=self.components[:number], variances=self.variances[:number])

    def followed_by(self, other: PrincipalBasis) -> PrincipalBasis:
        """Add the components of a longer basis, so that their order and signs are remembered."""
        number = len(self.components)
        if len(other.components) <= number:
            return self
        return replace(
            self,
            components=torch.cat([self.components, other.components[number:]]),
            variances=torch.cat([self.variances, other.variances[number:]]),
            cosines=(),
        )

    def matching(
        self, previous: PrincipalBasis | None, number: int, anchor: PrincipalBasis | None = None
    ) -> tuple[int, ...]:
        """Return the arrangement of the first ``number`` components that keeps colours still.

        A component that is recognisably one of ``anchor`` (cosine above 0.71), else one of
        ``previous``, takes its slot and sign. The others keep their order of variance, and
        the sign that is nearer to what was in their slot. The anchor keeps colours from
        drifting along a long way of small changes. Without either: order of variance.
        """
        others = [one for one in (anchor, previous) if one is not None and self._fits(one)]
        known = self._known_cosines(others, number)
        slots: dict[int, int] = {}
        for cosines in known:
            for slot, row in enumerate(cosines):
                best = int(np.abs(row).argmax())
                occupied = slot in slots or best in slots.values()
                if not occupied and abs(float(row[best])) > _RECOGNISED:
                    slots[slot] = best
        free = [index for index in range(number) if index not in slots.values()]
        arrangement = []
        for slot in range(number):
            index = slots[slot] if slot in slots else free.pop(0)
            near = [float(one[slot, index]) for one in known if slot < len(one)]
            sure = [cosine for cosine in near if abs(cosine) > _RECOGNISED] or near[-1:]
            arrangement.append(-(index + 1) if sure and sure[0] < 0 else index + 1)
        return tuple(arrangement)

    def _fits(self, other: PrincipalBasis) -> bool:
        return other.mean.shape == self.mean.shape

    def _known_cosines(self, others: Sequence[PrincipalBasis], number: int) -> list[Numbers]:
        """Return the cosines with others, ``(m, number)`` each: noted, or read in one copy."""
        noted = [
            next((known for one, known in self.cosines if one is other.components), None)
            for other in others
        ]
        known = [one[:number, :number] for one in noted if one is not None]
        if len(known) == len(others):
            return known
        mine = self.components[:number]
        return read(*(other.components[:number].to(mine) @ mine.T for other in others))

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` file that :meth:`load` reads, without pickle.

        Raises
        ------
        PFVValueError
            If there is no such folder, or it cannot be written to.
        """
        where, arrays = path_of("path", path), self._arrays()
        try:
            write_arrays(where, arrays)
        except (OSError, ValueError) as error:
            raise PFVValueError(
                f"path={str(path)!r} cannot be written ({type(error).__name__}: {error!s:.120}). "
                "Give the path of a file in a folder that exists, on a disk with room."
            ) from error

    def _arrays(self) -> Arrays:
        return {
            "version": np.asarray(np.float64(_VERSION)),
            "mean": self.mean.cpu().numpy(),
            "components": self.components.cpu().numpy(),
            "variances": self.variances.cpu().numpy(),
            "total_variance": np.asarray(np.float64(self.total_variance)),
            "count": np.asarray(np.float64(self.count)),
            "layer": np.asarray(np.str_(self.layer)),
            "noise": np.asarray(np.float64(self.noise)),
            **({} if self.data is None else self.data.arrays()),
        }

    @classmethod
    def load(cls, path: str | Path) -> PrincipalBasis:
        """Read a basis that :meth:`save` wrote.

        Raises
        ------
        PFVValueError
            If the file is absent or holds no basis.
        """
        where = path_of("path", path)
        try:
            return cls._of_arrays(read_arrays(where))
        except (FileContentError, OSError) as error:
            reason = str(error) if isinstance(error, FileContentError) else "it cannot be read"
            raise PFVValueError(
                f"path={str(path)!r} holds no basis: {reason}. "
                "Give a file that PrincipalBasis.save wrote."
            ) from error

    @classmethod
    def _of_arrays(cls, arrays: Arrays) -> PrincipalBasis:
        missing = [
            name
            for name in _FIELDS
            if name not in arrays or arrays[name].dtype.kind not in ("f", "U")
        ]
        if missing:
            what = "it is the checkpoint of a fit" if "checkpoint" in arrays else ""
            raise FileContentError(what or f"it has no numbers {missing[0]!r}")
        version = _number(arrays["version"], "version") if "version" in arrays else 0.0
        if version > _VERSION:
            raise FileContentError(f"it is of version {version:g}, and this is {_VERSION}")
        texts = [name for name in _FIELDS[:-1] if arrays[name].dtype.kind != "f"]
        if texts:
            raise FileContentError(f"{texts[0]} holds no numbers")
        mean, components, variances = (torch.from_numpy(arrays[name]) for name in _FIELDS[:3])
        total = _number(arrays["total_variance"], "total_variance")
        count, layer = _number(arrays["count"], "count"), str(arrays["layer"])
        noise = _number(arrays.get("noise", np.zeros(())), "noise", least=0.0)
        try:
            basis = cls(mean, components, variances, total, count, layer, noise)
        except PFVValueError as error:
            raise FileContentError(str(error)) from error
        _check_arrays(basis)
        if version:  # files from before versions were counted have no digest
            check_digest(arrays)
        return replace(basis, data=DataSet.of_arrays(arrays, len(basis.components)))


def _number(value: np.ndarray, name: str, least: float | None = None) -> float:
    """Return one number of a file, above 0, or not below ``least`` where that is given."""
    number = float(value) if value.ndim == 0 and value.dtype.kind == "f" else math.nan
    legal = number > 0 if least is None else number >= least
    if not legal or not math.isfinite(number):
        raise FileContentError(f"{name}={value.tolist()!r:.40}, which is no finite number above 0")
    return number


def _check_arrays(basis: PrincipalBasis) -> None:
    """Raise unless the arrays of a file fit together as a basis."""
    arrays = {"mean": basis.mean, "components": basis.components, "variances": basis.variances}
    if not basis.components.numel():
        raise FileContentError("it has no components")
    for name, one in arrays.items():
        if not one.is_floating_point() or not bool(torch.isfinite(one).all()):
            raise FileContentError(f"{name} holds numbers that are not finite, or no floats")
    if bool((basis.variances < 0).any()):
        raise FileContentError("variances holds a negative number")
    if float(basis.variances.double().sum()) > basis.total_variance * (1 + 1e-3):
        raise FileContentError("variances add up to more than total_variance")
    lengths = torch.linalg.vector_norm(basis.components.double(), dim=1)
    zero = (lengths == 0) & (basis.variances <= basis.noise)
    if bool(((lengths - 1).abs() > 1e-3).logical_and(~zero).any()):
        raise FileContentError("components are no unit vectors")


WITH_NOTHING = Comparison()


def fit_moments(
    moments: Moments,
    number: int,
    *,
    start: Tensor | None = None,
    layer: str = "",
    reach: float = 0.0,
    report: OnProgress = silent,
    compared: Comparison = WITH_NOTHING,
) -> PrincipalBasis:
    """Principal components of pooled moments (one group), signs by :func:`canonical_signs`."""
    mean, amount = moments.mean[0], moments.count[0]
    covariance = moments.scatter[0] / amount
    exact = torch.promote_types(covariance.dtype, torch.float32)
    total = covariance.diagonal().sum(dtype=exact)

    def along(vectors: Tensor) -> list[Tensor]:
        return [total, amount, *compared.tensors(mean, signed(vectors))]

    leading = eigenvectors(covariance, number, start, report, along, reach=reach)
    basis = _fitted(mean, signed(leading.vectors), leading.values, leading.along[:2], layer)
    return compared.add_to(basis, leading.along[2:])


def fit_maps(
    maps: Tensor,
    weights: Sequence[float],
    number: int,
    *,
    reach: float = 0.0,
    report: OnProgress = silent,
    compared: Comparison = WITH_NOTHING,
) -> PrincipalBasis:
    """Principal components of ``(N, C, h, w)`` by the Gram matrix of the positions.

    The smaller problem where channels outnumber positions. Images count ``weights`` times,
    N numbers.
    """
    positions = maps.shape[2] * maps.shape[3]
    used = [index for index, weight in enumerate(weights) if weight > 0]
    vectors = select(maps, used).flatten(2).transpose(1, 2).flatten(0, 1)
    count = sum(weights[index] for index in used) * positions
    shares = torch.tensor([weights[index] / count for index in used], dtype=torch.float64)
    amounts = send(shares.to(maps.dtype), maps.device).repeat_interleave(positions)
    mean = amounts @ vectors
    rows = (vectors - mean) * amounts.sqrt()[:, None]
    gram = rows @ rows.T
    total = gram.diagonal().sum()

    def components(left: Tensor) -> Tensor:
        return signed(orthonormal_rows(left @ rows))

    def along(left: Tensor) -> list[Tensor]:
        return [total, *compared.tensors(mean, components(left))]

    leading = eigenvectors(gram, number, report=report, along=along, reach=reach)
    sums = leading.along[0], count
    basis = _fitted(mean, components(leading.vectors), leading.values, sums)
    return compared.add_to(basis, leading.along[1:])


def _fitted(
    mean: Tensor,
    components: Tensor,
    variances: Numbers,
    sums: Iterable[SupportsFloat],
    layer: str = "",
) -> PrincipalBasis:
    total, count = map(float, sums)
    values = torch.from_numpy(variances)
    return PrincipalBasis(mean, components, values, total, count, layer, rounding(variances))


def rounding(variances: Numbers) -> float:
    """Variance below which an eigenvalue of a matrix in this dtype is rounding."""
    return _NOISE * float(np.finfo(variances.dtype).eps) * float(variances.max())


def signed(components: Tensor) -> Tensor:
    """Give components ``(k, C)`` the signs of :func:`canonical_signs`."""
    return components * canonical_signs(components)[:, None]


def canonical_signs(components: Tensor) -> Tensor:
    """Signs ``(k,)`` that make the entry of largest magnitude of each row positive."""
    largest = components.abs().argmax(dim=1, keepdim=True)
    picked = components.gather(1, largest)[:, 0]
    return 1 - 2 * (picked < 0).to(components)
