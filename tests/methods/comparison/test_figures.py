"""The two comparison figures: what stands in each tile, and that every word has room."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import pfv_widgets as pw
from pfv_widgets.errors import PFVError, PFVValueError
from pfv_widgets.methods.attribution.colours import heatmap_colours, limits
from pfv_widgets.methods.comparison.compared_methods import explainers, labels
from pfv_widgets.methods.comparison.figures import PAPER_METHODS
from pfv_widgets.methods.gradient.path_and_noise import IntegratedGradients, SmoothGrad
from pfv_widgets.methods.lrp.relevance import Relevance
from pfv_widgets.methods.perturbation.occlusion import Occlusion
from tests.figure_layout import assert_words_have_room, texts
from tests.networks import blobs, tiny


def pictures(figure: Figure) -> list[np.ndarray]:
    """The tiles of a figure, without the bars of colours, row by row."""
    drawn = [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]
    return [one for one in drawn if one.shape[0] > 1]


def words(figure: Figure) -> list[str]:
    """All words of a figure; lines of one label are brought together."""
    return [" ".join(one.get_text().split()) for one in texts(figure)]


@pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
def test_methods_stand_beside_the_photo_in_their_own_colours() -> None:
    model, images = tiny(), blobs(2, 32, 40)
    methods = ["saliency", "gradient_times_input", SmoothGrad(samples=2), "pfv"]
    figure = pw.figure_methods(model, images, methods, classes=["a", "b", "c", "d", "e"])
    tiles = pictures(figure)
    assert len(tiles) == 10
    heat = pw.PFV(model, images).render().heatmaps
    for image in range(2):
        row = tiles[5 * image : 5 * image + 5]
        assert np.array_equal(row[0], images.pixels[image])
        for tile, method in zip(row[1:4], methods, strict=False):
            right = pw.attribute(model, images, method)
            expected = heatmap_colours(right.maps, limits(right.maps))[image]
            assert np.allclose(tile, expected, atol=0.02)
        assert np.allclose(row[4], heat[image].cpu(), atol=1e-4)
    actual = words(figure)
    for label in ("Photo", "Gradient", "Gradient × input", "SmoothGrad", "PFV"):
        assert label in actual
    right = pw.attribute(model, images, "saliency")
    for unit, score in zip(right.units, right.scores, strict=True):
        assert f"{'abcde'[int(unit)]}, {float(score):.3g}".replace("-", "−") in actual
    assert_words_have_room(figure)
    assert len(figure.axes) == 12  # two bars: one from zero, one with a sign


def test_networks_stand_beside_each_other_with_the_score_of_each() -> None:
    models, images = {"first $x$": tiny(), "second": tiny(1)}, blobs(2)
    figure = pw.figure_networks(models, images, scale="each method")
    tiles, actual = pictures(figure), words(figure)
    assert len(tiles) == 6
    maps = [pw.attribute(model, images, "guided_backprop") for model in models.values()]
    end = max(float(limits(one.maps).max()) for one in maps).__float__()
    for image in range(2):
        for network in range(2):
            ends = torch.tensor([end, end])
            expected = heatmap_colours(maps[network].maps, ends, signed=False)[image]
            assert np.allclose(tiles[3 * image + 1 + network], expected, atol=0.02)
            score = float(maps[network].scores[image])
            unit = int(maps[network].units[image])
            assert f"unit {unit}, {score:.3g}".replace("-", "−") in actual
    assert {"first $x$", "second", "Photo"} <= set(actual)
    assert_words_have_room(figure)


@pytest.mark.parametrize("scale", ["each map", "each method", "all alike"])
def test_words_have_room_whatever_their_length(scale: str, tmp_path: Path) -> None:
    names = ("a$b$ <img>" * 9, "日本" * 40)
    images = dataclasses.replace(blobs(2, 24, 60), names=names)
    models = {"a network with a very long name indeed": tiny(), "b\nc": tiny(1)}
    classes = ["a class of things with a very long name", "x" * 99, "日本" * 40, "a", "b"]
    figure = pw.figure_networks(
        models, images, "gradient_times_input", classes=classes, scale=scale
    )
    assert_words_have_room(figure)
    figure.savefig(tmp_path / "one.png")
    single = pw.figure_methods(tiny(), images.subset([0]), ["saliency"], scale=scale)
    assert_words_have_room(single)


def test_names_of_another_output_are_refused_at_once() -> None:
    models = {"one": tiny(), "other": nn.Sequential(*tiny()[:-1], nn.Linear(8, 2)).eval()}
    with pytest.raises(
        PFVValueError, match=r"'imagenet' has 1000 names.* 5 units.*classes=\{'one'"
    ):
        pw.figure_networks(models, blobs(1), classes="imagenet")
    with pytest.raises(PFVValueError, match="unit 3 has a name, and the network's output 2 units"):
        pw.explore_methods(models, blobs(1), classes={3: "cat"})


def dead(channels: int = 3) -> nn.Sequential:
    """A network whose deconvnet signal dies on the way."""
    model = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        model[3].weight.fill_(-1.0)
    return model.eval()


def test_a_map_of_zeros_is_plain_and_says_so() -> None:
    figure = pw.figure_methods(dead(), blobs(1, 8), ["deconvnet", "saliency"])
    zero = pictures(figure)[1]
    assert len(np.unique(zero.reshape(-1, 3), axis=0)) == 1
    assert "zero everywhere: a ReLU passes only positive signals" in " ".join(words(figure))


@pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
def test_settings_of_one_method_stand_side_by_side_and_are_told_apart() -> None:
    model, images = tiny(), blobs(2)
    methods = [
        Relevance(), Relevance(rule="gamma", gamma=0.5), "saliency",
        Occlusion(size=8), Occlusion(size=16),
    ]  # fmt: skip
    figure = pw.figure_methods(model, images, methods, unit=[3, 1])
    tiles, actual = pictures(figure), words(figure)
    for column, method in enumerate(methods):
        right = pw.attribute(model, images, method, unit=[3, 1])
        expected = heatmap_colours(right.maps, limits(right.maps))
        for image in range(2):
            assert np.allclose(tiles[6 * image + 1 + column], expected[image], atol=0.02), method
    assert labels(explainers(methods)) == [
        "Relevance propagation, rule epsilon-plus by depth",
        "Relevance propagation, rule gamma, γ 0.5",
        "Gradient", "Occlusion, size (8, 8)", "Occlusion, size (16, 16)",
    ]  # fmt: skip
    assert "Gradient" in actual
    with pytest.raises(PFVValueError, match="'relevance' twice with the same options"):
        pw.figure_methods(model, images, [Relevance(), Relevance()])


def test_units_of_each_photo_are_explained_in_their_rows() -> None:
    model, images = tiny(), blobs(2)
    names = ["a", "b", "c", "d", "e"]
    scores = pw.attribute(model, images, "saliency", unit=[3, 1]).scores
    for figure in (
        pw.figure_methods(model, images, ["saliency"], unit=[3, 1], classes=names),
        pw.figure_networks({"x": model}, images, "saliency", unit=[3, 1], classes={"x": names}),
    ):
        for name, score in zip("db", scores, strict=True):
            assert f"{name}, {float(score):.3g}".replace("-", "−") in words(figure)
    with pytest.raises(PFVValueError, match="3 units for 2 images"):
        pw.figure_methods(model, images, ["saliency"], unit=[3, 1, 2])


@pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
def test_options_and_what_a_method_fails_stand_below_the_figure() -> None:
    methods = [Occlusion(size=8, stride=4), Relevance(epsilon=0.25), IntegratedGradients(steps=9)]
    text = " ".join(words(pw.figure_methods(tiny(), blobs(1), [*methods, SmoothGrad(samples=2)])))
    for option in (
        "boxes of 8 × 8 every 4 × 4 pixels", "sum of the score's drops under up to 4 boxes",
        "ε 0.25", "9 steps", "2 samples, noise 0.15",
    ):  # fmt: skip
        assert option in text, option
    default = " ".join(words(pw.figure_networks([tiny()], blobs(1))))
    assert "Guided backpropagation: fails the randomisation check" in default
    assert "randomisation check" not in text
    gamma = " ".join(words(pw.figure_methods(tiny(), blobs(1), [Relevance(rule="gamma")])))
    assert "hardly change where the classifier is re-initialised" in gamma


def test_one_method_that_fails_says_so_in_its_tiles_and_all_of_them_raise() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    figure = pw.figure_methods(model, blobs(2, 8), ["saliency", "grad_cam"])
    assert len(pictures(figure)) == 4
    assert any("model: none of its" in text for text in words(figure))
    assert_words_have_room(figure)
    with pytest.raises(PFVValueError, match="unit=7: the output has 5 units"):
        pw.figure_methods(tiny(), blobs(2), ["saliency", "guided_backprop"], unit=7)


def test_arguments_that_are_wrong_are_named() -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"methods": ["salienc"]}, "method='salienc'.*Did you mean 'saliency'"),
        ({"scale": "each"}, "scale='each' is unknown"),
        ({"unit": -1}, "unit=-1"),
        ({"model": [tiny(), tiny()]}, "takes one network"),
        ({"classes": 5}, "classes=5"),
    ]
    for changes, match in wrong:
        arguments = {"model": tiny(), "images": blobs(1), "methods": ["saliency"], **changes}
        with pytest.raises(PFVError, match=match):
            pw.figure_methods(**arguments)
    with pytest.raises(PFVError, match="method='salienc'"):
        pw.figure_networks([tiny()], blobs(1), "salienc")


def test_progress_counts_the_maps_and_cancelling_ends_it() -> None:
    calls: list[tuple[int, int]] = []
    pw.figure_networks([tiny(), tiny(1)], blobs(2), progress=lambda *one: calls.append(one))
    assert calls == [(done, 4) for done in range(5)]
    with pytest.raises(PFVError, match="stopped"):
        pw.figure_networks([tiny()], blobs(1), cancelled=lambda: True)


def test_methods_of_the_paper_are_drawn_by_default() -> None:
    figure = pw.figure_methods(tiny(), blobs(1))
    assert len(pictures(figure)) == 1 + len(PAPER_METHODS)
    for label in ("Occlusion", "Deconvnet", "Guided backpropagation"):
        assert label in words(figure)


@pytest.mark.assets
@pytest.mark.all
def test_real_photos_are_named_below_their_guided_backpropagation(
    assets: Path, squeezenet: nn.Module
) -> None:
    photos = [
        assets / "photos/imagenet" / name
        for name in ("388_giant_panda.jpg", "812_space_shuttle.jpg")
    ]
    figure = pw.figure_networks(squeezenet, pw.load_images(photos), classes="imagenet")
    assert any(text.startswith("giant panda, ") for text in words(figure))
    assert any(text.startswith("space shuttle, ") for text in words(figure))
    assert_words_have_room(figure)


def test_nothing_to_draw_is_a_named_error() -> None:
    with pytest.raises(PFVValueError, match=r"methods is empty: give some of 'pfv', 'saliency'"):
        pw.figure_methods(tiny(), blobs(1), [])
    for call in (pw.figure_networks, pw.explore_methods):
        with pytest.raises(PFVValueError, match="models is empty"):
            call([], blobs(1))
