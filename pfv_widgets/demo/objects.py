"""Mushroom, flower, cactus, house, sailboat and balloon."""

from __future__ import annotations

import numpy as np

from pfv_widgets.demo import geometry as geo
from pfv_widgets.demo.drawing import CREAM, LEAF, WOOD, Patch, RandomStream, hue, mix, shade, tint


def mushroom(patch: Patch, stream: RandomStream) -> None:
    """Draw a mushroom: dotted cap, gills, ring, grained stalk."""
    u, v = patch.u, patch.v
    cap = hue(stream.uniform(0.0, 1.0))
    stalk = tint(WOOD, 0.72)
    width = stream.uniform(0.2, 0.27)
    side = width + 0.1
    stem = geo.polygon(u, v, [(-width, 0.0), (width, 0.0), (side, 0.8), (-side, 0.8)], 0.1)
    cover = patch.fill(stem, stalk)
    patch.stroke((geo.triangle_wave(u * 4.5) - 0.5) * 0.2, shade(stalk, 0.3), cover, 0.9, 0.7)
    patch.fill(geo.ellipse(u, v, (0.0, 0.34), (width + 0.16, 0.08)), tint(stalk, 0.5), 1.0)
    gills = patch.fill(geo.ellipse(u, v, (0.0, 0.04), (0.86, 0.17)), tint(cap, 0.7))
    fan = u / np.maximum(v + 0.55, 0.1)
    patch.stroke((geo.triangle_wave(fan * 3.5) - 0.5) * 0.1, shade(cap, 0.5), gills, 0.9)
    dome = np.maximum(
        geo.ellipse(u, v, (0.0, 0.06), (0.95, 0.98)), geo.ellipse(u, v, (0, -0.9), (1.7, 1.0))
    )
    cover = patch.fill(dome, cap)
    shift = stream.uniform(0.0, 0.4)
    spots = geo.dots(u + shift, v + 0.1, 0.44, 0.12)
    patch.mark(spots - 1.1 * patch.pixel, shade(cap, 0.45), cover)
    patch.mark(spots, CREAM, cover)


def flower(patch: Patch, stream: RandomStream) -> None:
    """Draw a flower: veined petals round a seeded disc, stem, two leaves."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    petal, disc = hue(angle), hue(angle + stream.uniform(0.35, 0.65))
    patch.fill(geo.segment(u, v, (0.0, 0.0), (0.06, 0.94), 0.05), LEAF, 1.1)
    for sign in (-1.0, 1.0):
        lu, lv = geo.rotate(u - sign * 0.32, v - 0.68, 0.8, -0.6 * sign)
        cover = patch.fill(geo.ellipse(lu, lv, (0.0, 0.0), (0.32, 0.13)), LEAF)
        patch.stroke(lv, shade(LEAF, 0.5), cover)
        ribs = geo.triangle_wave((lu * sign - np.abs(lv)) * 9.0) - 0.5
        patch.stroke(ribs * 0.1, shade(LEAF, 0.4), cover, 0.8, 0.6)
    x, y = u, v + 0.3
    for cosine, sine in geo.directions(5 + stream.pick(4)):
        along, across = geo.rotate(x, y, cosine, sine)
        cover = patch.fill(geo.ellipse(along, across, (0.4, 0.0), (0.27, 0.19)), petal)
        patch.wash(geo.smoothstep(0.5, 0.2, along) * 0.6, tint(petal, 0.8), cover)
        patch.stroke(across, shade(petal, 0.4), cover * patch.cover(along - 0.5), 0.9)
    cover = patch.fill(geo.circle(x, y, 0.0, 0.0, 0.25), disc)
    patch.mark(geo.dots(x, y, 0.11, 0.03), shade(disc, 0.6), cover)


def cactus(patch: Patch, stream: RandomStream) -> None:
    """Draw a cactus with ribs, spines, arms and a blossom, in a pot with a zigzag band."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    green = mix(LEAF, hue(stream.uniform(0.25, 0.5)), 0.6)
    high, low = stream.uniform(-0.2, 0.0), stream.uniform(0.1, 0.25)
    bends = [(-0.56, -0.45, low), (0.56, -0.6, high)]
    for x, tip, bend in bends:
        arm = geo.segment(u, v, (0.0, bend), (x, bend), 0.13)
        arm = np.minimum(arm, geo.segment(u, v, (x, bend), (x, tip + bend * 0.5 + 0.1), 0.13))
        _ribbed(patch, arm, u - x, green)
    _ribbed(patch, geo.segment(u, v, (0.0, -0.58), (0.0, 0.5), 0.25), u, green)
    blossom = tint(hue(angle + 0.5), 0.1)
    for cosine, sine in geo.directions(5):
        along, across = geo.rotate(u, v + 0.84, sine, cosine)
        patch.fill(geo.ellipse(along, across, (0.09, 0.0), (0.1, 0.065)), blossom, 0.8)
    _pot(patch, hue(angle))


def _ribbed(patch: Patch, shape: geo.Field, across: geo.Field, colour: geo.Field) -> None:
    cover = patch.fill(shape, colour)
    patch.stroke((geo.triangle_wave(across * 6.0) - 0.5) * 0.1, shade(colour, 0.4), cover, 0.9)
    patch.mark(geo.dots(across, patch.v, 0.166, 0.03), CREAM, cover)


def _pot(patch: Patch, colour: geo.Field) -> None:
    u, v = patch.u, patch.v
    bowl = geo.polygon(u, v, [(-0.42, 0.56), (0.42, 0.56), (0.3, 0.94), (-0.3, 0.94)], 0.03)
    cover = patch.fill(bowl, colour)
    zigzag = v - 0.68 - geo.triangle_wave(u * 4.5) * 0.14
    patch.mark(np.abs(zigzag) * 0.6 - 0.03, CREAM, cover)
    patch.fill(geo.box(u, v, (0.0, 0.52), (0.5, 0.09), 0.04), tint(colour, 0.15))


def house(patch: Patch, stream: RandomStream) -> None:
    """Draw a house: brick wall, tiled roof, chimney, door, window with bars."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    wall, roof = tint(hue(angle), 0.45), shade(hue(angle + stream.uniform(0.3, 0.7)), 0.1)
    patch.fill(geo.box(u, v, (0.42, -0.66), (0.11, 0.26)), shade(wall, 0.2))
    cover = patch.fill(geo.box(u, v, (0.0, 0.42), (0.7, 0.5), 0.03), wall)
    patch.stroke(geo.bricks(u, v + 0.04, 0.3, 0.15), shade(wall, 0.38), cover, 1.0)
    peak = stream.uniform(0.1, 0.4)
    gable = [(-0.9, 0.02), (-peak, -0.82), (peak, -0.82), (0.9, 0.02)]
    cover = patch.fill(geo.polygon(u, v, gable, 0.05), roof)
    edge, radius = geo.scallops(u, v, 0.25)
    patch.wash(0.6 - radius, tint(roof, 0.5), cover)
    patch.stroke(edge, shade(roof, 0.55), cover, 1.0)
    accent = hue(angle + 0.45)
    x = 0.32 if stream.chance(0.5) else -0.32
    door = patch.fill(geo.box(u, v, (x, 0.62), (0.19, 0.3), 0.06), accent)
    patch.stroke((geo.triangle_wave(u * 5.0) - 0.5) * 0.1, shade(accent, 0.5), door, 0.8, 0.7)
    patch.mark(geo.circle(u, v, x + 0.1, 0.64, 0.035), CREAM, door)
    patch.fill(geo.box(u, v, (-x, 0.46), (0.24, 0.22), 0.03), CREAM)
    for dx in (-0.1, 0.1):
        for dy in (-0.09, 0.09):
            glass = geo.box(u, v, (-x + dx, 0.46 + dy), (0.075, 0.065))
            patch.mark(glass, tint(hue(0.5), 0.45), patch.alpha)


def sailboat(patch: Patch, stream: RandomStream) -> None:
    """Draw a sailboat: planked hull with portholes, mast, striped sail, pennant."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    hull, stripe = hue(angle), hue(angle + stream.uniform(0.3, 0.7))
    patch.fill(geo.box(u, v, (-0.02, -0.1), (0.035, 0.78)), WOOD, 1.1)
    patch.fill(geo.polygon(u, v, [(0.0, -0.9), (0.32, -0.8), (0.0, -0.7)]), stripe, 1.0)
    sail = [(0.07, -0.62), (0.4, -0.3), (0.78, 0.3), (0.07, 0.3)]
    cover = patch.fill(geo.polygon(u, v, sail, 0.03), CREAM)
    width = stream.uniform(0.1, 0.14)
    bands = np.abs(geo.triangle_wave(v / (width * 4.0)) - 0.5) * width * 2.0
    patch.mark(bands - width * 0.5, stripe, cover)
    jib = patch.fill(geo.polygon(u, v, [(-0.12, -0.6), (-0.12, 0.28), (-0.74, 0.28)], 0.02), CREAM)
    patch.stroke((geo.triangle_wave(u * 3.0) - 0.5) * 0.3, shade(CREAM, 0.35), jib, 0.9)
    keel = [(-0.92, 0.42), (0.92, 0.42), (0.62, 0.86), (-0.6, 0.86)]
    cover = patch.fill(geo.polygon(u, v, keel, 0.06), hull)
    patch.stroke((geo.triangle_wave(v * 4.2) - 0.5) * 0.2, shade(hull, 0.5), cover, 1.1)
    patch.mark(0.05 + np.abs(v - 0.42) - 0.12, tint(hull, 0.6), cover)
    for x in (-0.4, 0.0, 0.4):
        patch.mark(geo.circle(u, v, x, 0.64, 0.11), shade(hull, 0.7), cover)
        patch.mark(geo.circle(u, v, x, 0.64, 0.075), tint(hue(0.5), 0.6), cover)


def balloon(patch: Patch, stream: RandomStream) -> None:
    """Draw a hot-air balloon: gores, a band of diamonds, ropes, wicker basket."""
    u, v = patch.u, patch.v
    angle = stream.uniform(0.0, 1.0)
    first = hue(angle)
    second = tint(hue(angle + stream.uniform(0.2, 0.8)), 0.25)
    for x in (-0.24, -0.08, 0.08, 0.24):
        rope = geo.segment(u, v, (x * 1.3, 0.3), (x * 0.7, 0.7), 0.015)
        patch.fill(rope, shade(WOOD, 0.6), 0.0)
    envelope = geo.union(
        geo.circle(u, v, 0.0, -0.28, 0.66),
        geo.polygon(u, v, [(-0.52, 0.0), (0.52, 0.0), (0.2, 0.46), (-0.2, 0.46)], 0.04),
        0.15,
    )
    cover = patch.fill(envelope, first)
    half = np.sqrt(np.maximum(0.46 - (v + 0.28) * (v + 0.28), 0.02))
    gore = u / np.where(v > 0.0, np.maximum(0.62 - v * 0.75, 0.15), half)
    wave = (geo.triangle_wave(gore * 1.5 + 0.25) - 0.5) * half * 0.5
    patch.mark(wave, second, cover)
    patch.stroke(wave, shade(first, 0.55), cover, 0.9)
    band = cover * patch.cover(np.abs(v + 0.24) - 0.16)
    patch.mark(np.abs(v + 0.24) - 0.16, CREAM, cover)
    diamonds = 0.28 - geo.triangle_wave(u * 3.2) * 0.2 - 0.2 + np.abs(v + 0.24)
    patch.mark(diamonds * 0.7, shade(first, 0.2), band)
    basket = patch.fill(geo.box(u, v, (0.0, 0.8), (0.21, 0.15), 0.05), WOOD)
    patch.stroke(geo.bricks(u, v, 0.14, 0.07), shade(WOOD, 0.5), basket, 0.9)
