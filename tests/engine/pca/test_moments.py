from __future__ import annotations

import numpy as np
import pytest
import torch

from pfv_widgets.engine.pca.moments import Moments
from tests.slow_oracles import vectors_of


def covariance(moments: Moments) -> np.ndarray:
    return (moments.scatter[0] / moments.count[0]).numpy()


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(5, 6, 4, 3) + torch.arange(5.0)[:, None, None, None]


def test_moments_of_each_image_are_its_count_mean_and_scatter(maps: torch.Tensor) -> None:
    moments = Moments.of_maps(maps)
    for index in range(5):
        vectors = vectors_of(maps[index : index + 1])
        expected = np.cov(vectors.T, ddof=0) * len(vectors)
        assert moments.count[index] == 12
        np.testing.assert_allclose(moments.mean[index], vectors.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(moments.scatter[index], expected, atol=1e-4)


def test_pooled_moments_are_those_of_all_positions_at_once(maps: torch.Tensor) -> None:
    pooled = Moments.of_maps(maps).pooled()
    vectors = vectors_of(maps)
    assert float(pooled.count) == 60
    np.testing.assert_allclose(pooled.mean[0], vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(covariance(pooled), np.cov(vectors.T, ddof=0), atol=1e-5)


def test_weight_counts_an_image_that_often(maps: torch.Tensor) -> None:
    pooled = Moments.of_maps(maps).pooled(torch.tensor([2.0, 0, 1, 3, 0]))
    repeated = Moments.of_maps(maps[[0, 0, 2, 3, 3, 3]]).pooled()
    torch.testing.assert_close(pooled.count, repeated.count)
    torch.testing.assert_close(pooled.mean, repeated.mean)
    torch.testing.assert_close(pooled.scatter, repeated.scatter)


def test_fraction_of_a_weight_is_a_weighted_covariance(maps: torch.Tensor) -> None:
    weights = [0.25, 0.5, 0.0, 1.0, 0.125]
    pooled = Moments.of_maps(maps).pooled(torch.tensor(weights))
    expected = np.cov(vectors_of(maps).T, ddof=0, aweights=np.repeat(weights, 12))
    np.testing.assert_allclose(covariance(pooled), expected, atol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (2, 3), (1, 2, 3, 4)])
def test_batches_merged_are_the_same_as_all_at_once(
    maps: torch.Tensor, cuts: tuple[int, ...]
) -> None:
    first, *others = [Moments.of_maps(part) for part in torch.tensor_split(maps, cuts)]
    merged = first.pooled()
    for other in others:
        merged = merged.merged(other)
    whole = Moments.of_maps(maps).pooled()
    torch.testing.assert_close(merged.mean, whole.mean)
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-5, atol=1e-4)


def test_float32_is_exact_where_the_mean_is_large_beside_the_spread() -> None:
    maps = 100 + 0.01 * torch.randn(8, 4, 16, 16)
    expected = np.cov(vectors_of(maps).T, ddof=0)
    actual = covariance(Moments.of_maps(maps).pooled())
    np.testing.assert_allclose(np.diag(actual), np.diag(expected), rtol=1e-3)

    flat = maps.movedim(1, 3).flatten(0, 2)
    naive = (flat.T @ flat / len(flat) - flat.mean(0)[:, None] * flat.mean(0)).numpy()
    assert np.abs(np.diag(naive) / np.diag(expected) - 1).max() > 0.1, "an easy case"


def test_half_precision_is_summed_in_float32() -> None:
    maps = (3600 * torch.rand(2, 512, 13, 13)).half()
    pooled = Moments.of_maps(maps).pooled()
    assert pooled.scatter.dtype == torch.float32
    np.testing.assert_allclose(np.diag(covariance(pooled)), vectors_of(maps).var(axis=0), rtol=1e-4)


def test_image_with_nan_and_no_weight_is_left_out(maps: torch.Tensor) -> None:
    spoilt = maps.clone()
    spoilt[1, 0, 0, 0] = float("nan")
    spoilt[3] = float("inf")
    weights = torch.tensor([1.0, 0, 1, 0, 1])
    actual = Moments.of_maps(spoilt).pooled(weights)
    expected = Moments.of_maps(maps[[0, 2, 4]]).pooled()
    torch.testing.assert_close(actual.mean, expected.mean)
    torch.testing.assert_close(actual.scatter, expected.scatter)


def test_moments_leave_their_input_alone(maps: torch.Tensor) -> None:
    before = maps.clone()
    moments = Moments.of_maps(maps)
    scatter = moments.scatter.clone()
    moments.pooled(torch.arange(5.0))
    assert torch.equal(maps, before)
    assert torch.equal(moments.scatter, scatter)
