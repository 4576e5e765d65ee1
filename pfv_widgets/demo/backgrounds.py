"""Textured grounds, soft and muted so that the objects in front of them stand out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pfv_widgets.demo import geometry as geo
from pfv_widgets.demo.drawing import CREAM, RandomStream, hue, mix, rgb, shade, tint
from pfv_widgets.demo.geometry import Field


def _blend(amount: Field, low: Field, high: Field) -> Field:
    """Return the picture (3, h, w) whose pixels lie `amount` of the way from low to high."""
    return low + (high - low) * np.clip(amount, 0.0, 1.0)


def _noise(x: Field, y: Field, cell: float, stream: RandomStream) -> Field:
    """Return value noise in [0, 1) with cells of `cell` pixels, for x, y in pixels from 0."""
    rows, columns = int(y[-1, -1] / cell) + 3, int(x[-1, -1] / cell) + 3
    return geo.value_noise(x / cell, y / cell, stream.field(rows, columns))


def _line(distance: Field, width: float) -> Field:
    """Return the coverage of a line `width` pixels wide."""
    return np.clip(0.5 + width * 0.5 - np.abs(distance), 0.0, 1.0)


def meadow(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw rows of grass blades."""
    green = tint(hue(stream.uniform(0.22, 0.37)), 0.4)
    width, tall = stream.uniform(5.0, 7.5), stream.uniform(13.0, 18.0)
    bend = (_noise(x, y, 11.0, stream) - 0.5) * 9.0
    row = np.floor(y / tall)
    down = y / tall - row
    blade = geo.triangle_wave((x + bend) / width + row * 0.37) - 1.0 + down
    ground = _blend(_noise(x, y, 24.0, stream), shade(green, 0.08), tint(green, 0.25))
    tips = np.clip(blade * width * 0.5, 0.0, 1.0) * (1.0 - down)
    return _blend(tips * 0.6, ground, tint(green, 0.65))


def pebbles(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw rounded stones of slightly different tone."""
    stone = tint(mix(hue(stream.uniform(0.0, 1.0)), rgb(0.62, 0.6, 0.58), 0.72), 0.35)
    cell = stream.uniform(11.0, 16.0)
    first, second, tone = _cells(x / cell, y / cell, stream)
    ground = _blend(tone, shade(stone, 0.14), tint(stone, 0.4))
    ground = _blend((0.5 - first) * 0.4, ground, CREAM)
    return _blend(geo.smoothstep(0.16, 0.04, second - first) * 0.38, ground, shade(stone, 0.5))


def _cells(x: Field, y: Field, stream: RandomStream) -> tuple[Field, Field, Field]:
    """Return (nearest, second nearest, tone of the nearest) of points strewn one per cell."""
    shape = int(y[-1, -1]) + 4, int(x[-1, -1]) + 4
    px, py, tone = stream.field(*shape), stream.field(*shape), stream.field(*shape)
    j, i = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    first, second = np.full_like(x, 1e9), np.full_like(x, 1e9)
    nearest_tone = np.zeros_like(x)
    for di in range(3):
        for dj in range(3):
            a, b = i + di, j + dj
            gap = geo.length(b - 1 + px[a, b] * 0.8 + 0.1 - x, a - 1 + py[a, b] * 0.8 + 0.1 - y)
            nearest_tone = np.where(gap < first, tone[a, b], nearest_tone)
            second = np.minimum(second, np.maximum(gap, first))
            first = np.minimum(gap, first)
    return first, second, nearest_tone


def waves(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw rows of overlapping wave fans with rings."""
    blue = tint(hue(stream.uniform(0.42, 0.64)), 0.42)
    edge, radius = geo.scallops(x + stream.uniform(0, 30), -y, stream.uniform(24.0, 34.0))
    ground = _blend(1.0 - radius * 2.0, blue, tint(blue, 0.4))
    rings = geo.triangle_wave(radius * 6.0)
    ground = _blend(geo.smoothstep(0.6, 0.9, rings) * 0.3, ground, CREAM)
    return _blend(_line(edge, 1.4) * 0.4, ground, shade(blue, 0.4))


def wallpaper(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw striped wallpaper with small rosettes."""
    base = tint(hue(stream.uniform(0.0, 1.0)), 0.68)
    motif = tint(hue(stream.uniform(0.0, 1.0)), 0.4)
    period = stream.uniform(18.0, 26.0)
    stripes = np.clip((geo.triangle_wave(x / period) - 0.5) * 8.0 + 0.5, 0.0, 1.0)
    ground = _blend(stripes * 0.35, base, mix(base, motif, 0.6))
    heart = geo.dots(x, y, period, 0.0)
    ring = np.clip(0.5 - np.abs(heart - period * 0.17) + 0.6, 0.0, 1.0)
    ground = _blend(ring * 0.55, ground, motif)
    return _blend(np.clip(1.8 - heart, 0.0, 1.0) * 0.7, ground, shade(motif, 0.1))


def wood(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw planks with grain."""
    tone = tint(mix(rgb(0.72, 0.52, 0.36), hue(stream.uniform(0.0, 1.0)), 0.15), 0.38)
    plank = stream.uniform(24.0, 36.0)
    index = np.floor(y / plank)
    bend = _noise(x * 0.35 + index * 7.0, y, 13.0, stream)
    grain = geo.triangle_wave(y / 9.0 + bend * 2.6 + index * 0.37)
    fine = _noise(x * 0.15, y * 1.5, 3.0, stream)
    ground = _blend(grain * 0.5 + fine * 0.3, tint(tone, 0.2), shade(tone, 0.22))
    joint = (0.5 - np.abs(y / plank - index - 0.5)) * plank
    return _blend(_line(joint, 1.6) * 0.5, ground, shade(tone, 0.6))


def clouds(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw a sky with soft clouds."""
    sky = tint(hue(stream.uniform(0.5, 0.72)), 0.5)
    glow = tint(hue(stream.uniform(0.8, 1.2)), 0.72)
    puff = _noise(x, y * 1.6, 34.0, stream) * 0.6 + _noise(x, y * 1.4, 15.0, stream) * 0.4
    ground = _blend(y / 128.0 * 0.8, sky, glow)
    return _blend(geo.smoothstep(0.45, 0.62, puff) * 0.75, ground, CREAM)


def foliage(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw leaves with a middle rib, on a lattice, each turned its own way."""
    green = tint(hue(stream.uniform(0.24, 0.4)), 0.35)
    cell = stream.uniform(14.0, 19.0)
    column, row = np.floor(x / cell), np.floor(y / cell)
    lattice = stream.field(int(128 / cell) + 2, int(128 / cell) + 2) * 2.0 - 1.0
    tilt = lattice[row.astype(np.intp), column.astype(np.intp)]
    norm = np.sqrt(1.0 + tilt * tilt * 4.0)
    cosine, sine = 1.0 / norm, tilt * 2.0 / norm
    lu, lv = x - (column + 0.5) * cell, y - (row + 0.5) * cell
    along, across = lu * cosine + lv * sine, lv * cosine - lu * sine
    leaf = geo.ellipse(along, across, (0.0, 0.0), (cell * 0.52, cell * 0.25))
    ground = _blend(_noise(x, y, 20.0, stream), shade(green, 0.1), tint(green, 0.2))
    inside = np.clip(0.5 - leaf, 0.0, 1.0)
    ground = _blend(inside * (0.45 + tilt * 0.2), ground, tint(green, 0.6))
    return _blend(_line(across, 1.0) * inside * 0.35, ground, shade(green, 0.4))


def plaid(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw a woven picnic cloth."""
    colour = tint(hue(stream.uniform(0.0, 1.0)), 0.45)
    period = stream.uniform(20.0, 30.0)
    across = np.clip((geo.triangle_wave(x / period) - 0.5) * period * 0.5 + 0.5, 0.0, 1.0)
    along = np.clip((geo.triangle_wave(y / period) - 0.5) * period * 0.5 + 0.5, 0.0, 1.0)
    weave = geo.triangle_wave((x + y) / 4.0) * 0.1
    return _blend((across + along) * 0.4 + weave, tint(colour, 0.82), colour)


def dunes(x: Field, y: Field, stream: RandomStream) -> Field:
    """Draw rippled sand."""
    sand = tint(hue(stream.uniform(0.1, 0.2)), 0.55)
    bend = _noise(x, y, 30.0, stream) * 3.0
    ripple = geo.triangle_wave(y / stream.uniform(9.0, 14.0) + bend)
    ground = _blend(ripple, shade(sand, 0.14), tint(sand, 0.35))
    return _blend(_noise(x, y, 1.5, stream) * 0.12, ground, shade(sand, 0.5))


BACKGROUNDS: dict[str, Callable[[Field, Field, RandomStream], Field]] = {
    "clouds": clouds,
    "dunes": dunes,
    "foliage": foliage,
    "meadow": meadow,
    "pebbles": pebbles,
    "plaid": plaid,
    "wallpaper": wallpaper,
    "waves": waves,
    "wood": wood,
}
