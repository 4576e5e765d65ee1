"""How well a basis explains images that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.device_transfer import select, send
from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.engine.pca.data_set_summary import DataSet

_ALIKE = 1e-3  # difference of means and deviations that is rounding


class Explained(NamedTuple):
    """Shares of the variance of the images, from 0 to 1, that two bases explain.

    ``given`` is that of the basis given, ``own`` that of the images' own basis with as many
    components; NaN where there is none.
    """

    given: float
    own: float


def variance_of(maps: Tensor, weights: Weights) -> Tensor:
    """Variance of the vectors of ``(N, C, h, w)`` about their mean, summed over the channels."""
    used = [index for index, weight in enumerate(weights) if weight > 0]
    total = sum(weights)
    shares = torch.tensor([weights[index] / total for index in used])
    shares = send(shares.to(maps.dtype), maps.device)
    vectors = select(maps, used).flatten(2)
    mean = shares @ vectors.mean(dim=2)
    squares = (vectors - mean[:, None]).square().sum(dim=1).mean(dim=1)
    return shares @ squares


def basis_warnings(
    *, network: bool, layer: str, own: str, data: DataSet | None, images: ImageBatch
) -> tuple[str, ...]:
    """Say that a basis is of another network, layer ``own`` or normalisation than what is shown."""
    theirs = () if data is None or not data.mean else (*data.mean, *data.std)
    ours = (*images.mean, *images.std)
    unlike = any(abs(one - other) > _ALIKE for one, other in zip(theirs, ours, strict=False))
    messages = {
        "The basis was made with other weights than this network has, or with another network: "
        "its components and colours mean something else here.": network,
        f"The basis was made of layer {own!r}: at {layer!r} its components mean something "
        "else.": layer != own,
        f"The basis was fitted to photos in another normalisation ({_in_words(theirs)}) than "
        f"these ({_in_words(ours)}): its components and colours mean something else. Load the "
        "photos with the same transform.": unlike,
    }
    return tuple(message for message, holds in messages.items() if holds)


def _in_words(numbers: Sequence[float]) -> str:
    mean, std = (", ".join(f"{one:.3g}" for one in part) for part in (numbers[:3], numbers[3:]))
    return f"mean {mean}, std {std}"
