"""The scatter on a fake page: brushing, pointing, marking, axes, and what is sent."""

from __future__ import annotations

import html
import re
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.pipeline.score_scatter import FADED, PAPER, Mask, Position
from pfv_widgets.widgets.components.scatter_plot import ScatterPlot
from pfv_widgets.widgets.toolkit.controls import close_all
from tests.widgets.fake_page import FakePage, happen, move

SHAPE = (3, 4, 5)


class Harness:
    """A scatter of 3 images with 4 × 5 positions, and what it tells."""

    def __init__(self, fake_page: FakePage, components: int = 3) -> None:
        torch.manual_seed(0)
        self.fake_page = fake_page
        self.selected: list[Mask | None] = []
        self.hovered: list[Position | None] = []
        self.view = ScatterPlot(self.selected.append, self.hovered.append)
        self.scores = torch.randn(3, components, 4, 5)
        self.heatmaps = torch.full((3, 8, 10, 3), 0.9)
        self.view.show(self.scores, self.heatmaps)
        self.canvas = self.view.canvas.displayed

    @property
    def scatter(self) -> Any:
        assert self.view.scatter is not None
        return self.view.scatter

    def event(self, name: str, x: float, y: float) -> None:
        happen(self.canvas, name, x=x, y=y)

    def key(self, key: str) -> None:
        happen(self.canvas, "key_down", key=key, shift_key=False, ctrl_key=False, meta_key=False)

    def drag(self, *points: tuple[float, float], up: bool = True) -> None:
        self.event("mouse_down", *points[0])
        for point in points[1:]:
            self.event("mouse_move", *point)
        if up:
            self.event("mouse_up", *points[-1])

    def pixel(self, position: Position) -> np.ndarray:
        x, y = self.scatter.at(position)
        return self.fake_page.picture(self.canvas)[round(y), round(x), :3]

    @property
    def words(self) -> str:
        return html.unescape(re.sub(r"<[^>]+>", "", self.view.count_line.value))


@pytest.fixture
def harness(fake_page: FakePage) -> Harness:
    return Harness(fake_page)


def bright(colour: np.ndarray) -> bool:
    return bool(colour.min() > 200)


def is_faded(colour: np.ndarray) -> bool:
    return bool(np.abs(colour - np.array(PAPER) - FADED * (230 - np.array(PAPER))).max() < 12)


def test_every_place_is_on_the_page_in_its_colour(harness: Harness) -> None:
    assert all(bright(harness.pixel(position)) for position in np.ndindex(*SHAPE))


def test_dragging_selects_live_and_fades_the_others_without_sending_a_picture(
    harness: Harness,
) -> None:
    before = len(harness.fake_page.drawings)
    harness.drag((40, 40), (200, 300), (400, 420))
    expected = harness.scatter.inside(40, 40, 400, 420)
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(harness.selected[0], harness.scatter.inside(40, 40, 200, 300))
    assert np.array_equal(harness.selected[-1], expected)
    assert not any(drawing.pictures for drawing in harness.fake_page.drawings[before:])
    for position in np.ndindex(*SHAPE):
        x, y = harness.scatter.at(position)
        if max(abs(x - 40), abs(x - 400), abs(y - 40), abs(y - 420)) > 380:
            assert bright(harness.pixel(position)) == expected[position]
            assert is_faded(harness.pixel(position)) != expected[position]


def test_words_count_positions_and_images(harness: Harness) -> None:
    assert "Drag" in harness.words
    selected = np.zeros(SHAPE, bool)
    selected[0, 1, 2] = selected[2, 3] = True
    harness.view.select(selected)
    assert harness.words == "6 of 60 positions selected, in 2 of 3 images."
    assert harness.view.clear.disabled is False
    harness.view.select(None)
    assert "Drag" in harness.words
    assert harness.view.clear.disabled is True


@pytest.mark.parametrize("how", ["click", "escape", "button", "empty rectangle"])
def test_selection_is_cleared_and_told_once(harness: Harness, how: str) -> None:
    harness.drag((40, 40), (400, 420))
    harness.selected.clear()
    if how == "click":
        harness.drag((500, 500), (501, 500))
    elif how == "escape":
        harness.key("Escape")
    elif how == "button":
        harness.view.clear.click()
    else:
        harness.drag((0, 0), (8, 8))
        assert not harness.selected.pop(0).any()
    assert harness.selected == [None]
    assert all(bright(harness.pixel(position)) for position in np.ndindex(*SHAPE))
    harness.drag((300, 300), (301, 300))
    assert harness.selected == [None]


def test_selection_from_elsewhere_fades_the_others_and_tells_nobody(harness: Harness) -> None:
    selected = np.zeros(SHAPE, bool)
    selected[1] = True
    harness.view.select(selected)
    assert harness.selected == []
    front = [position for position in np.ndindex(*SHAPE) if selected[position]]
    assert all(bright(harness.pixel(position)) for position in front)
    assert any(is_faded(harness.pixel(position)) for position in np.ndindex(*SHAPE))
    harness.drag((40, 40), (400, 420))  # brushing here replaces it
    assert np.array_equal(harness.selected[-1], harness.scatter.inside(40, 40, 400, 420))


def test_own_selection_that_comes_back_late_does_not_stop_the_brush(harness: Harness) -> None:
    harness.drag((40, 40), (200, 300), (400, 420), up=False)
    harness.view.select(harness.selected[0])
    harness.event("mouse_up", 400, 420)
    harness.view.select(harness.selected[0])
    assert np.array_equal(harness.view.plot.selected, harness.selected[-1])
    other = ~harness.selected[-1]
    harness.view.select(other)
    assert np.array_equal(harness.view.plot.selected, other)


def test_leaving_the_canvas_ends_the_brush_and_keeps_the_selection(harness: Harness) -> None:
    harness.drag((40, 40), (400, 420), up=False)
    happen(harness.canvas, "mouse_out", x=0, y=0)
    count = len(harness.selected)
    harness.event("mouse_move", 10, 10)
    assert len(harness.selected) == count
    assert harness.view.plot.selected is harness.selected[-1]


def test_selection_stays_with_its_positions_when_scores_change(harness: Harness) -> None:
    harness.drag((40, 40), (400, 420))
    selected = harness.selected[-1].copy()
    harness.view.show(-harness.scores, harness.heatmaps)
    assert np.array_equal(harness.view.plot.selected, selected)
    assert harness.view.plot.brush is None
    assert all(
        bright(harness.pixel(position)) for position in np.ndindex(*SHAPE) if selected[position]
    )


def test_selection_of_another_shape_is_none(harness: Harness) -> None:
    harness.view.select(np.ones((3, 9, 9), bool))
    assert harness.view.plot.selected is None
    harness.view.select(np.ones(SHAPE, bool))
    harness.view.show(torch.randn(3, 2, 6, 6), harness.heatmaps)
    assert harness.view.plot.selected is None
    assert "Drag" in harness.words


def test_pointing_tells_the_nearest_place_once_and_rings_it(harness: Harness) -> None:
    position = harness.scatter.nearest(*harness.scatter.at((1, 2, 3)))
    x, y = harness.scatter.at(position)
    before = harness.fake_page.picture(harness.canvas).copy()
    harness.event("mouse_move", x, y)
    harness.event("mouse_move", x, y)
    assert harness.hovered == [position]
    ring = np.abs(harness.fake_page.picture(harness.canvas) - before).max(axis=2) > 40
    rows, columns = np.nonzero(ring)
    assert len(rows)
    assert np.hypot(rows - y, columns - x).max() < 25
    happen(harness.canvas, "mouse_out", x=0, y=0)
    assert harness.hovered == [position, None]
    assert np.abs(harness.fake_page.picture(harness.canvas) - before).max() < 1


def test_marks_are_ringed_and_positions_that_are_not_there_are_not(harness: Harness) -> None:
    before = harness.fake_page.picture(harness.canvas).copy()
    harness.view.plot.mark([(9, 0, 0), (0, 4, 0)])
    assert np.abs(harness.fake_page.picture(harness.canvas) - before).max() < 1
    harness.view.plot.mark([(0, 0, 0), (2, 3, 4)])
    changed = np.abs(harness.fake_page.picture(harness.canvas) - before).max(axis=2) > 40
    for position in ((0, 0, 0), (2, 3, 4)):
        x, y = (round(v) for v in harness.scatter.at(position))
        assert changed[max(0, y - 25) : y + 25, max(0, x - 25) : x + 25].any()


def test_axes_are_chosen_among_the_components(harness: Harness) -> None:
    assert [value for _, value in harness.view.across.options] == [0, 1, 2]
    move(harness.view.across, index=2)
    y = harness.scores[:, 1].flatten().numpy()
    x = harness.scores[:, 2].flatten().numpy()
    inner = np.abs(x) < np.abs(x).max()
    assert np.corrcoef(harness.scatter.x[inner], x[inner])[0, 1] == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(harness.scatter.y, y)[0, 1] == pytest.approx(-1, abs=1e-2)
    harness.view.show(harness.scores[:, :2], harness.heatmaps)
    assert harness.view.across.value in (0, 1)
    move(harness.view.across, index=1)
    assert harness.view.across.value == harness.view.up.value == 1
    assert "stacked" in harness.view.overlay.html.value


def test_keys_step_through_the_axes_and_around(harness: Harness) -> None:
    for key, shift, expected in (("x", False, (1, 1)), ("y", False, (1, 2)), ("y", False, (1, 0)),
                               ("Y", True, (1, 2)), ("q", False, (1, 2))):  # fmt: skip
        happen(harness.canvas, "key_down", key=key, shift_key=shift, ctrl_key=False, meta_key=False)
        assert (harness.view.across.value, harness.view.up.value) == expected


def test_single_component_is_stacked_and_more_give_a_plane_again(fake_page: FakePage) -> None:
    harness = Harness(fake_page, components=1)
    assert (harness.view.across.value, harness.view.up.value) == (0, 0)
    assert "stacked" in harness.view.overlay.html.value
    harness.view.show(torch.randn(3, 4, 4, 5), harness.heatmaps)
    assert (harness.view.across.value, harness.view.up.value) == (0, 1)
    assert "stacked" not in harness.view.overlay.html.value


def test_points_stay_while_colours_change(harness: Harness) -> None:
    scatter = harness.scatter
    harness.view.show(harness.scores.clone(), harness.heatmaps * 0.5)
    assert harness.scatter is scatter
    sent = len(harness.fake_page.drawings)
    harness.view.show(harness.scores, harness.heatmaps * 0.5)
    assert len(harness.fake_page.drawings) == sent
    harness.view.show(harness.scores * 1.01, harness.heatmaps)
    assert harness.scatter is not scatter
    assert harness.scatter.limits is scatter.limits


def test_reloaded_page_is_painted_again_on_repaint(harness: Harness) -> None:
    before = harness.fake_page.picture(harness.canvas).copy()
    harness.fake_page.load_anew()
    harness.view.repaint()
    assert np.abs(harness.fake_page.picture(harness.canvas) - before).max() < 1


@pytest.mark.parametrize("key", ["Tab", "Escape"])
def test_keyboard_leaves_the_canvas(
    harness: Harness, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    monkeypatch.setattr(type(harness.canvas), "blur", lambda _: left.append(True))
    harness.key(key)
    assert left == [True]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 1, 1), (200, 2, 1, 1), (2, 12, 7, 3)])
def test_odd_shapes_are_shown(fake_page: FakePage, shape: tuple[int, ...]) -> None:
    view = ScatterPlot(lambda _: None, lambda _: None)
    view.show(torch.randn(*shape), torch.rand(shape[0], 14, 6, 3))
    happen(view.canvas.displayed, "mouse_move", x=200, y=200)
    happen(view.canvas.displayed, "mouse_down", x=0, y=0)
    happen(view.canvas.displayed, "mouse_move", x=540, y=540)
    assert view.plot.selected.all()
    close_all(view.widget)
