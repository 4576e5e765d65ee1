from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.colouring import similarity
from pfv_widgets.engine.colouring.colour_maps import PIN_NEUTRAL, pin_colours
from pfv_widgets.engine.colouring.similarity import cell_of, lengths_of, likeness, render_similarity
from pfv_widgets.engine.pca.features import features_of
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests import slow_oracles
from tests.networks import blobs, seeded, tiny

PINS = ((0, 0.1, 0.9), (2, 0.5, 0.5), (3, 1.0, 1.0))


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(4, 6, 5, 7, generator=seeded()) + 3


@pytest.fixture
def pfv() -> PFV:
    return PFV(tiny(), blobs(4, 32, 40), device="cpu")


def slowly(maps: Tensor, pins: Any) -> np.ndarray:
    """Cosines of vectors about their mean, one position after another, in float64."""
    vectors = maps.double().numpy()
    vectors = vectors - vectors.mean(axis=(0, 2, 3), keepdims=True)
    count, _, height, width = vectors.shape
    result = np.zeros((len(pins), count, height, width))
    for number, (image, x, y) in enumerate(pins):
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        one = vectors[image, :, row, column]
        for index in np.ndindex(count, height, width):
            other = vectors[index[0], :, index[1], index[2]]
            result[number][index] = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return result


def alike(maps: Tensor, image: int, cell: tuple[int, int]) -> Tensor:
    features = features_of(maps)
    lengths = lengths_of(features.maps, features.offset, features.broken)
    return likeness(features.maps, lengths, image, cell)


def test_similarity_is_the_cosine_about_the_mean(pfv: PFV) -> None:
    result = pfv.similarity(PINS)
    assert result.shape == (3, 4, 8, 10)
    features = pfv.store.captured(pfv.default_layer)[0]
    activations = features.maps + features.offset[:, None, None]
    np.testing.assert_allclose(result, slowly(activations, PINS), atol=2e-5)
    assert float(result.abs().max()) <= 1
    for number, (image, x, y) in enumerate(PINS):
        row, column = cell_of(x, y, result.shape)
        assert float(result[number, image, row, column]) == pytest.approx(1, abs=1e-6)


def test_similarity_of_another_layer_has_its_size(pfv: PFV) -> None:
    assert pfv.similarity([(0, 0, 0)], "2").shape == (1, 4, 32, 40)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_similarity_does_not_depend_on_the_scale(maps: Tensor, scale: float) -> None:
    torch.testing.assert_close(
        alike(maps * scale, 1, (2, 3)), alike(maps, 1, (2, 3)), atol=1e-4, rtol=0
    )


def test_steps_do_not_change_the_result(maps: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = alike(maps, 1, (2, 3))
    monkeypatch.setattr(similarity, "_AT_ONCE", 1)
    torch.testing.assert_close(alike(maps, 1, (2, 3)), whole)


def test_only_small_parts_of_the_maps_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(16, 8, 32, 32).to(memory_format=torch.channels_last)
    monkeypatch.setattr(similarity, "_AT_ONCE", maps[0].numel())
    with torch.profiler.profile(profile_memory=True) as profile:
        lengths = lengths_of(maps, torch.zeros(8), ())
        likeness(maps, lengths, 0, (3, 3))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest <= 2 * maps[0].nbytes


def test_place_without_a_vector_is_like_nothing(maps: Tensor) -> None:
    maps[1, :, 2, 3] = 0
    mean = maps.mean(dim=(0, 2, 3))
    centred = maps - mean[:, None, None]
    centred[1, :, 2, 3] = 0
    lengths = lengths_of(centred, mean, ())
    assert not likeness(centred, lengths, 1, (2, 3)).any()
    other = likeness(centred, lengths, 0, (0, 0))
    assert float(other[1, 2, 3]) == 0
    assert torch.isfinite(other).all()


def test_rounding_about_a_large_mean_is_no_direction() -> None:
    maps = torch.full((3, 4, 5, 5), 1000.1)
    maps[0, :, 0, 0] = torch.tensor([1.0, 2.0, -3.0, 0.5]) * 1e5
    result = alike(maps + torch.rand(maps.shape) * 1e-5, 0, (0, 0))
    assert float(result[0, 0, 0]) == pytest.approx(1)
    centred = torch.full((3, 4, 5, 5), 1e-5)
    assert not lengths_of(centred, torch.full((4,), 1000.0), ()).any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_image_with_a_bad_number_is_like_nothing_and_spoils_no_other(
    maps: Tensor, bad: float
) -> None:
    good = alike(maps[[0, 1, 3]], 0, (1, 1))
    maps[2, 0, 4, 4] = bad
    result = alike(maps, 0, (1, 1))
    torch.testing.assert_close(result[[0, 1, 3]], good)
    assert not result[2].any()
    assert not alike(maps, 2, (1, 1)).any()


def test_nearest_positions_are_the_best_of_each_other_image(pfv: PFV) -> None:
    result = pfv.nearest(1, 0.3, 0.6, number=10)
    cosines = pfv.similarity([(1, 0.3, 0.6)])[0].numpy()
    best = {i: cosines[i].max() for i in (0, 2, 3) if cosines[i].max() > 0}
    assert [position.image for position in result] == sorted(best, key=lambda i: -best[i])
    for position in result:
        assert position.similarity == pytest.approx(best[position.image])
        assert cosines[position.image, position.row, position.column] == best[position.image]
        assert cell_of(position.x, position.y, cosines.shape) == (position.row, position.column)
        assert position.x == pytest.approx((position.column + 0.5) / 10)
        assert position.y == pytest.approx((position.row + 0.5) / 8)
    assert pfv.nearest(1, 0.3, 0.6, number=1) == result[:1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result[0].row = 3  # type: ignore[misc]


def test_images_in_which_nothing_is_similar_are_left_out() -> None:
    maps = torch.tensor([[1.0, -1], [0.5, 0.4], [-1, -0.2], [0, 0]]).view(4, 1, 2)
    assert [position.image for position in similarity.nearest_positions(maps, 0, 9)] == [1]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3"])
def test_number_of_positions_must_be_whole(pfv: PFV, number: Any) -> None:
    with pytest.raises(PFVError, match=r"number=.*a whole number from 1"):
        pfv.nearest(0, 0, 0, number=number)


def test_places_that_are_none_are_named(pfv: PFV) -> None:
    for find in (pfv.nearest, pfv.render().at):
        with pytest.raises(PFVValueError, match=r"image=4: .*from 0 to 3"):
            find(4, 0, 0)
        with pytest.raises(PFVValueError, match=r"position=\(-1, 0, 0\): expected \(image, x, y\)"):
            find(-1, 0, 0)
        with pytest.raises(PFVTypeError, match=r"position=\('a', 0, 0\): .*from 0 to 1\.$"):
            find("a", 0, 0)
    with pytest.raises(PFVValueError, match="pins is empty"):
        pfv.similarity([])
    with pytest.raises(PFVTypeError, match="pins="):
        pfv.similarity(3)  # type: ignore[arg-type]
    with pytest.raises(PFVValueError, match="layer='nowhere'"):
        pfv.similarity([(0, 0, 0)], "nowhere")


def test_what_similarity_returns_is_a_copy(pfv: PFV) -> None:
    first = pfv.similarity(PINS)
    before = first.clone()
    first.zero_()
    assert torch.equal(pfv.similarity(PINS), before)


def test_painted_place_has_the_colour_of_the_pin_that_it_is_most_like() -> None:
    cosines = torch.randn(2, 3, 4, 5, generator=seeded()).clamp(-1, 1)
    painted = render_similarity(cosines, (9, 11)).numpy()
    fine = slow_oracles.bilinear(cosines, (9, 11))
    colours = pin_colours(3).double().numpy()
    for image, row, column in np.ndindex(2, 9, 11):
        values = fine[image, :, row, column]
        strength, colour = max(values.max(), 0), colours[values.argmax()]
        expected = PIN_NEUTRAL + strength * (colour - PIN_NEUTRAL)
        np.testing.assert_allclose(painted[image, row, column], expected, atol=1e-5)


def test_pins_paint_similarity_and_leave_scores_and_basis_alone(pfv: PFV) -> None:
    plain, pinned = pfv.render(), pfv.render(pins=PINS)
    assert torch.equal(pinned.scores, plain.scores)
    assert torch.equal(pinned.basis.components, plain.basis.components)
    expected = render_similarity(pfv.similarity(PINS).transpose(0, 1), (32, 40))
    assert torch.equal(pinned.heatmaps, expected)
    off = pfv.render(pins=PINS, similarity=False)
    assert torch.equal(off.heatmaps, plain.heatmaps)


def test_pins_on_given_activations_paint_the_same_as_on_a_network(pfv: PFV) -> None:
    features = pfv.store.captured(pfv.default_layer)[0]
    maps = features.maps + features.offset[:, None, None]
    actual = heatmaps_from_activations([maps], Settings(pins=PINS), size=(32, 40))
    expected = pfv.render(pins=PINS).heatmaps
    torch.testing.assert_close(actual.heatmaps, expected, atol=1e-4, rtol=0)


def test_pin_in_a_spoilt_image_paints_nothing(maps: Tensor) -> None:
    maps[0, 0, 0, 0] = float("nan")
    settings = Settings(images=(0, 1, 1, 1), pins=[(0, 0.5, 0.5)])
    frame = heatmaps_from_activations([maps], settings)
    assert float((frame.heatmaps - PIN_NEUTRAL).abs().max()) < 1e-6


def test_places_are_compared_once_for_each_cell(pfv: PFV) -> None:
    pfv.similarity([(0, 0.51, 0.51)])
    entries = len(pfv.store.cache)
    pfv.similarity([(0, 0.52, 0.52)])
    assert len(pfv.store.cache) == entries
