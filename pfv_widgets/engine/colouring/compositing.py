"""How a tile puts photo and heatmap together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.functional import interpolate

Picture = npt.NDArray[np.float32]


def compose(
    heat: Picture, pixels: npt.NDArray[np.uint8] | None, view: str, opacity: float, split: float
) -> Picture:
    """Return tiles ``(N, H, W, 3)`` in [0, 1] of a view; side by side they are twice as wide.

    Parameters
    ----------
    heat
        Heatmaps ``(N, H, W, 3)`` in [0, 1].
    pixels
        Photos of any size; without them every view but the RGB split shows the heatmaps.
    opacity
        Of the heatmap over the photo.
    split
        Where the photo ends and the heatmap begins, as a fraction of the width.
    """
    if view == "rgb split":
        return _channels_apart(heat)
    if pixels is None or view == "heatmap":
        return heat
    photos = _resized(pixels, heat.shape[1:3]) / np.float32(255)
    if view == "side by side":
        return np.concatenate([photos, heat], axis=2)
    opacity = 0.0 if view == "photo" else opacity
    tiles: Picture = (1 - opacity) * photos + opacity * heat
    if view == "split":
        edge = round(split * heat.shape[2])
        tiles[:, :, :edge] = photos[:, :, :edge]
    return tiles


def spots(view: str, x: float, y: float, *, photos: bool) -> list[tuple[float, float]]:
    """Where a point of an image is seen on its tile, all as fractions of width and height."""
    if view == "side by side" and photos:
        return [(x / 2, y), ((1 + x) / 2, y)]
    if view == "rgb split":
        return [((x + right) / 2, (y + down) / 2) for down in (0, 1) for right in (0, 1)]
    return [(x, y)]


def _channels_apart(heat: Picture) -> Picture:
    """Four small pictures in the place of one: the heatmap, its red, its green, its blue."""
    _, height, width, _ = heat.shape
    down, across = height - height // 2, width - width // 2
    maps = torch.from_numpy(heat).permute(0, 3, 1, 2)
    small = interpolate(maps, size=(down, across), mode="bilinear", antialias=True)
    quarter = small.permute(0, 2, 3, 1).numpy()
    tiles = np.zeros_like(heat)
    tiles[:, :down, :across] = quarter
    tiles[:, :down, across:, 0] = quarter[:, :, : width - across, 0]
    tiles[:, down:, :across, 1] = quarter[:, : height - down, :, 1]
    tiles[:, down:, across:, 2] = quarter[:, : height - down, : width - across, 2]
    return tiles


def _resized(pixels: npt.NDArray[np.uint8], size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if pixels.shape[1:3] == size:
        return pixels
    height, width = size
    resized = [Image.fromarray(one).resize((width, height)) for one in pixels]
    return np.stack([np.asarray(one) for one in resized])
