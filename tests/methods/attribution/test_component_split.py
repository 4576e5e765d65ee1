"""Attributions split by the principal component that leads at each pixel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.result import Attribution, leading, shares, split_by_component
from tests.figure_layout import assert_words_have_room, laid_out
from tests.networks import blobs, tiny


def frame_of_scores(scores: Tensor, channels: tuple[int, ...] | None = None) -> Frame:
    """A frame of a small network with other scores, each of unit variance."""
    count, number = scores.shape[:2]
    frame = PFV(tiny(), blobs(count)).render(components=number, channels=channels)
    basis = dataclasses.replace(frame.basis, variances=torch.ones(number))
    return dataclasses.replace(frame, scores=scores, basis=basis)


def mapped(maps: Tensor) -> Attribution:
    result = attribute(tiny(), blobs(len(maps)), "grad_cam")
    return dataclasses.replace(result, maps=maps, signed=maps)


def quarters() -> Tensor:
    """Scores (2, 2, 4, 4): component 1 high and low in the upper quarters, 2 in the lower."""
    scores = torch.zeros(2, 2, 4, 4)
    scores[:, 0, :2, :2], scores[:, 0, :2, 2:] = 3.0, -3.0
    scores[:, 1, 2:, :2], scores[:, 1, 2:, 2:] = 3.0, -3.0
    return scores + 0.1


def test_evidence_in_one_region_is_all_of_its_share() -> None:
    maps = torch.zeros(2, 32, 32)
    maps[0, 2:9, 20:30] = 5.0  # upper right: component 1, below zero
    maps[1, 20:30, 2:9] = 2.0  # lower left: component 2, above zero
    maps[1, 20:30, 20:30] = -1.0  # lower right: component 2, below zero
    split = mapped(maps).by_component(frame_of_scores(quarters()))
    assert split.components == (1, 2)
    assert split.labels == ("1 +", "1 −", "2 +", "2 −")
    right = torch.zeros(2, 2, 2, dtype=torch.float64)
    right[0, 0, 1] = right[1, 1, 0] = 1
    torch.testing.assert_close(split.evidence_for, right)
    assert bool(split.evidence_against[0].isnan().all())
    assert split.evidence_against[1].tolist() == [[0, 0], [0, 1]]
    torch.testing.assert_close(
        split.areas, torch.full((2, 2, 2), 0.25, dtype=torch.float64), rtol=0, atol=0.05
    )
    assert float(split.concentration[0, 0, 1]) == pytest.approx(4, abs=0.8)


def test_shares_add_up_and_maps_are_the_attribution() -> None:
    model, images = tiny(), blobs(4, 24, 40)
    frame = PFV(model, images).render(components=4)
    result = attribute(model, images, "gradient_times_input")
    split = result.by_component(frame)
    for one in (split.evidence_for, split.evidence_against, split.areas):
        assert one.shape == (4, 4, 2)
        torch.testing.assert_close(one.sum((1, 2)), torch.ones(4, dtype=torch.float64))
    assert split.maps.shape == (4, 4, 2, 24, 40)
    torch.testing.assert_close(split.maps.sum((1, 2)), result.maps)
    for component in range(4):
        for side in range(2):
            own = split.maps[:, component, side].clamp(min=0).sum((1, 2)).double()
            whole = result.maps.clamp(min=0).sum((1, 2)).double()
            torch.testing.assert_close(
                split.evidence_for[:, component, side], own / whole, rtol=1e-4, atol=1e-6
            )


def test_a_pixel_belongs_to_the_component_that_is_furthest_out_for_its_deviation() -> None:
    model, images = tiny(), blobs(3)
    frame = PFV(model, images).render(components=3, channels=(2, 0))
    split = attribute(model, images, "saliency").by_component(frame)
    assert split.components == (3, 1)
    large = torch.nn.functional.interpolate(frame.scores, size=(32, 32), mode="bilinear")
    deviations = frame.basis.variances.sqrt().tolist()
    for image, row, column in ((0, 3, 5), (1, 30, 11), (2, 17, 28), (2, 0, 0)):
        values = [float(large[image, i, row, column]) / deviations[i] for i in (2, 0)]
        best = max((0, 1), key=lambda index: abs(values[index]))
        assert int(split.regions[image, row, column]) == 2 * best + (values[best] < 0)


def test_where_no_score_differs_from_zero_there_is_no_region() -> None:
    regions = leading(torch.zeros(1, 2, 3, 3), (6, 6))
    assert bool((regions == -1).all())
    assert bool(shares(torch.ones(1, 6, 6), regions, 4).isnan().all())
    scores = quarters()
    scores[0] = torch.nan
    split = mapped(torch.ones(2, 32, 32)).by_component(frame_of_scores(scores))
    assert bool(split.evidence_for[0].isnan().all())
    assert not bool(split.evidence_for[1].isnan().any())


def test_the_colours_are_those_of_the_legend() -> None:
    for settings in ({"components": 1}, {"components": 3}, {"components": 5}):
        frame = PFV(tiny(), blobs(2)).render(**settings)
        split = attribute(tiny(), blobs(2), "saliency").by_component(frame)
        for (_, ramp), (high, low) in zip(frame.legend(), split.colours, strict=True):
            assert np.array_equal(ramp[-1], high)
            assert np.array_equal(ramp[0], low)


def test_a_frame_of_some_of_the_images_splits_these() -> None:
    model, images = tiny(), blobs(4)
    frame = PFV(model, images).render()
    some = dataclasses.replace(
        frame, heatmaps=frame.heatmaps[[2, 0]], scores=frame.scores[[2, 0]],
        names=(frame.names[2], frame.names[0]), indices=(2, 0),
        pixels=frame.pixels[[2, 0]],
    )  # fmt: skip
    result = attribute(model, images, "saliency")
    split = result.by_component(some)
    whole = result.by_component(frame)
    assert split.attribution.names == some.names
    torch.testing.assert_close(split.evidence_for, whole.evidence_for[[2, 0]])


def test_frames_of_other_photos_are_refused_although_their_names_are_the_same() -> None:
    images, others = blobs(2), blobs(2, seed=5)
    assert images.names == others.names
    result = attribute(tiny(), images, "saliency")
    split_by_component(result, PFV(tiny(), images).render())
    flipped = load_images(images.tensor.flip(0))
    assert flipped.names == images.names
    partly = load_images(torch.stack([images.tensor[0], others.tensor[1]]))
    for batch, number in ((others, 1), (flipped, 1), (partly, 2), (blobs(2, 40), 1)):
        frame = PFV(tiny(), batch).render()
        with pytest.raises(PFVValueError, match=rf"frame holds other photos.* image {number} of"):
            result.by_component(frame)
        with pytest.raises(PFVValueError, match=r"frame holds other photos"):
            split_by_component(result, frame)
    four = attribute(tiny(), blobs(4), "saliency")
    whole = PFV(tiny(), blobs(4)).render()
    some = dataclasses.replace(
        whole, heatmaps=whole.heatmaps[[2, 0]], scores=whole.scores[[2, 0]],
        names=whole.names[:2], pixels=whole.pixels[[2, 0]], indices=(0, 1),
    )  # fmt: skip
    with pytest.raises(PFVValueError, match="other photos"):
        four.by_component(some)


def test_frames_of_other_images_are_named_errors() -> None:
    result = attribute(tiny(), blobs(3), "saliency")
    with pytest.raises(PFVTypeError, match="attribution=None: expected what attribute"):
        split_by_component(None, PFV(tiny(), blobs(3)).render())  # type: ignore[arg-type]
    with pytest.raises(PFVTypeError, match="frame=3: expected a Frame"):
        result.by_component(3)  # type: ignore[arg-type]
    with pytest.raises(PFVValueError, match=r"frame holds 4 images \(.*and the attribution 3"):
        result.by_component(PFV(tiny(), blobs(4)).render())
    frame = PFV(tiny(), blobs(3)).render()
    other = dataclasses.replace(frame, names=("a", "b", "c"))
    with pytest.raises(PFVValueError, match=r"frame holds 3 images \(a, b, c\)"):
        result.by_component(other)


def test_the_figure_has_tiles_and_bars_of_each_image(tmp_path: Path) -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, "gradient_times_input")
    result = dataclasses.replace(result, names=("$x^", "two\nlines"))
    frame = dataclasses.replace(PFV(model, images).render(components=2), names=result.names)
    split = result.by_component(frame)
    figure = split.figure()
    assert len(figure.axes) == 2 * (2 + 2 + 2)
    bars = figure.axes[5]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["1 +", "1 −", "2 +", "2 −"]
    widths = [patch.get_width() for patch in bars.patches[:4]]
    assert widths == pytest.approx(split.evidence_for[0].flatten().tolist())
    figure.savefig(tmp_path / "split.png")
    empty = dataclasses.replace(result, maps=torch.zeros_like(result.maps)).by_component(frame)
    laid_out(empty.figure())
    unsigned = dataclasses.replace(attribute(model, images, "saliency"), names=result.names)
    assert len(laid_out(unsigned.by_component(frame).figure()).axes) == 2 * (2 + 2 + 2)
    many = result.by_component(
        dataclasses.replace(PFV(model, images).render(components=7), names=result.names)
    )
    figure = many.figure()
    bars = figure.axes[-1]
    assert [label.get_text() for label in bars.get_yticklabels()][-1] == "rest"
    ends = [patch.get_width() for patch in bars.patches]
    assert sum(ends[:12]) == pytest.approx(1)
    assert sum(ends[12:]) == pytest.approx(-1)
    assert_words_have_room(figure)


@pytest.mark.assets
@pytest.mark.all
def test_a_colour_of_the_cat_speaks_against_the_dog(assets: Path, squeezenet: nn.Module) -> None:
    folder = assets / "photos" / "imagenet"
    first = [folder / "281_tabby.jpg", folder / "232_border_collie.jpg"]
    images = load_images([*first, *sorted((assets / "photos" / "cats_dogs").glob("*.jpg"))])
    assert images.names[-1].startswith("dog_cat")  # dog to the left, cat to the right
    result = attribute(squeezenet, images, "grad_cam", positive=False)
    split = result.by_component(PFV(squeezenet, images).render(components=3))
    region = int(split.evidence_against[-1].flatten().argmax())
    assert float(split.evidence_against[-1].flatten()[region]) > 0.4
    assert float(split.evidence_for[-1].flatten()[region]) < 0.05
    columns = (split.regions[-1] == region).nonzero()[:, 1]
    assert float(columns.float().median()) > 0.6 * 224
