"""Pictures of one size: pixels to show, a tensor to run, names and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation, Triple
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.validation import check_dense, is_whole, plain, whole_numbers

_NAME = 30  # characters of a name in a sentence


@dataclass(frozen=True, eq=False, repr=False)
class ImageBatch:
    """Pictures of one size, as shown and as run.

    Parameters
    ----------
    pixels
        uint8 (N,H,W,3), RGB: what a person sees.
    tensor
        float32 (N,3,H,W) on the CPU, normalised: what the network is given.
    names, labels
        One text per picture; ``labels`` is None where there are no classes.
    skipped
        ``"name: reason"`` of each file that was left out.
    cropped
        Names of long, narrow pictures of which less than half is in ``pixels``: their middle.
    mean, std
        Of the normalisation that lies between: ``tensor = (pixels / 255 - mean) / std``, three
        numbers each for red, green and blue.
    """

    pixels: np.ndarray
    tensor: Tensor
    names: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    mean: Triple = IMAGENET.mean
    std: Triple = IMAGENET.std
    cropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels, tensor = self.pixels, self.tensor
        is_array = isinstance(pixels, np.ndarray)
        if not is_array or pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
            what = f"{pixels.dtype} {pixels.shape}" if is_array else type(pixels).__name__
            raise PFVTypeError(f"pixels: {what:.80}: expected a uint8 array (N, H, W, 3).")
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise PFVTypeError(f"tensor={tensor!r:.80}: expected a float tensor (N, 3, H, W).")
        check_dense(tensor, "tensor")
        count, height, width, _ = pixels.shape
        if not count:
            raise PFVValueError("pixels has no picture: give at least one.")
        if tuple(self.tensor.shape) != (count, 3, height, width):
            raise PFVValueError(
                f"tensor of shape {tuple(self.tensor.shape)} for pixels of shape "
                f"{self.pixels.shape}: expected {(count, 3, height, width)}."
            )
        object.__setattr__(self, "tensor", tensor.detach().to("cpu", torch.float32))
        for field in ("names", "skipped", "cropped"):
            entries = plain(getattr(self, field))
            one_each = isinstance(entries, Sequence) and not isinstance(entries, str | bytes)
            if not one_each or not all(isinstance(entry, str) for entry in entries):
                raise PFVTypeError(f"{field}={entries!r:.60}: expected texts, in a list.")
            object.__setattr__(self, field, tuple(entries))
        if len(self.names) != count:
            raise PFVValueError(f"names: {len(self.names)} entries for {count} images.")
        if self.labels is not None:
            object.__setattr__(self, "labels", checked_labels(self.labels, count, ()))
        for field in ("mean", "std"):
            object.__setattr__(self, field, getattr(self.normalisation, field))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        some = "s" * (len(self) != 1)
        parts = [f"{len(self)} image{some} of {self.size[0]} by {self.size[1]} pixels"]
        parts += [f"{len(self.classes)} classes"] if self.classes else []
        more = "s" * (len(self.skipped) != 1)
        parts += [f"{len(self.skipped)} file{more} skipped"] if self.skipped else []
        return f"ImageBatch({', '.join(parts)})"

    @property
    def notice(self) -> str:
        """What a person should know of how pictures were cut, in a sentence; empty where nothing.

        >>> import numpy as np, torch
        >>> ImageBatch(np.zeros((1, 2, 2, 3), np.uint8), torch.zeros(1, 3, 2, 2), ["a"]).notice
        ''
        """
        names = [name if len(name) <= _NAME else f"{name[: _NAME - 1]}…" for name in self.cropped]
        few = ", ".join(names[:3]) + " …" * (len(names) > 3)
        if len(names) == 1:
            return f"1 long, narrow photo is cut to its middle, less than half of it: {few}."
        cut = f"{len(names)} long, narrow photos are cut to their middle, less than half: {few}."
        return cut if names else ""

    @property
    def normalisation(self) -> Normalisation:
        """``mean`` and ``std`` as the map that takes ``pixels`` to ``tensor``."""
        return Normalisation(self.mean, self.std)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels in order of appearance; empty without labels."""
        return tuple(dict.fromkeys(self.labels or ()))

    def subset(self, indices: Iterable[int]) -> ImageBatch:
        """Return the images at ``indices``, in that order, as a batch of their own.

        Raises
        ------
        PFVValueError
            Where there is no index, or one lies outside of the batch.
        """
        legal = f"some of 0 … {len(self) - 1}"
        rows = list(whole_numbers("indices", indices, -len(self), len(self) - 1, legal))
        return replace(
            self,
            pixels=self.pixels[rows],
            tensor=self.tensor[rows],
            names=tuple(self.names[i] for i in rows),
            labels=None if self.labels is None else tuple(self.labels[i] for i in rows),
            cropped=tuple(self.names[i] for i in rows if self.names[i] in self.cropped),
        )


def checked_labels(
    labels: Iterable[object] | None, count: int, known: Sequence[str | None]
) -> tuple[str, ...] | None:
    """Return one text per picture, or None where neither the user nor every folder gives one."""
    if labels is None:
        texts = tuple(label for label in known if label is not None)
        return texts if len(texts) == count else None
    labels = plain(labels)
    legal = f"expected one text or whole number for each of the {count} pictures"
    unordered = (str, bytes, Set, Mapping)
    if isinstance(labels, unordered) or not isinstance(labels, Iterable):
        raise PFVTypeError(f"labels={labels!r}: {legal}, in a list.")
    entries = list(labels)
    if len(entries) != count:
        raise PFVValueError(f"labels has {len(entries)} entries: {legal}, unreadable ones too.")
    for entry in entries:
        if not isinstance(entry, str) and not is_whole(entry):
            raise PFVTypeError(f"labels has the entry {entry!r}: {legal}.")
    return tuple(str(entry) for entry in entries)
