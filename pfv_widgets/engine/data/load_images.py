"""Load pictures from wherever they are into one batch: pixels to show and a tensor to run."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.data.batch import ImageBatch, checked_labels
from pfv_widgets.engine.data.decoding import UnreadableError, as_rgb, image_from_array, read_photo
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import (
    MAX_SIDE,
    is_narrow,
    normalised,
    resized,
    resized_tensor,
    to_pixels,
)
from pfv_widgets.engine.data.sources import Picture, is_open_file, pictures_of
from pfv_widgets.engine.data.tensors import (
    Transform,
    applied,
    checked_tensor,
    crops,
    of_one_shape,
    stacked,
)
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, warn
from pfv_widgets.validation import function_or_none, size_in_pixels

__all__ = ["ImageBatch", "load_images"]


@own_modes()
def load_images(
    source: object,
    size: int | tuple[int, int] = 224,
    transform: Transform | None = None,
    labels: Sequence[object] | None = None,
) -> ImageBatch:
    """Load pictures into a batch.

    Parameters
    ----------
    source
        A folder (its own images in natural order; where it has none, those of its sub-folders,
        whose names become the labels), a glob (``**`` descends, into each folder once), a path,
        a file that is open or in memory (``io.BytesIO``), a PIL image, a uint8 array or a float
        array in [0, 1] of shape (H,W), (H,W,3), (H,W,4) or (N,H,W,3), a list of any of these, an
        ``ImageBatch``, or a float tensor (N,3,H,W) or (3,H,W).
    size
        Pixels: an int for a square, or (H, W). The largest centred window of that shape is cut
        and scaled, bilinear with antialiasing; photos that lose more than half by that are named
        in ``ImageBatch.cropped``. Tensors keep their size, and a transform decides its own:
        ``size`` is ignored for both.
    transform
        Called on each RGB PIL image, gives its float tensor (3,H,W), as torchvision's
        ``weights.transforms()`` does. Shown is what it saw: its own normalisation undone,
        clipped. That is the ``mean`` and ``std`` of its last step that has them, none where no
        step has; of a function what it does to a black and a white image, or ImageNet's where it
        is random or not affine. Without a transform: ImageNet's.
    labels
        One str or int per picture of ``source``, counted before unreadable files are left out.

    Notes
    -----
    A tensor is taken as ALREADY NORMALISED by ImageNet's mean and deviation, also where its
    values happen to lie in [0, 1]; with ``transform`` it is taken as [0, 1], and each (3,H,W)
    is given to the transform. Nothing that is passed in is changed.

    Raises
    ------
    PFVValueError, PFVTypeError
        Naming the argument, its value and the fix; one unreadable file among others is left
        out with a ``PFVWarning`` and is listed in ``ImageBatch.skipped``.
    """
    height_width = size_in_pixels("size", size, MAX_SIDE, square=True)
    function_or_none("transform", transform, "a callable on a PIL image")
    if isinstance(source, Iterator) and not is_open_file(source):
        source = list(source)
    if isinstance(source, ImageBatch) and transform is None:
        return _resized_batch(source, height_width, labels)
    tensor = stacked(source)
    if tensor is not None:
        return _from_tensor(checked_tensor(tensor), transform, labels)
    pictures = _of_batch(source) if isinstance(source, ImageBatch) else pictures_of(source)
    batch = of_pictures(pictures, height_width, transform, labels)
    if batch.skipped:
        listed = "; ".join(batch.skipped[:5]) + ("; …" if len(batch.skipped) > 5 else "")
        count = len(batch.skipped)
        warn(f"{count} of {len(pictures)} files left out: {listed}")
    return batch


def batch_of(images: object, name: str = "images", **options: Any) -> ImageBatch:
    """Return the argument of this ``name`` as a batch, loaded with ``options`` unless it is one."""
    if isinstance(images, ImageBatch):
        return images
    try:
        return load_images(images, **options)
    except PFVError as error:
        message = str(error)
        if message.startswith("source"):
            error.args = (f"{name}{message.removeprefix('source')}",)
        raise


class NothingReadableError(PFVValueError):
    """No file could be read; ``skipped`` has the reasons."""

    def __init__(self, skipped: tuple[str, ...]) -> None:
        super().__init__(f"source: no file could be read. {'; '.join(skipped[:10])}.")
        self.skipped = skipped


def of_pictures(
    pictures: list[Picture],
    size: tuple[int, int],
    transform: Transform | None,
    labels: Sequence[object] | None = None,
    normalisation: Normalisation | None = None,
) -> ImageBatch:
    """Decode pictures; see :func:`load_images`. ``normalisation`` is the transform's, if known.

    Raises
    ------
    NothingReadableError
        Where there is nothing but unreadable files.
    """
    all_labels = checked_labels(labels, len(pictures), [p.label for p in pictures])
    narrow: set[str] = set()
    if transform is None:
        results = _in_parallel(partial(_resized, size, narrow), pictures)
    else:  # one after the other: a transform may be random, and need not be thread-safe
        results = [_or_reason(partial(_transformed, transform, narrow), p) for p in pictures]
    good = [i for i, result in enumerate(results) if not isinstance(result, UnreadableError)]
    skipped = tuple(
        f"{picture.name}: {result}"
        for picture, result in zip(pictures, results, strict=True)
        if isinstance(result, UnreadableError)
    )
    if not good:
        raise NothingReadableError(skipped)
    names = tuple(pictures[i].name for i in good)
    readable = [results[i] for i in good]
    by = IMAGENET
    if transform is None:
        pixels = np.stack(readable)
        tensor = normalised(pixels, by)
    else:
        tensor = of_one_shape(readable, names)
        by = normalisation or normalisation_of(transform)
        pixels = to_pixels(tensor, by)
    own_labels = all_labels and tuple(all_labels[i] for i in good)
    cropped = tuple(name for name in names if name in narrow)
    return ImageBatch(pixels, tensor, names, own_labels, skipped, by.mean, by.std, cropped)


def _from_tensor(
    tensor: Tensor, transform: Transform | None, labels: Sequence[object] | None
) -> ImageBatch:
    names = tuple(f"image {i}" for i in range(1, len(tensor) + 1))
    by = IMAGENET
    if transform is not None:
        by = normalisation_of(transform, tensor[0])
        results = [applied(transform, e, n) for e, n in zip(tensor, names, strict=True)]
        tensor = of_one_shape(results, names)
    checked = checked_labels(labels, len(names), [None])
    return ImageBatch(to_pixels(tensor, by), tensor, names, checked, (), by.mean, by.std)


def _resized_batch(
    batch: ImageBatch, size: tuple[int, int], labels: Sequence[object] | None
) -> ImageBatch:
    named = replace(batch, labels=checked_labels(labels, len(batch), batch.labels or [None]))
    if batch.size == size:
        return named
    images = [Image.fromarray(image) for image in batch.pixels]
    pixels = np.stack([resized(image, size) for image in images])
    cropped = batch.names if is_narrow(images[0], size) else batch.cropped
    # the tensor itself is resized, as its normalisation may be of the user's own making
    tensor = resized_tensor(batch.tensor, size)
    return replace(named, pixels=pixels, tensor=tensor, cropped=cropped)


def _of_batch(batch: ImageBatch) -> list[Picture]:
    labels = batch.labels or (None,) * len(batch)
    return [
        Picture(pixels, name, label)
        for pixels, name, label in zip(batch.pixels, batch.names, labels, strict=True)
    ]


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture.content, Path | io.BytesIO):
        return read_photo(picture.content)
    try:
        if isinstance(picture.content, np.ndarray):
            return image_from_array(picture.content)
        return as_rgb(picture.content)
    except (PFVError, OSError, ValueError) as error:
        kind = PFVTypeError if isinstance(error, TypeError) else PFVValueError
        raise kind(f"source, {picture.name}: {error}.") from error


def _in_parallel(work: Callable[[Picture], Any], pictures: list[Picture]) -> list[Any]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(partial(_or_reason, work), pictures))


def _or_reason(work: Callable[[Picture], Any], picture: Picture) -> Any:
    try:
        return work(picture)
    except UnreadableError as reason:
        return reason


def _resized(size: tuple[int, int], narrow: set[str], picture: Picture) -> np.ndarray:
    image = _opened(picture)
    if is_narrow(image, size):
        narrow.add(picture.name)
    return resized(image, size)


def _transformed(transform: Transform, narrow: set[str], picture: Picture) -> Tensor:
    image = _opened(picture)
    tensor = applied(transform, image, picture.name)
    if crops(transform) and is_narrow(image, (tensor.shape[1], tensor.shape[2])):
        narrow.add(picture.name)
    return tensor
