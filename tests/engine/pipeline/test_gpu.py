from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny

pytestmark = pytest.mark.gpu


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "mps")


def signs_between(one: torch.Tensor, other: torch.Tensor) -> tuple[int, ...]:
    """Signed numbers, as `PrincipalBasis.arranged` takes them, that turn `one` to `other`."""
    signs = (one * other).sum(dim=(0, 2, 3)).sign()
    return tuple(int(sign) * (index + 1) for index, sign in enumerate(signs))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_accelerator_paints_what_the_processor_paints(
    weighting: str, device: torch.device
) -> None:
    images, network = blobs(6), tiny()
    expected = PFV(network, images, "cpu").render(weighting=weighting)
    frame = PFV(network, images, device).render(weighting=weighting)
    assert frame.heatmaps.device.type == device.type
    torch.testing.assert_close(frame.scores.cpu(), expected.scores, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(frame.heatmaps.cpu(), expected.heatmaps, atol=2e-3, rtol=0)
    assert signs_between(frame.scores.cpu(), expected.scores) == (1, 2, 3)


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
def test_every_colour_map_paints_on_an_accelerator(colour_map: str, device: torch.device) -> None:
    pfv = PFV(tiny(), blobs(4), device)
    for components in (1, 2, 5):
        heatmaps = pfv.render(colour_map=colour_map, components=components).heatmaps
        assert bool(torch.isfinite(heatmaps).all())


@pytest.mark.parametrize(
    "changes",
    [
        {"pins": [(0, 0.2, 0.3), (3, 0.9, 0.9)]},
        {"sharing": "inclusive"},
        {"sharing": "exclusive"},
        {"size": (90, 100), "only": [2, 0]},
    ],
)
def test_every_look_is_that_of_the_processor(changes: dict[str, Any], device: torch.device) -> None:
    images, network = blobs(5), tiny()
    expected = PFV(network, images, "cpu").render(**changes)
    frame = PFV(network, images, device).render(**changes)
    off = (frame.heatmaps.cpu() - expected.heatmaps).abs()
    assert float(off.mean()) < 2e-3  # a few pixels may fall into the next colour
    assert frame.at(2, 0.5, 0.5).device.type == "cpu"
    np.testing.assert_allclose(frame.composite().mean(), expected.composite().mean(), atol=1)


def test_similar_places_are_those_of_the_processor(device: torch.device) -> None:
    found, expected = (PFV(tiny(), blobs(5), one).nearest(1, 0.4, 0.6) for one in (device, "cpu"))
    assert [place.image for place in found] == [place.image for place in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.similarity == pytest.approx(other.similarity, abs=1e-3)


def test_auto_takes_the_accelerator_and_leaves_the_users_model_where_it_is() -> None:
    network = tiny()
    pfv = PFV(network, blobs(3))
    assert pfv.device.type in ("cuda", "mps")
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_have_sums_in_float32(
    dtype: torch.dtype, device: torch.device
) -> None:
    frame = PFV(tiny().to(device, dtype), blobs(4), device).render()
    assert frame.scores.dtype == torch.float32
    assert bool(torch.isfinite(frame.heatmaps).all())


def test_a_basis_is_fitted_on_an_accelerator(device: torch.device) -> None:
    batches = [blobs(4, seed=seed).tensor for seed in range(3)]
    basis = fit_basis(tiny(), batches, "9", device=device, progress=False)
    expected = fit_basis(tiny(), batches, "9", device="cpu", progress=False)
    torch.testing.assert_close(
        basis.explained_variance_ratio.cpu(), expected.explained_variance_ratio, atol=1e-4, rtol=0
    )
