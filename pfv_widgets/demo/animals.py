"""Fish, butterfly, cat and snail: each distinct by its parts and texture."""

from __future__ import annotations

import numpy as np

from pfv_widgets.demo import geometry as geo
from pfv_widgets.demo.drawing import CREAM, INK, Patch, RandomStream, hue, mix, shade, tint


def eye(patch: Patch, x: float, y: float, radius: float) -> None:
    """Draw a round eye with a pupil and a glint."""
    u, v = patch.u, patch.v
    patch.fill(geo.circle(u, v, x, y, radius), CREAM, line=1.0)
    whole = np.ones_like(u)
    patch.mark(geo.circle(u, v, x - radius * 0.12, y, radius * 0.58), INK, whole)
    patch.mark(geo.circle(u, v, x - radius * 0.3, y - radius * 0.25, radius * 0.2), CREAM, whole)


def fish(patch: Patch, stream: RandomStream) -> None:
    """Draw a fish that swims to the left: scaled body, forked tail, fins, eye."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    body = tint(hue(angle), 0.12)
    fin = hue(angle + stream.uniform(0.3, 0.7))
    deep = stream.uniform(0.44, 0.56)
    _fins(patch, fin, deep)
    cover = patch.fill(geo.ellipse(u, v, (-0.2, 0.0), (0.74, deep)), body)
    edge, radius = geo.scallops(v + 0.03, u, stream.uniform(0.24, 0.3))
    scaled = cover * patch.cover(-0.32 - u)
    patch.wash(1.0 - radius * 2.0, tint(body, 0.55), scaled)
    patch.stroke(edge, shade(body, 0.55), scaled, 1.0)
    patch.wash(geo.smoothstep(0.1, deep, v) * 0.55, CREAM, cover)
    face = cover * patch.cover(u + 0.34)
    patch.wash(np.full_like(u, 0.5), fin, face)
    patch.stroke(geo.circle(u, v, -0.78, 0.0, 0.46), shade(body, 0.7), cover, 1.2)
    patch.stroke(geo.segment(u, v, (-0.92, 0.13), (-0.74, 0.16), 0.0), INK, cover, 1.3)
    patch.fill(geo.polygon(u, v, [(-0.2, 0.06), (0.1, 0.0), (0.12, 0.24)], 0.05), fin, 1.0)
    eye(patch, -0.62, -0.1, 0.14)


def _fins(patch: Patch, colour: geo.Field, deep: float) -> None:
    u, v = patch.u, patch.v
    tail = geo.polygon(u, v, [(0.4, 0.0), (0.86, -0.46), (0.76, 0.0), (0.86, 0.46)], 0.06)
    back = geo.polygon(u, v, [(-0.42, -deep * 0.8), (0.1, -deep - 0.26), (0.3, -deep * 0.6)], 0.05)
    belly = geo.polygon(u, v, [(-0.12, deep * 0.8), (0.2, deep + 0.22), (0.28, deep * 0.55)], 0.05)
    rays = np.abs(geo.triangle_wave(v * 7.0) - 0.5) * 0.14
    for shape in (tail, back, belly):
        cover = patch.fill(shape, colour)
        patch.stroke(rays, shade(colour, 0.45), cover, 0.8, 0.8)


def butterfly(patch: Patch, stream: RandomStream) -> None:
    """Draw a butterfly from above: four wings with borders and eye spots, striped body."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    upper, lower = hue(angle), hue(angle + stream.uniform(0.08, 0.35))
    spot = tint(hue(angle + stream.uniform(0.4, 0.6)), 0.3)
    side = np.abs(u)  # one wing drawn, both seen
    lu, lv = geo.rotate(side - 0.46, v - 0.4, 0.78, 0.6257795138864806)
    _wing(patch, geo.ellipse(lu, lv, (0.0, 0.0), (0.44, 0.32)), lower)
    _eye_spot(patch, geo.length(side - 0.5, v - 0.46), spot, 0.15)
    uu, uv = geo.rotate(side - 0.52, v + 0.34, 0.78, -0.6257795138864806)
    _wing(patch, geo.ellipse(uu, uv, (0.0, 0.0), (0.56, 0.38)), upper)
    _eye_spot(patch, geo.length(side - 0.6, v + 0.42), spot, 0.19)
    for tip in ((-0.22, -0.92), (0.22, -0.92)):
        patch.fill(geo.segment(u, v, (0.0, -0.5), tip, 0.022), shade(upper, 0.8), 0.0)
        patch.fill(geo.circle(u, v, *tip, 0.06), shade(upper, 0.8), 0.0)
    trunk = shade(lower, 0.5)
    cover = patch.fill(geo.ellipse(u, v, (0.0, 0.1), (0.115, 0.6)), trunk)
    patch.stroke(np.abs(geo.triangle_wave(v * 5.0) - 0.5) * 0.2, tint(trunk, 0.7), cover, 1.0)
    patch.fill(geo.circle(u, v, 0.0, -0.5, 0.14), trunk)


def _wing(patch: Patch, shape: geo.Field, colour: geo.Field) -> None:
    cover = patch.fill(shape, colour)
    side = np.abs(patch.u)
    slope = patch.v / np.maximum(side, 0.05)
    patch.stroke((geo.triangle_wave(slope * 1.6) - 0.5) * side * 0.3, shade(colour, 0.4), cover)
    patch.mark(-0.11 - shape, shade(colour, 0.68), cover)
    beads = geo.dots(patch.u, patch.v, 0.17, 0.05)
    patch.mark(np.maximum(beads, np.abs(shape + 0.055) - 0.05), CREAM, cover)


def _eye_spot(patch: Patch, radius: geo.Field, colour: geo.Field, size: float) -> None:
    patch.mark(radius - size, shade(colour, 0.75), patch.alpha)
    patch.mark(radius - size * 0.75, colour, patch.alpha)
    patch.mark(radius - size * 0.35, INK, patch.alpha)


def cat(patch: Patch, stream: RandomStream) -> None:
    """Draw the face of a striped cat: ears, eyes, nose, whiskers."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    fur = mix(hue(angle), tint(hue(angle + 0.05), 0.6), stream.uniform(0.1, 0.6))
    dark = shade(fur, 0.55)
    side = np.abs(u)
    ear = geo.polygon(side, v, [(0.22, -0.5), (0.72, -0.86), (0.76, -0.1)], 0.06)
    patch.fill(ear, fur)
    inner = geo.polygon(side, v, [(0.36, -0.48), (0.64, -0.7), (0.66, -0.2)], 0.02)
    patch.mark(inner, mix(hue(0.95), CREAM, 0.45), patch.alpha)
    face = patch.fill(geo.ellipse(u, v, (0.0, 0.14), (0.84, 0.7)), fur)
    _stripes(patch, dark, face)
    muzzle = geo.union(
        geo.ellipse(side, v, (0.17, 0.47), (0.25, 0.19)), geo.circle(u, v, 0.0, 0.36, 0.12), 0.1
    )
    patch.mark(muzzle, tint(fur, 0.85), face)
    iris = tint(hue(angle + stream.uniform(0.35, 0.65)), 0.25)
    _cat_eyes(patch, iris, face)
    nose = geo.polygon(u, v, [(-0.07, 0.3), (0.07, 0.3), (0.0, 0.38)], 0.03)
    patch.mark(nose, shade(hue(0.95), 0.12), face)
    patch.stroke(geo.circle(side, v, 0.12, 0.42, 0.12), INK, face * patch.cover(0.44 - v), 1.1)
    for height in (0.34, 0.48, 0.62):
        line = geo.segment(side, v, (0.34, 0.46), (1.02, height - 0.08), 0.018)
        patch.fill(line, shade(fur, 0.85), 0.0)


def _stripes(patch: Patch, colour: geo.Field, face: geo.Field) -> None:
    u, v = patch.u, patch.v
    side = np.abs(u)
    for x, low in ((0.0, -0.18), (0.2, -0.24)):
        tip = [(x - 0.07, -0.7), (x + 0.07, -0.7), (x * 0.8, low)]
        patch.mark(geo.polygon(side if x else u, v, tip), colour, face)
    for height in (0.12, 0.32):
        band = [(0.9, height - 0.08), (0.9, height + 0.06), (0.56, height + 0.06)]
        patch.mark(geo.polygon(side, v, band), colour, face)


def _cat_eyes(patch: Patch, iris: geo.Field, face: geo.Field) -> None:
    side, v = np.abs(patch.u), patch.v
    ball = geo.ellipse(side, v, (0.36, 0.08), (0.19, 0.17))
    patch.mark(ball - 1.2 * patch.pixel, INK, face)
    patch.mark(ball, iris, face)
    patch.mark(geo.ellipse(side, v, (0.36, 0.08), (0.065, 0.155)), INK, face)
    patch.mark(geo.circle(patch.u, v, 0.31, 0.02, 0.045), CREAM, face)
    patch.mark(geo.circle(patch.u, v, -0.41, 0.02, 0.045), CREAM, face)


def snail(patch: Patch, stream: RandomStream) -> None:
    """Draw a snail that crawls to the left: spiral shell, long foot, eye stalks."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    shell = hue(angle)
    skin = tint(hue(angle + stream.uniform(0.3, 0.7)), 0.5)
    for x, y in ((-0.94, -0.3), (-0.62, -0.34)):
        patch.fill(geo.segment(u, v, (-0.72, 0.3), (x, y), 0.045), skin, 1.0)
        eye(patch, x, y - 0.04, 0.1)
    foot = geo.segment(u, v, (-0.62, 0.66), (0.74, 0.74), 0.13)
    foot = geo.union(foot, geo.segment(u, v, (-0.74, 0.26), (-0.68, 0.6), 0.19), 0.25)
    cover = patch.fill(foot, skin)
    patch.mark(geo.dots(u, v, 0.15, 0.028), shade(skin, 0.4), cover, 0.8)
    patch.stroke(geo.segment(u, v, (-0.92, 0.34), (-0.78, 0.38), 0.0), INK, cover, 1.2)
    _shell(patch, shell, stream.uniform(0.23, 0.28))


def _shell(patch: Patch, colour: geo.Field, pitch: float) -> None:
    x, y = patch.u - 0.16, patch.v + 0.02
    disc = geo.circle(x, y, 0.0, 0.0, 0.62)
    cover = patch.fill(disc, tint(colour, 0.12))
    winding = geo.spiral(x, y, pitch)
    patch.wash(geo.smoothstep(0.02, pitch * 0.5, winding) * 0.6, CREAM, cover)
    spokes = np.full_like(x, 1e9)
    for cosine, sine in geo.directions(8):
        along, across = geo.rotate(x, y, cosine, sine)
        spokes = np.minimum(spokes, np.where(along > 0.14, np.abs(across), 1e9))
    patch.stroke(spokes, shade(colour, 0.35), cover, 0.9, 0.6)
    patch.stroke(winding, shade(colour, 0.68), cover * patch.cover(0.04 - geo.length(x, y)), 1.7)
