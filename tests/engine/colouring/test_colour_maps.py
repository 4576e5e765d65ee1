from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_maps import (
    COLOUR_MAPS,
    NEUTRAL_GREY,
    PIN_NEUTRAL,
    diverging,
    legend,
    oklch,
    pin_colours,
)
from pfv_widgets.engine.colouring.score_scaling import NORMALISATIONS, Spread, scaled, scaling
from tests import slow_oracles
from tests.networks import seeded

every_map = pytest.mark.parametrize("name", COLOUR_MAPS)
every_number = pytest.mark.parametrize("number", range(1, 13))


def normalise(
    maps: Tensor, weights: Tensor, sigma: float, normalisation: str = "global"
) -> tuple[Tensor, Tensor]:
    """Values of weighted scores in [0, 1] as heatmaps take them, and that of a score of zero."""
    scale, shift = scaling(Spread.of_maps(maps), weights, sigma, normalisation)
    return scaled(maps, scale, shift), shift.clamp(0, 1).to(maps)


def maps_of(number: int, images: int = 4) -> Tensor:
    """Score maps whose components and images differ in mean and spread."""
    maps = torch.randn(images, number, 6, 5, generator=seeded(number))
    scale = torch.linspace(3, 0.5, number)[:, None, None]
    return maps * scale + torch.linspace(-1, 1, images)[:, None, None, None]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("sigma", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("weights", [[1.0, 1, 1, 1], [1.0, 0, 2, 0.5]])
def test_values_are_clipped_at_sigma_and_stretched_to_the_range(
    normalisation: str, sigma: float, weights: list[float]
) -> None:
    maps = maps_of(3)
    values, _ = normalise(maps, torch.tensor(weights), sigma, normalisation)
    expected = slow_oracles.normalised(maps.double().numpy(), sigma, normalisation, weights)
    np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_range_is_reached_by_the_images_with_a_weight(normalisation: str) -> None:
    maps = maps_of(2)
    maps[3] *= 100
    values, _ = normalise(maps, torch.tensor([1.0, 1, 1, 0]), 1.0, normalisation)
    assert float(values[:3].min()) == 0
    assert float(values[:3].max()) == pytest.approx(1)
    without, _ = normalise(maps[:3], torch.ones(3), 1.0, normalisation)
    torch.testing.assert_close(values[:3], without)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("sigma", [0.25, 1.0, 4.0])
def test_neutral_is_the_value_of_a_score_of_zero(normalisation: str, sigma: float) -> None:
    maps = maps_of(3)
    maps[2, :, 1, 1] = 0
    values, neutral = normalise(maps, torch.ones(4), sigma, normalisation)
    assert neutral.shape == (3,)
    torch.testing.assert_close(values[2, :, 1, 1], neutral)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_large_mean_beside_a_small_spread_keeps_the_deviation(offset: float) -> None:
    maps = (torch.randn(3, 2, 16, 16, generator=seeded()) * offset * 1e-4) + offset
    values, _ = normalise(maps, torch.ones(3), 1.0, "component")
    expected = slow_oracles.normalised(maps.double().numpy(), 1.0, "component")
    np.testing.assert_allclose(values, expected, atol=5e-3)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("value", [0.0, 7.0, -3e4, 1e-30])
def test_constant_maps_stand_at_one_half(normalisation: str, value: float) -> None:
    values, neutral = normalise(torch.full((2, 3, 4, 4), value), torch.ones(2), 1.0, normalisation)
    assert values.unique().tolist() == [0.5]
    assert neutral.tolist() == [0.5] * 3


def test_one_constant_component_spoils_no_other_one() -> None:
    maps = maps_of(3)
    maps[:, 1] = 4
    values, _ = normalise(maps, torch.ones(4), 1.0, "component")
    assert values[:, 1].unique().tolist() == [0.5]
    others = slow_oracles.normalised(maps[:, [0, 2]].double().numpy(), 1.0, "component")
    np.testing.assert_allclose(values[:, [0, 2]], others, atol=1e-5)


def test_normalising_changes_neither_maps_nor_weights() -> None:
    maps, weights = maps_of(3), torch.tensor([1.0, 0, 1, 1])
    before = maps.clone()
    normalise(maps, weights, 1.0)
    assert torch.equal(maps, before)
    assert weights.tolist() == [1, 0, 1, 1]


@every_map
@every_number
def test_colours_are_finite_three_channels_from_0_to_1(name: str, number: int) -> None:
    values, neutral = normalise(maps_of(number), torch.ones(4), 1.0)
    before = (values.clone(), neutral.clone())
    picture = COLOUR_MAPS[name].colours(values, neutral)
    assert picture.shape == (4, 3, 6, 5)
    assert picture.dtype == torch.float32
    assert bool(((picture >= 0) & (picture <= 1)).all())
    assert float(picture.std()) > 0.02
    assert torch.equal(picture, COLOUR_MAPS[name].colours(values, neutral))
    assert torch.equal(values, before[0])
    assert torch.equal(neutral, before[1])


@every_map
@every_number
def test_constant_maps_have_one_finite_colour_wherever_zero_stands(name: str, number: int) -> None:
    for value, zero in itertools.product((0.0, 0.3, 0.5, 0.77, 1.0), repeat=2):
        constant = torch.full((2, number, 3, 3), value)
        picture = COLOUR_MAPS[name].colours(constant, torch.full((number,), zero))
        assert bool(((picture >= 0) & (picture <= 1)).all())
        assert float((picture - picture[:1, :, :1, :1]).abs().max()) < 1e-6


@every_map
@every_number
def test_every_component_changes_the_colour(name: str, number: int) -> None:
    middle = torch.full((1, number, 1, 1), 0.5)
    neutral = torch.full((number,), 0.5)
    colours = [COLOUR_MAPS[name].colours(middle, neutral)]
    for index in range(number):
        high = middle.clone()
        high[0, index] = 1
        colours.append(COLOUR_MAPS[name].colours(high, neutral))
    flat = torch.stack(colours).flatten(1)
    apart = torch.cdist(flat, flat) + torch.eye(number + 1)
    assert float(apart.min()) > 0.03


def test_three_components_are_red_green_and_blue() -> None:
    values, neutral = normalise(maps_of(3), torch.ones(4), 1.0)
    assert torch.equal(COLOUR_MAPS["rgb"].colours(values, neutral), values)


def test_two_components_leave_blue_at_zero() -> None:
    values, neutral = normalise(maps_of(2), torch.ones(4), 1.0)
    picture = COLOUR_MAPS["rgb"].colours(values, neutral)
    assert torch.equal(picture[:, :2], values)
    torch.testing.assert_close(picture[:, 2].unique(), neutral.mean()[None])


@pytest.mark.parametrize("name", ["rgb", "safe"])
def test_one_component_is_pale_at_zero_blue_below_and_orange_above(name: str) -> None:
    values = torch.tensor([0.0, 0.3, 1.0]).view(1, 1, 1, 3)
    low, zero, high = COLOUR_MAPS[name].colours(values, torch.tensor([0.3]))[0, :, 0].T
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert float(zero.min()) > 0.85
    assert torch.equal(diverging(values, torch.tensor([0.3]))[0, :, 0].T[0], low)


@pytest.mark.parametrize("name", ["hues", "rgb", "safe"])
@pytest.mark.parametrize("number", [4, 7, 12])
def test_many_components_at_zero_or_below_are_neutral_grey(name: str, number: int) -> None:
    values = torch.full((1, number, 1, 2), 0.5)
    values[..., 1] = 0.1
    picture = COLOUR_MAPS[name].colours(values, torch.full((number,), 0.5))
    np.testing.assert_allclose(picture, NEUTRAL_GREY, atol=1e-6)


@every_map
@every_number
def test_legend_has_a_ramp_for_each_component_in_the_colours_of_the_picture(
    name: str, number: int
) -> None:
    ramps = legend(name, number, steps=9)
    assert ramps.shape == (number, 9, 3)
    assert bool(((ramps >= 0) & (ramps <= 1)).all())
    for index in range(number):
        values = torch.full((1, number, 1, 1), 0.5)
        values[0, index] = 1
        colour = COLOUR_MAPS[name].colours(values, torch.full((number,), 0.5))
        torch.testing.assert_close(ramps[index, -1], colour.flatten())


@pytest.mark.parametrize(
    ("lch", "srgb"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 123.0), (1.0, 1.0, 1.0)),
        ((0.627955, 0.257683, 29.2339), (1.0, 0.0, 0.0)),
        ((0.866440, 0.294827, 142.4953), (0.0, 1.0, 0.0)),
        ((0.452014, 0.313214, 264.0520), (0.0, 0.0, 1.0)),
    ],
)
def test_oklch_gives_the_published_colours(
    lch: tuple[float, float, float], srgb: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(oklch(*lch), srgb, atol=2e-3)


VISIONS = {  # linear RGB as seen by Machado et al. 2009, severity 1
    "all": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def oklab(linear: np.ndarray) -> np.ndarray:
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


@pytest.mark.parametrize("vision", VISIONS)
def test_no_eye_takes_one_pin_for_another_or_for_none(vision: str) -> None:
    colours = np.vstack([pin_colours(8).numpy(), [[PIN_NEUTRAL] * 3]]).astype(float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1))
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert apart[np.triu_indices(9, 1)].min() > 0.14
