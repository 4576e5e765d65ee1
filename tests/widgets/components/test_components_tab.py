"""The page "Components": what it shows of a frame, and that it is silent while not visible."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.analysis.core.highlighted_photos import reach_of
from pfv_widgets.engine.colouring.colour_maps import diverging
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.score_scatter import Mask, Position
from pfv_widgets.widgets.components.component_images import Cells, component_pictures
from pfv_widgets.widgets.components.components_tab import ComponentsTab
from pfv_widgets.widgets.components.scree_plot import tones
from tests.widgets.fake_page import FakePage, happen

scenes = cache(pw.demo_images)


class Harness:
    """A tab with the network of the demo behind it, as an explorer holds them."""

    def __init__(self, fake_page: FakePage, **settings: object) -> None:
        self.fake_page = fake_page
        self.pfv = pw.PFV(pw.demo_model(), scenes(4), device="cpu")
        self.selected: list[Mask | None] = []
        self.hovered: list[Position | None] = []
        self.tab = ComponentsTab(self.edit, self.selected.append, self.hovered.append)
        self.frame: Frame = self.pfv.render(**settings)
        self.show()

    def edit(self, change: Callable[[pw.Settings], pw.Settings]) -> None:
        self.frame = self.pfv.render(change(self.frame.settings))
        self.show()

    def show(self) -> None:
        self.tab.show(self.frame.settings)
        self.tab.show_frame(self.frame, 0)

    @property
    def canvases(self) -> list:
        return [part.canvas for part in (self.tab.scree, self.tab.pictures, self.tab.scatter)]

    def pictures(self) -> list[np.ndarray]:
        return [self.fake_page.picture(canvas.displayed).copy() for canvas in self.canvases]

    def is_painted(self) -> list[bool]:
        return [bool(picture.std() > 1) for picture in self.pictures()]

    def cell(self, component: int) -> np.ndarray:
        left, top, width, height = map(int, self.tab.pictures.cells.box(component))
        canvas = self.fake_page.picture(self.tab.pictures.canvas.displayed)
        return canvas[top + 8 : top + height - 8, left + 8 : left + width - 8]


@pytest.fixture
def harness(fake_page: FakePage) -> Iterator[Harness]:
    harness = Harness(fake_page, components=5, channels=(0, 2))
    harness.tab.visible = True
    yield harness
    harness.tab.close()
    harness.pfv.close()


def words(widget: object) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", widget.value))  # type: ignore[attr-defined]


def test_nothing_is_drawn_or_sent_while_not_visible_and_all_at_once_when_it_is(
    fake_page: FakePage,
) -> None:
    harness = Harness(fake_page)
    silent = len(fake_page.messages)
    harness.edit(lambda old: old)
    harness.tab.show_image(2)
    harness.tab.show_selection(np.ones(harness.frame.scores[:, 0].shape, bool))
    harness.tab.mark([(0, 0, 0)])
    assert len(fake_page.messages) == silent
    assert not any(harness.is_painted())
    harness.tab.visible = True
    assert all(harness.is_painted())
    assert "image 3" in words(harness.tab.title)
    assert "4 of 4 images" in words(harness.tab.scatter.count_line)
    harness.tab.visible = False
    silent = len(fake_page.messages)
    harness.edit(lambda _: pw.Settings(components=4))
    assert len(fake_page.messages) == silent
    harness.tab.close()


def test_page_that_is_loaded_anew_shows_all_again(harness: Harness) -> None:
    harness.tab.mark([(1, 2, 3)])
    before = harness.pictures()
    canvases = [canvas.displayed for canvas in harness.canvases]
    harness.fake_page.load_anew(*canvases)
    for old, new in zip(before, harness.pictures(), strict=True):
        assert np.abs(new - old).max() < 1
    harness.tab.visible = False
    harness.fake_page.load_anew(*canvases)
    assert not any(harness.is_painted())
    harness.tab.visible = True
    for old, new in zip(before, harness.pictures(), strict=True):
        assert np.abs(new - old).max() < 1


def test_pictures_are_the_scores_of_the_image_at_one_scale_for_all(harness: Harness) -> None:
    for index in (0, 3):
        harness.tab.show_image(index)
        scores = harness.frame.scores
        reach = torch.quantile(scores.abs().flatten(), 0.995)
        maps = (scores[index] / (2 * reach) + 0.5)[:, None]
        size = harness.tab.pictures.cells.picture
        maps = torch.nn.functional.interpolate(maps, size, mode="bilinear").clamp(0, 1)
        expected = 255 * diverging(maps, torch.tensor([0.5])).permute(0, 2, 3, 1).numpy()
        for component in harness.frame.settings.shown:
            inner = expected[component, 8:-8, 8:-8]
            assert np.abs(harness.cell(component) - inner).mean() < 3


def test_another_image_changes_the_pictures_alone(harness: Harness) -> None:
    before = harness.pictures()
    sent = len(harness.fake_page.drawings)
    harness.tab.show_image(1)
    scree, pictures, cloud = harness.pictures()
    assert np.array_equal(scree, before[0])
    assert np.array_equal(cloud, before[2])
    assert np.abs(pictures - before[1]).max() > 20
    assert len(harness.fake_page.drawings) == sent + 1
    harness.tab.show_image(1)
    assert len(harness.fake_page.drawings) == sent + 1


def test_captions_say_number_and_share(harness: Harness) -> None:
    ratios = harness.frame.basis.explained_variance_ratio.tolist()
    captions = words(harness.tab.pictures.overlay.html)
    for component, ratio in enumerate(ratios):
        assert f"{component + 1} · {100 * ratio:.1f} %" in captions
    share = 100 * (ratios[0] + ratios[2])
    assert f"2 of 5 shown: {share:.1f} % of the variance." in words(harness.tab.shares)


def test_click_on_a_picture_toggles_the_component_and_sends_no_picture_of_it(
    harness: Harness,
) -> None:
    canvas = harness.tab.pictures.canvas.displayed
    left, top, width, height = harness.tab.pictures.cells.box(1)
    faded = harness.cell(1).copy()
    happen(canvas, "mouse_down", x=left + width / 2, y=top + height / 2)
    assert harness.frame.settings.channels == (0, 1, 2)
    assert harness.cell(1).mean() > faded.mean() + 30  # on black: it was half transparent
    edge = harness.fake_page.picture(canvas)[int(top), int(left + width / 2), :3]
    assert "#{:02x}{:02x}{:02x}".format(*edge.astype(int)) == tones(harness.frame.settings)[1]
    happen(canvas, "mouse_down", x=left + width / 2, y=top + height / 2)
    assert harness.frame.settings.channels == (0, 2)


def test_brushing_the_cloud_is_told_and_remembered(harness: Harness) -> None:
    canvas = harness.tab.scatter.canvas.displayed
    for event, x, y in (("down", 0, 0), ("move", 300, 500), ("up", 300, 500)):
        happen(canvas, f"mouse_{event}", x=x, y=y)
    selected = harness.selected[-1]
    assert selected is not None
    assert selected.shape == harness.frame.scores[:, 0].shape
    harness.tab.visible = False
    harness.tab.visible = True
    assert np.array_equal(harness.tab.scatter.plot.selected, selected)


def test_whoever_is_told_of_a_brush_may_wait_for_a_picture_in_another_thread(
    harness: Harness,
) -> None:
    done: list[bool] = []

    def told(_: object) -> None:
        thread = threading.Thread(target=lambda: (harness.show(), done.append(True)))
        thread.start()
        thread.join(20)

    harness.tab.on_select = told
    harness.tab.scatter.plot.on_hover = told
    canvas = harness.tab.scatter.canvas.displayed
    x, y = harness.tab.scatter.scatter.at((0, 0, 0))
    happen(canvas, "mouse_move", x=x, y=y)
    happen(canvas, "mouse_down", x=0, y=0)
    happen(canvas, "mouse_move", x=300, y=500)
    happen(canvas, "key_down", key="Escape", shift_key=False, ctrl_key=False, meta_key=False)
    assert done == [True] * 3


@pytest.mark.parametrize(
    ("number", "shape"),
    [(1, (128, 128)), (3, (50, 200)), (4, (300, 100)), (12, (9, 9)), (7, (1, 1))],
)
def test_cells_stand_apart_inside_the_canvas_in_the_shape_of_the_images(
    number: int, shape: tuple[int, int]
) -> None:
    cells = Cells(number, shape)
    owners = np.zeros(cells.size, int)
    for index in range(number):
        left, top, width, height = map(int, cells.box(index))
        assert height / width == pytest.approx(shape[0] / shape[1], rel=0.05)
        owners[top - 3 : top + height + 3, left - 3 : left + width + 3] += 1
        assert (owners[top - 3 : top + height + 3, left - 3 : left + width + 3]).size == (
            height + 6
        ) * (width + 6)
        assert cells.at(left + width / 2, top + height + 10) == index
    assert owners.max() == 1
    assert cells.at(-1, 5) is None
    assert cells.at(5, cells.size[0] + 50) is None


@pytest.mark.parametrize("value", [0.0, float("nan"), -2.0])
def test_scores_that_are_all_equal_or_broken_make_pictures(value: float) -> None:
    scores = torch.full((2, 3, 1, 1), value)
    picture = component_pictures(scores[0], reach_of(scores), (6, 8))
    assert picture.shape == (3, 6, 8, 3)
    assert (picture == picture[0, 0, 0]).all()
    assert (picture[0, 0, 0, 2] > picture[0, 0, 0, 0]) == (value < 0)


@pytest.mark.parametrize(
    ("number", "k", "size"), [(1, 1, (1, 2)), (2, 12, (3, 7)), (200, 2, (2, 1))]
)
def test_odd_batches_are_shown(
    fake_page: FakePage, number: int, k: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    maps = torch.randn(number, 16, *size)
    settings = pw.Settings(components=min(k, 12), weighting="none")
    frame = pw.heatmaps_from_activations([maps], settings, size=(24, 40))
    tab = ComponentsTab(lambda _: None, lambda _: None, lambda _: None)
    tab.visible = True
    tab.show(settings)
    tab.show_frame(frame, number - 1)
    tab.show_image(500)
    tab.show_selection(np.zeros((number, *size), bool))
    assert f"0 of {number * size[0] * size[1]} positions" in words(tab.scatter.count_line)
    tab.close()


def test_closing_leaves_nothing_open(fake_page: FakePage) -> None:
    harness = Harness(fake_page, components=3)
    harness.tab.visible = True
    harness.tab.close()
    assert not fake_page.open_comms
    harness.tab.show_frame(harness.frame, 0)  # a picture that comes late draws no more
