"""A data set as a stream of batches: photos that are decoded as they are needed, or a loader's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pfv_widgets.engine.data.load_images import NothingReadableError, of_pictures
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, normalisation_of
from pfv_widgets.engine.data.preprocessing import MAX_SIDE
from pfv_widgets.engine.data.sources import pictures_of
from pfv_widgets.engine.data.tensors import Transform
from pfv_widgets.errors import PFVTypeError
from pfv_widgets.validation import size_in_pixels

# the first of every so many numbers of an image tell it apart from others; neighbours are read
# together, as a processor does anyway
_RUN, _EVERY = 8, 296


@dataclass(frozen=True, eq=False)
class StreamBatch:
    """Some images of a stream.

    Attributes
    ----------
    images
        Float ``(n, 3, H, W)``, normalised; n may be 0.
    names, labels
        One for each; labels are None where there are no classes.
    done
        Images of the whole stream up to the end of this batch, those left out included.
    skipped
        ``"name: reason"`` of those that were left out.
    """

    images: Tensor
    names: Sequence[str]
    labels: Sequence[str] | None
    done: int
    skipped: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> list[bytes]:
        """16 bytes of each image that tell it apart: a digest of a part of its numbers."""
        flat = self.images.detach().flatten(1)
        if flat.shape[1] >= _EVERY:
            flat = flat.unfold(1, _RUN, _EVERY).flatten(1)
        numbers = flat.float().cpu().contiguous().numpy()
        return [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in numbers]


_READ = 64  # files whose contents are part of a signature, evenly spread
_HEAD = 2**16  # bytes of each


class PhotoStream:
    """Photos from a folder, a glob or paths, decoded batch by batch while the last one is used.

    Parameters
    ----------
    source, size, transform
        As for ``load_images``.
    batch_size
        Photos at a time, in each process.

    Attributes
    ----------
    total
        Number of photos.
    normalisation
        By which the photos are normalised.
    """

    def __init__(
        self,
        source: object,
        size: int | tuple[int, int],
        transform: Transform | None,
        batch_size: int,
    ) -> None:
        self._pictures = pictures_of(source)
        self._size = size_in_pixels("size", size, MAX_SIDE, square=True)
        self._transform, self.batch_size = transform, batch_size
        # now: to find it calls the transform, which may draw random numbers, as other threads do
        self.normalisation = IMAGENET if transform is None else normalisation_of(transform)
        self.total: int | None = len(self._pictures)

    @property
    def signature(self) -> str:
        """Digest of names and sizes of the files, of some contents, and of the photos' size."""
        # a function's own text names its address in memory, which is another in each process
        transform = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(self._transform))
        code = getattr(self._transform, "__code__", None)
        body = None if code is None else (code.co_code, code.co_names, code.co_consts)
        about = f"{self._size} {transform} {body} {self.normalisation}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        some = max(1, len(self._pictures) // _READ)
        for number, picture in enumerate(self._pictures):
            path = picture.content
            length = path.stat().st_size if isinstance(path, Path) and path.is_file() else -1
            digest.update(f"{picture.name} {picture.label} {length}\n".encode())
            if number % some == 0 and isinstance(path, Path) and length > 0:
                with suppress(OSError), path.open("rb") as file:  # it is named once it is decoded
                    digest.update(file.read(_HEAD))
        return digest.hexdigest()

    def batches(self, start: int, rank: int, ranks: int) -> Iterator[StreamBatch]:
        """Yield the share of one of ``ranks`` processes in the photos from ``start`` on.

        Each photo is in the share of exactly one, and all get the same number of batches.
        """
        together = self.batch_size * ranks
        shares = [
            (range(at + rank * self.batch_size, at + (rank + 1) * self.batch_size),
             min(at + together, len(self._pictures)))
            for at in range(start, len(self._pictures), together)
        ]  # fmt: skip
        with ThreadPoolExecutor(1) as pool:
            coming = None
            for share in [*shares, None]:  # one batch is decoded while the last one is used
                ready, coming = coming, share and pool.submit(self._decoded, *share)
                if ready is not None:
                    yield ready.result()

    def _decoded(self, share: range, done: int) -> StreamBatch:
        pictures = self._pictures[share.start : share.stop]
        nothing = torch.zeros(0, 3, 1, 1)
        if not pictures:
            return StreamBatch(nothing, (), None, done)
        try:
            batch = of_pictures(pictures, self._size, self._transform, None, self.normalisation)
        except NothingReadableError as error:
            return StreamBatch(nothing, (), None, done, error.skipped)
        return StreamBatch(batch.tensor, batch.names, batch.labels, done, batch.skipped)


class LoaderStream:
    """The batches of a ``DataLoader``, or of anything that yields such batches.

    Parameters
    ----------
    loader
        Yields ``(N, 3, H, W)``, normalised, or tuples that begin with one and go on with labels.
    normalisation
        By which they were normalised, where that is known.

    Attributes
    ----------
    total
        Number of images, where that is known.
    """

    signature = ""  # only reading tells the images
    batch_size = 0  # the loader decides how many at a time

    def __init__(self, loader: Iterable[Any], normalisation: Normalisation | None = None) -> None:
        self._loader, self.normalisation = loader, normalisation
        images = getattr(loader, "dataset", None)
        known = images is not None and hasattr(images, "__len__")
        self.total: int | None = len(images) if known else None  # type: ignore[arg-type] # it has

    def batches(self, start: int, rank: int, ranks: int) -> Iterator[StreamBatch]:  # noqa: ARG002 - a loader has its share of its own
        """Yield all batches, those before ``start`` too, for they must be read."""
        done = 0
        for index, batch in enumerate(self._loader):
            images = _images(batch, index)
            done += len(images)
            names = [f"image {at}" for at in range(done - len(images) + 1, done + 1)]
            yield StreamBatch(images, names, _labels(batch, len(images)), done)


Stream = PhotoStream | LoaderStream
"""Images in batches, always the same ones in the same order."""


def _images(batch: Any, index: int) -> Tensor:
    images = batch[0] if isinstance(batch, (list, tuple)) and batch else batch
    if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4:
        what = type(images).__name__
        if isinstance(images, Tensor):
            what = f"{tuple(images.shape)} of {images.dtype}"
        raise PFVTypeError(
            f"data: batch {index} is {what}, expected a float tensor (N, 3, H, W) or a tuple that "
            "begins with one."
        )
    return images


def _labels(batch: Any, number: int) -> list[str] | None:
    """Return the labels of a batch, where its second entry is one number or text an image."""
    labels = batch[1] if isinstance(batch, (list, tuple)) and len(batch) > 1 else None
    if isinstance(labels, Tensor):
        labels = labels.tolist() if labels.ndim == 1 else None
    if not isinstance(labels, (list, tuple)) or len(labels) != number:
        return None
    return (
        [str(one) for one in labels] if all(isinstance(one, int | str) for one in labels) else None
    )
