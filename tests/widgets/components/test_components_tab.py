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
from tests.widgets.recorded_page import RecordedPage, happen

scenes = cache(pw.demo_images)


class Holder:
    """A tab with the network of the demo behind it, as an explorer holds them."""

    def __init__(self, recorded: RecordedPage, **settings: object) -> None:
        self.recorded = recorded
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
        return [self.recorded.picture(canvas.displayed).copy() for canvas in self.canvases]

    def is_painted(self) -> list[bool]:
        return [bool(picture.std() > 1) for picture in self.pictures()]

    def cell(self, component: int) -> np.ndarray:
        left, top, width, height = map(int, self.tab.pictures.cells.box(component))
        canvas = self.recorded.picture(self.tab.pictures.canvas.displayed)
        return canvas[top + 8 : top + height - 8, left + 8 : left + width - 8]


@pytest.fixture
def holder(recorded: RecordedPage) -> Iterator[Holder]:
    holder = Holder(recorded, components=5, channels=(0, 2))
    holder.tab.visible = True
    yield holder
    holder.tab.close()
    holder.pfv.close()


def words(widget: object) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", widget.value))  # type: ignore[attr-defined]


def test_nothing_is_drawn_or_sent_while_not_visible_and_all_at_once_when_it_is(
    recorded: RecordedPage,
) -> None:
    holder = Holder(recorded)
    silent = len(recorded.messages)
    holder.edit(lambda old: old)
    holder.tab.show_image(2)
    holder.tab.show_selection(np.ones(holder.frame.scores[:, 0].shape, bool))
    holder.tab.mark([(0, 0, 0)])
    assert len(recorded.messages) == silent
    assert not any(holder.is_painted())
    holder.tab.visible = True
    assert all(holder.is_painted())
    assert "image 3" in words(holder.tab.title)
    assert "4 of 4 images" in words(holder.tab.scatter.count_line)
    holder.tab.visible = False
    silent = len(recorded.messages)
    holder.edit(lambda _: pw.Settings(components=4))
    assert len(recorded.messages) == silent
    holder.tab.close()


def test_page_that_is_loaded_anew_shows_all_again(holder: Holder) -> None:
    holder.tab.mark([(1, 2, 3)])
    before = holder.pictures()
    canvases = [canvas.displayed for canvas in holder.canvases]
    holder.recorded.load_anew(*canvases)
    for old, new in zip(before, holder.pictures(), strict=True):
        assert np.abs(new - old).max() < 1
    holder.tab.visible = False
    holder.recorded.load_anew(*canvases)
    assert not any(holder.is_painted())
    holder.tab.visible = True
    for old, new in zip(before, holder.pictures(), strict=True):
        assert np.abs(new - old).max() < 1


def test_pictures_are_the_scores_of_the_image_at_one_scale_for_all(holder: Holder) -> None:
    for index in (0, 3):
        holder.tab.show_image(index)
        scores = holder.frame.scores
        reach = torch.quantile(scores.abs().flatten(), 0.995)
        maps = (scores[index] / (2 * reach) + 0.5)[:, None]
        size = holder.tab.pictures.cells.picture
        maps = torch.nn.functional.interpolate(maps, size, mode="bilinear").clamp(0, 1)
        wanted = 255 * diverging(maps, torch.tensor([0.5])).permute(0, 2, 3, 1).numpy()
        for component in holder.frame.settings.shown:
            inner = wanted[component, 8:-8, 8:-8]
            assert np.abs(holder.cell(component) - inner).mean() < 3


def test_another_image_changes_the_pictures_alone(holder: Holder) -> None:
    before = holder.pictures()
    sent = len(holder.recorded.drawings)
    holder.tab.show_image(1)
    scree, pictures, cloud = holder.pictures()
    assert np.array_equal(scree, before[0])
    assert np.array_equal(cloud, before[2])
    assert np.abs(pictures - before[1]).max() > 20
    assert len(holder.recorded.drawings) == sent + 1
    holder.tab.show_image(1)
    assert len(holder.recorded.drawings) == sent + 1


def test_captions_say_number_and_share(holder: Holder) -> None:
    ratios = holder.frame.basis.explained_variance_ratio.tolist()
    captions = words(holder.tab.pictures.overlay.html)
    for component, ratio in enumerate(ratios):
        assert f"{component + 1} · {100 * ratio:.1f} %" in captions
    share = 100 * (ratios[0] + ratios[2])
    assert f"2 of 5 shown: {share:.1f} % of the variance." in words(holder.tab.shares)


def test_click_on_a_picture_toggles_the_component_and_sends_no_picture_of_it(
    holder: Holder,
) -> None:
    canvas = holder.tab.pictures.canvas.displayed
    left, top, width, height = holder.tab.pictures.cells.box(1)
    faded = holder.cell(1).copy()
    happen(canvas, "mouse_down", x=left + width / 2, y=top + height / 2)
    assert holder.frame.settings.channels == (0, 1, 2)
    assert holder.cell(1).mean() > faded.mean() + 30  # on black: it was half transparent
    edge = holder.recorded.picture(canvas)[int(top), int(left + width / 2), :3]
    assert "#{:02x}{:02x}{:02x}".format(*edge.astype(int)) == tones(holder.frame.settings)[1]
    happen(canvas, "mouse_down", x=left + width / 2, y=top + height / 2)
    assert holder.frame.settings.channels == (0, 2)


def test_brushing_the_cloud_is_told_and_remembered(holder: Holder) -> None:
    canvas = holder.tab.scatter.canvas.displayed
    for event, x, y in (("down", 0, 0), ("move", 300, 500), ("up", 300, 500)):
        happen(canvas, f"mouse_{event}", x=x, y=y)
    selected = holder.selected[-1]
    assert selected is not None
    assert selected.shape == holder.frame.scores[:, 0].shape
    holder.tab.visible = False
    holder.tab.visible = True
    assert np.array_equal(holder.tab.scatter.plot.selected, selected)


def test_whoever_is_told_of_a_brush_may_wait_for_a_picture_in_another_thread(
    holder: Holder,
) -> None:
    done: list[bool] = []

    def told(_: object) -> None:
        thread = threading.Thread(target=lambda: (holder.show(), done.append(True)))
        thread.start()
        thread.join(20)

    holder.tab.on_select = told
    holder.tab.scatter.plot.on_hover = told
    canvas = holder.tab.scatter.canvas.displayed
    x, y = holder.tab.scatter.scatter.at((0, 0, 0))
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
    taken = np.zeros(cells.size, int)
    for index in range(number):
        left, top, width, height = map(int, cells.box(index))
        assert height / width == pytest.approx(shape[0] / shape[1], rel=0.05)
        taken[top - 3 : top + height + 3, left - 3 : left + width + 3] += 1
        assert (taken[top - 3 : top + height + 3, left - 3 : left + width + 3]).size == (
            height + 6
        ) * (width + 6)
        assert cells.at(left + width / 2, top + height + 10) == index
    assert taken.max() == 1
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
    recorded: RecordedPage, number: int, k: int, size: tuple[int, int]
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


def test_closing_leaves_nothing_open(recorded: RecordedPage) -> None:
    holder = Holder(recorded, components=3)
    holder.tab.visible = True
    opened = {comm for kind, comm, _ in recorded.messages if kind == "comm_open"}
    holder.tab.close()
    assert opened - recorded.closed == set()
    holder.tab.show_frame(holder.frame, 0)  # a picture that comes late draws no more
