"""A basis over a whole data set, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pfv_widgets.engine.network.capture import capture, run_captured
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import (
    choose_device,
    clean_name,
    floating_dtype,
    guarded,
    on_device,
    run,
    unwrap,
)
from pfv_widgets.engine.pca.basis import PrincipalBasis, fit_moments
from pfv_widgets.engine.pca.features import scale_of
from pfv_widgets.engine.pca.moments import Moments
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import text_or_none, truth_value, whole_number


def fit_basis(
    model: nn.Module,
    dataloader: Iterable[Any],
    layer: str | None = None,
    *,
    components: int = 3,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> PrincipalBasis:
    """Principal components of a layer's feature vectors over a data set.

    Memory does not grow with the number of batches: moments are merged pairwise.

    Parameters
    ----------
    model
        Any ``nn.Module``; it is given back as it came.
    dataloader
        Batches ``(N, 3, H, W)``, normalised, or tuples that begin with one (labels are
        ignored).
    layer
        Name of the layer; None: the last spatial feature map before the read-out.
    components
        Number of components, at most the number of channels.
    device
        As for ``PFV``.
    progress
        Whether to show a progress bar.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the batch or argument, and what is expected.
    """
    components = whole_number("components", components, 1)
    layer = text_or_none("layer", layer, "a layer's name")
    progress = truth_value("progress", progress)
    if not isinstance(dataloader, Iterable) or getattr(dataloader, "ndim", 1) == 0:
        raise PFVTypeError(
            f"dataloader={dataloader!r}: expected batches (N, 3, H, W), such as a DataLoader gives."
        )
    network = unwrap(model)
    where = choose_device(network, device)
    network, dtype = on_device(network, where), floating_dtype(network)
    pooled: Moments | None = None
    chosen, scale = None, 1.0
    with guarded(network) as network:
        for index, batch in enumerate(tqdm(dataloader, disable=not progress, unit="batch")):
            images = _images(batch, index).to(where, dtype)
            if chosen is None:
                listing = list_layers(network, images[:1], run)
                chosen = listing[listing.default if layer is None else clean_name(layer)]
            with capture(network, {chosen.name: (chosen.layout, None)}) as caught:
                run_captured(lambda images=images: run(network, images))  # type: ignore[misc]
            if pooled is None:
                scale = scale_of(caught[chosen.name])
            pooled = _added(pooled, caught[chosen.name] / scale, index, chosen.name)
    if pooled is None or chosen is None:
        raise PFVValueError("dataloader gave no batch: give at least one (N, 3, H, W) tensor.")
    most = min(chosen.shape[0], int(pooled.count[0]) - 1)
    if components > most:
        raise PFVValueError(
            f"components={components!r}: layer {chosen.name!r} and this data allow 1 to {most}."
        )
    return fit_moments(pooled, components, layer=chosen.name).scaled(scale)


def _images(batch: Any, index: int) -> Tensor:
    images = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4:
        what = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise PFVTypeError(
            f"dataloader: batch {index} is {what}, expected a float tensor (N, 3, H, W) or a "
            "tuple that begins with one."
        )
    return images


def _added(pooled: Moments | None, maps: Tensor, index: int, layer: str) -> Moments:
    for one in maps.unsqueeze(1):  # one image at a time: a Gram matrix each is the peak of memory
        moments = Moments.of_maps(one)
        if not bool(torch.isfinite(moments.scatter).all()):
            raise PFVValueError(
                f"dataloader: layer {layer!r} is NaN or infinite in batch {index}. Leave that "
                "batch out, choose an earlier layer, or run the network in float32."
            )
        pooled = moments if pooled is None else pooled.merged(moments)
    assert pooled is not None  # a batch has at least one image
    return pooled
