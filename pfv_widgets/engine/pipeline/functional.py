"""The steps from activations to heatmaps, as functions of their inputs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_filter import counting_size
from pfv_widgets.engine.colouring.heatmaps import paint, shared_colours
from pfv_widgets.engine.colouring.similarity import cell_of, lengths_of, likeness, paint_similarity
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS, Level, channel_sum
from pfv_widgets.engine.pca.basis import PrincipalBasis, fit_maps, fit_moments
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import Pin, checked_activations, checked_size, few

Weights = tuple[float, ...]


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


def fit(
    features: Features,
    moments: Moments | None,
    weights: Weights,
    number: int,
    *,
    start: Tensor | None = None,
    layer: str = "",
) -> PrincipalBasis:
    """Fit the first ``number`` components to the images with a weight.

    Raises
    ------
    PFVValueError
        If the maps are not finite, constant, or smaller than ``number`` components need.
    """
    _, channels, height, width = features.maps.shape
    used = [index for index, weight in enumerate(weights) if weight > 0]
    broken = [index for index in features.broken if index in used]
    where = f"layer={layer!r}" if layer else "activations"
    if broken:
        leave_out = f"give {'it' if len(broken) == 1 else 'them'} weight 0 in images=..., "
        advice = "" if len(broken) == len(used) else leave_out
        raise PFVValueError(
            f"{where} is NaN or infinite in image {few(broken)} (counted from 0): {advice}choose "
            "an earlier layer, run the network in float32, or check its weights."
        )
    most = min(channels, len(used) * height * width - 1)
    if number > most:
        raise PFVValueError(
            f"components={number}, but {where} has {channels} channels and "
            f"{len(used) * height * width} places in {len(used)} images: choose at most "
            f"{max(most, 1)}, another layer, or more images."
        )
    largest = max(weights)  # divided out: 1e30 would overflow in float32
    amounts = torch.tensor([weight / largest for weight in weights]).to(features.maps)
    try:
        basis = _fitted(features, moments, amounts, number, start=start)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined] # documented
        raise PFVValueError(
            f"{where} is too large for sums in float32 (largest magnitude "
            f"{float(features.maps.abs().max()):.3g}). Choose an earlier layer, or scale it down."
        ) from error
    basis = replace(
        basis, mean=basis.mean + features.offset, count=basis.count * largest, layer=layer
    )
    size = float((basis.mean.cpu().double() ** 2).sum())
    if not basis.total_variance > 1e-13 * size:
        raise PFVValueError(
            f"{where} has the same activations at every place (variance "
            f"{basis.total_variance:.3g}): there is no component to show, or its differences "
            "are too small for float32. Choose another layer, or check the network's weights."
        )
    return basis


def _fitted(
    features: Features,
    moments: Moments | None,
    amounts: Tensor,
    number: int,
    *,
    start: Tensor | None,
) -> PrincipalBasis:
    count, channels, height, width = features.maps.shape
    if moments is None and int((amounts > 0).sum()) * height * width < channels:
        return fit_maps(features.maps, amounts, number)
    moments = moments or _moments_in_chunks(features.maps, amounts)
    pooled = moments.pooled(amounts if len(moments.count) == count else None)
    return fit_moments(pooled, number, start=start)


def _moments_in_chunks(maps: Tensor, weights: Tensor) -> Moments:
    """Pooled moments without the Gram matrix of every single image at once."""
    pooled: Moments | None = None
    for index in weights.nonzero()[:, 0].tolist():
        one = Moments.of_maps(maps[index : index + 1]).pooled(weights[index : index + 1])
        pooled = one if pooled is None else pooled.merged(one)
    assert pooled is not None  # at least one weight is above zero
    return pooled


def heatmaps_from_activations(
    activations: Sequence[Tensor],
    settings: Settings | None = None,
    size: tuple[int, int] | None = None,
) -> Frame:
    """Paint heatmaps from feature maps that were computed elsewhere; no model is needed.

    Parameters
    ----------
    activations
        One ``(N, C, h, w)`` for each layer, in forward order; the last is decomposed, the
        others weight it.
    settings
        What to paint (None: the defaults); ``layer`` is ignored.
    size
        Height and width of the heatmaps in pixels; None: those of the first activations.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the entry, what it is and what is expected.
    """
    maps = checked_activations(activations)
    settings = settings_of(settings, {})
    size = checked_size(size) or (maps[0].shape[2], maps[0].shape[3])
    weights, pins = settings.weights(len(maps[-1])), settings.pinned(len(maps[-1]))
    told: tuple[str, ...] = ()
    with torch.no_grad():
        features = features_of(maps[-1])
        moments = Moments.of_maps(features.maps)
        basis = fit(features, moments, weights, settings.components)
        scores = features.scores(basis)
        levels = [Level.of_sums(channel_sum(one), one.shape[1]) for one in maps[:-1]]
        if pins:
            heatmaps = paint_similarity(torch.stack(_alike(features, pins), dim=1), size)
        else:
            heatmaps, told = _painted(scores, levels, weights, settings, size)
    names = [f"activations[{index}]" for index in range(len(levels))]
    warnings = weighting_warnings(levels, names, settings.weighting)
    return Frame(heatmaps, scores, basis, settings, weights, warnings=warnings + told)


def _alike(features: Features, pins: Sequence[Pin]) -> list[Tensor]:
    lengths = lengths_of(features.maps, features.offset, features.broken)
    cells = [(image, cell_of(x, y, lengths.shape)) for image, x, y in pins]
    return [likeness(features.maps, lengths, image, cell) for image, cell in cells]


def _painted(
    scores: Tensor,
    levels: Sequence[Level],
    weights: Weights,
    settings: Settings,
    size: tuple[int, int],
) -> tuple[Tensor, tuple[str, ...]]:
    weighting = WEIGHTINGS[settings.weighting]
    colours: Tensor | None = None
    told: tuple[str, ...] = ()
    if settings.sharing != "all":
        small = counting_size(size)
        shared = shared_colours(scores, weighting(levels, None, small), weights, settings, small)
        colours, told = shared.shown, shared.warnings
    factors = weighting(levels, None, size)
    return paint(scores, factors, weights, settings, size, colours=colours), told


def weighting_warnings(
    levels: Sequence[Level], names: Sequence[str], weighting: str
) -> tuple[str, ...]:
    """Say where a weighting had to leave something out."""
    if weighting == "none":
        return ()
    if not levels and weighting != "gradual":
        return (f"No earlier layer has another resolution: weighting {weighting!r} does nothing.",)
    told = []
    for name, level in zip(names, levels, strict=True):
        if level.silent:
            told.append(f"{name} is zero everywhere: it weights nothing.")
        if level.broken:
            told.append(
                f"{name} is NaN or infinite in image {few(level.broken)}: it weights nothing there."
            )
    return tuple(told)
