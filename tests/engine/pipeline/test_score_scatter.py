"""The scatter of positions: points, discs, selections and colours, by slow re-derivations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pfv_widgets.engine.pipeline.score_scatter import (
    FADED,
    PAPER,
    Limits,
    position_colours,
    radius_of,
    scatter_of,
    stack,
)

SIZE = 120


def scores_of(number: int, components: int, height: int, width: int) -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(number, components, height, width) * torch.linspace(4, 1, components).view(
        1, -1, 1, 1
    )


def colours_of(number: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).random((number, height, width, 3), np.float32)


def test_points_stand_at_their_scores_at_one_scale_for_both_axes() -> None:
    scores = scores_of(2, 3, 4, 5)
    scatter = scatter_of(scores, 2, 0, SIZE)
    across, up = scores[:, 2].flatten().numpy(), scores[:, 0].flatten().numpy()
    inner = (across > across.min()) & (across < across.max()) & (up > up.min()) & (up < up.max())
    rightward = np.polyfit(across[inner], scatter.x[inner], 1)
    downward = np.polyfit(up[inner], scatter.y[inner], 1)
    assert rightward[0] == pytest.approx(-downward[0], rel=1e-3)
    assert rightward[0] > 0
    assert scatter.origin == pytest.approx((rightward[1], downward[1]), abs=0.05)
    fit = rightward[0] * across + rightward[1]
    assert np.abs(fit - scatter.x)[inner].max() < 1e-2


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (1, 2, 1, 1), (3, 1, 2, 5), (1, 4, 7, 3), (200, 2, 1, 1), (2, 12, 9, 8)]
)
def test_odd_shapes_stay_inside_the_picture_and_show_every_place(
    shape: tuple[int, int, int, int],
) -> None:
    scores = scores_of(*shape)
    scatter = scatter_of(scores, 0, min(1, shape[1] - 1), SIZE)
    assert scatter.shape == (shape[0], *shape[2:])
    for position in (scatter.x, scatter.y):
        assert position.min() >= 0
        assert position.max() <= SIZE - 1
    assert scatter.render(colours_of(*scatter.shape)).shape == (SIZE, SIZE, 3)
    assert scatter.inside(0, 0, SIZE, SIZE).all()


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan"), float("inf")])
def test_scores_that_are_all_equal_or_broken_make_a_cloud(value: float) -> None:
    for axes in ((0, 1), (1, 1)):
        scatter = scatter_of(torch.full((2, 2, 3, 3), value), *axes, SIZE)
        assert np.isfinite(scatter.x).all()
        assert np.isfinite(scatter.y).all()
        assert (scatter.owner >= 0).any()


def test_discs_are_drawn_one_after_another_in_a_shuffled_order() -> None:
    scatter = scatter_of(scores_of(3, 2, 6, 7), 0, 1, SIZE)
    expected = np.full((SIZE, SIZE), -1)
    radius = radius_of(len(scatter.x), SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for index in scatter.order:
        x, y = round(float(scatter.x[index])), round(float(scatter.y[index]))
        expected[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = index
    assert np.array_equal(scatter.owner, expected)
    assert sorted(scatter.order) == list(range(len(scatter.x)))


def test_no_image_hides_another_that_has_the_same_scores() -> None:
    one = scores_of(1, 2, 30, 30)
    scatter = scatter_of(one.repeat(2, 1, 1, 1), 0, 1, SIZE)
    seen = scatter.owner[scatter.owner >= 0]
    assert 0.4 < (seen >= 900).mean() < 0.6
    assert np.array_equal(scatter.owner, scatter_of(one.repeat(2, 1, 1, 1), 0, 1, SIZE).owner)


def test_few_points_are_large_and_many_are_small() -> None:
    radii = [radius_of(number, 540) for number in (1, 16, 400, 4096, 65_536, 600_000)]
    assert radii == sorted(radii, reverse=True)
    assert radii[0] == 10
    assert radii[-1] == 1


def test_points_are_painted_on_paper_in_the_colours_of_their_positions() -> None:
    scatter = scatter_of(scores_of(2, 2, 3, 3), 0, 1, SIZE)
    colours = 0.7 + 0.3 * colours_of(2, 3, 3)  # darker ones have a rim
    picture = scatter.render(colours)
    for index in set(scatter.owner[scatter.owner >= 0].tolist()):
        shown = picture[scatter.owner == index]
        assert np.abs(shown - 255 * colours.reshape(-1, 3)[index]).max() <= 0.5 + 1e-3
    assert (picture[scatter.owner < 0] == PAPER).all()


def test_points_as_dark_as_the_paper_have_a_rim_of_three_to_one() -> None:
    def luminance(colour: np.ndarray) -> float:
        light = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour / 255]
        return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]

    scatter = scatter_of(scores_of(1, 2, 2, 2), 0, 1, 2 * SIZE)
    dark = np.float32([[0.22] * 3, [0] * 3, [0, 0, 1], [0.5, 0, 0]])
    picture = scatter.render(dark.reshape(1, 2, 2, 3))
    for index in range(4):
        pixels = {tuple(pixel) for pixel in picture[scatter.owner == index]}
        inside = tuple(np.rint(255 * dark[index]))
        (rim,) = pixels - {inside}
        assert inside in pixels
        ratio = (luminance(np.array(rim)) + 0.05) / (luminance(np.array(PAPER)) + 0.05)
        assert 2.98 < ratio < 3.1


def test_selected_positions_come_to_the_front_and_the_others_fade() -> None:
    scatter = scatter_of(scores_of(2, 2, 12, 12), 0, 1, SIZE)
    colours = np.ones((2, 12, 12, 3), np.float32)
    selected = np.zeros(scatter.shape, bool)
    selected[1, 3] = True
    picture = scatter.render(colours, selected)
    for column in range(12):
        x, y = scatter.at((1, 3, column)) or (0, 0)
        assert (picture[round(y), round(x)] == 255).all()
    faded = np.array(PAPER) + FADED * (255 - np.array(PAPER))
    others = picture[(scatter.owner >= 0) & (picture < 255).any(axis=2)]
    assert len(others)
    assert np.abs(others - faded).max() <= 1


@pytest.mark.parametrize("corners", [(20, 30, 80, 90), (80, 90, 20, 30), (80, 30, 20, 90)])
def test_rectangle_selects_the_points_in_it_from_any_corner(
    corners: tuple[float, float, float, float],
) -> None:
    scatter = scatter_of(scores_of(2, 2, 5, 6), 0, 1, SIZE)
    result = scatter.inside(*corners)
    for position in np.ndindex(*scatter.shape):
        x, y = scatter.at(position) or (0, 0)
        assert result[position] == (20 <= x <= 80 and 30 <= y <= 90)
    assert 0 < result.sum() < result.size


def test_nearest_place_is_the_one_whose_point_is_seen_there() -> None:
    scatter = scatter_of(scores_of(4, 2, 3, 3), 0, 1, SIZE)
    for position in np.ndindex(*scatter.shape):
        x, y = scatter.at(position) or (0, 0)
        seen = int(scatter.owner[round(y), round(x)])
        assert scatter.nearest(round(x), round(y)) == np.unravel_index(seen, scatter.shape)


def test_nearest_place_is_found_around_and_not_far_away() -> None:
    scores = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]).view(1, 2, 1, 2)
    scatter = scatter_of(scores, 0, 1, 200)
    x, y = scatter.at((0, 0, 1)) or (0, 0)
    assert scatter.nearest(x - 20, y) == (0, 0, 1)
    assert scatter.nearest(x - 20, y + 30) is None
    assert scatter.nearest(-5000, 9000) is None


def test_place_outside_the_cloud_has_no_point() -> None:
    scatter = scatter_of(scores_of(2, 2, 3, 4), 0, 1, SIZE)
    assert scatter.at((1, 2, 3)) is not None
    for position in ((2, 0, 0), (0, 3, 0), (0, 0, 4), (-1, 0, 0)):
        assert scatter.at(position) is None


def test_limits_hold_all_but_outliers_and_the_origin() -> None:
    x = np.concatenate([np.random.default_rng(0).uniform(5, 9, 9999), [1e6]]).astype(np.float32)
    limits = Limits.of(x, np.zeros_like(x))
    assert limits.x - limits.reach < 0
    assert 9 < limits.x + limits.reach < 10


def test_limits_stay_while_they_fit_and_follow_when_they_do_not() -> None:
    last = Limits(0, 0, 10)
    assert Limits(0.2, 0, 9.5).settled(last) is last
    for moved in (Limits(0, 0, 12), Limits(3, 0, 9.5), Limits(0, -3, 9.5), Limits(0, 0, 5)):
        assert moved.settled(last) is moved
    assert moved.settled(None) is moved


def test_one_component_is_stacked_to_a_histogram() -> None:
    values = np.random.default_rng(3).normal(size=500).astype(np.float32)
    heights = stack(values, bins=12)
    low, high = values.min(), values.max()
    bins = [min(int((v - low) * 12 / (high - low)), 11) for v in values]
    counts = [bins.count(one) for one in range(12)]
    below = [bins[:index].count(own) for index, own in enumerate(bins)]
    expected = [math.sqrt(number / (max(counts) - 1)) for number in below]
    assert np.allclose(heights, expected, atol=1e-6)
    scatter = scatter_of(torch.from_numpy(values).view(1, 1, 20, 25), 0, 0, SIZE)
    assert np.corrcoef(scatter.y, stack(values))[0, 1] == pytest.approx(-1)  # y runs down


def test_colours_of_positions_are_means_over_their_areas() -> None:
    heatmaps = torch.rand(2, 12, 9, 3)
    colours = position_colours(heatmaps, (4, 3))
    for image, row, column in np.ndindex(2, 4, 3):
        area = heatmaps[image, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert np.allclose(colours[image, row, column], area.mean(dim=(0, 1)), atol=1e-6)
    finer = position_colours(heatmaps, (24, 18))
    assert np.allclose(finer[:, ::2, ::2], heatmaps, atol=1e-6)
