"""Scenes: several objects on a textured ground, with the visible pixels of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pfv_widgets.demo import geometry as geo
from pfv_widgets.demo.backgrounds import BACKGROUNDS
from pfv_widgets.demo.drawing import INK, Patch, RandomStream
from pfv_widgets.demo.geometry import Field
from pfv_widgets.demo.object_registry import CLASSES, DRAWINGS

SIZE = 128
"""Height and width of a scene in pixels."""


@dataclass(frozen=True)
class Scene:
    """A drawn scene, the main object first."""

    pixels: npt.NDArray[np.uint8]
    """Picture (H, W, 3)."""
    masks: npt.NDArray[np.bool_]
    """Visible pixels of each object (T, H, W), disjoint."""
    objects: tuple[str, ...]
    """Class name of each object, T different ones."""


@dataclass(frozen=True)
class _Placement:
    """Where an object stands: centre and radius in pixels."""

    x: float
    y: float
    radius: float


def draw_scene(seed: int, main: str | None = None) -> Scene:
    """Draw a scene of two to four objects; the same seed gives the same bits everywhere.

    Parameters
    ----------
    seed
        0…2³²−1.
    main
        Class of the largest object, one of ``CLASSES``; chosen at random when None.
    """
    stream = RandomStream(seed)
    order = [CLASSES[index] for index in stream.shuffle(len(CLASSES))]
    if main is not None:
        order = [main, *(name for name in order if name != main)]
    placements = _placements(stream)
    x, y = _pixel_grid(0, 0, SIZE, SIZE)
    kinds = tuple(BACKGROUNDS)
    picture = BACKGROUNDS[kinds[stream.pick(len(kinds))]](x, y, stream)
    objects = tuple(order[: len(placements)])
    masks = np.zeros((len(objects), SIZE, SIZE), dtype=bool)
    # the main object is drawn last, so that nothing hides it
    for index in reversed(range(len(objects))):
        visible = _draw_object(picture, objects[index], placements[index], stream)
        masks &= ~visible
        masks[index] = visible
    grain = (stream.field(SIZE, SIZE) - 0.5) * 0.02
    pixels = np.floor(np.clip(picture + grain, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Scene(np.ascontiguousarray(pixels.transpose(1, 2, 0)), masks, objects)


def _pixel_grid(top: int, left: int, bottom: int, right: int) -> tuple[Field, Field]:
    """Return x and y (h, w) of the centres of the pixels."""
    rows = np.arange(top, bottom, dtype=np.float64)[:, None]
    columns = np.arange(left, right, dtype=np.float64)[None, :]
    zero = np.zeros((bottom - top, right - left))
    return zero + columns + 0.5, zero + rows + 0.5


def _placements(stream: RandomStream) -> list[_Placement]:
    """Return two to four placements, the largest first, that hardly overlap."""
    number = 2 + stream.pick(3)
    placements = [_inside(stream.uniform(31.0, 40.0), stream)]
    for _ in range(200):
        if len(placements) == number:
            break
        new = _inside(stream.uniform(16.0, 25.0), stream)
        if all(_apart(new, old) for old in placements):
            placements.append(new)
    return placements


def _inside(radius: float, stream: RandomStream) -> _Placement:
    margin = radius * 1.06 + 1.0
    x, y = stream.uniform(margin, SIZE - margin), stream.uniform(margin, SIZE - margin)
    return _Placement(x, y, radius)


def _apart(first: _Placement, second: _Placement) -> bool:
    dx, dy = first.x - second.x, first.y - second.y
    reach = 0.95 * (first.radius + second.radius)
    return dx * dx + dy * dy > reach * reach


def _draw_object(
    picture: Field, name: str, placement: _Placement, stream: RandomStream
) -> npt.NDArray[np.bool_]:
    """Draw one object with its shadow into the picture (3, H, W); return its pixels (H, W)."""
    reach = placement.radius * 1.12 + 4.0
    top, left = max(int(placement.y - reach), 0), max(int(placement.x - reach), 0)
    bottom, right = min(int(placement.y + reach) + 1, SIZE), min(int(placement.x + reach) + 1, SIZE)
    patch = _patch(*_pixel_grid(top, left, bottom, right), placement, stream)
    DRAWINGS[name](patch, stream)
    window = picture[:, top:bottom, left:right]
    window += (INK - window) * (_shadow(patch.alpha) * 0.3)
    window *= 1.0 - patch.alpha
    window += patch.colour
    seen = np.zeros((SIZE, SIZE), dtype=bool)
    seen[top:bottom, left:right] = patch.alpha > 0.5
    return seen


def _patch(x: Field, y: Field, placement: _Placement, stream: RandomStream) -> Patch:
    """Return an empty patch in the object's own axes: slightly turned, perhaps mirrored."""
    tilt = stream.uniform(-0.28, 0.28)
    norm = float(np.sqrt(1.0 + tilt * tilt))
    dx, dy = (x - placement.x) / placement.radius, (y - placement.y) / placement.radius
    u, v = geo.rotate(dx, dy, 1.0 / norm, tilt / norm)
    if stream.chance(0.5):
        u = -u
    light = 1.04 - dx * 0.07 - dy * 0.12
    return Patch(u, v, 1.0 / placement.radius, light)


def _shadow(alpha: Field) -> Field:
    """Return the soft shadow that falls down to the right."""
    soft = np.zeros((alpha.shape[0] + 6, alpha.shape[1] + 6))
    for dy in (1, 2, 3, 4):
        for dx in (0, 1, 2, 3):
            soft[dy + 2 : dy + 2 + alpha.shape[0], dx + 2 : dx + 2 + alpha.shape[1]] += alpha
    return soft[2 : 2 + alpha.shape[0], 2 : 2 + alpha.shape[1]] * 0.0625
