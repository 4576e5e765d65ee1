"""Rank correlation and SSIM against scipy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from pfv_widgets.analysis.compare.heatmap_agreement import rank_correlation, structural_similarity
from pfv_widgets.errors import PFVTypeError, PFVValueError


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    first = torch.tensor(rng.random((3, 24, 20, 3)), dtype=torch.float32)
    second = (first + 0.5 * torch.rand(3, 24, 20, 3)).clamp(0, 1)  # clipping makes ties
    return first, second


def test_rank_correlation_is_that_of_scipy(pair: tuple[Tensor, Tensor]) -> None:
    first, second = pair
    expected = [
        np.mean([
            spearmanr(one[..., k].flatten(), other[..., k].flatten()).statistic for k in range(3)
        ])
        for one, other in zip(first, second, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-12)


def test_rank_correlation_of_photos_leaves_out_what_all_of_them_show(
    pair: tuple[Tensor, Tensor], rng: np.random.Generator
) -> None:
    first, second = pair
    border = torch.tensor(10 * rng.random((24, 20, 3)), dtype=torch.float32)
    one, other = (maps - maps.mean(0) for maps in pair)
    expected = [
        np.mean([
            spearmanr(one[i, ..., k].flatten(), other[i, ..., k].flatten()).statistic
            for k in range(3)
        ])
        for i in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(rank_correlation(first, second, of_photos=True), expected, atol=1e-3)
    shared = rank_correlation(first + border, second + border, of_photos=True)
    np.testing.assert_allclose(shared, expected, atol=1e-2)
    unrelated = first.flip(0) + border
    assert rank_correlation(first + border, unrelated)[0] > 0.8
    assert abs(rank_correlation(first + border, unrelated, of_photos=True)[0]) < 0.7
    assert torch.isnan(rank_correlation(first[:1], second[:1], of_photos=True)).all()


def test_ssim_is_that_of_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="the oracle is not installed")
    first, second = pair
    expected = [
        np.mean([
            metrics.structural_similarity(
                one[..., k].double().numpy(), other[..., k].double().numpy(), data_range=1,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=False,
            )
            for k in range(3)
        ])
        for one, other in zip(first, second, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(structural_similarity(first, second), expected, atol=1e-6)


def test_equal_heatmaps_agree_and_negatives_do_not(pair: tuple[Tensor, Tensor]) -> None:
    first, _ = pair
    for measure in (rank_correlation, structural_similarity):
        np.testing.assert_allclose(measure(first, first), 1, atol=1e-9)
        assert (measure(first, 1 - first) < 0).all()


def test_constant_maps_are_undefined_and_other_channels_and_photos_live(
    pair: tuple[Tensor, Tensor],
) -> None:
    first, second = (one.clone() for one in pair)
    first[0] = 0.5
    second[0] = 0.5
    first[1, ..., 0] = 0.25
    second[2, 0, 0, 0] = torch.nan
    ranks, ssim = rank_correlation(first, second), structural_similarity(first, second)
    assert torch.isnan(ranks[0])
    assert torch.isnan(ssim[0])
    alone = rank_correlation(first[..., 1:], second[..., 1:])
    np.testing.assert_allclose(ranks[1:], alone[1:])
    assert torch.isfinite(ssim[1:]).all()


def test_small_pictures_have_a_smaller_window() -> None:
    first = torch.rand(2, 5, 4, 3)
    assert torch.isfinite(structural_similarity(first, torch.rand(2, 5, 4, 3))).all()
    np.testing.assert_allclose(structural_similarity(first, first), 1)


def test_other_shapes_are_named() -> None:
    maps = torch.rand(2, 5, 4, 3)
    with pytest.raises(PFVValueError, match=r"first has shape \(5, 4, 3\)"):
        rank_correlation(maps[0], maps)
    with pytest.raises(PFVValueError, match=r"second \(1, 5, 4, 3\)"):
        structural_similarity(maps, maps[:1])
    with pytest.raises(PFVTypeError, match="second is float"):
        structural_similarity(maps, maps.double().numpy())
