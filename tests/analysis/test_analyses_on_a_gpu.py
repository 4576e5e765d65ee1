"""Analyses on a GPU: what they say is what they say on the processor."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import pfv_widgets as pw
from tests.networks import blobs, tiny, unchanged
from tests.widgets.classes.marked_photos import fooled_network, marked_photos

pytestmark = pytest.mark.gpu
LAYERS = ("2", "6", "10")


def two_networks() -> dict[str, nn.Module]:
    return {"one": tiny(), "other": tiny(seed=1)}


def test_similarity_is_that_of_the_processor(accelerator: torch.device) -> None:
    there, here = (
        pw.similarity(two_networks(), blobs(8), LAYERS, device=one) for one in (accelerator, "cpu")
    )
    np.testing.assert_allclose(there.cka, here.cka, atol=1e-4)
    np.testing.assert_allclose(there.angles, here.angles, atol=1e-3)


def test_similarity_along_networks_is_that_of_the_processor(accelerator: torch.device) -> None:
    there, here = (
        pw.similarity_curve(pw.randomised(tiny()), blobs(6), device=one)
        for one in (accelerator, "cpu")
    )
    assert there.names == here.names
    np.testing.assert_allclose(there.cka, here.cka, atol=1e-4)
    np.testing.assert_allclose(there.ssim, here.ssim, atol=1e-2)


def test_report_on_a_transfer_is_that_of_the_processor(accelerator: torch.device) -> None:
    there, here = (
        pw.transfer_report(tiny(), marked_photos(), layers=LAYERS, device=one)
        for one in (accelerator, "cpu")
    )
    assert there.layer == here.layer
    for one, other in zip(there.layers, here.layers, strict=True):
        assert one.linear.value == pytest.approx(other.linear.value, abs=0.05)


def test_components_mean_the_classes_that_they_mean_on_the_processor(
    accelerator: torch.device,
) -> None:
    there, here = (
        pw.component_classes(pw.PFV(fooled_network(), marked_photos(), one))
        for one in (accelerator, "cpu")
    )
    assert there.classes == here.classes
    np.testing.assert_allclose(there.shares.cpu(), here.shares, atol=1e-3)


@pytest.mark.parametrize("moved", [True, False])
def test_mark_is_found_and_repaired(moved: bool, accelerator: torch.device) -> None:
    """The network is on the GPU already, or on the processor, as its users have it."""
    images, network = marked_photos(40), fooled_network().to(accelerator if moved else "cpu")
    device = next(network.parameters()).device
    with unchanged(network):
        report = pw.find_shortcuts(network, images)
        expected = pw.find_shortcuts(fooled_network(), images, device="cpu")
        assert repr(report.suspects[0]) == repr(expected.suspects[0])
        for method in ("cut", "refit"):
            repaired = pw.repair(network, images, suspects=report, method=method)
            assert next(repaired.model.parameters()).device == device
            with torch.no_grad():
                repaired.model(images.tensor.to(device))


def test_cut_component_is_gone_on_the_gpu(accelerator: torch.device) -> None:
    images, network = blobs(6), tiny().to(accelerator)
    pixels = images.tensor.to(accelerator)
    basis = pw.PFV(network, images).render(layer="6").basis
    cut = pw.ablate(network, "6", basis, [0])
    expected = pw.ablate(tiny(), "6", basis, [0])
    with torch.no_grad():
        before, after = network(pixels), cut(pixels)
        torch.testing.assert_close(after.cpu(), expected(images.tensor), atol=2e-4, rtol=0)
    assert float((after - before).abs().max()) > 5e-3


def test_training_is_followed_on_the_gpu(accelerator: torch.device) -> None:
    curves = []
    for device in (accelerator, torch.device("cpu")):
        model = tiny().to(device)
        tracker = pw.track(model, blobs(5), LAYERS[1:], device=device)
        for epoch in range(3):
            tracker.snapshot(f"epoch {epoch}", loss=3.0 - epoch)
            with torch.no_grad():
                for values in model.parameters():
                    values.mul_(0.9).add_(0.01)
        curves.append(tracker.curve("6"))
        tracker.figure()
    np.testing.assert_allclose(curves[0].cka, curves[1].cka, atol=1e-3)


def test_saved_weights_are_read_into_a_network_on_the_gpu(
    accelerator: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, model = tmp_path_factory.mktemp("weights"), tiny().to(accelerator)
    for epoch in range(2):
        torch.save(copy.deepcopy(model).state_dict(), folder / f"{epoch}.pt")
        with torch.no_grad():
            model[-1].weight.neg_()
    networks = pw.checkpoints(model, folder)
    assert list(networks) == ["0", "1"]
    curve = pw.similarity_curve(networks, blobs(4))
    np.testing.assert_allclose(curve.cka, 1, atol=1e-5)
