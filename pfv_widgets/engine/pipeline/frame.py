"""One finished picture of a batch, with all numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pfv_widgets.engine.colouring.colour_maps import legend, pin_legend
from pfv_widgets.engine.colouring.compositing import DARKENED, GREYED, compose, spots
from pfv_widgets.engine.colouring.similarity import cell_of
from pfv_widgets.engine.lazy_import import lazy_import
from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import FittedBasis
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.validation import checked_position, few

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
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
        What was requested; ``settings.layer`` is the layer that was used.
    weights
        Weight of each image in the basis, N numbers.
    pixels
        The photos as shown, uint8 ``(N, H, W, 3)``, or None without photos.
    names
        One for each image.
    warnings
        What was replaced or left out on the way, in words.
    indices
        Which images of the batch these are: all arrays hold these alone, in this order, while
        the basis, ``settings.images`` and the pins are those of the whole batch.
    labels
        The class of each image, or None where there are none.
    basis_source
        Where the basis comes from, in words.
    forward
        The network with all images of the batch; None where there was no network.
    """

    heatmaps: Tensor
    scores: Tensor
    basis: PrincipalBasis
    settings: Settings
    weights: tuple[float, ...]
    pixels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    indices: tuple[int, ...] = ()
    labels: tuple[str, ...] | None = None
    basis_source: str = FittedBasis().description
    forward: Forward | None = None

    def __post_init__(self) -> None:
        if not self.indices:
            object.__setattr__(self, "indices", tuple(range(len(self.heatmaps))))

    def __len__(self) -> int:
        return len(self.heatmaps)

    def __repr__(self) -> str:
        height, width = self.heatmaps.shape[1:3]
        components = ", ".join(str(component + 1) for component in self.settings.shown)
        return (
            f"<Frame: {len(self)} image{'s' * (len(self) != 1)} of {width} × {height} pixels, "
            f"layer {self.settings.layer!r}, component{'s' * (',' in components)} {components}>"
        )

    @property
    def layer(self) -> str:
        """Name of the layer that was decomposed."""
        return self.settings.layer or ""

    def at(self, image: int, x: float, y: float) -> Tensor:
        """Scores ``(k,)`` of the components at a position, on the CPU.

        Parameters
        ----------
        image
            Index in the batch, one of ``indices``.
        x, y
            Fractions of the image's width and height, in [0, 1].

        Raises
        ------
        PFVValueError, PFVTypeError
            Naming the position, and which images there are.
        """
        image, x, y = checked_position(image, x, y, max(self.indices) + 1)
        if image not in self.indices:
            raise PFVValueError(f"image={image}: this frame holds the images {few(self.indices)}.")
        row, column = cell_of(x, y, self.scores.shape)
        return self.scores[self.indices.index(image), :, row, column].cpu().clone()

    def composite(self) -> np.ndarray:
        """Return the tiles of the view, uint8 ``(N, H, W, 3)``; images left out are dimmed.

        Photo and heatmap side by side make tiles ``(N, H, 2W, 3)``.
        """
        settings, tiles = self.settings, []
        grey, strength = DARKENED if settings.shows_similarity else GREYED
        for index, weight in enumerate(self.weights):  # one by one: working copies stay small
            one = slice(index, index + 1)
            heat = self.heatmaps[one].detach().float().cpu().numpy()
            pixels = None if self.pixels is None else self.pixels[one]
            tile = compose(heat, pixels, settings.view, settings.opacity, settings.split)
            if not weight > 0:
                tile = (1 - strength) * tile + strength * grey
            tiles.append(np.rint(np.clip(tile, 0, 1) * 255).astype(np.uint8))
        return np.concatenate(tiles)

    def rings(self) -> list[tuple[int, int, float, float]]:
        """Where pins are seen: number of the pin, of the tile, x and y as fractions of the tile."""
        view, photos = self.settings.view, self.pixels is not None
        return [
            (number, self.indices.index(image), *spot)
            for number, (image, x, y) in enumerate(self.settings.pins)
            if image in self.indices
            for spot in spots(view, x, y, photos=photos)
        ]

    def legend(self) -> list[tuple[str, np.ndarray]]:
        """Label and colour ramp ``(64, 3)`` in [0, 1] of each component or pin that is shown."""
        settings = self.settings
        if settings.shows_similarity:
            ramps = pin_legend(len(settings.pins))
            labels = [
                f"pin {number} (image {image + 1})"
                for number, (image, _, _) in enumerate(settings.pins, start=1)
            ]
        else:
            ramps = legend(settings.colour_map, len(settings.shown))
            ratios = self.basis.explained_variance_ratio.tolist()
            labels = [f"component {i + 1} ({100 * ratios[i]:.1f} %)" for i in settings.shown]
        return list(zip(labels, ramps.numpy(), strict=True))

    def figure(self, columns: int | None = None) -> Figure:
        """Draw the tiles with a legend of the components on a matplotlib figure.

        Parameters
        ----------
        columns
            Tiles in a row, from 1; None: as square as it gets.

        Raises
        ------
        PFVValueError, PFVTypeError
            For ``columns`` that are no whole number from 1.
        """
        figure: Figure = lazy_import("engine.export.figures", "draw_frame")(self, columns)
        return figure

    def save(self, path: str | Path) -> None:
        """Write the figure, a web page or all arrays, as the suffix of ``path`` says.

        Parameters
        ----------
        path
            Ends in ``.html`` for a page that needs neither network nor kernel, in ``.npz`` for the
            arrays, in ``.png`` or another of ``FIGURE_FORMATS`` for the figure.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a path that cannot be written.
        """
        lazy_import("engine.export.formats", "save_frame")(self, path)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what an ``.npz`` file holds: heatmaps, scores, basis, names and weights."""
        ratio = self.basis.explained_variance_ratio
        tensors: dict[str, Tensor] = {
            "heatmaps": self.heatmaps,
            "scores": self.scores,
            "mean": self.basis.mean,
            "components": self.basis.components,
            "explained_variance_ratio": ratio,
        }
        arrays = {key: value.cpu().numpy() for key, value in tensors.items()}
        return arrays | {
            "names": np.array(self.names),
            "weights": np.array(self.weights),
            "indices": np.array(self.indices),
        }
