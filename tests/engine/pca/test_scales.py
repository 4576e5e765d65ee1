"""Very small and very large activations, and layers of few directions, against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.pca.eigensolvers import leading_eigenvectors
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from tests.networks import blobs, seeded
from tests.slow_oracles import principal_components

SCALES = [1e-36, 1e-30, 1e-25, 1e-20, 1e-14, 1e-6, 1e6, 1e12, 1e20, 1e30, 1e36]


def smooth(number: int, channels: int, side: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Feature maps whose first components are well apart."""
    strength = 0.7 ** torch.arange(channels).clamp(max=20)
    maps = torch.randn(number, channels, side, side, generator=seeded(seed))
    mixed = torch.linalg.qr(torch.randn(channels, channels, generator=seeded(9))).Q
    maps = torch.einsum("dc,ncij->ndij", mixed, maps * strength[:, None, None])
    return (maps + 0.3) * scale


def assert_same_directions(actual: Tensor, expected: np.ndarray, least: float = 0.9999) -> None:
    cosines = np.abs((actual.double().numpy() * expected).sum(axis=1))
    assert cosines.min() > least


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("channels", [12, 320])
def test_components_and_picture_do_not_depend_on_the_scale(channels: int, scale: float) -> None:
    maps, early = smooth(3, channels, 7), smooth(3, 6, 14, seed=3).abs()
    settings = Settings(components=4)
    plain = heatmaps_from_activations([early, maps], settings)
    frame = heatmaps_from_activations([early * scale, maps * scale], settings)
    expected = principal_components(maps, 4, (1.0,) * 3)[1]
    assert_same_directions(frame.basis.components, expected)
    np.testing.assert_allclose(
        frame.basis.explained_variance_ratio, plain.basis.explained_variance_ratio, rtol=1e-4
    )
    torch.testing.assert_close(frame.scores / scale, plain.scores, rtol=1e-3, atol=1e-3)
    assert float((frame.heatmaps - plain.heatmaps).abs().max()) < 2e-3
    assert frame.basis.total_variance == pytest.approx(
        plain.basis.total_variance * scale**2, rel=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_activations_of_other_dtypes_give_the_same_components(dtype: torch.dtype) -> None:
    maps = smooth(3, 320, 7).to(dtype)
    frame = heatmaps_from_activations([maps], Settings(components=4))
    assert_same_directions(
        frame.basis.components, principal_components(maps.double(), 4, (1.0,) * 3)[1]
    )


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.scale


def network(scale: float, channels: int) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, channels, 4, 4), Scaled(scale), nn.AvgPool2d(2))


@pytest.mark.parametrize("scale", [1e-20, 1e-14, 1.0, 1e15])
@pytest.mark.parametrize("channels", [40, 1100])  # moments, and positions fewer than channels
def test_a_network_of_any_scale_gives_the_same_basis_and_similarity(
    scale: float, channels: int
) -> None:
    images = blobs(3, 16)
    plain, pfv = (PFV(network(s, channels), images, device="cpu") for s in (1.0, scale))
    expected, actual = plain.render(layer="1"), pfv.render(layer="1")
    assert_same_directions(actual.basis.components, expected.basis.components.double().numpy())
    assert float((actual.heatmaps - expected.heatmaps).abs().max()) < 2e-3
    torch.testing.assert_close(
        pfv.similarity([(0, 0.5, 0.5)], "1"), plain.similarity([(0, 0.5, 0.5)], "1"),
        rtol=0, atol=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1e-20, 1e-14, 1e15])
def test_basis_of_a_data_set_does_not_depend_on_the_scale(scale: float) -> None:
    loader = [blobs(4, 16, seed=seed).tensor for seed in range(3)]
    one, other = (
        fit_basis(network(s, 40), loader, "1", device="cpu", progress=False) for s in (1.0, scale)
    )
    assert_same_directions(other.components, one.components.double().numpy())
    torch.testing.assert_close(other.mean / scale, one.mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        other.explained_variance_ratio, one.explained_variance_ratio, rtol=1e-3
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_eigenvectors_do_not_depend_on_the_scale(scale: float) -> None:
    rows = smooth(1, 600, 40)[0].flatten(1)
    matrix = (rows @ rows.T) / float((rows**2).sum())
    values, vectors = leading_eigenvectors(matrix * scale, 4)
    exact = torch.linalg.eigh(matrix.double())
    np.testing.assert_allclose(values.double() / scale, exact.eigenvalues.flip(0)[:4], rtol=1e-4)
    assert_same_directions(vectors, exact.eigenvectors.flip(1)[:, :4].T.numpy())


def of_rank(rank: int, channels: int, side: int = 6, seed: int = 0) -> Tensor:
    directions = torch.randn(rank, channels, generator=seeded(seed))
    maps = torch.randn(3, rank, side, side, generator=seeded(seed + 1))
    return torch.einsum("rc,nrij->ncij", directions, maps) + 0.5


@pytest.mark.parametrize("channels", [8, 90, 600])
@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("normalisation", ["global", "component"])
def test_components_beyond_the_rank_are_neutral_and_named(
    channels: int, rank: int, normalisation: str
) -> None:
    settings = Settings(components=6, normalisation=normalisation)
    frame = heatmaps_from_activations([of_rank(rank, channels)], settings)
    assert frame.basis.is_resolved.tolist() == [index < rank for index in range(6)]
    assert torch.equal(frame.scores[:, rank:], torch.zeros_like(frame.scores[:, rank:]))
    assert f"vary in {rank} direction" in " ".join(frame.warnings)
    alone = heatmaps_from_activations(
        [of_rank(rank, channels)], Settings(components=6, channels=(rank,))
    )
    assert float(alone.heatmaps.std(dim=(0, 1, 2)).max()) < 1e-6
    assert "is within rounding error" in " ".join(alone.warnings)
    assert "shown neutral" in " ".join(alone.warnings)


@pytest.mark.parametrize("channels", [8, 40, 1100])
def test_network_of_few_directions_says_so(channels: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.Conv2d(2, channels, 1), nn.AvgPool2d(2))
    frame = PFV(net, blobs(3, 32), device="cpu").render(layer="1")
    assert any("Component 3 is within rounding error" in warning for warning in frame.warnings)


def test_weak_components_that_are_real_stay() -> None:
    strength = 0.05 ** torch.arange(3.0)  # standard deviations; variances down to 6e-6
    maps = torch.randn(4, 3, 16, 16, generator=seeded()) * strength[:, None, None]
    frame = heatmaps_from_activations([maps], Settings(components=3))
    assert frame.basis.is_resolved.all()
    assert frame.warnings == (
        "No earlier layer has another resolution: weighting 'flat' does nothing.",
    )
