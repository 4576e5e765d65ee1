"""Signed distances, repeating patterns and value noise, with the same bits on every platform.

Only operations that IEEE 754 rounds exactly are used (+ − × ÷ sqrt floor min max), element by
element: no sums, no powers, no trigonometry. Coordinates are local units, u to the right and v
downwards; distances are negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
Pair = tuple[float, float]

# Roots of unity (cosine, sine) as literals: a platform's own cosine may differ in the last bit.
ROOTS = {
    5: (0.30901699437494745, 0.9510565162951535),
    6: (0.5, 0.8660254037844386),
    7: (0.6234898018587336, 0.7818314824680298),
    8: (0.7071067811865476, 0.7071067811865475),
}


def length(x: Field, y: Field) -> Field:
    """Return the Euclidean length of the vectors (x, y)."""
    return np.sqrt(x * x + y * y)


def circle(u: Field, v: Field, x: float, y: float, radius: float) -> Field:
    """Return the distance to a disc."""
    return length(u - x, v - y) - radius


def ellipse(u: Field, v: Field, centre: Pair, radii: Pair) -> Field:
    """Return the first-order distance to an ellipse: exact on its edge, enough to smooth it."""
    rx, ry = radii
    a, b = (u - centre[0]) / rx, (v - centre[1]) / ry
    k0, k1 = length(a, b), length(a / rx, b / ry)
    inner = -min(rx, ry)
    return np.where(k1 < 1e-3, inner, k0 * (k0 - 1.0) / np.maximum(k1, 1e-3))


def box(u: Field, v: Field, centre: Pair, half: Pair, radius: float = 0.0) -> Field:
    """Return the distance to a rectangle of half sizes `half`, its corners rounded within it."""
    qx = np.abs(u - centre[0]) - (half[0] - radius)
    qy = np.abs(v - centre[1]) - (half[1] - radius)
    outside = length(np.maximum(qx, 0.0), np.maximum(qy, 0.0))
    return outside + np.minimum(np.maximum(qx, qy), 0.0) - radius


def segment(u: Field, v: Field, start: Pair, end: Pair, radius: float) -> Field:
    """Return the distance to a line with round ends."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    pu, pv = u - start[0], v - start[1]
    t = np.clip((pu * ex + pv * ey) / (ex * ex + ey * ey), 0.0, 1.0)
    return length(pu - ex * t, pv - ey * t) - radius


def polygon(u: Field, v: Field, points: Sequence[Pair], radius: float = 0.0) -> Field:
    """Return the distance to a polygon, its corners rounded by growing it by `radius`."""
    nearest = np.full_like(u, 1e9)
    inside = np.zeros(u.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        ex, ey = bx - ax, by - ay
        pu, pv = u - ax, v - ay
        t = np.clip((pu * ex + pv * ey) / (ex * ex + ey * ey), 0.0, 1.0)
        du, dv = pu - ex * t, pv - ey * t
        nearest = np.minimum(nearest, du * du + dv * dv)
        if ay != by:
            inside ^= ((v < ay) != (v < by)) & (u < ax + pv * (ex / ey))
    distance = np.sqrt(nearest)
    return np.where(inside, -distance, distance) - radius


def union(first: Field, second: Field, blend: float) -> Field:
    """Return the distance to two shapes melted together over a width `blend`."""
    h = np.maximum(blend - np.abs(first - second), 0.0) / blend
    return np.minimum(first, second) - h * h * (blend * 0.25)


def rotate(u: Field, v: Field, cosine: float, sine: float) -> tuple[Field, Field]:
    """Return the coordinates seen from axes turned by the angle (cosine, sine)."""
    return u * cosine + v * sine, v * cosine - u * sine


def directions(count: int) -> list[Pair]:
    """Return `count` (5 to 8) unit vectors evenly round the circle, the first to the right."""
    cosine, sine = ROOTS[count]
    vectors = [(1.0, 0.0)]
    for _ in range(count - 1):
        x, y = vectors[-1]
        vectors.append((x * cosine - y * sine, x * sine + y * cosine))
    return vectors


def triangle_wave(x: Field) -> Field:
    """Return a wave of period 1 that is 0 at whole numbers and 1 half-way between."""
    return 1.0 - np.abs(x - np.floor(x) - 0.5) * 2.0


def smoothstep(low: float, high: float, x: Field) -> Field:
    """Return a soft step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def scallops(u: Field, v: Field, period: float) -> tuple[Field, Field]:
    """Return (distance to the edge lines, radius in its own scale 0…0.5) of overlapping scales."""
    x, y = u / period, v / period * 2.0
    row = np.floor(y)
    y = (y - row) * 0.5
    odd = row - np.floor(row * 0.5) * 2.0
    x = x + odd * 0.5
    near = x - np.floor(x) - 0.5
    other = np.abs(near) - 0.5  # the neighbouring row is shifted by half a scale
    front, behind = length(near, y), length(other, 0.5 - y)
    return np.abs(front - 0.5) * period, np.where(front < 0.5, front, behind)


def bricks(u: Field, v: Field, width: float, height: float) -> Field:
    """Return the distance to the joints of a running-bond wall."""
    row = np.floor(v / height)
    x = u / width + (row - np.floor(row * 0.5) * 2.0) * 0.5
    across = (0.5 - np.abs(x - np.floor(x) - 0.5)) * width
    along = (0.5 - np.abs(v / height - row - 0.5)) * height
    return np.minimum(across, along)


def dots(u: Field, v: Field, period: float, radius: float) -> Field:
    """Return the distance to discs on a lattice whose odd rows are shifted by half."""
    row = np.floor(v / period)
    x = u / period + (row - np.floor(row * 0.5) * 2.0) * 0.5
    return length(x - np.floor(x) - 0.5, v / period - row - 0.5) * period - radius


def spiral(u: Field, v: Field, pitch: float) -> Field:
    """Return the distance to a spiral of half circles about two centres, `pitch` apart."""
    half = pitch * 0.5
    upper, lower = length(u, v) / pitch, (length(u - half, v) + half) / pitch
    turns: Field = np.where(v < 0.0, upper, lower)
    return np.abs(turns - np.floor(turns + 0.5)) * pitch


def value_noise(x: Field, y: Field, lattice: Field) -> Field:
    """Return smooth noise: `lattice` (a, b) in [0, 1] read at x in [0, b−1), y in [0, a−1)."""
    column, row = np.floor(x), np.floor(y)
    fx, fy = x - column, y - row
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    i, j = row.astype(np.intp), column.astype(np.intp)
    top = lattice[i, j] + (lattice[i, j + 1] - lattice[i, j]) * fx
    bottom = lattice[i + 1, j] + (lattice[i + 1, j + 1] - lattice[i + 1, j]) * fx
    noise: Field = top + (bottom - top) * fy
    return noise
