"""How a tile puts photo and heatmap together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.functional import interpolate

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One picture that is drawn over those before it.

    Attributes
    ----------
    source
        ``"photo"`` or ``"heatmap"``.
    opacity
        In [0, 1]; None: the opacity of the settings.
    divided
        Whether it ends at the divider, and what is below it is seen to the left of that.
    tint
        What red, green and blue are multiplied by.
    """

    source: str
    opacity: float | None = 1.0
    divided: bool = False
    tint: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class View:
    """What a tile shows: panes in rows, each with layers from the lowest to the topmost.

    Attributes
    ----------
    panes
        The layers of each pane.
    sides
        Panes across and down.
    wide
        Whether a tile grows with the panes across, so that each has the size of the image.
    """

    panes: tuple[tuple[Layer, ...], ...]
    sides: tuple[int, int] = (1, 1)
    wide: bool = False

    @property
    def divided(self) -> bool:
        """Whether it has a divider."""
        return any(layer.divided for layers in self.panes for layer in layers)

    @property
    def growth(self) -> int:
        """How many times wider than its image a tile is."""
        return self.sides[0] if self.wide else 1

    def without_photos(self) -> View:
        """Return the view of heatmaps that have no photos."""
        photos = any(layer.source == "photo" for layers in self.panes for layer in layers)
        return VIEWS["heatmap"] if photos else self


_PHOTO, _HEATMAP = Layer("photo"), Layer("heatmap")
_CHANNELS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))

VIEWS: dict[str, View] = {
    "overlay": View(((_PHOTO, Layer("heatmap", opacity=None)),)),
    "heatmap": View(((_HEATMAP,),)),
    "photo": View(((_PHOTO,),)),
    "side by side": View(((_PHOTO,), (_HEATMAP,)), (2, 1), wide=True),
    "split": View(((_PHOTO, Layer("heatmap", opacity=None, divided=True)),)),
    "rgb split": View(
        ((_HEATMAP,), *((Layer("heatmap", tint=tint),) for tint in _CHANNELS)), (2, 2)
    ),
}


class Dimming(NamedTuple):
    """How an image that is left out of the basis is dimmed: mixed with a grey in [0, 1]."""

    grey: float
    strength: float


GREYED = Dimming(0.5, 0.72)
DARKENED = Dimming(0.0, 0.5)  # of similarities, in which grey has a meaning: their colours stay


def compose(
    heat: Picture, pixels: npt.NDArray[np.uint8] | None, view: str, opacity: float, split: float
) -> Picture:
    """Return tiles ``(N, H, W, 3)`` in [0, 1] of a view; side by side they are twice as wide.

    Parameters
    ----------
    heat
        Heatmaps ``(N, H, W, 3)`` in [0, 1].
    pixels
        Photos of any size; without them every view that needs them shows the heatmaps.
    view
        Key of :data:`VIEWS`.
    opacity
        Of the heatmap over the photo.
    split
        Where the photo ends and the heatmap begins, as a fraction of the width.
    """
    entry = VIEWS[view] if pixels is not None else VIEWS[view].without_photos()
    sources = {"heatmap": heat}
    if pixels is not None:
        sources["photo"] = np.divide(_resized(pixels, heat.shape[1:3]), 255, dtype=np.float32)
    panes = [_stacked(layers, sources, opacity, split) for layers in entry.panes]
    if len(panes) == 1:
        return panes[0]
    return np.concatenate(panes, axis=2) if entry.wide else _fitted(panes, entry.sides)


def spots(view: str, x: float, y: float, *, photos: bool) -> list[tuple[float, float]]:
    """Where a point of an image is seen on its tile, all as fractions of width and height."""
    across, down = (VIEWS[view] if photos else VIEWS[view].without_photos()).sides
    return [
        ((x + column) / across, (y + row) / down) for row in range(down) for column in range(across)
    ]


def _stacked(
    layers: tuple[Layer, ...], sources: dict[str, Picture], opacity: float, split: float
) -> Picture:
    """Draw the layers of a pane over one another."""
    pane = np.zeros((1, 1, 1, 1), np.float32)
    for layer in layers:
        picture = sources[layer.source]
        if layer.tint is not None:
            picture = picture * np.array(layer.tint, np.float32)
        alpha = opacity if layer.opacity is None else layer.opacity
        mixed: Picture = picture if alpha == 1 else (1 - alpha) * pane + alpha * picture
        if layer.divided:
            edge = round(split * picture.shape[2])
            mixed = np.concatenate([pane[:, :, :edge], mixed[:, :, edge:]], axis=2)
        pane = mixed
    return pane


def _fitted(panes: list[Picture], sides: tuple[int, int]) -> Picture:
    """Arrange pictures in rows within the size of one."""
    across, down = sides
    _, height, width, _ = panes[0].shape
    size = -(-height // down), -(-width // across)
    tiles = np.zeros_like(panes[0])
    for number, pane in enumerate(panes):
        top, left = number // across * size[0], number % across * size[1]
        maps = torch.from_numpy(pane).permute(0, 3, 1, 2)
        small = interpolate(maps, size=size, mode="bilinear", antialias=True)
        space = tiles[:, top : top + size[0], left : left + size[1]]
        space[...] = small.permute(0, 2, 3, 1).numpy()[:, : space.shape[1], : space.shape[2]]
    return tiles


def _resized(pixels: npt.NDArray[np.uint8], size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if pixels.shape[1:3] == size:
        return pixels
    height, width = size
    resized = [Image.fromarray(one).resize((width, height)) for one in pixels]
    return np.stack([np.asarray(one) for one in resized])
