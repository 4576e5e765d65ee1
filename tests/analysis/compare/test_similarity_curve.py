"""A sequence of networks beside a fixed one: figures that fall, and those that are undefined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torchvision.transforms import Compose, Normalize, ToTensor

import pfv_widgets as pw
from pfv_widgets.analysis.compare.alignment import align
from pfv_widgets.analysis.compare.heatmap_agreement import rank_correlation
from pfv_widgets.analysis.compare.similarity_curve_figure import draw_lines_on
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.progress import Cancelled, Progress
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.figure_layout import laid_out
from tests.networks import blobs, tiny


def test_figures_fall_along_a_cascade_and_are_one_at_its_start() -> None:
    model, images = pw.demo_model(), pw.demo_images(4)
    curve = pw.similarity_curve(pw.randomised(model), images)
    assert curve.names[0] == curve.fixed == "trained"
    assert curve.layer == "stage4.3"
    for values in (curve.cka, curve.agreement, curve.rank_correlation, curve.ssim):
        assert values[0] == pytest.approx(1, abs=1e-4)
        assert values[1] == pytest.approx(1, abs=1e-4)  # only the head is random
        assert values[-1] < 0.5
    assert curve.rank_correlation[-1] < 0.3
    assert curve.notes == {}


def test_a_rotated_copy_has_the_same_picture_after_alignment() -> None:
    model, images = tiny(inplace=False), blobs(6)
    turn = nn.Conv2d(8, 8, 1, bias=False)
    nn.init.orthogonal_(turn.weight)
    rotated = nn.Sequential(*model[:10], turn)
    plain = nn.Sequential(*model[:10], nn.Identity())
    curve = pw.similarity_curve([plain, rotated], images, layer="10", weighting="none")
    for values in (curve.cka, curve.agreement, curve.rank_correlation, curve.ssim):
        np.testing.assert_allclose(values, 1, atol=1e-3)


def test_the_picture_is_that_of_the_rotated_scores() -> None:
    models, images = {"a": tiny(0), "b": tiny(1)}, blobs(4)
    curve = pw.similarity_curve(models, images, layer="8", weighting="none")
    frames = [
        pw.PFV(one, images, "cpu").render(layer="8", weighting="none") for one in models.values()
    ]
    rotated = align(frames[1].scores, frames[0].scores).apply(frames[1].scores)
    maps = []
    for scores in (frames[0].scores, rotated):
        large = nn.functional.interpolate(scores, images.size, mode="bilinear")
        low, high = large.mean() - large.std(correction=0), large.mean() + large.std(correction=0)
        maps.append(((large.clamp(low, high) - low) / (high - low)).movedim(1, 3))
    expected = float(rank_correlation(*maps).mean())
    assert curve.plain_rank_correlation[1] == pytest.approx(expected, abs=0.01)
    expected = float(rank_correlation(*(one - one.mean(0) for one in maps)).mean())
    assert curve.rank_correlation[1] == pytest.approx(expected, abs=0.01)


def test_networks_that_cannot_be_compared_have_a_note_and_the_others_live() -> None:
    model, flat = tiny(), tiny()
    with torch.no_grad():
        flat[8].weight.zero_()
        flat[8].bias.zero_()
    odd = nn.Sequential(nn.Conv2d(7, 3, 3))
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    models = {"fixed": model, "flat": flat, "odd": odd, "other": other, "again": model}
    curve = pw.similarity_curve(models, blobs(4), layer="8")
    assert curve.cka[-1] == pytest.approx(1, abs=1e-6)
    assert np.isnan(curve.cka[1:4]).all()
    assert "same activations at every position" in curve.notes["flat"]
    assert "models['odd']" in curve.notes["odd"]
    assert "'8' is not in this network" in curve.notes["other"]
    free = pw.similarity_curve({"fixed": model, "other": other}, blobs(4))
    assert np.isfinite(free.cka).all()
    figure = curve.figure()
    words = " ".join(text.get_text() for text in figure.findobj(lambda o: hasattr(o, "get_text")))
    assert "Similarity to fixed" in words
    assert "a gap: undefined" in words


def declaring(seed: int, mean: float | None) -> nn.Sequential:
    """A network that declares a normalisation; None: it declares none."""
    network = tiny(seed)
    if mean is not None:
        network.pretrained_cfg = {"mean": (mean,) * 3, "std": (0.125,) * 3}
    return network


def test_networks_are_compared_in_their_own_normalisations_whichever_is_fixed() -> None:
    models, images = {"a": declaring(0, 0.0), "b": declaring(1, None)}, blobs(6)
    expected = pw.similarity(models, images, ["8"], device="cpu").cka[0, 0]
    late = LazyNetworks(("a", "b"), models.__getitem__)
    for networks, fixed in itertools.product((models, late), models):
        curve = pw.similarity_curve(networks, images, layer="8", fixed=fixed, device="cpu")
        ours = dict(zip(curve.names, curve.cka, strict=True))
        assert ours.pop(fixed) == pytest.approx(1, abs=1e-6)
        assert list(ours.values()) == [pytest.approx(expected, abs=1e-5)]


def test_all_networks_decide_on_the_normalisation_of_each() -> None:
    images, last = blobs(6), declaring(2, None)
    alike = {"a": declaring(0, 0.0), "b": declaring(1, 0.0)}
    as_they_came = pw.similarity_curve(alike, images, layer="8", device="cpu").cka[1]
    among_others = pw.similarity_curve(alike | {"c": last}, images, layer="8", device="cpu").cka[1]
    plain = {"a": tiny(0), "b": tiny(1)}
    assert as_they_came == pw.similarity_curve(plain, images, layer="8", device="cpu").cka[1]
    assert abs(among_others - as_they_came) > 1e-3


def test_a_network_may_have_images_or_a_transform_of_its_own() -> None:
    first, second, images, other = tiny(0), tiny(1), blobs(6), blobs(6, seed=5)
    own = Compose([ToTensor(), Normalize((0.0,) * 3, (0.125,) * 3)])
    for second_with in ((second, other), (second, own), (second, None)):
        models = {"a": first, "b": second_with}
        curve = pw.similarity_curve(models, images, layer="8", device="cpu")
        expected = pw.similarity(models, images, ["8"], device="cpu")
        assert curve.cka[1] == pytest.approx(expected.cka[0, 0], abs=1e-5)
    with pytest.raises(PFVValueError, match=r"models\['b'\]: its own images"):
        pw.similarity_curve({"a": first, "b": (second, blobs(3))}, images)


def test_long_names_below_the_curves_do_not_touch() -> None:
    names = [f"down to stage{index}.block{index}" for index in range(4)]
    figure = Figure((4, 3))
    axis = figure.subplots()
    draw_lines_on(axis, names, {"CKA": np.ones(4)})
    laid_out(figure)
    boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_one_network_an_unknown_name_and_a_stop() -> None:
    model, images = tiny(), blobs(2)
    with pytest.raises(PFVValueError, match="1 network: give two or more"):
        pw.similarity_curve([model], images)
    with pytest.raises(PFVValueError, match="fixed='c': no such network"):
        pw.similarity_curve({"a": model, "b": model}, images, fixed="c")
    for fixed in (0, []):
        with pytest.raises(PFVTypeError, match=r"fixed=.*: expected the name of a network"):
            pw.similarity_curve([model, model], images, fixed=fixed)

    def stop(progress: Progress) -> None:
        assert progress.unit == "networks"
        raise Cancelled

    with pytest.raises(Cancelled):
        pw.similarity_curve([model, model], images, on_progress=stop)
