"""Labelled photos in chunks, from a batch, from files or from a data set of PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.load_images import batch_of, load_images
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import is_whole

CHUNK = 32  # photos in one forward pass

WITHOUT_LABELS = (
    "labels=None: the photos have no labels. Give one for each photo, or a folder with one "
    "sub-folder for each class."
)


def labelled_chunks(source: Any, labels: Sequence[object] | None = None) -> Iterator[ImageBatch]:
    """Yield labelled batches of at most 32 photos.

    The source is an ``ImageBatch``, what :func:`load_images` takes, or a ``Dataset`` or
    ``DataLoader`` of ``(image, label)``, read once and in parts: tensors are normalised already,
    and labels that are numbers are named by its ``classes``, where it has them.
    """
    if isinstance(source, Dataset | DataLoader):
        yield from _of_dataset(source, labels)
        return
    batch = batch_of(source, "images_or_dataset", labels=labels)
    if isinstance(source, ImageBatch) and labels is not None:
        batch = load_images(source, size=source.size, labels=labels)
    if batch.labels is None:
        raise PFVValueError(WITHOUT_LABELS)
    for start in range(0, len(batch), CHUNK):
        yield batch.subset(range(start, min(start + CHUNK, len(batch))))


def _of_dataset(source: Any, labels: Sequence[object] | None) -> Iterator[ImageBatch]:
    if labels is not None:
        raise PFVTypeError("labels: a data set has its own. Leave labels out.")
    data = source.dataset if isinstance(source, DataLoader) else source
    names = getattr(data, "classes", None)
    entries = _batches_apart(source) if isinstance(source, DataLoader) else _entries(source)
    done, images, classes = 0, [], []
    for entry in entries:
        image, label = _pair(entry)
        images.append(image)
        classes.append(_name(label, names))
        if len(images) == CHUNK:
            yield _batch(images, classes, done)
            done, images, classes = done + CHUNK, [], []
    if images:
        yield _batch(images, classes, done)


def _entries(data: Any) -> Iterator[Any]:
    return map(data.__getitem__, range(len(data))) if hasattr(data, "__len__") else iter(data)


def _batches_apart(loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for batch in loader:
        images, labels = _pair(batch)
        yield from zip(images, labels, strict=True)


def _pair(entry: Any) -> tuple[Any, Any]:
    if not isinstance(entry, list | tuple) or len(entry) < 2:
        raise PFVTypeError(
            f"images_or_dataset gives a {type(entry).__name__}: expected (image, label)."
        )
    return entry[0], entry[1]


def _name(label: Any, names: Sequence[object] | None) -> str:
    value = label.item() if isinstance(label, Tensor) and label.numel() == 1 else label
    if is_whole(value) and names is not None and 0 <= value < len(names):
        return str(names[int(value)])
    if is_whole(value) or isinstance(value, str):
        return str(value)
    raise PFVTypeError(
        f"images_or_dataset gives the label {value!r:.60}: expected one text or whole number for "
        "each image."
    )


def _batch(images: list[Any], classes: list[str], done: int) -> ImageBatch:
    if isinstance(images[0], Tensor) and len({tuple(image.shape) for image in images}) > 1:
        raise PFVValueError(
            "images_or_dataset: its images differ in size. Let its transform resize them."
        )
    pictures = torch.stack(images) if isinstance(images[0], Tensor) else images
    batch = load_images(pictures, labels=classes)
    names = tuple(f"photo {done + index + 1}" for index in range(len(batch)))
    return replace(batch, names=names)
