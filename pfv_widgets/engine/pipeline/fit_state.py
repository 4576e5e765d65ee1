"""What a fit over a data set has gathered so far: it can be stored, resumed and merged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.data.photo_stream import StreamBatch
from pfv_widgets.engine.pca.array_file import Arrays, FileContentError
from pfv_widgets.engine.pca.streamed_moments import StreamedMoments
from pfv_widgets.errors import PFVValueError

CONTENT = "checkpoint"  # name of the array that says what a checkpoint holds

_SAMPLE = 32  # images by which the colours of a basis are scaled
_MOST_CLASSES = 10_000
_NAMED = 100  # images left out that are named; the others are counted


@dataclass
class LayerFit:
    """What is known of one layer.

    Attributes
    ----------
    moments
        Of its feature vectors.
    class_counts, class_sums
        Class → number of images, and sum of their mean vectors ``(C,)``, float64 on the CPU.
    images, not_finite
        Numbers of images that took part, and of those left out.
    """

    moments: StreamedMoments
    class_counts: dict[str, int] = field(default_factory=dict)
    class_sums: dict[str, Tensor] = field(default_factory=dict)
    images: int = 0
    not_finite: int = 0

    def add(self, maps: Tensor, means: Tensor, labels: Sequence[str] | None) -> Tensor:
        """Add maps ``(n, C, h, w)`` with their means ``(n, C)`` on the processor.

        Return which of the images are finite, bool ``(n,)``.
        """
        finite = torch.isfinite(means).all(dim=1)
        if not bool(finite.all()):
            finite = torch.isfinite(maps).flatten(1).all(dim=1).cpu()
            maps, means = maps[finite.to(maps.device)], means[finite]
            labels = labels and [one for one, good in zip(labels, finite, strict=True) if good]
        self.images += len(maps)
        self.not_finite += len(finite) - len(maps)
        if len(maps):
            self.moments.add(maps)
        for label, mean in zip(labels or (), means.double(), strict=False):
            if label in self.class_counts or len(self.class_counts) < _MOST_CLASSES:
                self.class_counts[label] = self.class_counts.get(label, 0) + 1
                self.class_sums[label] = self.class_sums.get(label, torch.zeros(())) + mean
        return finite

    def add_fit(self, other: LayerFit) -> None:
        """Add what another process has gathered."""
        self.moments.add_moments(other.moments)
        self.images += other.images
        self.not_finite += other.not_finite
        for label, count in other.class_counts.items():
            self.class_counts[label] = self.class_counts.get(label, 0) + count
            one = self.class_sums.get(label, torch.zeros(()))
            self.class_sums[label] = one + other.class_sums[label]


@dataclass
class DataSetFit:
    """All that a fit needs to go on from here.

    Attributes
    ----------
    layers
        Layer → what is known of it.
    network, source
        Fingerprint of the network, and signature of the stream.
    done
        Images of the stream that were read.
    read
        Digest of them, in order.
    sample
        The images with the smallest keys, whatever their order: key → ``(3, H, W)``, of one size
        or several.
    sample_maps
        What the network gave for them, by key and layer, as far as this process ran them.
    skipped
        Names and reasons of the first images that were left out.
    skipped_count
        How many were left out.
    """

    layers: dict[str, LayerFit]
    network: str
    source: str
    done: int = 0
    read: str = ""
    sample: dict[bytes, Tensor] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    skipped_count: int = 0
    sample_maps: dict[bytes, dict[str, Tensor]] = field(default_factory=dict)

    def check_same(self, now: DataSetFit) -> None:
        """Raise unless this one, of a checkpoint, is of the network and the photos of another."""
        if self.network != now.network:
            raise PFVValueError(
                "model: the checkpoint is of another network, or of other weights. Give the same, "
                "or begin anew with resume=False."
            )
        if self.source != now.source:
            raise PFVValueError(
                "data: the checkpoint is of other photos, or of another size. Give the same, or "
                "begin anew with resume=False."
            )

    def may_sample(self, batch: StreamBatch) -> bool:
        """Whether an image of a batch may newly belong to the sample."""
        last = max(self.sample) if len(self.sample) >= _SAMPLE else None
        return any(key not in self.sample and (last is None or key < last) for key in batch.keys)

    def note(self, batch: StreamBatch, maps: Mapping[str, Tensor]) -> None:
        """Note what was read, and keep of its images those that belong to the sample."""
        keys = batch.keys
        self.read = read_after(self.read, keys)
        self.done = batch.done
        self._skip(batch.skipped)
        for key, image in zip(keys, batch.images, strict=True):
            full = len(self.sample) >= _SAMPLE
            if key in self.sample or (full and key >= max(self.sample)):
                continue
            if bool(torch.isfinite(image).all()):
                self.sample[key] = image.detach().float().cpu().clone()
                self._cut_sample()
        for index, key in enumerate(keys if maps else ()):
            if key in self.sample and key not in self.sample_maps:
                self.sample_maps[key] = {name: one[index].clone() for name, one in maps.items()}

    def add(
        self, maps: Mapping[str, Tensor], means: Mapping[str, Tensor], batch: StreamBatch
    ) -> None:
        """Add the feature maps of a batch's images, and their means on the processor."""
        left_out: dict[str, list[str]] = {}
        for layer, mean in means.items():
            finite = self.layers[layer].add(maps[layer], mean, batch.labels).tolist()
            for name, good in zip(batch.names, finite, strict=True):
                if not good:
                    left_out.setdefault(name, []).append(layer)
        self._skip([f"{name}: NaN or infinite at {', '.join(at)}" for name, at in left_out.items()])

    def add_fit(self, other: DataSetFit) -> None:
        """Add what another process has gathered from its share."""
        for name, layer in other.layers.items():
            if name in self.layers:
                self.layers[name].add_fit(layer)
            else:  # this process had no image
                self.layers[name] = layer
        self.sample |= other.sample
        self._cut_sample()
        self.skipped = (self.skipped + other.skipped)[:_NAMED]
        self.skipped_count += other.skipped_count

    def sample_by_size(self) -> list[list[bytes]]:
        """Return the keys of the sample in order, those of images of one size together.

        The size that most of them have comes first.
        """
        groups: dict[tuple[int, ...], list[bytes]] = {}
        for key in sorted(self.sample):
            groups.setdefault(tuple(self.sample[key].shape), []).append(key)
        return sorted(groups.values(), key=lambda keys: (-len(keys), keys))

    def _skip(self, reasons: Sequence[str]) -> None:
        self.skipped_count += len(reasons)
        self.skipped += list(reasons)[: _NAMED - len(self.skipped)]

    def _cut_sample(self) -> None:
        for key in sorted(self.sample)[_SAMPLE:]:
            del self.sample[key]
            self.sample_maps.pop(key, None)

    def arrays(self) -> Arrays:
        """Return what :meth:`of_arrays` takes."""
        plain: dict[str, Any] = {
            "network": self.network,
            "source": self.source,
            "done": self.done,
            "read": self.read,
            "skipped": self.skipped,
            "skipped_count": self.skipped_count,
            "sample": [[key.hex() for key in keys] for keys in self.sample_by_size()],
            "layers": [
                {
                    "name": name,
                    "images": layer.images,
                    "not_finite": layer.not_finite,
                    "classes": layer.class_counts,
                }
                for name, layer in self.layers.items()
            ],
        }
        arrays: Arrays = {CONTENT: np.asarray(np.str_(json.dumps(plain)))}
        for index, keys in enumerate(self.sample_by_size()):
            arrays[f"sample {index}"] = torch.stack([self.sample[key] for key in keys]).numpy()
        for index, layer in enumerate(self.layers.values()):
            arrays |= {f"{index} {key}": one for key, one in layer.moments.arrays().items()}
            if layer.class_sums:
                arrays[f"{index} classes"] = torch.stack(list(layer.class_sums.values())).numpy()
        return arrays

    @classmethod
    def of_arrays(cls, arrays: Arrays, device: torch.device) -> DataSetFit:
        """Go on from what :meth:`arrays` returned.

        Raises
        ------
        FileContentError
            Where they are those of something else.
        """
        if CONTENT not in arrays:
            raise FileContentError("it is no checkpoint of a fit")
        try:
            plain = json.loads(str(arrays[CONTENT]))
            layers = {
                one["name"]: _layer_of(one, arrays, f"{index} ", device)
                for index, one in enumerate(plain["layers"])
            }
            sample: dict[bytes, Tensor] = {}
            for index, keys in enumerate(plain["sample"]):
                images = torch.from_numpy(arrays[f"sample {index}"])
                sample |= zip(map(bytes.fromhex, keys), images, strict=True)
            return cls(
                layers,
                plain["network"],
                plain["source"],
                plain["done"],
                plain["read"],
                sample,
                plain["skipped"],
                plain["skipped_count"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise FileContentError("it is damaged, or of another version") from error


def read_after(read: str, keys: Sequence[bytes]) -> str:
    """Return the digest of what was read and then these images."""
    digest = bytes.fromhex(read)
    for key in keys:
        digest = hashlib.blake2b(digest + key, digest_size=16).digest()
    return digest.hex()


def _layer_of(plain: dict[str, Any], arrays: Arrays, start: str, device: torch.device) -> LayerFit:
    own = {name.removeprefix(start): one for name, one in arrays.items() if name.startswith(start)}
    counts = {str(label): int(count) for label, count in plain["classes"].items()}
    sums = torch.from_numpy(own["classes"]) if counts else ()
    return LayerFit(
        StreamedMoments.of_arrays(own, device),
        counts,
        dict(zip(counts, sums, strict=True)),
        int(plain["images"]),
        int(plain["not_finite"]),
    )
