"""The steps from activations to heatmaps, as functions of their inputs alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS, counting_size
from pfv_widgets.engine.colouring.heatmaps import render_heatmaps, visible_colours
from pfv_widgets.engine.colouring.similarity import cell_of, lengths_of, likeness, render_similarity
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.device_transfer import read
from pfv_widgets.engine.network.activity import Activity, channel_sum
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.batch_basis import Weights, fit_batch_basis
from pfv_widgets.engine.pca.features import Features, features_of
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.validation import Pin, checked_activations, few, size_in_pixels


@own_modes()
def heatmaps_from_activations(
    activations: Tensor | Sequence[Tensor],
    settings: Settings | None = None,
    size: tuple[int, int] | None = None,
) -> Frame:
    """Render heatmaps from feature maps that were computed elsewhere; no model is needed.

    Parameters
    ----------
    activations
        One ``(N, C, h, w)`` for each layer, in forward order; the last is decomposed, the
        others weight it. One tensor stands for a list of one.
    settings
        What to render (None: the defaults); ``layer`` is ignored.
    size
        Height and width of the heatmaps in pixels; None: those of the first activations.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the entry, what it is and what is expected.
    """
    maps = checked_activations(activations)
    settings = settings_of(settings, {})
    size = size_in_pixels("size", tuple(maps[0].shape[2:]) if size is None else size)
    weights, pins = settings.weights(len(maps[-1])), settings.pinned(len(maps[-1]))
    messages: tuple[str, ...] = ()
    features = features_of(maps[-1])
    basis = fit_batch_basis(features, None, weights, settings.components)
    scores = features.scores(basis)
    activities = [Activity.of_sums(channel_sum(one), one.shape[1]) for one in maps[:-1]]
    if pins:
        heatmaps = render_similarity(torch.stack(_alike(features, pins), dim=1), size)
    else:
        heatmaps, messages = _rendered(scores, activities, weights, settings, size)
    names = [f"activations[{index}]" for index in range(len(activities))]
    warnings = weighting_warnings(activities, names, settings.weighting)
    warnings += basis_warnings(basis, settings.shown)
    return Frame(heatmaps, scores, basis, settings, weights, warnings=warnings + messages)


def _alike(features: Features, pins: Sequence[Pin]) -> list[Tensor]:
    lengths = lengths_of(features.maps, features.offset, features.broken)
    cells = [(image, cell_of(x, y, lengths.shape)) for image, x, y in pins]
    return [likeness(features.maps, lengths, image, cell) for image, cell in cells]


def _rendered(
    scores: Tensor,
    activities: Sequence[Activity],
    weights: Weights,
    settings: Settings,
    size: tuple[int, int],
) -> tuple[Tensor, tuple[str, ...]]:
    factors_of, colouring = WEIGHTINGS[settings.weighting].factors, settings.colouring
    colour_filter = COLOUR_FILTERS[settings.sharing]
    filtered = None
    if colour_filter is not None:
        small = counting_size(size)
        factors = factors_of(activities, None, small)
        filtered = visible_colours(scores, factors, weights, colouring, colour_filter, size=small)
    heatmaps = render_heatmaps(
        scores,
        factors_of(activities, None, size),
        weights,
        colouring,
        size,
        colours=filtered.shown if filtered else None,
    )
    return heatmaps, filtered.warnings if filtered else ()


def basis_warnings(basis: PrincipalBasis, components: Sequence[int]) -> tuple[str, ...]:
    """Say which of the components that are shown cannot be told from rounding error."""
    resolved = (read(basis.variances)[0] > basis.noise).tolist()
    noise = [index for index in components if not resolved[index]]
    if not noise:
        return ()
    which, which_is, it_is = (
        ("Component", "is", "It is") if len(noise) == 1 else ("Components", "are", "They are")
    )
    directions = f"{sum(resolved)} direction{'s' * (sum(resolved) != 1)}"
    message = (
        f"{which} {few([index + 1 for index in noise])} {which_is} within rounding error: beyond "
        f"it, the feature vectors of these images vary in {directions}. {it_is} shown neutral."
    )
    return (message,)


def weighting_warnings(
    activities: Sequence[Activity], names: Sequence[str], weighting: str
) -> tuple[str, ...]:
    """Say where a weighting had to leave something out."""
    if not WEIGHTINGS[weighting].uses_layers:
        return ()
    if not activities and not WEIGHTINGS[weighting].uses_image:
        return (f"No earlier layer has another resolution: weighting {weighting!r} does nothing.",)
    pairs = list(zip(names, activities, strict=True))
    silent = [name for name, activity in pairs if activity.silent]
    messages = []
    if silent:
        messages.append(
            f"Without a part in the weighting: {', '.join(silent)}. The channels add up to zero at "
            "every position, as those of a LayerNorm do before it is trained."
        )
    for name, activity in pairs:
        if activity.broken:
            images = few([index + 1 for index in activity.broken])
            messages.append(f"{name} is NaN or infinite in image {images}: it has no effect there.")
    return tuple(messages)
