"""How the weighted scores of a data set are spread: what the colours of its basis refer to."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring.score_scaling import Spread
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import FixedBasis
from pfv_widgets.engine.pipeline.feature_store import FeatureStore

_CHUNK = 8  # images in one forward pass
_MEMORY = 256 << 20


def colour_statistics(
    network: nn.Module,
    device: torch.device,
    sample: Mapping[bytes, Tensor],
    basis: PrincipalBasis,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Measure some images of the data set in its basis.

    Parameters
    ----------
    sample
        The images, ``(3, H, W)``, normalised, in the order of their keys.

    Returns
    -------
    spreads
        Weighting → mean, variance, lowest and highest weighted score, ``(4, k)`` float64.
    largest
        Earlier layer → largest magnitude of its channel sums.
    """
    images = load_images(torch.stack([sample[key] for key in sorted(sample)]))
    forward = Forward(network, images.tensor, device)
    store = FeatureStore(forward, images, _CHUNK, _MEMORY, FixedBasis(basis))
    key, number = store.key_of(basis.layer), len(basis.components)
    weights, arrangement = (1.0,) * len(images), tuple(range(1, number + 1))
    with torch.no_grad():
        levels = zip(store.chain(key), store.captured(key)[1], strict=True)
        largest = {layer.name: level.largest for layer, level in levels}
        spreads = {
            name: pooled(store.spread(key, weights, arrangement, name, images.size))
            for name in WEIGHTINGS
        }
    return spreads, largest


def pooled(spread: Spread) -> Tensor:
    """Return mean, variance, lowest and highest value over all images, ``(4, k)``."""
    mean = spread.mean.mean(dim=0)
    variance = (spread.variance + (spread.mean - mean) ** 2).mean(dim=0)
    lowest, highest = spread.low.amin(dim=0), spread.high.amax(dim=0)
    return torch.stack([mean, variance, lowest, highest]).cpu()
