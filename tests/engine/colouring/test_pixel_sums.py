"""Heatmaps whose spread is told by the small maps, against every pixel in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.colouring import heatmaps
from pfv_widgets.engine.colouring.heatmaps import Colouring, render_heatmaps
from pfv_widgets.engine.colouring.pixel_sums import pixel_sums
from pfv_widgets.engine.pipeline.pfv import PFV
from tests import slow_oracles
from tests.networks import blobs, seeded, tiny

WEIGHTS = (1.0, 0.0, 1e-3, 2.0)
GRIDS = [((7, 6), (40, 33)), ((1, 5), (9, 20)), ((4, 4), (4, 4)), ((6, 8), (5, 3))]
every_grid = pytest.mark.parametrize(("grid", "size"), GRIDS)
with_factor = pytest.mark.parametrize("factor", [None, 1e-9, 1e6])


def maps_of(
    grid: tuple[int, int], size: tuple[int, int], factor: float | None
) -> tuple[Tensor, list[Tensor], np.ndarray]:
    """Return scores, what they are multiplied by, and the enlarged maps in float64."""
    scores = torch.randn(4, 3, *grid, generator=seeded(1)) + 0.3
    factors = [] if factor is None else [factor * torch.rand(4, 1, *size, generator=seeded(2))]
    large = slow_oracles.bilinear(scores, size)
    return scores, factors, large * factors[0].double().numpy() if factors else large


@every_grid
@with_factor
def test_spread_of_enlarged_maps_is_that_of_every_pixel(
    grid: tuple[int, int], size: tuple[int, int], factor: float | None
) -> None:
    scores, factors, large = maps_of(grid, size, factor)
    sums = pixel_sums(scores, factors, size)
    assert sums is not None
    spread = sums.spread(scores)
    assert spread is not None
    np.testing.assert_allclose(spread.mean, large.mean((2, 3)), rtol=1e-6, atol=1e-9 * large.max())
    np.testing.assert_allclose(spread.variance, large.var((2, 3)), rtol=1e-6)
    assert (spread.low.numpy() >= large.min((2, 3)) - 1e-6 * large.max()).all()
    assert (spread.high.numpy() <= large.max((2, 3)) * (1 + 1e-6)).all()


@every_grid
def test_what_scores_are_multiplied_by_stays_as_it_is(
    grid: tuple[int, int], size: tuple[int, int]
) -> None:
    scores, factors, _ = maps_of(grid, size, 1.0)
    doubles = [factor.double() for factor in factors]
    for given in (factors, doubles):
        before = given[0].clone()
        assert pixel_sums(scores.to(before), given, size) is not None
        assert torch.equal(given[0], before)


@every_grid
@with_factor
@pytest.mark.parametrize("normalisation", ["global", "component"])
@pytest.mark.parametrize("sigma", [0.5, 4.0])  # the second clips nothing: every pixel is looked at
def test_heatmaps_are_those_of_every_pixel(
    grid: tuple[int, int], size: tuple[int, int], factor: float | None,
    normalisation: str, sigma: float,
) -> None:  # fmt: skip
    scores, factors, large = maps_of(grid, size, factor)
    colouring = Colouring(sigma=sigma, normalisation=normalisation, channels=(0, 1, 2))
    sums = pixel_sums(scores, factors, size)
    actual = render_heatmaps(scores, factors, WEIGHTS, colouring, size, sums=sums)
    expected = slow_oracles.normalised(large, sigma, normalisation, WEIGHTS)
    np.testing.assert_allclose(actual.permute(0, 3, 1, 2), expected, atol=2e-5)


def test_constant_maps_and_those_that_lose_digits_are_measured() -> None:
    scores = torch.randn(4, 3, 5, 5, generator=seeded(1))
    for used in (torch.full_like(scores, 7.0), 1e-3 * scores + 1e3):
        sums = pixel_sums(used, [], (20, 20))
        pictures = [
            render_heatmaps(used, [], WEIGHTS, Colouring(channels=(0, 1, 2)), (20, 20), sums=one)
            for one in (sums, None)
        ]
        assert torch.equal(*pictures)


@pytest.mark.parametrize("weighting", ["flat", "none"])
def test_change_of_the_batch_measures_no_enlarged_map(
    weighting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pfv = PFV(tiny(), blobs(4), "cpu")
    frames = [pfv.render(weighting=weighting, images=WEIGHTS)]
    with monkeypatch.context() as patch:
        patch.setattr(type(pfv.store), "pixel_sums", lambda *_: None)
        frames.append(PFV(tiny(), blobs(4), "cpu").render(weighting=weighting, images=WEIGHTS))
    torch.testing.assert_close(frames[0].heatmaps, frames[1].heatmaps, rtol=0, atol=1e-5)
    monkeypatch.setattr(heatmaps, "_measured", None)  # an error where it is called
    for images in ((1, 0, 1, 1), (1, 1, 0, 1)):
        pfv.render(weighting=weighting, images=images)
