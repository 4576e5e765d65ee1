from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pca.basis_source import FittedBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from tests.engine.pipeline.conftest import same
from tests.networks import blobs, tiny


def test_image_without_a_weight_is_painted_in_the_basis_of_the_others(
    network: nn.Sequential, pfv: PFV
) -> None:
    frame = pfv.render(images=(1, 1, 1, 0))
    alone = PFV(network, blobs(4).subset([0, 1, 2]), device="cpu").render()
    assert float((frame.heatmaps[:3] - alone.heatmaps).abs().max()) < 1e-4
    torch.testing.assert_close(frame.basis.mean, alone.basis.mean)
    assert float(frame.heatmaps[3].std()) > 0.05
    assert frame.weights == (1, 1, 1, 0)


def test_weight_of_two_is_the_image_twice(network: nn.Sequential, pfv: PFV) -> None:
    weighted = pfv.render(images=(2, 1, 0, 0.0))
    twice = PFV(network, blobs(4).subset([0, 0, 1]), device="cpu").render()
    torch.testing.assert_close(weighted.basis.variances, twice.basis.variances)
    torch.testing.assert_close(weighted.basis.components, twice.basis.components, rtol=0, atol=1e-4)
    assert float((weighted.heatmaps[:2] - twice.heatmaps[1:]).abs().max()) < 1e-4


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e30, 1e300])
def test_common_scale_of_the_weights_does_not_matter(network: nn.Sequential, scale: float) -> None:
    plain = PFV(network, blobs(3), device="cpu").render(images=(2, 1, 0))
    scaled = PFV(network, blobs(3), device="cpu").render(images=(2 * scale, scale, 0))
    same(scaled, plain, 1e-4)


def test_colours_hold_still_while_images_are_toggled(pfv: PFV) -> None:
    start = pfv.render()
    for left_out in range(4):
        weights = tuple(float(index != left_out) for index in range(4))
        before, after = start.basis.components, pfv.render(images=weights).basis.components
        assert float((before * after).sum(dim=1).min()) > 0
        same(pfv.render(), start)


def test_colours_come_back_after_fewer_components_were_shown(pfv: PFV) -> None:
    pfv.render()
    rotated = remember(pfv, (1, -2, -3))
    pfv.render(components=1)
    torch.testing.assert_close(pfv.render().basis.components, rotated)


def test_long_way_of_small_changes_ends_in_the_first_colours(pfv: PFV) -> None:
    start = pfv.render()
    for left_out in (0, 1, 2, 3, 2, 0):
        pfv.render(images=tuple(float(index != left_out) for index in range(4)))
        pfv.render(images=tuple(float(index == left_out) for index in range(4)))
    same(pfv.render(), start)


def test_anchor_is_the_basis_of_all_images_whatever_is_shown_first(network: nn.Sequential) -> None:
    some = (1.0, 0.0, 1.0, 1.0)
    plain = PFV(network, blobs(4), device="cpu")
    plain.render()
    anchored = PFV(network, blobs(4), device="cpu")
    anchored.anchor()
    same(anchored.render(images=some), plain.render(images=some))


def test_anchor_of_an_unknown_layer_is_a_named_error(network: nn.Sequential) -> None:
    with pytest.raises(PFVValueError, match="layer='nowhere'"):
        PFV(network, blobs(2), device="cpu").anchor("nowhere")


def test_anchor_notices_that_the_network_has_changed(network: nn.Sequential) -> None:
    some = (1.0, 0.0, 1.0, 1.0)
    pfv = PFV(network, blobs(4), device="cpu")
    pfv.anchor()
    with torch.no_grad():
        network[0].weight.mul_(-1)
    pfv.anchor()
    anchored = PFV(network, blobs(4), device="cpu")
    anchored.anchor()
    expected = anchored.colours.anchors[pfv.default_layer]
    assert torch.equal(pfv.colours.anchors[pfv.default_layer].components, expected.components)
    same(pfv.render(images=some), anchored.render(images=some))


def remember(pfv: PFV, arrangement: tuple[int, ...]) -> torch.Tensor:
    """Let the engine have shown its components in another arrangement."""
    rotated = pfv.colours.previous[pfv.default_layer].arranged(arrangement)
    pfv.colours = pfv.colours.with_basis(pfv.default_layer, rotated)
    return rotated.components


def test_stable_colours_can_be_switched_off(pfv: PFV) -> None:
    pfv.render()
    rotated = pfv.colours.previous[pfv.default_layer].arranged((2, -1, -3))
    for stable, expected in ((True, rotated.components), (False, None)):
        pfv.colours = pfv.colours.with_basis(pfv.default_layer, rotated)
        actual = pfv.render(stable_colours=stable).basis
        if expected is None:
            assert bool((actual.variances.diff() <= 0).all())
            assert not torch.equal(actual.components, rotated.components)
        else:
            assert torch.equal(actual.components, expected)


def test_two_threads_get_the_pictures_that_they_would_get_alone(network: nn.Sequential) -> None:
    changes = [{"layer": "4", "sigma": 2.0}, {"components": 5, "weighting": "none"}]
    alone = [PFV(network, blobs(4), device="cpu").render(**one) for one in changes]
    shared = PFV(network, blobs(4), device="cpu", memory=30_000)
    check_in_threads([shared, shared], changes, alone)


def test_two_pictures_of_one_network_in_two_threads_do_not_meet(network: nn.Sequential) -> None:
    network[1].train()
    modes = [module.training for module in network.modules()]
    changes = [{"layer": "4"}, {"layer": "8"}]
    alone = [PFV(network, blobs(4), device="cpu").render(**one) for one in changes]
    check_in_threads([PFV(network, blobs(4), device="cpu") for _ in "ab"], changes, alone)
    assert [module.training for module in network.modules()] == modes


def check_in_threads(
    painters: list[PFV], changes: list[dict[str, Any]], alone: list[Frame]
) -> None:
    wrong: list[object] = []

    def work(index: int) -> None:
        try:
            for _ in range(15):
                if painters[0] is not painters[1]:
                    painters[index].close()
                same(painters[index].render(**changes[index], stable_colours=False), alone[index])
        except BaseException as error:  # a thread's failure would go unseen
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert wrong == []


def test_slider_of_components_fits_once_and_shows_what_each_number_alone_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted, plain = [], FittedBasis.basis

    def basis(self: FittedBasis, *arguments: Any) -> PrincipalBasis:
        fitted.append(arguments[-1])
        return plain(self, *arguments)

    monkeypatch.setattr(FittedBasis, "basis", basis)
    network, images = tiny(channels=20), blobs(4)
    pfv = PFV(network, images, "cpu")
    weights = (1.0, 0.5, 1.0, 1.0)
    shown = {
        number: pfv.render(images=weights, components=number).basis for number in (3, 4, 9, 12, 1)
    }
    assert fitted == [3, 12]
    for number, result in shown.items():
        alone = PFV(network, images, "cpu").render(images=weights, components=number).basis
        overlap = (result.components @ alone.components.T).abs().amax(dim=1)
        torch.testing.assert_close(overlap, torch.ones(number), rtol=0, atol=1e-4)
        assert len(result.variances) == number
