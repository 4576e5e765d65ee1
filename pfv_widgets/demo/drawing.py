"""Colours, random numbers and shapes: how distances become an outlined, softly shaded picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pfv_widgets.demo.geometry import Field


def rgb(red: float, green: float, blue: float) -> Field:
    """Return a colour as an array (3, 1, 1) that broadcasts against (h, w)."""
    return np.array([red, green, blue]).reshape(3, 1, 1)


INK = rgb(0.16, 0.11, 0.17)
CREAM = rgb(1.0, 0.97, 0.89)
WOOD = rgb(0.66, 0.46, 0.30)
LEAF = rgb(0.40, 0.63, 0.33)

# A picture-book colour wheel: hand-picked, even in strength, so that any two go together.
WHEEL = np.array(
    [
        [0.90, 0.32, 0.28],
        [0.95, 0.52, 0.25],
        [0.96, 0.73, 0.28],
        [0.72, 0.74, 0.28],
        [0.40, 0.66, 0.36],
        [0.25, 0.66, 0.59],
        [0.28, 0.62, 0.80],
        [0.31, 0.46, 0.80],
        [0.50, 0.41, 0.77],
        [0.70, 0.42, 0.73],
        [0.88, 0.44, 0.64],
        [0.92, 0.42, 0.46],
    ]
).reshape(12, 3, 1, 1)


class RandomStream:
    """Random numbers from NumPy's frozen legacy stream, the same in every version."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.RandomState(seed)

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * float(self._stream.random_sample())

    def pick(self, count: int) -> int:
        """Return a whole number in 0…count−1."""
        return int(self.uniform(0.0, float(count)))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def field(self, height: int, width: int) -> Field:
        """Return numbers in [0, 1) of shape (height, width)."""
        return self._stream.random_sample((height, width))

    def shuffle(self, count: int) -> list[int]:
        """Return 0…count−1 in random order."""
        rest = list(range(count))
        return [rest.pop(self.pick(len(rest))) for _ in range(count)]


def hue(angle: float) -> Field:
    """Return the colour (3, 1, 1) of the wheel at `angle`, any real number, period 1."""
    sector = (angle - float(np.floor(angle))) * 12.0
    index = int(sector) % 12
    share = sector - float(np.floor(sector))
    return mix(WHEEL[index], WHEEL[(index + 1) % 12], share)


def mix(first: Field, second: Field, share: float) -> Field:
    """Return the colour `share` of the way from the first to the second."""
    return first + (second - first) * share


def tint(colour: Field, share: float) -> Field:
    """Return the colour lightened towards cream."""
    return mix(colour, CREAM, share)


def shade(colour: Field, share: float) -> Field:
    """Return the colour darkened towards ink."""
    return mix(colour, INK, share)


@dataclass
class Patch:
    """The rectangle of a scene in which one object is drawn."""

    u: Field
    """Local coordinate to the right, (h, w); the object fills about −1…1."""
    v: Field
    """Local coordinate downwards, (h, w)."""
    pixel: float
    """Local units per pixel."""
    light: Field
    """Factor of the light that falls from the upper left of the scene, (h, w)."""
    colour: Field = field(init=False)
    """Painted colour times coverage, (3, h, w)."""
    alpha: Field = field(init=False)
    """Coverage in 0…1, (h, w)."""

    def __post_init__(self) -> None:
        self.colour = np.zeros((3, *self.u.shape))
        self.alpha = np.zeros(self.u.shape)

    def cover(self, distance: Field) -> Field:
        """Return the share of each pixel inside the shape, in 0…1."""
        return np.clip(0.5 - distance / self.pixel, 0.0, 1.0)

    def _lay(self, cover: Field, colour: Field) -> None:
        rows, columns = _extent(cover)
        part = cover[rows, columns]
        if colour.shape[1:] == cover.shape:
            colour = colour[:, rows, columns]
        for layer, target in ((self.colour, colour), (self.alpha, 1.0)):
            view = layer[..., rows, columns]
            view += (target - view) * part

    def fill(self, distance: Field, colour: Field, line: float = 1.3) -> Field:
        """Draw a shape with soft shading and an outline `line` pixels wide; return its cover."""
        cover = self.cover(distance)
        rim = np.clip(1.0 + distance / 0.26, 0.0, 1.0)
        shadow = rim * rim * 0.22
        body = colour * self.light
        self._lay(cover, body + (colour * 0.45 - body) * shadow)
        if line > 0.0:
            self._lay(self.cover(np.abs(distance) - line * 0.5 * self.pixel), shade(colour, 0.72))
        return cover

    def mark(self, distance: Field, colour: Field, within: Field, strength: float = 1.0) -> None:
        """Draw a marking on what is already there, only where `within` (cover, 0…1) is."""
        self._tone(self.cover(distance) * within * strength, colour)

    def stroke(
        self, distance: Field, colour: Field, within: Field, width: float = 1.0, strength: float = 1
    ) -> None:
        """Draw the line where the distance is zero, `width` pixels wide, inside `within`."""
        self.mark(np.abs(distance) - width * 0.5 * self.pixel, colour, within, strength)

    def wash(self, amount: Field, colour: Field, within: Field) -> None:
        """Tint smoothly by `amount` in 0…1, inside `within`."""
        self._tone(np.clip(amount, 0.0, 1.0) * within, colour)

    def _tone(self, cover: Field, colour: Field) -> None:
        rows, columns = _extent(cover)
        lit = colour * (self.light[rows, columns] * self.alpha[rows, columns])
        view = self.colour[:, rows, columns]
        view += (lit - view) * cover[rows, columns]


def _extent(cover: Field) -> tuple[slice, slice]:
    """Return the rows and columns outside which the cover is zero, to paint no more than needed."""
    touched = cover > 0.0
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    if rows.size == 0:
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
