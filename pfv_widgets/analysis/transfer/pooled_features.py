"""Pooled features of several layers for a stream of photos, with thumbnails of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from pfv_widgets.analysis.compare.randomised import randomised
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.layers import Layer, LayerListing
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.validation import distinct_layers

Floats = npt.NDArray[np.float64]
MOST_LAYERS = 8
_THUMBNAIL = 128  # longest side in pixels
_MOST_PICTURES = 48  # photos that are stored in full


@dataclass(frozen=True, eq=False)
class PooledFeatures:
    """The mean feature vector of each photo in several layers.

    Attributes
    ----------
    by_layer
        Name of the layer → ``(N, C)``, in forward order.
    untrained
        The same of the network with random weights, where there is one.
    labels, names
        Of the photos.
    thumbnails
        uint8 ``(h, w, 3)`` of each photo.
    pictures
        Some photos in full, spread over the classes, for heatmaps.
    picture_indices
        Which of the photos these are.
    """

    by_layer: Mapping[str, Floats]
    untrained: Mapping[str, Floats]
    labels: npt.NDArray[np.str_]
    names: tuple[str, ...]
    thumbnails: tuple[npt.NDArray[np.uint8], ...]
    pictures: ImageBatch
    picture_indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, photos: npt.NDArray[np.bool_]) -> PooledFeatures:
        """Return the same of some photos; ``pictures`` stay as they are."""
        indices = np.flatnonzero(photos)
        new_index = {int(old): new for new, old in enumerate(indices)}
        at = [i for i, old in enumerate(self.picture_indices) if old in new_index]
        return replace(
            self,
            by_layer={name: one[indices] for name, one in self.by_layer.items()},
            untrained={name: one[indices] for name, one in self.untrained.items()},
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices),
            thumbnails=tuple(self.thumbnails[i] for i in indices),
            pictures=self.pictures.subset(at) if at else self.pictures,
            picture_indices=tuple(new_index[self.picture_indices[i]] for i in at),
        )


def chosen_layers(listing: LayerListing, layers: Sequence[str] | None) -> tuple[Layer, ...]:
    """Return the layers of these names; None: at most eight up to the last before the read-out.

    These are the last of each resolution, and whole blocks spread evenly between them.
    """
    if layers is not None:
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            raise PFVTypeError(f"layers={layers!r:.80}: expected a list of names, or None.")
        if not layers:
            raise PFVValueError("layers is empty: give names from pfv.layers, or None.")
        if not all(isinstance(name, str) for name in layers):
            raise PFVTypeError(f"layers={layers!r:.80}: expected a list of names, or None.")
        distinct_layers("layers", layers)
        try:
            named = [listing[name] for name in layers]
        except PFVValueError as error:
            raise PFVValueError(f"layers: {error}") from None
        return tuple(sorted(named, key=listing.layers.index))
    distinct = [layer for layer in listing.layers if layer.same_as is None]
    default = listing[listing[listing.default].same_as or listing.default]
    before = distinct[: distinct.index(default) + 1]
    selection = [*listing.chain(default.name), default][-MOST_LAYERS:]
    outer = _outer(before)
    spread = np.linspace(0, len(outer) - 1, MOST_LAYERS).round().astype(int)
    for index in reversed(list(dict.fromkeys(spread.tolist()))):
        if len(selection) < MOST_LAYERS and outer[index] not in selection:
            selection.append(outer[index])
    return tuple(sorted(selection, key=listing.layers.index))


def _outer(layers: list[Layer]) -> list[Layer]:
    """Return the layers whose names have the fewest parts, eight at least: whole blocks."""
    depths = [layer.name.count(".") for layer in layers]
    for depth in sorted(set(depths)):
        outer = [one for one, own in zip(layers, depths, strict=True) if own <= depth]
        if len(outer) >= MOST_LAYERS:
            return outer
    return layers


def untrained(model: nn.Module) -> nn.Module | None:
    """Return the network with weights drawn anew throughout; None where it cannot be copied."""
    try:
        networks = randomised(model)
        return networks[list(networks)[-1]]
    except PFVError:
        return None


def pooled_features(
    chunks: Iterable[ImageBatch],
    networks: Sequence[tuple[nn.Module, torch.device]],
    layers: Sequence[Layer],
    progress: Callable[[int], None],
) -> PooledFeatures:
    """Run labelled photos through a network and, where there is one, its untrained copy.

    Each network has its device. The maps of ``layers`` are averaged over their positions;
    ``progress`` is called with the number of photos that are done.
    """
    layouts = {layer.name: (layer.layout, _pooled) for layer in layers}
    values: list[dict[str, list[Floats]]] = [{} for _ in networks]
    labels: list[str] = []
    names: list[str] = []
    thumbnails: list[npt.NDArray[np.uint8]] = []
    pictures, size = _Pictures(), None
    for batch in chunks:
        size = batch.size if size is None else size
        if batch.size != size:
            raise PFVValueError(
                f"images_or_dataset: photo {len(names) + 1} has {_words(batch.size)} pixels, and "
                f"those before {_words(size)}. Let its transform bring all to one size."
            )
        for (network, device), own in zip(networks, values, strict=True):
            pooled = Forward(network, batch.tensor, device).capture(layouts, {}, len(batch))
            for name, vectors in pooled.items():
                own.setdefault(name, []).append(vectors.cpu().double().numpy())
        pictures.add(batch, len(names))
        labels += batch.labels or ()
        names += batch.names
        thumbnails += map(thumbnail, batch.pixels)
        progress(len(names))
    if not names:
        raise PFVValueError("images_or_dataset gives no photo: give at least two of two classes.")
    joined = [{layer.name: np.concatenate(own[layer.name]) for layer in layers} for own in values]
    batch, indices = pictures.chosen()
    return PooledFeatures(
        joined[0], joined[1] if len(joined) > 1 else {}, np.asarray(labels, str), tuple(names),
        tuple(thumbnails), batch, indices,
    )  # fmt: skip


def thumbnail(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Scale a photo ``(H, W, 3)`` down to a longest side of 128 pixels."""
    height, width = pixels.shape[:2]
    factor = min(1.0, _THUMBNAIL / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _pooled(maps: Tensor) -> Tensor:
    return maps.double().mean(dim=(2, 3)) if maps.device.type != "mps" else maps.mean(dim=(2, 3))


class _Pictures:
    """Stores the first photos of each class, as many of each as there is room for."""

    def __init__(self) -> None:
        self._by_class: dict[str, list[tuple[int, ImageBatch]]] = {}

    def add(self, batch: ImageBatch, done: int) -> None:
        assert batch.labels is not None  # chunks are labelled
        for index, label in enumerate(batch.labels):
            own = self._by_class.setdefault(label, [])
            if len(own) < self._room():
                own.append((done + index, batch.subset([index])))

    def _room(self) -> int:
        return max(2, _MOST_PICTURES // max(1, len(self._by_class)))

    def chosen(self) -> tuple[ImageBatch, tuple[int, ...]]:
        entries = sorted(
            (one for own in self._by_class.values() for one in own[: self._room()]),
            key=lambda one: one[0],
        )
        parts = [one for _, one in entries]
        joined = replace(
            parts[0],
            pixels=np.concatenate([one.pixels for one in parts]),
            tensor=torch.cat([one.tensor for one in parts]),
            names=tuple(one.names[0] for one in parts),
            labels=tuple((one.labels or ("",))[0] for one in parts),
        )
        return joined, tuple(index for index, _ in entries)
