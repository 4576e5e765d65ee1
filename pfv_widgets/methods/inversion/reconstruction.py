"""The result of a reconstruction: images, their losses and scores, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.data.normalisation import IMAGENET, Triple
from pfv_widgets.engine.export.output_paths import write_figure_or_arrays
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.methods.inversion.options import Reconstruct

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """Images that were optimised for a target, the best of each run.

    B is the number of targets times that of runs; the runs of one target are next to each other.

    Attributes
    ----------
    pixels
        uint8 ``(B, H, W, 3)``, as shown.
    tensor
        float32 ``(B, 3, H, W)`` on the CPU, as the network takes it.
    losses
        float32 ``(B, steps)`` of the steps made, of the augmented images.
    best_losses
        ``(B,)``, of the images themselves.
    scores
        ``(B,)``: of a unit its mean activation, of a component its mean score in deviations of
        the photos (with the requested sign), of an activation ``‖φ − t‖ / ‖t‖``.
    score_name
        What ``scores`` are, in words.
    names
        What each image was made for.
    layer
        Where, or None for the network's output.
    options
        How.
    originals
        The photos whose activations were matched, uint8 ``(B, H, W, 3)``, or None.
    stopped
        Whether it was stopped before the last step.
    warnings
        What should be known beside the images, in words.
    mean, std
        Of the normalisation between ``pixels`` and ``tensor``.
    """

    pixels: np.ndarray
    tensor: Tensor
    losses: Tensor
    best_losses: Tensor
    scores: Tensor
    score_name: str
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
            f"<Reconstruction: {len(self)} image{'s' * (len(self) != 1)} of {width} × {height} "
            f"pixels, {steps}, {self.layer or 'the output'}>"
        )

    @property
    def best(self) -> int:
        """Index of the image with the smallest loss; where all have the same objective."""
        return int(self.best_losses.nan_to_num(nan=float("inf")).argmin())

    @property
    def images(self) -> ImageBatch:
        """The images as a batch, for ``pw.explore``, ``pw.attribute`` and their like."""
        numbers = [f"{name}, run {self._run(i)}" for i, name in enumerate(self.names)]
        names = tuple(numbers) if self.options.runs > 1 else self.names
        return ImageBatch(self.pixels, self.tensor, names, mean=self.mean, std=self.std)

    def figure(self, columns: int | None = None) -> Figure:
        """Draw the images, each beside its photo where there is one, and the losses of the steps.

        Parameters
        ----------
        columns
            Images in a row, from 1; None: as square as possible.
        """
        figure: Figure = lazy_import("methods.inversion.figure", "draw_reconstruction")(
            self, columns
        )
        return figure

    def save(self, path: str | Path) -> None:
        """Write the figure or all arrays, as the suffix of ``path`` says.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a path that cannot be written.
        """
        write_figure_or_arrays(path, self.figure, self._arrays)

    def _run(self, index: int) -> int:
        return index % self.options.runs + 1

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = ("tensor", "losses", "best_losses", "scores")
        arrays = {name: getattr(self, name).numpy() for name in tensors}
        return arrays | {"pixels": self.pixels, "names": np.array(self.names)}
