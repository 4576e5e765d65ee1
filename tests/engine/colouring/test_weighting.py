from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.colouring import weighting
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS, Weighting, enlarge, weighted
from pfv_widgets.engine.network.activity import Activity, channel_sum
from tests import slow_oracles
from tests.networks import seeded

SIZE = (24, 20)
every_weighting = pytest.mark.parametrize("name", WEIGHTINGS)


@pytest.fixture
def earlier() -> list[Tensor]:
    """Activations of three earlier layers, some of them negative."""
    shapes = [(3, 4, 24, 20), (3, 5, 11, 9), (3, 6, 6, 5)]
    return [torch.randn(shape, generator=seeded(i)) + 0.3 for i, shape in enumerate(shapes)]


@pytest.fixture
def scores() -> Tensor:
    return torch.randn(3, 2, 3, 3, generator=seeded(9))


def activities_of(maps: list[Tensor]) -> list[Activity]:
    return [Activity.of_sums(channel_sum(one), one.shape[1]) for one in maps]


def brightness(size: tuple[int, int]) -> Tensor:
    return torch.rand(3, 1, *size, generator=seeded(4))


def apply(weighting: Weighting, maps: list[Tensor], scores: Tensor) -> Tensor:
    return weighted(scores, weighting.factors(activities_of(maps), brightness, SIZE), SIZE)


@pytest.mark.parametrize("size", [(24, 20), (7, 5), (3, 3), (2, 9), (1, 1)])
def test_enlarging_is_bilinear_without_aligned_corners(
    scores: Tensor, size: tuple[int, int]
) -> None:
    np.testing.assert_allclose(
        enlarge(scores, size), slow_oracles.bilinear(scores, size), atol=1e-5
    )


@pytest.mark.parametrize("name", ["none", "flat", "hierarchical"])
def test_weighting_follows_its_definition(
    name: str, earlier: list[Tensor], scores: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = slow_oracles.weighted(scores.double().numpy(), earlier, name, SIZE)
    for cached in (1 << 18, 2 * SIZE[0] * SIZE[1]):  # all images at a time, and two
        monkeypatch.setattr(weighting, "_CACHED", cached)
        actual = apply(WEIGHTINGS[name], earlier, scores)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_gradual_multiplies_by_channel_means_and_ends_in_the_image(
    earlier: list[Tensor], scores: Tensor
) -> None:
    actual = apply(WEIGHTINGS["gradual"], earlier, scores)
    expected = scores.double().numpy()
    for one in reversed(earlier):
        mean = one.double().numpy().mean(axis=1, keepdims=True)
        expected = slow_oracles.bilinear(expected, mean.shape[2:]) * mean / np.abs(mean).max()
    expected = slow_oracles.bilinear(expected, SIZE) * brightness(SIZE).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@every_weighting
def test_weighting_gives_float_factors_that_enlarge_step_by_step(
    name: str, earlier: list[Tensor]
) -> None:
    factors = WEIGHTINGS[name].factors(activities_of(earlier), brightness, SIZE)
    heights = [factor.shape[2] for factor in factors]
    assert heights == sorted(heights)
    for factor in factors:
        assert factor.shape[:2] == (3, 1)
        assert factor.dtype == torch.float32
        assert bool(torch.isfinite(factor).all())


@every_weighting
def test_weighting_changes_no_input_and_repeats_itself(
    name: str, earlier: list[Tensor], scores: Tensor
) -> None:
    activities = activities_of(earlier)
    before = [activity.total.clone() for activity in activities]
    first = weighted(scores, WEIGHTINGS[name].factors(activities, brightness, SIZE), SIZE)
    first.zero_()  # what it returned is no view of what it was given
    second = weighted(scores, WEIGHTINGS[name].factors(activities, brightness, SIZE), SIZE)
    third = weighted(scores, WEIGHTINGS[name].factors(activities, brightness, SIZE), SIZE)
    assert torch.equal(second, third)
    assert all(
        torch.equal(a, activity.total) for a, activity in zip(before, activities, strict=True)
    )


@every_weighting
@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_constant_or_silent_layers_keep_the_picture_finite(
    name: str, value: float, earlier: list[Tensor], scores: Tensor
) -> None:
    maps = [torch.full_like(one, value) for one in earlier]
    assert bool(torch.isfinite(apply(WEIGHTINGS[name], maps, scores)).all())


def test_silent_layer_is_left_out_of_the_hierarchy(earlier: list[Tensor], scores: Tensor) -> None:
    silent = [earlier[0], torch.zeros_like(earlier[1]), earlier[2]]
    result = apply(WEIGHTINGS["hierarchical"], silent, scores)
    torch.testing.assert_close(
        result, apply(WEIGHTINGS["hierarchical"], [earlier[0], earlier[2]], scores)
    )


@pytest.mark.parametrize("name", ["hierarchical", "gradual"])
def test_layer_that_is_negative_everywhere_turns_the_signs_once_only(
    name: str, earlier: list[Tensor]
) -> None:
    # dividing by a negative maximum would turn them back where the map says otherwise
    sums = -earlier[2].abs().sum(dim=1)
    (factor,) = WEIGHTINGS[name].factors([Activity.of_sums(sums, 6)], None, SIZE)
    assert float(factor.max()) < 0
    assert float(factor.min()) == -1


@every_weighting
def test_weighting_without_earlier_layers_does_nothing_but_enlarge(
    name: str, scores: Tensor
) -> None:
    result = weighted(scores, WEIGHTINGS[name].factors([], None, SIZE), SIZE)
    assert torch.equal(result, enlarge(scores, SIZE))


@every_weighting
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_place_spoils_neither_the_image_nor_the_batch(
    name: str, bad: float, earlier: list[Tensor], scores: Tensor
) -> None:
    earlier[1][2, 0, 4, 4] = bad
    activities = activities_of(earlier)
    assert activities[1].broken == (2,)
    result = weighted(scores, WEIGHTINGS[name].factors(activities, brightness, SIZE), SIZE)
    assert bool(torch.isfinite(result).all())
    assert activities[1].total[2, 4, 4] == 0
    assert activities[0].broken == ()


def test_channel_sums_of_half_precision_do_not_overflow() -> None:
    maps = torch.full((2, 512, 3, 3), 3600.0, dtype=torch.float16)
    assert channel_sum(maps).dtype == torch.float32
    assert channel_sum(maps).unique().tolist() == [3600 * 512]


def test_flat_factor_is_no_view_of_the_activities_at_the_same_size(earlier: list[Tensor]) -> None:
    activities = activities_of(earlier[:1])
    (factor,) = WEIGHTINGS["flat"].factors(activities, None, SIZE)
    before = activities[0].total.clone()
    factor.zero_()
    assert torch.equal(activities[0].total, before)


def test_every_weighting_takes_activities_brightness_and_size() -> None:
    for entry in WEIGHTINGS.values():
        assert len(inspect.signature(entry.factors).parameters) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_channels_that_cancel_but_for_rounding_are_silent(
    dtype: torch.dtype, offset: float
) -> None:
    maps = torch.randn(3, 48, 9, 7, generator=seeded(5)) + offset
    # a layer normalisation that has not been trained: no weight, no bias
    normal = nn.functional.layer_norm(maps.to(dtype).movedim(1, 3), (48,)).movedim(3, 1)
    assert Activity.of_sums(channel_sum(normal), 48).silent
    one_counts = normal.clone()
    one_counts[1] += 0.1
    sums = channel_sum(one_counts)
    assert sums.flatten(1).any(dim=1).tolist() == [False, True, False]
    mixed = torch.randn(3, 48, 9, 7, generator=seeded(5)).to(dtype)
    torch.testing.assert_close(channel_sum(mixed), mixed.sum(1, dtype=sums.dtype))
