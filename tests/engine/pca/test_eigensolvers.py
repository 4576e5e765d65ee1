from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.pca import eigensolvers
from pfv_widgets.engine.pca.eigensolvers import add_symmetric, leading_eigenvectors
from tests.networks import seeded

FLAT = [7.0, 4.1, 4.0, 3.1, 3.0]  # percent: the leading spectrum of a real network


@pytest.fixture(autouse=True, params=[1500, 100])
def _search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with the search for smaller matrices, and with that for larger ones."""
    monkeypatch.setattr(eigensolvers, "_EXPENSIVE", request.param)


def rotated(spectrum: Tensor, seed: int = 0) -> Tensor:
    """Return a symmetric matrix with that spectrum and seeded eigenvectors."""
    size = len(spectrum)
    square = torch.randn(size, size, generator=seeded(seed), dtype=torch.float64)
    vectors = torch.linalg.qr(square).Q
    return ((vectors * spectrum.double()) @ vectors.T).float()


def flat_spectrum(size: int) -> Tensor:
    tail = torch.linspace(2.9, 0.01, size - len(FLAT))
    return torch.cat([torch.tensor(FLAT), tail])


def cosines(first: Tensor, second: Tensor) -> Tensor:
    return (first.double() * second.double()).sum(dim=1).abs()


def exact(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.flip(0)[:number], vectors.flip(1)[:, :number].T


@pytest.mark.parametrize("size", [5, 256, 300])
def test_leading_eigenvectors_are_those_of_a_float64_solver(size: int) -> None:
    matrix = rotated(flat_spectrum(size)) if size > 5 else rotated(torch.tensor(FLAT))
    values, vectors = leading_eigenvectors(matrix, 5)
    true_values, true_vectors = exact(matrix, 5)
    torch.testing.assert_close(values.double(), true_values, rtol=1e-4, atol=1e-5)
    assert float(cosines(vectors, true_vectors).min()) > 0.9999
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(5), rtol=0, atol=1e-5)


def test_iteration_is_what_large_matrices_take_and_it_converges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the dense solver ran")

    monkeypatch.setattr(eigensolvers, "_dense", forbidden)
    matrix = rotated(flat_spectrum(400))
    _, vectors = leading_eigenvectors(matrix, 4)
    assert float(cosines(vectors, exact(matrix, 4)[1]).min()) > 0.9999


@pytest.mark.parametrize("kind", ["own", "wrong", "too few", "too many", "zero"])
def test_start_vectors_do_not_change_the_result(kind: str) -> None:
    matrix = rotated(flat_spectrum(400))
    own = exact(matrix, 3)[1].float()
    random = torch.randn(20, 400, generator=seeded(5))
    starts = {
        "own": own,
        "wrong": random[:3],
        "too few": own[:1],
        "too many": random,
        "zero": torch.zeros(3, 400),
    }
    values, vectors = leading_eigenvectors(matrix, 3, starts[kind])
    plain_values, plain = leading_eigenvectors(matrix, 3)
    torch.testing.assert_close(values, plain_values, rtol=1e-5, atol=1e-6)
    assert float(cosines(vectors, plain).min()) > 1 - 1e-6


@pytest.mark.parametrize("size", [20, 400])
def test_rank_deficient_matrix_gives_zeros_and_finite_vectors(size: int) -> None:
    spectrum = torch.zeros(size)
    spectrum[:2] = torch.tensor([3.0, 1.0])
    values, vectors = leading_eigenvectors(rotated(spectrum), 4)
    torch.testing.assert_close(values, torch.tensor([3.0, 1, 0, 0]), rtol=1e-5, atol=1e-5)
    assert bool((values >= 0).all())
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4), rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", [1, 9, 10])
def test_number_may_come_near_the_size(number: int) -> None:
    matrix = rotated(torch.linspace(10, 1, 10))
    values, vectors = leading_eigenvectors(matrix, number)
    assert vectors.shape == (number, 10)
    torch.testing.assert_close(values, torch.linspace(10, 1, 10)[:number], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [8, 400])
def test_zero_matrix_gives_zero_values(size: int) -> None:
    values, vectors = leading_eigenvectors(torch.zeros(size, size), 3)
    assert values.tolist() == [0, 0, 0]
    assert bool(torch.isfinite(vectors).all())


def test_scale_of_the_matrix_does_not_matter() -> None:
    matrix = rotated(flat_spectrum(400))
    _, plain = leading_eigenvectors(matrix, 3)
    for scale in (1e-9, 1e10):
        values, vectors = leading_eigenvectors(matrix * scale, 3)
        assert float(cosines(vectors, plain).min()) > 1 - 1e-5
        torch.testing.assert_close(values / scale, torch.tensor(FLAT[:3]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [40, 256, 300, 520])
def test_symmetric_product_is_that_of_float64_in_blocks_as_well(size: int) -> None:
    rows, shares = torch.randn(size, 30, generator=seeded(1)), torch.rand(30, generator=seeded(2))
    before = torch.eye(size)
    total = before.clone()
    add_symmetric(total, rows * shares, rows)
    expected = before.double() + (rows.double() * shares) @ rows.double().T
    torch.testing.assert_close(total.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weak", [1e-4, 1e-5, 4e-6])
@pytest.mark.parametrize("size", [300, 700])
def test_weak_eigenvector_beside_strong_ones_is_found(size: int, weak: float) -> None:
    # of float64, in which it stands out: the answer is that of float32
    matrix = rotated(torch.cat([torch.tensor([1, 0.5, weak]), torch.full((size - 3,), 1e-9)]))
    values, vectors = leading_eigenvectors(matrix, 3)
    expected, directions = exact(matrix, 3)
    assert float(values[2]) == pytest.approx(float(expected[2]), rel=0.02)
    assert float(cosines(vectors, directions)[2]) > 0.999
    assert torch.allclose(vectors @ vectors.T, torch.eye(3), atol=1e-5)


def test_vectors_far_from_the_mean_make_the_search_go_on() -> None:
    """An angle that shows nothing at ten deviations would show at fifty."""
    basis = torch.linalg.qr(torch.randn(400, 400, generator=seeded(4))).Q
    values = 0.97 ** torch.arange(400)
    matrix = (basis * values) @ basis.T
    block = eigensolvers.starting_block(400, 3, None, matrix)
    near, far = (
        eigensolvers.iterated(matrix.matmul, 3, block, reach=reach) for reach in (0.0, 2500.0)
    )
    assert near is not None
    assert far is not None
    assert (near.residuals[:3] > near.allowed(3) / 4).any()
    assert (far.residuals[:3] <= near.allowed(3) / 4).all()
