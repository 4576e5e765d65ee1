"""What a reconstruction gives: pictures, how near they came, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET, Triple
from pfv_widgets.engine.export.output_paths import checked_place, write_figure_or_arrays
from pfv_widgets.methods.inversion.options import Reconstruct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".npz")


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """Pictures that were made for a target, the best that each run came to.

    B is the number of targets times that of runs; the runs of one target stand together.

    Attributes
    ----------
    pixels
        uint8 ``(B, H, W, 3)``, as shown.
    tensor
        float32 ``(B, 3, H, W)`` on the CPU, as the network takes it.
    losses
        float32 ``(B, steps)``: what was made small, at each step made; where the picture is moved
        about meanwhile, of the moved picture.
    best_losses
        ``(B,)``, of the pictures themselves.
    scores
        ``(B,)``: of a unit its mean activation, of a component its mean score in deviations of
        the photos (with the sign that was asked for), of an activation ``‖φ − t‖ / ‖t‖``.
    scored
        What ``scores`` are, in words.
    names
        What each picture was made for.
    layer
        Where, or None for the network's output.
    options
        How.
    originals
        The photos whose activations were to be met, uint8 ``(B, H, W, 3)``, or None.
    stopped
        Whether it was stopped before the last step.
    warnings
        What should be known beside the pictures, in words.
    mean, std
        Of the normalisation between ``pixels`` and ``tensor``.
    """

    pixels: np.ndarray
    tensor: Tensor
    losses: Tensor
    best_losses: Tensor
    scores: Tensor
    scored: str
    names: tuple[str, ...]
    layer: str | None
    options: Reconstruct
    originals: np.ndarray | None = None
    stopped: bool = False
    warnings: tuple[str, ...] = ()
    mean: Triple = IMAGENET.mean
    std: Triple = IMAGENET.std

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[1:3]
        steps = f"{self.losses.shape[1]} of {self.options.steps} steps"
        return (
            f"<Reconstruction: {len(self)} picture{'s' * (len(self) != 1)} of {width} × {height} "
            f"pixels, {steps}, {self.layer or 'the output'}>"
        )

    @property
    def best(self) -> int:
        """Index of the picture with the smallest loss; for targets of one kind alone."""
        return int(self.best_losses.nan_to_num(nan=float("inf")).argmin())

    @property
    def images(self) -> ImageBatch:
        """The pictures as a batch, for ``pw.explore``, ``pw.attribute`` and their like."""
        numbers = [f"{name}, run {self._run(i)}" for i, name in enumerate(self.names)]
        names = tuple(numbers) if self.options.runs > 1 else self.names
        return ImageBatch(self.pixels, self.tensor, names, mean=self.mean, std=self.std)

    def figure(self, columns: int | None = None) -> Figure:
        """Draw the pictures, each beside its photo where there is one, and how the losses fell.

        Parameters
        ----------
        columns
            Pictures in a row, from 1; None: as square as it gets.
        """
        from pfv_widgets.methods.inversion.figure import draw_reconstruction

        return draw_reconstruction(self, columns)

    def save(self, path: str | Path) -> None:
        """Write the figure or all arrays, as the suffix of ``path`` says.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a place that cannot be written.
        """
        place = checked_place(path, _SUFFIXES, "for a figure or the arrays")
        write_figure_or_arrays(place, self.figure, self._arrays)

    def _run(self, index: int) -> int:
        return index % self.options.runs + 1

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = ("tensor", "losses", "best_losses", "scores")
        arrays = {name: getattr(self, name).numpy() for name in tensors}
        return arrays | {"pixels": self.pixels, "names": np.array(self.names)}
