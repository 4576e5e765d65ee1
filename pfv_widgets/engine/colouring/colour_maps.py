"""From weighted score maps to colours.

The rule for k components shown: 1 is a diverging map; 2 and 3 are the red, green and blue
channels, as in the paper (a missing blue channel stands at the score zero); from 4 on each has
a hue of its own, evenly spaced at equal lightness, that shows where the component is high,
on a neutral grey where none is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pfv_widgets.engine.computing_modes import own_modes
from pfv_widgets.engine.device_transfer import send

NEUTRAL_GREY = 0.46

Colour = tuple[float, float, float]

# Of the pins, for rings, chips and the similarity to them. From Okabe and Ito's colours, moved
# apart by a search: also for eyes with a colour vision deficiency no two of them, nor one and
# the neutral grey, are nearer than 0.15 in OKLab (theirs: 0.06, of green and grey).
PIN_COLOURS = (
    "#FF8620", "#0837F0", "#00C2A4", "#B77EFC", "#7FFFFF", "#BA4205", "#FFE535", "#803591",
)  # fmt: skip
PIN_NEUTRAL = 0.22  # dark grey of a position that is like no pin: what is alike glows


@dataclass(frozen=True)
class ColourMap:
    """One entry of :data:`COLOUR_MAPS`.

    Attributes
    ----------
    colours
        Returns colours ``(N, 3, H, W)`` of the values ``(N, k, H, W)`` of k components, from the
        value ``(k,)`` of a score of zero; all in [0, 1]. Each component has to change them.
    help
        What to know of it besides its name.
    colour_blind_safe
        Whether eyes with a colour vision deficiency tell its components apart.
    """

    colours: Callable[[Tensor, Tensor], Tensor]
    help: str = ""
    colour_blind_safe: bool = False


def rgb(values: Tensor, neutral: Tensor) -> Tensor:
    """Red, green and blue as in the paper; one component diverges, four and more have hues."""
    if values.shape[1] == 1:
        return diverging(values, neutral)
    if values.shape[1] == 3:
        return values
    if values.shape[1] == 2:
        zero = neutral.mean().expand_as(values[:, :1])
        return torch.cat([values, zero], dim=1)
    return hues(values, neutral)


def hues(values: Tensor, neutral: Tensor) -> Tensor:
    """One hue for each component, at equal lightness, mixed by how far each is above zero."""
    return _mixed(values, neutral, _wheel(values.shape[1], ((0.74, 0.125),), 25))


def safe(values: Tensor, neutral: Tensor) -> Tensor:
    """Colours that the common colour vision deficiencies leave apart.

    The first component runs from blue to orange, the second from dark to light; the third, for
    which such an eye has no axis left, turns green to purple. Four and more take hues at
    three lightnesses.
    """
    number = values.shape[1]
    if number == 1:
        return diverging(values, neutral)
    if number <= 3:
        axes = [(0.42, 0.06, -0.58), (0.46, 0.46, 0.46), (0.16, -0.2, 0.16)]
        colours = torch.stack([_row(axis, values) for axis in axes[:number]])
        away = values - neutral.view(1, -1, 1, 1)
        return _combined(away, colours).add_(0.5).clamp_(0, 1)
    tones = ((0.80, 0.13), (0.48, 0.13), (0.64, 0.15))
    return _mixed(values, neutral, _wheel(number, tones, 40))


def diverging(values: Tensor, neutral: Tensor) -> Tensor:
    """One component ``(N, 1, H, W)``: blue below zero, pale at zero, orange above."""
    away = values - neutral.view(1, -1, 1, 1)
    reach = torch.where(away < 0, neutral.view(1, -1, 1, 1), 1 - neutral.view(1, -1, 1, 1))
    strength = (away.abs() / reach.clamp_min(1e-6)).clamp(0, 1)
    ends = [
        _column(c, values) for c in ((0.93, 0.93, 0.90), (0.11, 0.32, 0.66), (0.86, 0.36, 0.05))
    ]
    end = torch.where(away < 0, ends[1], ends[2])
    return ends[0] + strength * (end - ends[0])


COLOUR_MAPS: dict[str, ColourMap] = {
    "rgb": ColourMap(rgb, "as in the paper"),
    "safe": ColourMap(safe, "for colour-blind eyes", colour_blind_safe=True),
    "hues": ColourMap(hues, "one hue for each component"),
}
USUAL_COLOUR_MAP = next(iter(COLOUR_MAPS))
SAFE_COLOUR_MAP = next(name for name, one in COLOUR_MAPS.items() if one.colour_blind_safe)


@own_modes()
def legend(colour_map: str, number: int, steps: int = 64) -> Tensor:
    """Colour ramps ``(k, steps, 3)`` in [0, 1]: one component varies, the others are zero."""
    neutral = torch.full((number,), 0.5)
    ramps = neutral.view(1, number, 1, 1).repeat(number, 1, 1, steps)
    for index in range(number):
        ramps[index, index, 0] = torch.linspace(0, 1, steps)
    return COLOUR_MAPS[colour_map].colours(ramps, neutral)[:, :, 0].transpose(1, 2)


def effective_colours(colour_map: str, number: int) -> str:
    """Say which colours ``number`` components have: their number may decide instead of the map.

    >>> effective_colours("rgb", 1), effective_colours("rgb", 3), effective_colours("rgb", 8)
    ('blue to orange', 'rgb', 'hues')
    """
    ramps = legend(colour_map, number, 5)
    neutral = torch.full((1,), 0.5)
    one = diverging(torch.linspace(0, 1, 5).view(1, 1, 1, 5), neutral)[:, :, 0].transpose(1, 2)
    if number == 1 and torch.allclose(ramps, one):
        return "blue to orange"
    if torch.allclose(ramps, legend("hues", number, 5)):
        return "hues"
    return colour_map


def pin_colours(number: int) -> Tensor:
    """Colours ``(number, 3)`` in [0, 1] of the first pins."""
    parts = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in PIN_COLOURS]
    return torch.tensor(parts[:number])


@own_modes()
def pin_legend(number: int, steps: int = 64) -> Tensor:
    """Colour ramps ``(number, steps, 3)`` in [0, 1]: from no similarity to a pin to the pin."""
    strength = torch.linspace(0, 1, steps)[None, :, None]
    return PIN_NEUTRAL + strength * (pin_colours(number)[:, None] - PIN_NEUTRAL)


def oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """SRGB in [0, 1] of a colour in OKLCH (Ottosson 2020), hue in degrees, clipped to the gamut."""
    a, b = (chroma * f(math.radians(hue)) for f in (math.cos, math.sin))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (_gamma(min(max(value, 0.0), 1.0)) for value in linear)
    return red, green, blue


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


@lru_cache(maxsize=64)
def _wheel(number: int, tones: tuple[tuple[float, float], ...], first: float) -> tuple[Colour, ...]:
    """Colours of hues evenly apart, with lightness and chroma in turn from ``tones``."""
    return tuple(oklch(*tones[i % len(tones)], first + 360 * i / number) for i in range(number))


def _mixed(values: Tensor, neutral: Tensor, wheel: tuple[Colour, ...]) -> Tensor:
    """Grey, moved to each colour of the wheel by its component's height above zero."""
    level = neutral.view(1, -1, 1, 1)
    # in place, as fresh memory costs more than the arithmetic
    shares = (values - level).mul_(1 / (1 - level).clamp_min(1e-6)).clamp_(0, 1)
    strength = shares.amax(dim=1, keepdim=True).log_().mul_(0.8).exp_()  # twice as fast as pow_()
    shares.square_().pow_(3)  # near ties mix, else the strongest wins
    # the sum of the shares comes with the colours, of which there are fewer to divide
    away = send(torch.tensor(wheel, dtype=values.dtype), values.device) - NEUTRAL_GREY
    mixed = _combined(shares, torch.cat([away, torch.ones_like(away[:, :1])], dim=1))
    strength.div_(mixed[:, 3:].clamp_min(torch.finfo(values.dtype).tiny))
    return (mixed[:, :3] * strength).add_(NEUTRAL_GREY).clamp_(0, 1)


def _combined(shares: Tensor, colours: Tensor) -> Tensor:
    """Sum of colours ``(k, c)`` by shares ``(N, k, H, W)``; ``(N, c, H, W)``."""
    return (colours.T @ shares.flatten(2)).view(len(shares), -1, *shares.shape[2:])


def _row(colour: tuple[float, ...], like: Tensor) -> Tensor:
    return send(torch.tensor(colour, dtype=like.dtype), like.device)


def _column(colour: tuple[float, ...], like: Tensor) -> Tensor:
    return _row(colour, like).view(1, 3, 1, 1)
