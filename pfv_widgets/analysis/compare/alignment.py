"""Two sets of features of the same positions: how alike they are, and how to align them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import check_dense

_LEAST = 4  # samples


@dataclass(frozen=True, eq=False)
class Rotation:
    """An orthogonal map, which may reflect, from one space of scores to another.

    Attributes
    ----------
    matrix
        ``(k, m)`` float64 on the CPU with orthonormal rows (or columns, where ``m < k``).
    agreement
        Share of the variance that the two sets have in common after alignment, in [0, 1]; NaN
        (undefined) where one of them is constant.
    """

    matrix: Tensor
    agreement: float

    def apply(self, scores: Tensor) -> Tensor:
        """Return scores ``(N, k, h, w)`` or ``(n, k)`` in the other space, of the same dtype."""
        if scores.ndim not in (2, 4) or scores.shape[1] != len(self.matrix):
            raise PFVValueError(
                f"scores has shape {tuple(scores.shape)}: expected {len(self.matrix)} components "
                "on the second axis, (N, k, h, w) or (n, k)."
            )
        return torch.einsum("nk...,km->nm...", scores, self.matrix.to(scores.dtype).to(scores))


def procrustes(source: Tensor, target: Tensor) -> Rotation:
    """Return the orthogonal map that brings ``source`` nearest to ``target``.

    Parameters
    ----------
    source, target
        Scores of the same positions, ``(n, k)`` and ``(n, m)``; each column is centred here.

    Raises
    ------
    PFVValueError, PFVTypeError
        For another number of positions, or numbers that are not finite.

    Notes
    -----
    With centred ``X`` and ``Y`` and the singular value decomposition ``XᵀY = U S Vᵀ`` the map is
    ``U Vᵀ`` (Schönemann 1966), and ``(Σ S)² / (‖X‖² ‖Y‖²)`` is the share of variance in common
    when the scale is left free.
    """
    x, y = _centred_pair(source, target, ("source", "target"))
    left, values, right = torch.linalg.svd(x.T @ y, full_matrices=False)
    size = float(x.square().sum()) * float(y.square().sum())
    agreement = min(float(values.sum()) ** 2 / size, 1.0) if size > 0 else float("nan")
    return Rotation(left @ right, agreement)


def align(source: Tensor, target: Tensor) -> Rotation:
    """Return the rotation of one network's scores that brings them nearest to another's.

    Parameters
    ----------
    source, target
        Scores of the same photos, ``(N, k, h, w)`` and ``(N, m, h2, w2)``. Maps of different
        grids are averaged to a common one, the coarser of the two in each direction; where they
        cannot be compared (not finite on one side) positions are left out.

    Raises
    ------
    PFVValueError, PFVTypeError
        For another number of photos, or where no position is finite in both.

    Notes
    -----
    See :func:`procrustes`. ``align(a, b).apply(a)`` is comparable with ``b`` up to one scale.
    """
    x, y = _common_positions(source, target)
    usable = _finite_rows(x) & _finite_rows(y)
    if not bool(usable.any()):
        raise PFVValueError(
            "source and target have no position where both are finite: there is nothing to align."
        )
    return procrustes(x[usable], y[usable])


def difference(source: Tensor, target: Tensor, rotation: Rotation) -> Tensor:
    """Where in each photo two networks differ after alignment.

    Parameters
    ----------
    source, target
        Scores ``(N, k, h, w)`` and ``(N, m, h2, w2)`` of the same photos.
    rotation
        From source to target: :func:`align` of these scores, or of more photos.

    Returns
    -------
    Tensor
        ``(N, H, W)`` float32 on the CPU, H and W those of the finer grid: the distance between
        the two, each centred and divided by its root mean square over all positions. 0: the same;
        1.41 (√2) is the root mean square where the two are unrelated. NaN where one side is not
        finite, and everywhere where one side is constant.
    """
    _check_maps(source, target)
    height, width = (max(sides) for sides in zip(source.shape[2:], target.shape[2:], strict=True))
    first = _on_grid(_standardised(rotation.apply(_numbers(source))), (height, width))
    second = _on_grid(_standardised(_numbers(target)), (height, width))
    if first.shape != second.shape:
        raise PFVValueError(
            f"rotation leads to {first.shape[1]} components and target has {second.shape[1]}."
        )
    return (first - second).square().sum(1).sqrt().float()


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Debiased centred kernel alignment of two sets of features, with linear kernels.

    Parameters
    ----------
    first, second
        Features of the same samples, ``(n, p)`` and ``(n, q)``.

    Returns
    -------
    float
        1 for features that are equal up to a rotation, a scale and an offset; about 0, and
        sometimes a little below, for independent features of any number of samples; NaN
        (undefined) where one of the two does not vary.

    Raises
    ------
    PFVValueError, PFVTypeError
        For another number of samples, fewer than 4, or numbers that are not finite.

    Notes
    -----
    With the unbiased estimate of the Hilbert–Schmidt independence criterion (Song et al. 2012;
    Nguyen et al. 2021): the plain form of Kornblith et al. (2019) is biased upwards where samples
    are few.
    """
    x, y = _centred_pair(first, second, ("first", "second"))
    if len(x) < _LEAST:
        raise PFVValueError(f"first has {len(x)} samples: at least {_LEAST} are needed.")
    within = _dependence(x, x) * _dependence(y, y)
    return _dependence(x, y) / within**0.5 if within > 0 else float("nan")


def centred(values: Tensor, name: str) -> Tensor:
    """Return features ``(n, p)`` in float64 on the CPU with columns of mean 0.

    Where a column is constant up to rounding, it is exactly 0.
    """
    _check_floats(values, name)
    if values.ndim != 2 or 0 in values.shape:
        raise PFVValueError(
            f"{name} has shape {tuple(values.shape)}: expected (samples, features)."
        )
    numbers = _numbers(values)
    if not bool(torch.isfinite(numbers).all()):
        raise PFVValueError(f"{name} holds numbers that are not finite; leave those samples out.")
    about_mean = numbers - numbers.mean(0)
    rounding = 8 * torch.finfo(values.dtype).eps * numbers.abs().amax(0)
    return torch.where(about_mean.abs().amax(0) > rounding, about_mean, 0.0)


def _dependence(x: Tensor, y: Tensor) -> float:
    """Unbiased Hilbert–Schmidt independence criterion of linear kernels.

    ``‖XᵀY‖²`` is the sum of ``XXᵀ ∘ YYᵀ``: whichever is smaller is computed.
    """
    n = len(x)
    few = n < min(x.shape[1], y.shape[1])
    cross = float(((x @ x.T) * (y @ y.T)).sum() if few else (x.T @ y).square().sum())
    own_x, own_y = x.square().sum(1), y.square().sum(1)
    # kernels without their diagonals; the columns are centred, so that each row sums to −own
    trace = cross - float(own_x @ own_y)
    sums = float(own_x.sum()) * float(own_y.sum()) / ((n - 1) * (n - 2))
    return (trace + sums - 2 * float(own_x @ own_y) / (n - 2)) / (n * (n - 3))


def _centred_pair(first: Tensor, second: Tensor, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    pair = tuple(centred(one, name) for one, name in zip((first, second), names, strict=True))
    if len(pair[0]) != len(pair[1]):
        raise PFVValueError(
            f"{names[0]} has {len(pair[0])} samples and {names[1]} {len(pair[1])}: both must "
            "describe the same ones."
        )
    return pair[0], pair[1]


def _common_positions(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the feature vectors ``(N·h·w, k)`` and ``(N·h·w, m)`` of the common grid."""
    _check_maps(source, target)
    height, width = (min(sides) for sides in zip(source.shape[2:], target.shape[2:], strict=True))
    first, second = (
        adaptive_avg_pool2d(_numbers(one), (height, width)).movedim(1, 3).flatten(0, 2)
        for one in (source, target)
    )
    return first, second


def _on_grid(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[2:] == size else interpolate(maps, size, mode="bilinear")


def _standardised(maps: Tensor) -> Tensor:
    """Centre ``(N, k, h, w)`` and divide by one number, the root mean square of its vectors.

    Positions with a value that is not finite do not count, and stay so.
    """
    vectors = maps.movedim(1, 3).flatten(0, 2)
    usable = vectors[_finite_rows(vectors)]
    if not len(usable):
        return torch.full_like(maps, torch.nan)
    mean = usable.mean(0)
    spread = (usable - mean).square().sum(1).mean().sqrt()
    rounding = 1e-12 * usable.abs().max()
    return (maps - mean[:, None, None]) / torch.where(spread > rounding, spread, torch.nan)


def _finite_rows(vectors: Tensor) -> Tensor:
    return torch.isfinite(vectors).all(1)


def _numbers(values: Tensor) -> Tensor:
    return values.detach().cpu().double()


def _check_maps(source: Tensor, target: Tensor) -> None:
    for name, maps in (("source", source), ("target", target)):
        _check_floats(maps, name)
        if maps.ndim != 4 or 0 in maps.shape:
            raise PFVValueError(
                f"{name} has shape {tuple(maps.shape)}: expected scores (N, k, h, w)."
            )
    if len(source) != len(target):
        raise PFVValueError(
            f"source has {len(source)} photos and target {len(target)}: both must show the same."
        )


def _check_floats(values: Tensor, name: str) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise PFVTypeError(f"{name} is {kind}: expected a tensor of floats.")
    check_dense(values, name)
