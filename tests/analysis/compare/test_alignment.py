"""Procrustes, CKA and principal angles against other people's code and slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from torch import Tensor

from pfv_widgets.analysis.compare.alignment import align, difference, linear_cka, procrustes
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.slow_oracles import bilinear


def cka_by_definition(first: np.ndarray, second: np.ndarray) -> float:
    """Eq. 3 of Song et al. 2012 with nothing left out."""
    n = len(first)

    def hsic(one: np.ndarray, other: np.ndarray) -> float:
        k, m = one @ one.T, other @ other.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        ones = np.ones(n)
        total = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float((total - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3)))

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


def orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def scores_like(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


@pytest.mark.parametrize("shape", [(9, 3, 14), (9, 30, 14), (40, 5, 6)])
def test_cka_is_that_of_the_definition(
    rng: np.random.Generator, shape: tuple[int, int, int]
) -> None:
    n, p, q = shape
    first = rng.normal(3, 1, size=(n, p))
    second = first[:, :1] * 2 + rng.normal(-9, 1, size=(n, q))
    expected = cka_by_definition(first, second)
    got = linear_cka(torch.tensor(first), torch.tensor(second))
    assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [32, 128])
def test_cka_of_independent_features_is_zero_also_where_samples_are_few(n: int) -> None:
    rng = np.random.default_rng(n)
    draws = [[torch.tensor(rng.normal(size=(n, 8))) for _ in range(2)] for _ in range(60)]
    assert abs(np.mean([linear_cka(a, b) for a, b in draws])) < 0.02


def test_a_rotated_scaled_and_shifted_copy_has_a_cka_of_one(rng: np.random.Generator) -> None:
    first = rng.normal(size=(20, 6))
    copy = torch.tensor(first @ orthogonal(rng, 6) * 1e4 - 70)
    assert linear_cka(torch.tensor(first), copy) == pytest.approx(1, abs=1e-6)


def test_cka_with_a_constant_is_undefined_also_where_its_mean_is_rounded(
    rng: np.random.Generator,
) -> None:
    constant = torch.full((23, 4), 0.1, dtype=torch.float64)
    constant[5] += 1e-17  # nothing, and a rounded mean
    assert np.isnan(linear_cka(constant, scores_like(rng, 23, 3)))
    assert np.isnan(procrustes(constant, scores_like(rng, 23, 3)).agreement)


def test_a_small_spread_about_a_large_mean_is_no_constant(rng: np.random.Generator) -> None:
    first = rng.normal(size=(50, 4))
    far = torch.tensor(100 + 0.01 * first, dtype=torch.float32)
    assert linear_cka(torch.tensor(first), far) == pytest.approx(1, abs=1e-4)


def test_procrustes_is_that_of_scipy(rng: np.random.Generator) -> None:
    first, second = rng.normal(2, 1, size=(40, 4)), rng.normal(size=(40, 4))
    second += first @ orthogonal(rng, 4)
    centred = [one - one.mean(0) for one in (first, second)]
    rotation = procrustes(torch.tensor(first), torch.tensor(second))
    expected, _ = scipy.linalg.orthogonal_procrustes(*centred)
    np.testing.assert_allclose(rotation.matrix, expected, atol=1e-9)
    disparity = scipy.spatial.procrustes(first, second)[2]
    assert rotation.agreement == pytest.approx(1 - disparity, abs=1e-9)


@pytest.mark.parametrize(("k", "m"), [(3, 5), (5, 3)])
def test_the_map_between_other_numbers_of_components_is_the_best_of_many(
    rng: np.random.Generator, k: int, m: int
) -> None:
    first, second = (torch.tensor(rng.normal(size=(25, width))) for width in (k, m))
    rotation = procrustes(first, second)
    x, y = first - first.mean(0), second - second.mean(0)
    best = float(torch.trace(rotation.matrix.T @ x.T @ y))
    eye = rotation.matrix @ rotation.matrix.T if k < m else rotation.matrix.T @ rotation.matrix
    np.testing.assert_allclose(eye, np.eye(3), atol=1e-12)
    for _ in range(200):
        other = torch.tensor(orthogonal(rng, 5)[:k, :m])
        assert float(torch.trace(other.T @ x.T @ y)) <= best


def test_a_rotated_copy_is_the_same_after_alignment(rng: np.random.Generator) -> None:
    scores = scores_like(rng, 3, 4, 5, 6)
    turn = torch.tensor(orthogonal(rng, 4), dtype=torch.float32)
    copy = torch.einsum("nkhw,km->nmhw", scores, turn)
    rotation = align(copy, scores)
    assert rotation.agreement == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(rotation.apply(copy), scores, atol=1e-5, rtol=0)
    assert float(difference(copy, scores, rotation).max()) < 1e-5
    same = align(scores, scores).apply(scores)
    torch.testing.assert_close(same, scores, atol=1e-6, rtol=0)


def test_scores_on_different_grids_are_compared_at_common_positions(
    rng: np.random.Generator,
) -> None:
    coarse = scores_like(rng, 4, 3, 3, 2)
    fine = torch.tensor(np.repeat(np.repeat(coarse.numpy(), 2, 2), 3, 3)).flip(1) * 5
    rotation = align(fine, coarse)
    np.testing.assert_allclose(rotation.matrix, np.eye(3)[::-1], atol=1e-6)
    assert rotation.agreement == pytest.approx(1, abs=1e-6)
    assert difference(coarse, fine, align(coarse, fine)).shape == (4, 6, 6)


def test_difference_is_the_distance_of_standardised_scores_at_the_finer_grid(
    rng: np.random.Generator,
) -> None:
    first, second = scores_like(rng, 2, 3, 4, 4) * 9, scores_like(rng, 2, 3, 2, 3) + 5
    rotation = align(first, second)
    rotated = np.einsum("nkhw,km->nmhw", first.numpy(), rotation.matrix.numpy())
    sides = []
    for maps in (rotated, second.numpy().astype(float)):
        centred = maps - maps.mean((0, 2, 3), keepdims=True)
        sides.append(bilinear(centred / np.sqrt((centred**2).sum(1).mean()), (4, 4)))
    expected = np.sqrt(((sides[0] - sides[1]) ** 2).sum(1))
    np.testing.assert_allclose(difference(first, second, rotation), expected, atol=1e-5)


def test_the_mean_square_of_the_difference_follows_from_the_agreement(
    rng: np.random.Generator,
) -> None:
    first, second = scores_like(rng, 8, 3, 4, 4), scores_like(rng, 8, 3, 4, 4)
    rotation = align(first, second)
    mean_square = float(difference(first, second, rotation).square().mean())
    assert mean_square == pytest.approx(2 - 2 * rotation.agreement**0.5, abs=1e-5)


def test_one_image_that_is_not_finite_leaves_the_others_alive(rng: np.random.Generator) -> None:
    first, second = scores_like(rng, 3, 3, 4, 4), scores_like(rng, 3, 3, 4, 4)
    broken = first.clone()
    broken[1] = torch.nan
    rotation = align(broken, second)
    expected = align(first[[0, 2]], second[[0, 2]])
    torch.testing.assert_close(rotation.matrix, expected.matrix)
    far = difference(broken, second, rotation)
    assert torch.isnan(far[1]).all()
    assert torch.isfinite(far[[0, 2]]).all()
    with pytest.raises(PFVValueError, match="no position where both are finite"):
        align(torch.full_like(first, torch.nan), second)
    constant = torch.ones_like(first)
    assert torch.isnan(difference(constant, second, align(constant, second))).all()


def test_what_cannot_be_compared_is_named(rng: np.random.Generator) -> None:
    maps, rows = scores_like(rng, 2, 3, 4, 4), scores_like(rng, 5, 3)
    with pytest.raises(PFVValueError, match="source has 2 photos and target 1"):
        align(maps, maps[:1])
    with pytest.raises(PFVValueError, match=r"target has shape \(5, 3\)"):
        difference(maps, rows, align(maps, maps))
    with pytest.raises(PFVValueError, match="leads to 3 components and target has 2"):
        difference(maps, maps[:, :2], align(maps, maps))
    with pytest.raises(PFVValueError, match="expected 3 components"):
        align(maps, maps).apply(maps[:, :2])
    with pytest.raises(PFVValueError, match="first has 3 samples: at least 4"):
        linear_cka(rows[:3], rows[:3])
    with pytest.raises(PFVValueError, match="first has 5 samples and second 4"):
        linear_cka(rows, rows[:4])
    with pytest.raises(PFVValueError, match="second holds numbers that are not finite"):
        linear_cka(rows, rows / 0)
    with pytest.raises(PFVTypeError, match=r"source is torch\.int64"):
        procrustes(rows.long(), rows)
