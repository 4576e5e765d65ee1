"""Promises to the user that no single stage can keep alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests.networks import blobs, tiny


@pytest.mark.parametrize("content", [b"<html>", b"version https://git-lfs", b"", b"PK\x03\x04"])
def test_file_that_is_no_basis_is_named_and_never_leads_to_pickle(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "basis.npz"
    path.write_bytes(content)
    with pytest.raises(PFVValueError, match=r"basis\.npz") as caught:
        PrincipalBasis.load(path)
    assert "pickle" not in str(caught.value)


def test_arrays_of_objects_are_no_basis_and_are_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "basis.npz", mean=np.array([object()], dtype=object))
    with pytest.raises(PFVValueError) as caught:
        PrincipalBasis.load(tmp_path / "basis.npz")
    assert "pickle" not in str(caught.value)


def test_basis_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    basis = PFV(tiny(), blobs(3), device="cpu").render().basis
    with pytest.raises(PFVValueError, match="cannot be written"):
        basis.save(tmp_path / "nowhere" / "basis.npz")


@pytest.mark.parametrize("activations", [None, 3, torch.zeros(1, 2, 3, 3, device="meta")])
def test_activations_of_another_kind_are_named(activations: Any) -> None:
    given = [activations] if isinstance(activations, torch.Tensor) else activations
    with pytest.raises(PFVError, match="activations"):
        heatmaps_from_activations(given)


@pytest.mark.parametrize("weighting", ["flat", "hierarchical", "gradual"])
def test_silent_earlier_layer_weights_nothing_and_is_told(weighting: str) -> None:
    last = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    settings = Settings(weighting=weighting)
    frame = heatmaps_from_activations([torch.zeros(2, 4, 8, 8), last], settings, size=(8, 8))
    plain = heatmaps_from_activations([last], Settings(weighting="none"), size=(8, 8))
    torch.testing.assert_close(frame.heatmaps, plain.heatmaps)
    assert frame.warnings == ("activations[0] is zero everywhere: it has no effect.",)


def test_heatmaps_are_float32_for_double_activations() -> None:
    frame = heatmaps_from_activations([torch.rand(2, 5, 4, 4, dtype=torch.float64)])
    assert frame.heatmaps.dtype == torch.float32


def test_editing_a_frame_leaves_later_pictures_alone() -> None:
    pfv = PFV(tiny(), blobs(3), device="cpu")
    frame = pfv.render()
    before = frame.heatmaps.clone()
    for tensor in (frame.scores, frame.basis.mean, frame.basis.components, frame.heatmaps):
        tensor.zero_()
    torch.testing.assert_close(pfv.render().heatmaps, before)


def test_network_that_learned_meanwhile_is_run_again() -> None:
    network, images = tiny(), blobs(3)
    pfv = PFV(network, images, device="cpu")
    pfv.render()
    network.load_state_dict(tiny(seed=5).state_dict())
    fresh = PFV(network, images, device="cpu").render()
    torch.testing.assert_close(pfv.render().heatmaps, fresh.heatmaps)


def test_layers_inside_a_traced_part_are_refused_and_the_part_is_told() -> None:
    inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    traced = torch.jit.trace(inner, torch.zeros(1, 4, 8, 8))
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), traced)
    pfv = PFV(network, blobs(3, height=16), device="cpu")
    assert "1 is traced or scripted" in " ".join(pfv.render().warnings)
    with pytest.raises(PFVValueError, match="lies inside '1', which is traced"):
        pfv.render(layer="1.0")


def test_all_images_broken_is_blamed_on_the_network_and_not_on_the_images() -> None:
    network = tiny()
    with torch.no_grad():
        network[0].weight.fill_(float("nan"))
    with pytest.raises(PFVValueError, match="check its weights") as caught:
        PFV(network, blobs(3), device="cpu").render()
    assert "weight 0" not in str(caught.value)


def test_memory_error_in_a_model_is_told_as_such() -> None:
    class Greedy(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    with pytest.raises(PFVValueError, match="chunk_size"):
        PFV(Greedy(), blobs(2), device="cpu")


@pytest.mark.parametrize("arguments", [{"memory": -1}, {"memory": 0.5}, {"progress": 3}])
def test_arguments_of_pfv_are_checked_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(PFVError, match=next(iter(arguments))):
        PFV(tiny(), blobs(2), device="cpu", **arguments)


def test_arguments_of_fit_basis_are_checked_before_the_data_are_read() -> None:
    for wrong in ({"components": "3"}, {"components": 0}, {"layer": 3}, {"progress": "yes"}):
        name, value = next(iter(wrong.items()))
        with pytest.raises(PFVError, match=rf"{name}={value!r}: expected"):
            fit_basis(tiny(), iter(()), **wrong)
    with pytest.raises(PFVTypeError, match="data=None"):
        fit_basis(tiny(), None)
