"""Bases that are fitted, given and aligned, as the engine uses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import blobs, tiny

LAYER = "6"


@pytest.fixture
def network() -> nn.Sequential:
    return tiny()


@pytest.fixture
def external_basis(network: nn.Sequential) -> PrincipalBasis:
    """Of other images than those that are shown."""
    loader = [blobs(6, seed=5).tensor]
    return fit_basis(network, loader, LAYER, components=4, device="cpu", progress=False)


def test_given_basis_is_used_with_its_mean_and_components(
    network: nn.Sequential, external_basis: PrincipalBasis
) -> None:
    images = blobs(3)
    frame = PFV(network, images, device="cpu", basis=external_basis).render(components=3)
    assert frame.layer == LAYER  # the basis says so
    assert torch.equal(frame.basis.components, external_basis.components[:3])
    assert torch.equal(frame.basis.mean, external_basis.mean)
    with torch.no_grad():
        maps = network[:7](images.tensor)
    first = {name: getattr(external_basis, name)[:3] for name in ("components", "variances")}
    expected = replace(external_basis, **first).project(maps)
    torch.testing.assert_close(frame.scores, expected, rtol=1e-4, atol=1e-4)
    assert frame.basis_source == "fixed, made of 1536 feature vectors"


def test_given_basis_does_not_depend_on_the_images(
    network: nn.Sequential, external_basis: PrincipalBasis
) -> None:
    pfv = PFV(network, blobs(4), device="cpu", basis=external_basis)
    for images in (None, (1.0, 0.0, 0.0, 0.0), (0.0, 3.0, 1.0, 1.0)):
        result = pfv.render(images=images).basis
        assert torch.equal(result.components, external_basis.components[:3])
        assert result.explained_variance_ratio.tolist() == pytest.approx(
            external_basis.explained_variance_ratio[:3].tolist()
        )


def test_frame_without_a_given_basis_says_that_it_is_fitted(network: nn.Sequential) -> None:
    assert PFV(network, blobs(2), device="cpu").render().basis_source == "fitted to these images"


def test_layer_with_another_number_of_channels_than_the_basis_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), *tiny()).eval()
    basis = fit_basis(network, [blobs(3).tensor], "7", components=3, device="cpu", progress=False)
    pfv = PFV(network, blobs(2), device="cpu", basis=basis)
    with pytest.raises(PFVValueError, match="layer='0': the basis given is of layer '7'"):
        pfv.render(layer="0")


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({}, {"components": 5}, "components=5: the basis given has 4"),
        ({"layer": "nowhere"}, None, "basis is of another network.*'nowhere' is not in this netw"),
        (
            {"layer": "", "mean": torch.zeros(3), "components": torch.eye(4, 3)},
            {},
            "basis has 3 channels and layer .* has 8",
        ),
        ({"mean": torch.full((8,), float("nan"))}, None, "basis: it holds NaN or infinite values"),
        ({"mean": torch.zeros(3)}, None, r"do not fit together: mean \(3,\), components \(4, 8\)"),
    ],
)
def test_basis_that_does_not_fit_is_refused_by_name(
    network: nn.Sequential,
    external_basis: PrincipalBasis,
    change: dict[str, Any],
    settings: dict[str, Any] | None,
    words: str,
) -> None:
    def render() -> None:
        pfv = PFV(network, blobs(2), device="cpu", basis=replace(external_basis, **change))
        if settings is not None:
            pfv.render(**settings)

    with pytest.raises(PFVValueError, match=words):
        render()


@pytest.mark.parametrize("basis", ["basis.npz", 3, torch.eye(1)])
def test_basis_of_another_type_is_refused(network: nn.Sequential, basis: Any) -> None:
    with pytest.raises(PFVTypeError, match=r"basis=.*expected a PrincipalBasis"):
        PFV(network, blobs(1), device="cpu", basis=basis)


def test_basis_without_a_name_of_its_layer_fits_any_of_its_channels(
    network: nn.Sequential, external_basis: PrincipalBasis
) -> None:
    pfv = PFV(network, blobs(2), device="cpu", basis=replace(external_basis, layer=""))
    assert torch.equal(pfv.render(layer="8").basis.components, external_basis.components[:3])
