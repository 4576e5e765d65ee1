"""How far a basis turns without each image, against an SVD for each and SciPy's angles."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
import torch
from torch import Tensor

from pfv_widgets.analysis.leave_one_out import Influence, leave_one_out
from pfv_widgets.engine.pipeline.feature_store import FeatureStore
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from tests.networks import blobs, counted, seeded, tiny
from tests.slow_oracles import principal_components

LAYER = "6"  # 16 channels on 16 × 16 positions
UNEVEN = (1.0, 0.0, 0.3, 2.0, 1.0, 0.05)


@pytest.fixture
def pfv() -> PFV:
    return PFV(tiny(channels=16), blobs(6), device="cpu")


def maps_of(pfv: PFV, layer: str = LAYER) -> Tensor:
    features = pfv.store.captured(layer)[0]
    return features.maps + features.offset[:, None, None]


def slow(maps: Tensor, number: int, weights: Sequence[float]) -> npt.NDArray[np.float64]:
    """Principal angles (N, k) in degrees, falling; NaN for what has no weight."""
    own = principal_components(maps, number, weights)[1]
    angles = np.full((len(maps), number), np.nan)
    for index, weight in enumerate(weights):
        rest = [0 if other == index else w for other, w in enumerate(weights)]
        if weight and any(rest):
            without = principal_components(maps, number, rest)[1]
            angles[index] = np.rad2deg(scipy.linalg.subspace_angles(own.T, without.T))
    return angles


@pytest.mark.parametrize("weights", [None, UNEVEN, (1.0, 0, 0, 0, 0, 1.0), (1e30,) * 6])
@pytest.mark.parametrize("components", [1, 3, 5])
def test_angles_are_those_of_a_basis_fitted_anew_without_each_image(
    pfv: PFV, components: int, weights: tuple[float, ...] | None
) -> None:
    settings = Settings(layer=LAYER, components=components, images=weights)
    actual = leave_one_out(pfv, settings)
    expected = slow(maps_of(pfv), components, weights or (1.0,) * 6)
    np.testing.assert_allclose(actual.angles, expected[:, 0], atol=0.02)
    np.testing.assert_allclose(actual.mean_angles, np.sqrt((expected**2).mean(axis=1)), atol=0.02)
    assert actual.settings == settings


@pytest.mark.parametrize("layer", ["3", "6"])  # by moments in chunks, and by few positions
def test_angles_are_the_same_where_no_moments_are_kept(
    pfv: PFV, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureStore, "moments", lambda *_: None)  # as with very many channels
    images = blobs(5, 32 if layer == "3" else 8)
    few = PFV(tiny(channels=128 if layer == "6" else 16), images, device="cpu")
    settings = Settings(layer=layer, components=2, images=(1, 0.5, 1, 0, 1))
    actual = leave_one_out(few, settings)
    expected = slow(maps_of(few, layer), 2, (1, 0.5, 1, 0, 1))
    np.testing.assert_allclose(actual.angles, expected[:, 0], atol=0.02)


@pytest.mark.parametrize("weight", [1.0, 0.001])
def test_angle_of_an_image_that_holds_nearly_all_variance_keeps_its_digits(weight: float) -> None:
    batch = blobs(5)
    batch.tensor[2] *= 3000
    pfv = PFV(tiny(channels=16), batch, device="cpu")
    images = (weight, weight, 1.0, weight, weight)
    actual = leave_one_out(pfv, Settings(layer="0", components=2, images=images))
    expected = slow(maps_of(pfv, "0"), 2, images)
    np.testing.assert_allclose(actual.angles[2], expected[2, 0], atol=0.05)
    assert actual.most()[0] == 2


def test_angle_of_an_image_that_holds_nearly_all_weight_keeps_its_digits() -> None:
    batch = blobs(5)
    rest = batch.tensor[[0, 1, 3, 4]].mean(dim=(0, 2, 3))
    batch.tensor[2] = 1e-3 * batch.tensor[2] + rest[:, None, None]  # all the same, in the middle
    pfv = PFV(tiny(channels=16), batch, device="cpu")
    images = (1e-6, 3e-6, 1.0, 1e-6, 2e-6)
    actual = leave_one_out(pfv, Settings(layer="0", components=2, images=images))
    expected = slow(maps_of(pfv, "0"), 2, images)
    np.testing.assert_allclose(actual.angles[2], expected[2, 0], rtol=2e-3)


def test_image_of_its_own_kind_turns_the_basis_most() -> None:
    batch = blobs(1).subset([0] * 8)
    batch.tensor[5] = torch.randn(3, 32, 32, generator=seeded(3))
    result = leave_one_out(PFV(tiny(channels=16), batch, device="cpu"), Settings(layer=LAYER))
    assert result.most()[0] == 5
    assert result.angles[5] > 4 * np.delete(result.angles, 5).max()


def test_images_without_an_angle_say_why(pfv: PFV) -> None:
    result = leave_one_out(pfv, Settings(layer=LAYER, images=(0, 0, 1, 0, 0, 0)))
    assert np.isnan(result.angles).all()
    assert result.most() == ()
    assert result.reasons[0] == "it is not used to find the colours"
    assert result.reasons[2] == "it is the only image that is used"


def test_components_that_the_rest_cannot_give_are_a_reason() -> None:
    pfv = PFV(tiny(channels=16), blobs(2, 8), device="cpu")  # 2 × 2 positions in each image
    result = leave_one_out(pfv, Settings(layer="10", components=5))
    assert "choose at most 3" in result.reasons[0]
    assert np.isnan(result.angles).all()


def test_image_that_is_not_finite_and_has_no_weight_spoils_nothing(pfv: PFV) -> None:
    healthy = leave_one_out(pfv, Settings(layer=LAYER, images=(1, 1, 0, 1, 1, 1)))
    batch = blobs(6)
    batch.tensor[2] = torch.nan
    broken = PFV(pfv.model, batch, device="cpu")
    result = leave_one_out(broken, Settings(layer=LAYER, images=(1, 1, 0, 1, 1, 1)))
    np.testing.assert_allclose(result.angles, healthy.angles, atol=0.01)
    with pytest.raises(PFVValueError, match="image 2"):
        leave_one_out(broken, Settings(layer=LAYER))


def test_all_channels_together_never_turn(pfv: PFV) -> None:
    pfv = PFV(tiny(channels=4), blobs(3), device="cpu")
    result = leave_one_out(pfv, Settings(layer=LAYER, components=4))
    np.testing.assert_allclose(result.angles, 0, atol=1e-3)


def test_neither_network_nor_colours_nor_cache_are_touched(pfv: PFV) -> None:
    settings = Settings(layer=LAYER)
    before = pfv.render(settings)
    cache, colours = pfv.store.cache, pfv.colours
    kept, held = len(cache), cache.nbytes
    with counted(*pfv.model.modules()) as calls:
        leave_one_out(pfv, settings)
    assert calls == []
    assert (len(cache), cache.nbytes) == (kept, held)
    assert pfv.colours is colours
    torch.testing.assert_close(pfv.render(settings).heatmaps, before.heatmaps, rtol=0, atol=0)


def test_what_is_kept_is_not_asked_for_while_another_thread_paints(pfv: PFV) -> None:
    done = threading.Event()

    def sweep() -> None:
        leave_one_out(pfv, Settings(layer=LAYER))
        done.set()

    with pfv.store.lock:
        thread = threading.Thread(target=sweep)
        thread.start()
        assert not done.wait(0.3)
    assert done.wait(30)
    thread.join()


def test_angles_are_those_of_the_weights_that_the_network_has_now(pfv: PFV) -> None:
    settings = Settings(layer=LAYER)
    before = pfv.render(settings)
    with torch.no_grad():
        pfv.model[0].weight.normal_(generator=seeded(1))
    actual = leave_one_out(pfv, settings)
    expected = leave_one_out(PFV(pfv.model, pfv.images, device="cpu"), settings)
    np.testing.assert_allclose(actual.angles, expected.angles, atol=1e-3)
    assert actual.version == 1
    colours = PFV(pfv.model, pfv.images, device="cpu").render(settings).heatmaps
    torch.testing.assert_close(pfv.render(settings).heatmaps, colours)
    assert not torch.equal(colours, before.heatmaps)


def test_another_thread_does_not_choose_the_basis_in_between(pfv: PFV) -> None:
    basis = pfv.render(layer=LAYER, images=(1, 1, 0, 0, 0, 0)).basis
    given = PFV(pfv.model, pfv.images, device="cpu", basis=basis)
    settings = Settings(layer=LAYER, basis_of="this batch")
    results: list[Influence] = []
    with given.store.lock:
        threads = [
            threading.Thread(target=lambda: results.append(leave_one_out(given, settings))),
            threading.Thread(target=lambda: given.store.use("data set")),
        ]
        for thread in threads:  # which wait for the lock in this order
            thread.start()
            thread.join(0.1)
    for thread in threads:
        thread.join(30)
    np.testing.assert_allclose(results[0].angles, leave_one_out(pfv, settings).angles, atol=1e-3)


def test_progress_counts_the_images(pfv: PFV) -> None:
    calls: list[tuple[int, int]] = []
    leave_one_out(pfv, Settings(layer=LAYER), lambda done, of: calls.append((done, of)))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_cancelling_keeps_what_is_known(pfv: PFV) -> None:
    calls: list[int] = []
    result = leave_one_out(
        pfv, Settings(layer=LAYER), lambda done, _: calls.append(done), lambda: len(calls) == 2
    )
    assert np.isfinite(result.angles).tolist() == [True, True, False, False, False, False]
    assert set(result.reasons) == {2, 3, 4, 5}
    assert sorted(result.most()) == [0, 1]


def test_images_have_no_influence_on_a_basis_that_was_given(pfv: PFV) -> None:
    basis = pfv.render(layer=LAYER).basis
    with_basis = PFV(pfv.model, pfv.images, device="cpu", basis=basis)
    with pytest.raises(PFVValueError, match="no image has an influence on it"):
        leave_one_out(with_basis, Settings(layer=LAYER))
