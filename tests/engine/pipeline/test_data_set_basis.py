"""A basis of a data set: its colours mean the same in every batch and in every process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.fit_basis import fit_basis
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from tests.networks import blobs, tiny

LAYER = "10"


@pytest.fixture(scope="module")
def basis() -> PrincipalBasis:
    images = blobs(40, seed=3).tensor
    return fit_basis(tiny(), images.split(8), LAYER, components=5, device="cpu", progress=False)


@pytest.mark.parametrize("normalisation", ["global", "component"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_photo_has_the_same_colours_alone_and_in_any_batch(
    weighting: str, normalisation: str, basis: PrincipalBasis
) -> None:
    batch = blobs(6)
    look = {"weighting": weighting, "normalisation": normalisation}
    together = PFV(tiny(), batch, "cpu", basis=basis).render(**look).heatmaps
    for photos in ([2], [5, 2], [2, 2, 0]):
        part = PFV(tiny(), batch.subset(photos), "cpu", basis=basis)
        some = part.render(**look, images=tuple(float(index == 0) for index in range(len(photos))))
        assert float((some.heatmaps - together[photos]).abs().max()) < 1 / 255
    assert float(together[2].std()) > 0.02


def test_colours_do_not_depend_on_what_was_shown_before(basis: PrincipalBasis) -> None:
    fresh = PFV(tiny(), blobs(6), "cpu", basis=basis).render(components=4)
    pfv = PFV(tiny(), blobs(6), "cpu", basis=basis)
    for changes in (
        {"basis_of": "this batch"},
        {"components": 2},
        {"layer": "2", "basis_of": "this batch"},
    ):
        pfv.render(**changes)
    again = pfv.render(components=4)
    assert torch.equal(again.heatmaps, fresh.heatmaps)
    assert torch.equal(again.basis.components, basis.components[:4])


def test_basis_of_the_batch_is_that_without_a_basis_given(basis: PrincipalBasis) -> None:
    plain = PFV(tiny(), blobs(6), "cpu").render(layer=LAYER)
    pfv = PFV(tiny(), blobs(6), "cpu", basis=basis)
    pfv.render()
    own = pfv.render(basis_of="this batch")
    assert own.basis_source == plain.basis_source
    overlap = own.basis.components @ plain.basis.components.T
    torch.testing.assert_close(overlap.abs().amax(dim=1), torch.ones(3), rtol=0, atol=1e-4)
    assert pfv.render(basis_of="this batch", layer="2").layer == "2"
    elsewhere = pfv.render(layer="2", weighting="none")  # with as many channels
    assert elsewhere.warnings == (
        "The basis was made of layer '10': at '2' its components mean something else.",
    )
    assert torch.equal(elsewhere.basis.components, basis.components[:3])


def test_warning_names_the_layer_that_was_chosen_and_not_one_that_is_equal() -> None:
    network = tiny()
    network[1] = nn.Sequential(network[1])
    basis = PFV(network, blobs(3), "cpu").render(layer=LAYER).basis
    pfv = PFV(network, blobs(3), "cpu", basis=basis)
    assert pfv.layer("1").same_as == "1.0"
    for name in ("1", "1.0"):
        (warning,) = pfv.render(layer=name, weighting="none").warnings
        assert f"at {name!r} its" in warning


def test_basis_of_another_number_of_channels_is_refused(basis: PrincipalBasis) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 3, 1), *tiny())
    pfv = PFV(network.eval(), blobs(3), "cpu", basis=basis)
    with pytest.raises(PFVValueError, match="basis_of='this batch'"):
        pfv.render(layer="0")


def test_explained_shares_are_those_of_the_variance_by_hand(basis: PrincipalBasis) -> None:
    network, images = tiny(), blobs(6)
    pfv = PFV(network, images, "cpu", basis=basis)
    weights = (1.0, 0, 2, 1, 1, 0)
    actual = pfv.explained(components=3, images=weights)
    assert actual is not None
    with torch.no_grad():
        maps = network[:11](images.tensor).double()
    vectors = maps.permute(0, 2, 3, 1).flatten(1, 2)
    rows = np.concatenate([vectors[i].numpy() for i in (0, 2, 2, 3, 4)])
    covariance = np.cov(rows.T, bias=True)
    first = basis.components[:3].double().numpy()
    expected = np.trace(first @ covariance @ first.T) / np.trace(covariance)
    assert actual.given == pytest.approx(expected, rel=1e-4)
    own = np.linalg.eigvalsh(covariance)[::-1][:3].sum() / np.trace(covariance)
    assert actual.own == pytest.approx(own, rel=1e-4)
    assert actual.given <= actual.own
    assert pfv.explained(basis_of="this batch") is None


def test_other_weights_are_said_and_the_same_network_is_not(basis: PrincipalBasis) -> None:
    assert PFV(tiny(), blobs(3), "cpu", basis=basis).render().warnings == ()
    other = PFV(tiny(seed=1), blobs(3), "cpu", basis=basis)
    assert any("made with other weights" in one for one in other.render().warnings)
    assert other.render(basis_of="this batch").warnings == ()
    network = tiny()
    pfv = PFV(network, blobs(3), "cpu", basis=basis)
    assert pfv.render().warnings == ()
    with torch.no_grad():
        network[0].weight.mul_(1.5)
    assert any("made with other weights" in one for one in pfv.render().warnings)


def test_another_normalisation_is_said_and_the_same_one_is_not(basis: PrincipalBasis) -> None:
    images, data = blobs(3), basis.data
    assert data is not None
    for mean, warned in (((0.4852, 0.456, 0.406), False), ((0.5, 0.5, 0.5), True)):
        known = replace(basis, data=replace(data, mean=mean, std=images.std))
        (*warnings,) = PFV(tiny(), images, "cpu", basis=known).render().warnings
        assert any("another normalisation" in one for one in warnings) is warned
    assert "(mean 0.5, 0.5, 0.5, std 0.229, 0.224, 0.225) than these (mean 0.485" in warnings[0]


def test_weighting_that_the_file_does_not_know_is_scaled_by_the_batch(
    basis: PrincipalBasis,
) -> None:
    assert basis.data is not None
    without = replace(basis, data=replace(basis.data, spreads={}))
    shown = PFV(tiny(), blobs(4), "cpu", basis=without).render(weighting="none").heatmaps
    plain = PFV(tiny(), blobs(4), "cpu", basis=replace(basis, data=None)).render(weighting="none")
    assert float((shown - plain.heatmaps).abs().max()) < 1e-6


def test_colour_filter_sees_the_colours_that_are_shown(basis: PrincipalBasis) -> None:
    pfv = PFV(tiny(), blobs(6), "cpu", basis=basis)
    all_colours = pfv.render(weighting="none").heatmaps
    some = pfv.render(weighting="none", sharing="exclusive").heatmaps
    visible = (some - all_colours).abs().amax(dim=3) < 1e-6
    assert 0.01 < float(visible.float().mean()) < 0.99


RENDERED = textwrap.dedent("""
    import sys
    import numpy as np
    from pfv_widgets.engine.pca.basis import PrincipalBasis
    from pfv_widgets.engine.pipeline.pfv import PFV
    from tests.networks import blobs, tiny
    basis = PrincipalBasis.load(sys.argv[1])
    frame = PFV(tiny(), blobs(6).subset([3, 1]), "cpu", basis=basis).render()
    np.save(sys.argv[2], frame.heatmaps.numpy())
""")


@pytest.mark.all
def test_another_process_paints_the_same_from_the_file(
    basis: PrincipalBasis, tmp_path: Path
) -> None:
    basis.save(tmp_path / "basis.npz")
    files = [str(tmp_path / "basis.npz"), str(tmp_path / "heat.npy")]
    subprocess.run([sys.executable, "-c", RENDERED, *files], check=True, cwd=Path.cwd())
    here = PFV(tiny(), blobs(6), "cpu", basis=basis).render().heatmaps[[3, 1]]
    assert np.abs(np.load(files[1]) - here.numpy()).max() < 1 / 255
