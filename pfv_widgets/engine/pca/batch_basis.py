"""The principal components of the images of a batch, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pfv_widgets.engine.device_transfer import select
from pfv_widgets.engine.pca.basis import Comparison, PrincipalBasis, fit_maps, fit_moments
from pfv_widgets.engine.pca.features import Features
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pca.wide_fit import WideFit
from pfv_widgets.engine.progress import MOMENTS, OnProgress, Progress, silent
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import few

Weights = tuple[float, ...]

_AT_ONCE = 1 << 24  # numbers of Gram matrices that are held at a time
_REACH = 1e4  # squared deviations from the mean, where some image may be far from those that count
SAME = 1e-13  # of the squared mean: a variance below it is rounding of the activations


def fit_batch_basis(
    features: Features,
    moments: Moments | WideFit | None,
    weights: Weights,
    number: int,
    *,
    start: Tensor | None = None,
    others: Sequence[Tensor] = (),
    layer: str = "",
    report: OnProgress = silent,
) -> PrincipalBasis:
    """Fit the first ``number`` components to the images with a weight.

    ``moments`` are of each image, or of all pooled into one group; of a wide layer, what fits its
    bases; None: they are collected here. ``start``, vectors ``(m, C)`` near the components, saves
    time. Components ``(m, C)`` of each of ``others`` are compared with this basis.
    """
    where = f"layer={layer!r}" if layer else "activations"
    _check(features, weights, number, where)
    largest = max(weights)  # divided out: 1e30 would overflow in float32
    amounts = [weight / largest for weight in weights]
    compared = Comparison(features.offset, others)
    try:
        basis = _fitted(
            features, moments, amounts, number, start=start, report=report, compared=compared
        )
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined] # documented
        raise PFVValueError(
            f"{where} cannot be decomposed in float32 ({error!s:.80}). Choose an earlier layer."
        ) from error
    mean, size = basis.mean + features.offset, basis.mean_square
    scale = features.scale
    if not basis.total_variance > SAME * size:
        raise PFVValueError(
            f"{where} has the same activations at every position (variance "
            f"{basis.total_variance * scale**2:.3g}): there is no component to show, or its "
            "differences are too small for float32. Choose another layer, or check the network's "
            "weights."
        )
    noise = max(basis.noise, SAME * size)
    count = basis.count * largest
    return replace(basis, mean=mean, noise=noise, count=count, layer=layer).scaled(scale)


def _check(features: Features, weights: Weights, number: int, where: str) -> None:
    _, channels, height, width = features.maps.shape
    used = [index for index, weight in enumerate(weights) if weight > 0]
    broken = [index for index in features.broken if index in used]
    if broken:
        leave_out = f"give {'it' if len(broken) == 1 else 'them'} weight 0 in Settings.images, "
        advice = "" if len(broken) == len(used) else leave_out
        raise PFVValueError(
            f"{where} is NaN or infinite in image {few(broken)} (counted from 0): {advice}choose "
            "an earlier layer, run the network in float32, or check its weights."
        )
    most = min(channels, len(used) * height * width - 1)
    if number > most:
        positions = len(used) * height * width
        advice = "or another layer" if most == channels else "another layer, or more images"
        raise PFVValueError(
            f"components={number}, but {where} has {channels} channel{'s' * (channels != 1)} and "
            f"{positions} position{'s' * (positions != 1)} in {len(used)} "
            f"image{'s' * (len(used) != 1)}: choose at most {max(most, 1)}, {advice}."
        )


def _fitted(
    features: Features,
    moments: Moments | WideFit | None,
    weights: Sequence[float],
    number: int,
    *,
    start: Tensor | None,
    report: OnProgress,
    compared: Comparison,
) -> PrincipalBasis:
    reach = 0.0
    if isinstance(moments, WideFit):
        basis = moments.fit(features.maps, weights, number, report, compared)
        if basis is not None:
            return basis
        moments, reach = None, _REACH
    count, channels, height, width = features.maps.shape
    used = [index for index, weight in enumerate(weights) if weight > 0]
    if moments is None and len(used) * height * width < channels:
        return fit_maps(
            features.maps, weights, number, reach=reach, report=report, compared=compared
        )
    moments = moments or _moments_in_chunks(features.maps, weights, report)
    pooled = moments.pooled(weights if len(moments.count) == count else None)
    return fit_moments(pooled, number, start=start, reach=reach, report=report, compared=compared)


def _moments_in_chunks(maps: Tensor, weights: Sequence[float], report: OnProgress) -> Moments:
    """Pooled moments without the Gram matrices of all images at once."""
    pooled: Moments | None = None
    used = [index for index, weight in enumerate(weights) if weight > 0]
    step = max(1, _AT_ONCE // maps.shape[1] ** 2)
    for done in range(0, len(used), step):
        report(Progress(MOMENTS, done, len(used)))
        part = used[done : done + step]
        one = Moments.of_maps(select(maps, part)).pooled([weights[index] for index in part])
        pooled = one if pooled is None else pooled.merged(one)
    report(Progress(MOMENTS, len(used), len(used)))
    assert pooled is not None  # at least one weight is above zero
    return pooled
