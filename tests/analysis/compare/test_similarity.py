"""Two networks on the same photos: the numbers, the band of chance, and what is undefined."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.analysis.compare.alignment import linear_cka
from pfv_widgets.analysis.compare.similarity import similarity_of_maps
from pfv_widgets.engine.network.capture import capture
from pfv_widgets.engine.network.feature_layout import Layout
from pfv_widgets.engine.progress import Cancelled, Progress
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import blobs, counted, tiny, unchanged

LAYERS = ["0", "5", "10"]


def grid_features(model: nn.Module, images: Tensor, layer: str, grid: int) -> np.ndarray:
    """Features (N, positions, C) of a layer, averaged over cells, by a way of its own."""
    with torch.no_grad(), capture(model, {layer: (Layout(), None)}, stop=False) as activations:
        model(images)
    maps = activations[layer].numpy()
    size = maps.shape[2] // grid
    maps = maps.reshape(*maps.shape[:2], grid, size, grid, size).mean((3, 5))
    return np.moveaxis(maps, 1, 3).reshape(len(maps), -1, maps.shape[1])


def leading(features: np.ndarray, number: int) -> np.ndarray:
    centred = features - features.mean(0)
    return np.linalg.svd(centred, full_matrices=False)[0][:, :number]


@pytest.fixture(scope="module")
def result_and_features() -> tuple[pw.Similarity, dict[str, list[np.ndarray]]]:
    models, images = {"one": tiny(0), "other": tiny(1)}, blobs(6)
    result = pw.similarity(models, images, LAYERS, grid=4, components=2)
    features = {
        name: [grid_features(model, images.tensor, layer, 4) for layer in LAYERS]
        for name, model in models.items()
    }
    return result, features


def test_cka_is_that_of_the_features_of_all_positions(
    result_and_features: tuple[pw.Similarity, dict[str, list[np.ndarray]]],
) -> None:
    result, features = result_and_features
    assert result.layers == (tuple(LAYERS),) * 2
    assert result.grid == (4, 4)
    for row, first in enumerate(features["one"]):
        for column, second in enumerate(features["other"]):
            pair = [torch.tensor(one.reshape(-1, one.shape[2])) for one in (first, second)]
            assert result.cka[row, column] == pytest.approx(linear_cka(*pair), abs=1e-5)
            for photo in range(6):
                pair = [torch.tensor(one[photo]) for one in (first, second)]
                own = result.cka_by_photo[row, column, photo]
                assert own == pytest.approx(linear_cka(*pair), abs=1e-5)


def test_angles_are_those_of_the_leading_scores(
    result_and_features: tuple[pw.Similarity, dict[str, list[np.ndarray]]],
) -> None:
    result, features = result_and_features
    first, second = features["one"][2], features["other"][1]
    scores = [leading(one.reshape(-1, one.shape[2]), 2) for one in (first, second)]
    expected = np.rad2deg(scipy.linalg.subspace_angles(*scores))[::-1]
    np.testing.assert_allclose(result.angles[2, 1], expected, atol=0.01)
    own = [one.reshape(6, 16, 2)[3] for one in scores]
    expected = np.rad2deg(scipy.linalg.subspace_angles(*(one - one.mean(0) for one in own)))[::-1]
    np.testing.assert_allclose(result.angles_by_photo[2, 1, 3], expected, atol=0.01)


def test_the_band_is_that_of_shuffled_photos(
    result_and_features: tuple[pw.Similarity, dict[str, list[np.ndarray]]],
) -> None:
    result, features = result_and_features
    rng = np.random.default_rng(0)
    draws = []
    while len(draws) < 60:
        order = rng.permutation(6)
        if not (order == np.arange(6)).any():
            pair = features["one"][1], features["other"][1][order]
            draws.append(linear_cka(*(torch.tensor(one.reshape(-1, 8)) for one in pair)))
    low, high = result.null[:, 1, 1]
    assert min(draws) - 0.02 <= low < np.median(draws) < high <= max(draws) + 0.02
    assert "too small to tell (6 photos)" in result.warnings[0]


def test_a_network_is_like_itself_and_a_rotated_copy() -> None:
    model, images = tiny(inplace=False), blobs(8)
    turn = nn.Conv2d(8, 8, 1, bias=False)
    nn.init.orthogonal_(turn.weight)
    copy = nn.Sequential(*model[:10], turn, *model[10:])
    result = pw.similarity(
        {"a": model, "b": copy}, images, {"a": ["1", "8", "9"], "b": ["1", "8", "10"]}
    )
    np.testing.assert_allclose([result.cka[0, 0], result.cka[1, 1]], 1, atol=1e-5)
    last = pw.similarity({"a": model, "b": copy}, images, {"a": ["9"], "b": ["10"]})
    assert last.cka[0, 0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(last.angles[0, 0], 0, atol=0.02)
    assert result.of("8") == result.cka[1, 1]
    assert result.is_distinguishable[1, 1]


@pytest.mark.parametrize(
    ("layers", "which"), [(1, "The two layers are"), (2, r"[234] of 4 pairs of layers are")]
)
def test_features_that_have_nothing_in_common_are_said_to_be_no_more_alike_than_by_chance(
    layers: int, which: str
) -> None:
    source = torch.Generator().manual_seed(0)
    first, second = (
        {str(layer): torch.randn(16, 8, 2, 2, generator=source) for layer in range(layers)}
        for _ in range(2)
    )
    names = tuple(f"photo {index}" for index in range(16))
    result = similarity_of_maps(("one", "other"), (first, second), names)
    assert any(re.match(rf"{which} no more alike than with shuffled", w) for w in result.warnings)


@pytest.mark.parametrize(("noise", "warned"), [(0.0, False), (10.0, True)])
def test_photos_that_are_alike_are_a_warning_unless_the_networks_are_clearly_more_alike(
    noise: float, warned: bool
) -> None:
    source = torch.Generator().manual_seed(0)
    alike = torch.randn(1, 8, 4, 4, generator=source).expand(16, -1, -1, -1)
    first = 10 * alike + 3 * torch.randn(16, 8, 4, 4, generator=source)
    second = first + noise * torch.randn(first.shape, generator=source)
    names = tuple(f"photo {index}" for index in range(16))
    result = similarity_of_maps(("one", "other"), ({"a": first}, {"a": second}), names)
    assert result.null[1, 0, 0] > 0.5
    assert any("photos are alike" in one for one in result.warnings) is warned


def test_head_trained_and_changed_networks_part_where_they_were_changed() -> None:
    model, changed = tiny(), tiny()
    with torch.no_grad():
        changed[8].weight.normal_()
    result = pw.similarity({"before": model, "after": changed}, blobs(8))
    assert result.parting_layer() == "8"
    same = pw.similarity([model, model], blobs(8), LAYERS)
    assert same.parting_layer(0.999) is None
    assert same.networks == ("Sequential", "Sequential 2")


def test_each_network_runs_once_and_comes_back_as_it_was() -> None:
    model, images = tiny(), blobs(5)
    other = tiny(1).train()
    seen: list[Progress] = []
    with counted(model[0]) as runs, unchanged(other):
        pw.similarity([model, other], images, on_progress=seen.append, chunk_size=5)
    assert len(runs) <= 3  # the photos, and what lists the layers and tries the size
    stages = list(dict.fromkeys(one.stage for one in seen))
    assert stages == [
        "Running Sequential", "Running Sequential 2", "Preparing layers", "Comparing layers",
        "Shuffling photos",
    ]  # fmt: skip

    def stop(progress: Progress) -> None:
        if progress.stage == "Shuffling photos":
            raise Cancelled

    with pytest.raises(Cancelled):
        pw.similarity([model, other], images, on_progress=stop)


class Broken(nn.Module):
    """NaN from its second layer on, for some photos."""

    def __init__(self, photos: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.photos = photos

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        shape = torch.arange(len(maps)) < self.photos
        return self.second(torch.where(shape[:, None, None, None], torch.nan, maps))


def test_photos_that_are_not_finite_are_left_out_and_named() -> None:
    images, model = blobs(9), tiny()
    result = pw.similarity({"fine": model, "broken": Broken(1)}, images)
    assert np.isfinite(result.cka).all()
    assert np.isnan(result.cka_by_photo[:, :, 0]).all()
    assert np.isfinite(result.cka_by_photo[:, :, 1:]).all()
    assert "Left out, as not finite in a network" in result.warnings[0]
    assert images.names[0] in result.warnings[0]


def test_a_layer_that_is_never_finite_is_undefined_and_the_others_live() -> None:
    result = pw.similarity({"fine": tiny(), "broken": Broken(9)}, blobs(9))
    assert np.isnan(result.cka[:, 1]).all()
    assert np.isfinite(result.cka[:, 0]).all()
    assert np.isnan(result.angles[:, 1]).all()
    assert any(
        line.startswith("Undefined") and "second of broken" in line for line in result.warnings
    )


def test_constant_photos_and_one_photo_are_undefined_or_said_to_be_too_few() -> None:
    constant = pw.load_images(torch.ones(8, 3, 32, 32))
    flat = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    result = pw.similarity([flat, flat], constant)
    assert np.isnan(result.cka).all()
    assert any("constant" in line for line in result.warnings)
    one = pw.similarity([tiny(), tiny(1)], blobs(1), LAYERS)
    assert np.isfinite(one.cka).all()
    assert np.isnan(one.null).all()
    assert "1 photo)" in one.warnings[0]
    single = pw.similarity([tiny(), tiny(1)], blobs(1), LAYERS, grid=1)
    assert np.isnan(single.cka).all()
    assert "at least 4 are needed" in single.warnings[0]


def test_what_cannot_be_compared_is_named() -> None:
    model, images = tiny(), blobs(2)
    with pytest.raises(PFVValueError, match=r"got 1 .*expected two networks"):
        pw.similarity([model], images)
    with pytest.raises(PFVValueError, match="got 3"):
        pw.similarity([model] * 3, images)
    with pytest.raises(PFVValueError, match=r"got 5 .*see similarity_curve"):
        pw.similarity(pw.randomised(model), images)
    with pytest.raises(PFVTypeError, match="models"):
        pw.similarity(7, images)
    with pytest.raises(PFVValueError, match="layers of 'Sequential': layer='stem'"):
        pw.similarity([model, model], images, ["stem"])
    with pytest.raises(PFVValueError, match="has no entry for 'b'"):
        pw.similarity({"a": model, "b": model}, images, {"a": ["0"]})
    with pytest.raises(PFVTypeError, match="expected names of layers"):
        pw.similarity([model, model], images, "0")
    with pytest.raises(PFVValueError, match="at least one"):
        pw.similarity([model, model], images, [])
    with pytest.raises(PFVValueError, match=r"memory=10: .* take more than that"):
        pw.similarity([model, model], images, memory=10)
    with pytest.raises(PFVValueError, match=r"models\['flat'\]: model: none of its layers"):
        pw.similarity({"a": model, "flat": nn.Flatten()}, images)


def test_more_components_than_two_layers_have_are_refused() -> None:
    models, images = {"a": tiny(), "b": tiny(channels=6)}, blobs(4)
    assert pw.similarity(models, images, ["8"], components=6).angles.shape == (1, 1, 6)
    for components in (7, 10**7):
        with pytest.raises(PFVValueError, match=f"components={components}: .* from 1 to 6, the mo"):
            pw.similarity(models, images, ["8"], components=components)
    narrow = nn.Sequential(nn.Conv2d(3, 2, 3))
    assert np.isnan(pw.similarity([narrow, narrow], images).angles[0, 0, 2])  # as the default has


def test_less_memory_takes_a_coarser_grid() -> None:
    model, images = tiny(), blobs(8)
    assert pw.similarity([model, model], images, LAYERS).grid == (7, 7)
    assert pw.similarity([model, model], images, LAYERS, memory=500_000).grid == (4, 4)


def test_the_figure_names_what_it_shows() -> None:
    models = {"one": tiny(0), "other": tiny(1)}
    result = pw.similarity(models, blobs(8), LAYERS)
    figure = result.figure()
    words = {text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))}
    assert {"one", "other", "0", "5", "10", "CKA, debiased"} <= words
    assert "one and other: similarity of layers" in words
    assert len(figure.axes) == 3
    alone = replace(result, layers=(("a", "b", "c"), ("d", "e", "f")))
    assert len(alone.figure().axes) == 2
    with pytest.raises(PFVValueError, match="layer='1' of 'one' was not compared"):
        result.of("1")
    with pytest.raises(PFVValueError, match="layer=3 of 'one' was not compared"):
        result.of(3)
