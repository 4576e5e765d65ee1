"""Attribution and reconstruction on a GPU: the maps are those of the processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from tests.networks import blobs, tiny, unchanged

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning"),
]


@pytest.mark.parametrize("layer", [None, "6"])
@pytest.mark.parametrize("method", list(pw.METHODS))
def test_each_method_draws_what_it_draws_on_the_processor(
    method: str, layer: str | None, accelerator: torch.device
) -> None:
    images, network = blobs(3), tiny()
    with unchanged(network):
        there, here = (
            pw.attribute(network, images, method, layer, 1, device=one)
            for one in (accelerator, "cpu")
        )
    np.testing.assert_allclose(there.scores, here.scores, rtol=1e-3, atol=1e-4)
    maps, others = there.maps.cpu().numpy(), here.maps.numpy()
    assert np.corrcoef(maps.ravel(), others.ravel())[0, 1] > 0.99
    there.figure()


def test_maps_are_split_by_component_on_the_gpu(accelerator: torch.device) -> None:
    images, network = blobs(3), tiny()
    there, here = (
        pw.split_by_component(
            pw.attribute(network, images, "gradient_times_input", device=one),
            pw.PFV(network, images, one).render(layer="6"),
        )
        for one in (accelerator, "cpu")
    )
    np.testing.assert_allclose(there.evidence_for.cpu(), here.evidence_for, atol=0.02)


@pytest.mark.parametrize("parametrisation", ["fourier", "pixels"])
@pytest.mark.parametrize("target", ["photo", "unit", "component"])
def test_pictures_are_made_on_the_gpu(
    target: str, parametrisation: str, accelerator: torch.device
) -> None:
    network = tiny()
    targets: dict[str, dict[str, object]] = {
        "photo": {"target": blobs(2), "layer": "2"},
        "unit": {"unit": 3, "size": 32},
        "component": {
            "target": pw.PFV(network, blobs(4)).render(layer="6"), "component": 1, "size": 32,
        },
    }  # fmt: skip
    result = pw.reconstruct(
        network, **targets[target], parametrisation=parametrisation, steps=30, rate=2.0,
        device=accelerator, quiet=True,
    )  # fmt: skip
    assert float(result.losses[0, -5:].mean()) < float(result.losses[0, 0])
    result.figure()


def test_figures_of_methods_and_networks_are_drawn_from_the_gpu(accelerator: torch.device) -> None:
    pw.figure_methods(tiny(), blobs(2), device=accelerator)
    pw.figure_networks({"one": tiny(), "other": tiny(seed=1)}, blobs(2), device=accelerator)
