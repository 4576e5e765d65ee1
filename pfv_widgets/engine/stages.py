"""The steps from activations to heatmaps, as functions of their inputs alone."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pfv_widgets.engine.basis import PrincipalBasis, fit_maps, fit_moments
from pfv_widgets.engine.colour import COLOUR_MAPS
from pfv_widgets.engine.frame import Frame
from pfv_widgets.engine.moments import Moments
from pfv_widgets.engine.normalisation import Spread, scaled, scaling
from pfv_widgets.engine.settings import Settings, settings_of
from pfv_widgets.engine.weighting import WEIGHTINGS, Level, channel_sum, enlarge, weighted
from pfv_widgets.errors import PFVTypeError, PFVValueError

Weights = tuple[float, ...]
_CACHED = 1_000_000  # numbers worked on at a time: more leave the cache, fewer idle a core


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


def paint(
    scores: Tensor,
    factors: Sequence[Tensor],
    weights: Weights,
    settings: Settings,
    size: tuple[int, int],
) -> Tensor:
    """Weight, enlarge, normalise and colour scores ``(N, k, h, w)``; heatmaps ``(N, H, W, 3)``."""
    shown = scores if settings.channels is None else scores[:, list(settings.channels)]
    parts = _parts(shown, size)
    end = factors[-1].shape[2:] if factors else size
    maps = scores.new_empty(*shown.shape[:2], *end)
    spreads = []
    for part in parts:
        one = weighted(shown[part], [factor[part] for factor in factors], size)
        spreads.append(Spread.of_maps(one))
        maps[part] = one
    scale, shift = scaling(Spread.joined(spreads), weights, settings.sigma, settings.normalisation)
    neutral = shift.clamp(0, 1).to(scores.dtype).to(scores.device)
    # fresh memory costs more than the arithmetic: where it fits, the picture replaces the maps
    fits = maps.shape[1:] == (3, *size)
    heatmaps = maps if fits else scores.new_empty(len(scores), 3, *size)
    for part in parts:
        picture = COLOUR_MAPS[settings.colour_map](scaled(maps[part], scale, shift), neutral)
        heatmaps[part] = enlarge(picture, size)
    return heatmaps.permute(0, 2, 3, 1).to(torch.float32)


def _parts(maps: Tensor, size: tuple[int, int]) -> list[slice]:
    """Split the images so that a part stays in a processor's cache; an accelerator takes all."""
    step = len(maps)
    if maps.device.type == "cpu":
        step = max(1, _CACHED // (maps.shape[1] * size[0] * size[1]))
    return [slice(start, start + step) for start in range(0, len(maps), step)]


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
    weights = settings.weights(len(maps[-1]))
    with torch.no_grad():
        features = features_of(maps[-1])
        moments = Moments.of_maps(features.maps)
        basis = fit(features, moments, weights, settings.components)
        scores = features.scores(basis)
        levels = [Level.of_sums(channel_sum(one), one.shape[1]) for one in maps[:-1]]
        factors = WEIGHTINGS[settings.weighting](levels, None, size)
        heatmaps = paint(scores, factors, weights, settings, size)
    names = [f"activations[{index}]" for index in range(len(levels))]
    warnings = weighting_warnings(levels, names, settings.weighting)
    return Frame(heatmaps, scores, basis, settings, weights, warnings=warnings)


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


def checked_activations(activations: Sequence[Tensor]) -> list[Tensor]:
    """Return the activations as a list, or raise an error that names the entry."""
    if isinstance(activations, Tensor):
        raise PFVTypeError(
            "activations: got one tensor, expected a list of (N, C, h, w) tensors, "
            "the one to decompose last."
        )
    if not isinstance(activations, Sequence):
        raise PFVTypeError(
            f"activations={activations!r:.80}: expected a list of (N, C, h, w) tensors."
        )
    maps = list(activations)
    if not maps:
        raise PFVValueError("activations is empty: give at least one (N, C, h, w) tensor.")
    for index, one in enumerate(maps):
        if isinstance(one, Tensor) and one.is_meta:
            raise PFVValueError(f"activations[{index}] is on the meta device: it holds no numbers.")
        if not isinstance(one, Tensor) or not one.is_floating_point():
            kind = one.dtype if isinstance(one, Tensor) else type(one).__name__
            raise PFVTypeError(f"activations[{index}] is {kind}: expected a float tensor.")
        if one.ndim != 4 or 0 in one.shape or len(one) != len(maps[-1]):
            raise PFVValueError(
                f"activations[{index}] has shape {tuple(one.shape)}: expected (N, C, h, w) with "
                "no empty side, and the same N for each."
            )
    return [one.detach() for one in maps]


def checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size as two whole numbers ≥ 1, or raise an error."""
    if size is None:
        return None
    legal = "expected (height, width) in pixels, whole numbers from 1 to 8192"
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        raise PFVTypeError(f"size={size!r}: {legal}.") from None
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise PFVValueError(f"size={size!r}: {legal}.")
    return height, width


def few(indices: Sequence[int]) -> str:
    """Write a few indices out and count the rest."""
    text = ", ".join(str(index) for index in indices[:6])
    return text if len(indices) <= 6 else f"{text} and {len(indices) - 6} more"
