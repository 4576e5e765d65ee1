"""How the weighted scores of a data set are spread: what the colours of its basis refer to."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pfv_widgets.engine.colouring.heatmaps import spread_of
from pfv_widgets.engine.colouring.score_scaling import Spread
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS, brightness
from pfv_widgets.engine.data.normalisation import Normalisation
from pfv_widgets.engine.data.preprocessing import to_pixels
from pfv_widgets.engine.network.activity import Activity
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pipeline.data_set_capture import DataSetCapture
from pfv_widgets.engine.pipeline.fit_state import DataSetFit

_CHUNK = 8  # images in one forward pass


def colour_statistics(
    network: DataSetCapture, fit: DataSetFit, basis: PrincipalBasis, by: Normalisation
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Measure some images of the data set, its sample, in its basis; those of one size.

    Those that this process did not run, as after a checkpoint, run now. ``by`` is what they were
    normalised by: it leads back to the photos as shown.

    Returns
    -------
    spreads
        Weighting → mean, variance, lowest and highest weighted score, ``(4, k)`` float64.
    largest
        Earlier layer → largest magnitude of its channel sums.
    """
    groups = fit.sample_by_size()
    if not groups:  # no image was finite
        return {}, {}
    keys = groups[0]
    images = torch.stack([fit.sample[key] for key in keys])
    pixels, size = to_pixels(images, by), (images.shape[2], images.shape[3])
    with torch.no_grad():
        captured = _sample_maps(network, fit, keys)
        features = features_of(captured[basis.layer])
        there = replace(
            basis,
            mean=basis.mean.to(features.maps),
            components=basis.components.to(features.maps),
        )
        scores = features.scores(there)
        sums = network.sums(basis.layer, captured)
        activities = [Activity.of_sums(one, layer.shape[0]) for layer, one in sums]

        def bright(size: tuple[int, int]) -> Tensor:
            return brightness(pixels, size).to(network.device)

        spreads = {
            name: pooled(spread_of(scores, weighting.factors(activities, bright, size), size))
            for name, weighting in WEIGHTINGS.items()
        }
    largest = {layer.name: one.largest for (layer, _), one in zip(sums, activities, strict=True)}
    return spreads, largest


def _sample_maps(network: DataSetCapture, fit: DataSetFit, keys: list[bytes]) -> dict[str, Tensor]:
    """Return what the network gives for the sample: its maps and channel sums, by layer."""
    missing = [key for key in keys if key not in fit.sample_maps]
    for start in range(0, len(missing), _CHUNK):
        part = missing[start : start + _CHUNK]
        images = network.sent(torch.stack([fit.sample[key] for key in part]))
        maps = network.maps(images, sums=True)
        for index, key in enumerate(part):
            fit.sample_maps[key] = {name: one[index] for name, one in maps.items()}
    each = [fit.sample_maps[key] for key in keys]
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def pooled(spread: Spread) -> Tensor:
    """Return mean, variance, lowest and highest value over all images, ``(4, k)``."""
    mean = spread.mean.mean(dim=0)
    variance = (spread.variance + (spread.mean - mean) ** 2).mean(dim=0)
    lowest, highest = spread.low.amin(dim=0), spread.high.amax(dim=0)
    return torch.stack([mean, variance, lowest, highest]).cpu()
