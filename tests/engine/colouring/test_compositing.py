from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.engine.colouring.compositing import DARKENED, GREYED, VIEWS, compose, spots
from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVError, PFVValueError
from tests.figure_layout import laid_out
from tests.networks import blobs, tiny

PINS = ((0, 0.25, 0.5), (2, 1.0, 1.0))
EVERY_LOOK = pytest.mark.parametrize(
    ("view", "sharing", "pins"), list(itertools.product(VIEWS, COLOUR_FILTERS, [(), PINS]))
)


@pytest.fixture(scope="module")
def pfv() -> PFV:
    return PFV(tiny(), blobs(3, 30, 41), device="cpu")


def composite_with(frame: Frame, **changes: Any) -> np.ndarray:
    return replace(frame, settings=replace(frame.settings, **changes)).composite()


@EVERY_LOOK
def test_every_look_keeps_the_contract(pfv: PFV, view: str, sharing: str, pins: Any) -> None:
    photos = pfv.images.pixels.copy()
    frame = pfv.render(view=view, sharing=sharing, pins=pins, images=(1, 1, 0))
    assert frame.heatmaps.shape == (3, 30, 41, 3)
    assert frame.heatmaps.dtype == torch.float32
    assert bool(((frame.heatmaps >= 0) & (frame.heatmaps <= 1)).all())
    before = frame.heatmaps.clone()
    tiles = frame.composite()
    assert tiles.dtype == np.uint8
    assert tiles.shape == (3, 30, 82 if view == "side by side" else 41, 3)
    assert np.array_equal(tiles, frame.composite())
    again = pfv.render(view=view, sharing=sharing, pins=pins, images=(1, 1, 0))
    assert torch.equal(again.heatmaps, before)
    tiles[:] = 0
    assert torch.equal(frame.heatmaps, before)
    assert np.array_equal(pfv.images.pixels, photos)
    assert Image.open(io.BytesIO(still(frame))).format == "PNG"


@pytest.mark.parametrize("pins", [(), PINS])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn_as_a_figure_with_its_legend(pfv: PFV, view: str, pins: Any) -> None:
    frame = pfv.render(view=view, pins=pins)
    figure = laid_out(frame.figure())
    drawn = [axis for axis in figure.axes if axis.images]
    words = ["pin 1 (image 1)", "pin 2 (image 3)"] if pins else ["component"] * 3
    assert len(drawn) == 3 + len(words)
    for axis, word in zip(drawn[3:], words, strict=True):
        assert word in axis.get_title()
    for axis in drawn[:3]:
        box = axis.get_window_extent()
        wide = 82 if view == "side by side" else 41
        assert box.width / box.height == pytest.approx(wide / 30, rel=1e-3)
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_side_by_side_has_the_photo_left_and_the_whole_heatmap_right(pfv: PFV) -> None:
    frame = pfv.render()
    tiles = composite_with(frame, view="side by side", opacity=0.1)
    assert np.array_equal(tiles[:, :, :41], frame.pixels)
    assert np.array_equal(tiles[:, :, 41:], composite_with(frame, view="heatmap"))


@pytest.mark.parametrize(("split", "edge"), [(0.0, 0), (0.5, 20), (0.75, 31), (1.0, 41)])
def test_split_has_the_photo_left_of_the_divider(pfv: PFV, split: float, edge: int) -> None:
    frame = pfv.render()
    tiles = composite_with(frame, view="split", split=split, opacity=0.4)
    assert np.array_equal(tiles[:, :, :edge], frame.pixels[:, :, :edge])
    assert np.array_equal(tiles[:, :, edge:], composite_with(frame, opacity=0.4)[:, :, edge:])


def test_rgb_split_shows_each_channel_alone_in_its_colour(pfv: PFV) -> None:
    heat = np.zeros((1, 30, 41, 3), dtype=np.float32)
    heat[:] = (0.2, 0.5, 0.9)
    tile = compose(heat, None, "rgb split", 0.5, 0.5)[0]
    np.testing.assert_allclose(tile[:15, :21], np.full((15, 21, 3), (0.2, 0.5, 0.9)), atol=1e-6)
    np.testing.assert_allclose(tile[:15, 21:], np.full((15, 20, 3), (0.2, 0, 0)), atol=1e-6)
    np.testing.assert_allclose(tile[15:, :21], np.full((15, 21, 3), (0, 0.5, 0)), atol=1e-6)
    np.testing.assert_allclose(tile[15:, 21:], np.full((15, 20, 3), (0, 0, 0.9)), atol=1e-6)
    frame = pfv.render()
    small = composite_with(frame, view="rgb split")[:, :15, :21].astype(float)
    means = frame.heatmaps.numpy()[:, :, :40].reshape(3, 15, 2, 20, 2, 3).mean(axis=(2, 4)) * 255
    assert np.abs(small[:, :, :20] - means).mean() < 6  # the whole picture, at half its size


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 1), (3, 3)])
@pytest.mark.parametrize("view", VIEWS)
def test_tiny_pictures_have_every_view(view: str, size: tuple[int, int]) -> None:
    heat = np.full((2, *size, 3), 0.5, dtype=np.float32)
    photos = np.full((2, *size, 3), 255, dtype=np.uint8)
    tiles = compose(heat, photos, view, 0.5, 0.5)
    assert tiles.shape == (2, size[0], size[1] * (2 if view == "side by side" else 1), 3)


@pytest.mark.parametrize("view", ["overlay", "heatmap", "photo", "side by side", "split"])
def test_without_photos_there_are_heatmaps(pfv: PFV, view: str) -> None:
    frame = replace(pfv.render(), pixels=None)
    assert np.array_equal(composite_with(frame, view=view), composite_with(frame, view="heatmap"))


@pytest.mark.parametrize("view", VIEWS)
def test_images_left_out_fade_in_every_view(pfv: PFV, view: str) -> None:
    frame = pfv.render(view=view)
    plain = frame.composite()
    partly = replace(frame, weights=(1.0, 0.0, 1.0)).composite()
    assert np.array_equal(partly[[0, 2]], plain[[0, 2]])
    faded = 127.5 * GREYED.strength + (1 - GREYED.strength) * plain[1].astype(float)
    assert np.abs(partly[1] - faded).max() <= 1


@pytest.mark.parametrize("view", ["overlay", "photo", "split", "side by side"])
def test_photos_are_enlarged_to_the_heatmaps(pfv: PFV, view: str) -> None:
    tiles = pfv.render(size=(90, 123), view=view).composite()
    assert tiles.shape[1] == 90
    photo = composite_with(pfv.render(size=(90, 123)), view="photo")[0]
    back = np.asarray(Image.fromarray(photo).resize((41, 30), Image.Resampling.BOX))
    assert np.abs(back.astype(float) - pfv.images.pixels[0]).mean() < 3


def test_values_at_a_place_are_the_scores_there(pfv: PFV) -> None:
    frame = pfv.render(components=5)
    height, width = frame.scores.shape[2:]
    assert torch.equal(frame.at(1, 0.0, 0.0), frame.scores[1, :, 0, 0])
    assert torch.equal(frame.at(2, 1.0, 1.0), frame.scores[2, :, height - 1, width - 1])
    assert torch.equal(frame.at(2, 0.99, 0.0), frame.scores[2, :, 0, width - 1])
    frame.at(0, 0.5, 0.5).zero_()
    assert frame.scores[0, :, height // 2, width // 2].any()
    some = pfv.render(components=5, only=[2, 0])
    torch.testing.assert_close(some.at(2, 0.3, 0.6), frame.at(2, 0.3, 0.6))
    with pytest.raises(PFVValueError, match=r"image=1.*2, 0"):
        some.at(1, 0, 0)
    for position in ((3, 0, 0), (0, 1.1, 0), (0, 0, float("nan")), ("a", 0, 0)):
        with pytest.raises(PFVError):
            frame.at(*position)


def test_rings_stand_where_the_place_is_seen(pfv: PFV) -> None:
    frame = pfv.render(pins=PINS, similarity=False)
    assert frame.rings() == [(0, 0, 0.25, 0.5), (1, 2, 1.0, 1.0)]
    assert pfv.render(pins=PINS, only=[2]).rings() == [(1, 0, 1.0, 1.0)]
    assert spots("side by side", 0.5, 0.2, photos=True) == [(0.25, 0.2), (0.75, 0.2)]
    assert spots("side by side", 0.5, 0.2, photos=False) == [(0.5, 0.2)]
    quarters = [(0.25, 0.1), (0.75, 0.1), (0.25, 0.6), (0.75, 0.6)]
    assert spots("rgb split", 0.5, 0.2, photos=True) == quarters


def test_rings_are_drawn_in_the_colours_of_the_pins(pfv: PFV) -> None:
    frame = pfv.render(pins=[(0, 0.5, 0.5), (1, 0.5, 0.5)], view="photo")
    page = np.asarray(Image.open(io.BytesIO(still(frame))))
    for number, left in enumerate((0, 41 + 6)):
        colour = [int(PIN_COLOURS[number][i : i + 2], 16) for i in (1, 3, 5)]
        tile = page[:30, left : left + 41]
        assert (tile == colour).all(axis=2).sum() > 10
        assert not (page[36:66, :41] == colour).all(axis=2).any()
    edges = [line.get_markeredgecolor() for axis in frame.figure().axes for line in axis.lines]
    assert set(PIN_COLOURS[:2]) < set(edges)


def test_legend_of_pins_runs_from_neutral_to_their_colours(pfv: PFV) -> None:
    (first, ramp), (second, _) = pfv.render(pins=PINS).legend()
    assert (first, second) == ("pin 1 (image 1)", "pin 2 (image 3)")
    assert np.ptp(ramp[0]) < 1e-6
    colour = [int(PIN_COLOURS[0][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    np.testing.assert_allclose(ramp[-1], colour, atol=1e-6)
    names = [
        label for label, _ in pfv.render(pins=PINS, similarity=False, channels=(2, 0)).legend()
    ]
    assert [name.split(" (")[0] for name in names] == ["component 3", "component 1"]


def test_similarity_in_an_image_left_out_keeps_its_colours(pfv: PFV) -> None:
    """Grey is what is not similar: dimming darkens it, so that both can still be told apart."""
    frame = pfv.render(view="heatmap", pins=((0, 0.5, 0.5),))
    plain = frame.composite().astype(float)
    partly = replace(frame, weights=(1.0, 0.0, 1.0)).composite().astype(float)
    assert np.abs(partly[1] - (1 - DARKENED.strength) * plain[1]).max() <= 1
    colourful = np.ptp(plain[1], axis=-1) > 60
    assert colourful.any()
    assert (np.ptp(partly[1], axis=-1)[colourful] > 28).all()
    assert partly[1].mean() < 0.6 * plain[1].mean()
