"""One finished picture of a batch, with all numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pfv_widgets.engine.basis import PrincipalBasis
from pfv_widgets.engine.settings import Settings
from pfv_widgets.errors import PFVValueError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FADED = 0.72  # how far an image that is left out of the basis fades to grey


@dataclass(frozen=True, eq=False)
class Frame:
    """Heatmaps of a batch and where they come from.

    Attributes
    ----------
    heatmaps
        ``(N, H, W, 3)``, float32 in [0, 1].
    scores
        Projections on the components before weighting, ``(N, k, h, w)``.
    basis
        Mean ``(C,)``, components ``(k, C)`` and their explained variance.
    settings
        What was asked for; ``settings.layer`` is the layer that was taken.
    weights
        Weight of each image in the basis, N numbers.
    pixels
        The photos as shown, uint8 ``(N, H, W, 3)``, or None without photos.
    names
        One for each image.
    warnings
        What was replaced or left out on the way, in words.
    """

    heatmaps: Tensor
    scores: Tensor
    basis: PrincipalBasis
    settings: Settings
    weights: tuple[float, ...]
    pixels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.heatmaps)

    @property
    def layer(self) -> str:
        """Name of the layer that was decomposed."""
        return self.settings.layer or ""

    def composite(self) -> np.ndarray:
        """Return the tiles of the view, uint8 ``(N, H, W, 3)``; images left out fade to grey."""
        tiles = self.heatmaps.detach().float().cpu().numpy()
        settings = self.settings
        if self.pixels is not None and settings.view != "heatmap":
            opacity = 0.0 if settings.view == "photo" else settings.opacity
            tiles = (1 - opacity) * (self.pixels / np.float32(255)) + opacity * tiles
        shown = np.array([weight > 0 for weight in self.weights])[:, None, None, None]
        tiles = np.where(shown, tiles, (1 - FADED) * tiles + FADED * 0.5)
        painted: np.ndarray = np.rint(np.clip(tiles, 0, 1) * 255).astype(np.uint8)
        return painted

    def figure(self, columns: int | None = None) -> Figure:
        """Draw the tiles with a legend of the components on a matplotlib figure.

        Parameters
        ----------
        columns
            Tiles in a row; None: as square as it gets.
        """
        from pfv_widgets.engine.figures import draw_frame

        return draw_frame(self, columns)

    def save(self, path: str | Path) -> None:
        """Write the figure (``.png``, ``.pdf``, ``.svg``, ``.jpg``) or all arrays (``.npz``).

        Raises
        ------
        PFVValueError
            For another suffix, or a folder that is not there.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise PFVValueError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}.")
        suffix = path.suffix.lower()
        if suffix == ".npz":
            with path.open("wb") as file:
                np.savez_compressed(file, **self._arrays())  # type: ignore[arg-type] # arrays
        elif suffix in (".png", ".pdf", ".svg", ".jpg"):
            self.figure().savefig(path, dpi=150)
        else:
            raise PFVValueError(
                f"path={str(path)!r}: choose a name that ends in .png, .pdf, .svg or .jpg for "
                "the figure, or .npz for the arrays."
            )

    def _arrays(self) -> dict[str, np.ndarray]:
        ratio = self.basis.explained_variance_ratio
        tensors: dict[str, Tensor] = {
            "heatmaps": self.heatmaps,
            "scores": self.scores,
            "mean": self.basis.mean,
            "components": self.basis.components,
            "explained_variance_ratio": ratio,
        }
        arrays = {key: torch.Tensor.cpu(value).numpy() for key, value in tensors.items()}
        return arrays | {"names": np.array(self.names), "weights": np.array(self.weights)}
