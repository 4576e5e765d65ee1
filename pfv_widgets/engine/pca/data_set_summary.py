"""What a basis knows of the data set that it was fitted to, besides its components."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.pca.array_file import Arrays, FileContentError

_SPREAD, _CLASSES = "spread of ", "class_means"


@dataclass(frozen=True, eq=False)
class DataSet:
    """Where a basis comes from, and what colours of its scores refer to.

    Attributes
    ----------
    network
        Fingerprint of the network, see :func:`network_fingerprint`.
    images
        How many there were.
    skipped
        How many were left out: unreadable, or not finite at this layer.
    mean, std
        By which the photos were normalised, three numbers each, where that is known.
    spreads
        Weighting → mean, variance, lowest and highest weighted score at the size of the images,
        ``(4, k)`` float64, of a sample of the images. They fix the colours.
    largest
        Earlier layer → largest magnitude of its channel sums in that sample.
    classes
        Names of the classes, where the images have some.
    class_counts
        Images of each class, ``(n,)``.
    class_means
        Mean scores of each class, ``(n, k)``.
    """

    network: str = ""
    images: int = 0
    skipped: int = 0
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    spreads: Mapping[str, Tensor] = field(default_factory=dict)
    largest: Mapping[str, float] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    class_counts: Tensor = field(default_factory=lambda: torch.zeros(0))
    class_means: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def arrays(self) -> Arrays:
        """Return what a file stores."""
        plain = {
            "network": self.network,
            "images": self.images,
            "skipped": self.skipped,
            "mean": list(self.mean),
            "std": list(self.std),
            "largest": dict(self.largest),
            "classes": list(self.classes),
        }
        return {
            "data_set": np.asarray(np.str_(json.dumps(plain))),
            "class_counts": self.class_counts.numpy(),
            _CLASSES: self.class_means.numpy(),
            **{_SPREAD + name: one.numpy() for name, one in self.spreads.items()},
        }

    @classmethod
    def of_arrays(cls, arrays: Arrays, number: int) -> DataSet | None:
        """Return what a file stores beside a basis of ``number`` components; None: nothing.

        Raises
        ------
        FileContentError
            Where it does not fit the basis.
        """
        if "data_set" not in arrays:
            return None
        try:
            plain = json.loads(str(arrays["data_set"]))
            classes = tuple(map(str, plain["classes"]))
            counts, means = (_floats(arrays[one]) for one in ("class_counts", _CLASSES))
            spreads = {
                name.removeprefix(_SPREAD): _floats(one)
                for name, one in arrays.items()
                if name.startswith(_SPREAD)
            }
            shapes = {tuple(one.shape) for one in spreads.values()} | {(4, number)}
            if len(shapes) > 1 or len(counts) != len(classes) or len(means) != len(classes):
                raise ValueError("shapes")
            return cls(
                str(plain["network"]), int(plain["images"]), int(plain["skipped"]),
                [float(one) for one in plain["mean"]], [float(one) for one in plain["std"]],
                spreads, {str(k): float(v) for k, v in plain["largest"].items()},
                classes, counts, means,
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FileContentError("what it says of its data set does not fit it") from error


def _floats(values: np.ndarray) -> Tensor:
    numbers = torch.from_numpy(values).double()
    if not bool(torch.isfinite(numbers).all()):
        raise ValueError("not finite")
    return numbers
