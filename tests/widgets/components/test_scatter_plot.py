"""The scatter on a recorded page: brushing, pointing, marking, axes, and what is sent."""

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
from tests.widgets.recorded_page import RecordedPage, happen, move

SHAPE = (3, 4, 5)


class Hand:
    """A scatter of 3 images with 4 × 5 positions, and what it tells."""

    def __init__(self, recorded: RecordedPage, components: int = 3) -> None:
        torch.manual_seed(0)
        self.recorded = recorded
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
        return self.recorded.picture(self.canvas)[round(y), round(x), :3]

    @property
    def words(self) -> str:
        return html.unescape(re.sub(r"<[^>]+>", "", self.view.count_line.value))


@pytest.fixture
def hand(recorded: RecordedPage) -> Hand:
    return Hand(recorded)


def bright(colour: np.ndarray) -> bool:
    return bool(colour.min() > 200)


def is_faded(colour: np.ndarray) -> bool:
    return bool(np.abs(colour - np.array(PAPER) - FADED * (230 - np.array(PAPER))).max() < 12)


def test_every_place_is_on_the_page_in_its_colour(hand: Hand) -> None:
    assert all(bright(hand.pixel(position)) for position in np.ndindex(*SHAPE))


def test_dragging_selects_live_and_fades_the_others_without_sending_a_picture(hand: Hand) -> None:
    before = len(hand.recorded.drawings)
    hand.drag((40, 40), (200, 300), (400, 420))
    wanted = hand.scatter.inside(40, 40, 400, 420)
    assert 0 < wanted.sum() < wanted.size
    assert np.array_equal(hand.selected[0], hand.scatter.inside(40, 40, 200, 300))
    assert np.array_equal(hand.selected[-1], wanted)
    assert not any(drawing.pictures for drawing in hand.recorded.drawings[before:])
    for position in np.ndindex(*SHAPE):
        x, y = hand.scatter.at(position)
        if max(abs(x - 40), abs(x - 400), abs(y - 40), abs(y - 420)) > 380:
            assert bright(hand.pixel(position)) == wanted[position]
            assert is_faded(hand.pixel(position)) != wanted[position]


def test_words_count_positions_and_images(hand: Hand) -> None:
    assert "Drag" in hand.words
    selected = np.zeros(SHAPE, bool)
    selected[0, 1, 2] = selected[2, 3] = True
    hand.view.select(selected)
    assert hand.words == "6 of 60 positions selected, in 2 of 3 images."
    assert hand.view.clear.disabled is False
    hand.view.select(None)
    assert "Drag" in hand.words
    assert hand.view.clear.disabled is True


@pytest.mark.parametrize("how", ["click", "escape", "button", "empty rectangle"])
def test_selection_is_cleared_and_told_once(hand: Hand, how: str) -> None:
    hand.drag((40, 40), (400, 420))
    hand.selected.clear()
    if how == "click":
        hand.drag((500, 500), (501, 500))
    elif how == "escape":
        hand.key("Escape")
    elif how == "button":
        hand.view.clear.click()
    else:
        hand.drag((0, 0), (8, 8))
        assert not hand.selected.pop(0).any()
    assert hand.selected == [None]
    assert all(bright(hand.pixel(position)) for position in np.ndindex(*SHAPE))
    hand.drag((300, 300), (301, 300))
    assert hand.selected == [None]


def test_selection_from_elsewhere_fades_the_others_and_tells_nobody(hand: Hand) -> None:
    selected = np.zeros(SHAPE, bool)
    selected[1] = True
    hand.view.select(selected)
    assert hand.selected == []
    front = [position for position in np.ndindex(*SHAPE) if selected[position]]
    assert all(bright(hand.pixel(position)) for position in front)
    assert any(is_faded(hand.pixel(position)) for position in np.ndindex(*SHAPE))
    hand.drag((40, 40), (400, 420))  # brushing here replaces it
    assert np.array_equal(hand.selected[-1], hand.scatter.inside(40, 40, 400, 420))


def test_own_selection_that_comes_back_late_does_not_stop_the_brush(hand: Hand) -> None:
    hand.drag((40, 40), (200, 300), (400, 420), up=False)
    hand.view.select(hand.selected[0])
    hand.event("mouse_up", 400, 420)
    hand.view.select(hand.selected[0])
    assert np.array_equal(hand.view.plot.selected, hand.selected[-1])
    other = ~hand.selected[-1]
    hand.view.select(other)
    assert np.array_equal(hand.view.plot.selected, other)


def test_leaving_the_canvas_ends_the_brush_and_keeps_the_selection(hand: Hand) -> None:
    hand.drag((40, 40), (400, 420), up=False)
    happen(hand.canvas, "mouse_out", x=0, y=0)
    count = len(hand.selected)
    hand.event("mouse_move", 10, 10)
    assert len(hand.selected) == count
    assert hand.view.plot.selected is hand.selected[-1]


def test_selection_stays_with_its_positions_when_scores_change(hand: Hand) -> None:
    hand.drag((40, 40), (400, 420))
    selected = hand.selected[-1].copy()
    hand.view.show(-hand.scores, hand.heatmaps)
    assert np.array_equal(hand.view.plot.selected, selected)
    assert hand.view.plot.brush is None
    assert all(
        bright(hand.pixel(position)) for position in np.ndindex(*SHAPE) if selected[position]
    )


def test_selection_of_another_shape_is_none(hand: Hand) -> None:
    hand.view.select(np.ones((3, 9, 9), bool))
    assert hand.view.plot.selected is None
    hand.view.select(np.ones(SHAPE, bool))
    hand.view.show(torch.randn(3, 2, 6, 6), hand.heatmaps)
    assert hand.view.plot.selected is None
    assert "Drag" in hand.words


def test_pointing_tells_the_nearest_place_once_and_rings_it(hand: Hand) -> None:
    position = hand.scatter.nearest(*hand.scatter.at((1, 2, 3)))
    x, y = hand.scatter.at(position)
    before = hand.recorded.picture(hand.canvas).copy()
    hand.event("mouse_move", x, y)
    hand.event("mouse_move", x, y)
    assert hand.hovered == [position]
    ring = np.abs(hand.recorded.picture(hand.canvas) - before).max(axis=2) > 40
    rows, columns = np.nonzero(ring)
    assert len(rows)
    assert np.hypot(rows - y, columns - x).max() < 25
    happen(hand.canvas, "mouse_out", x=0, y=0)
    assert hand.hovered == [position, None]
    assert np.abs(hand.recorded.picture(hand.canvas) - before).max() < 1


def test_marks_are_ringed_and_positions_that_are_not_there_are_not(hand: Hand) -> None:
    before = hand.recorded.picture(hand.canvas).copy()
    hand.view.plot.mark([(9, 0, 0), (0, 4, 0)])
    assert np.abs(hand.recorded.picture(hand.canvas) - before).max() < 1
    hand.view.plot.mark([(0, 0, 0), (2, 3, 4)])
    changed = np.abs(hand.recorded.picture(hand.canvas) - before).max(axis=2) > 40
    for position in ((0, 0, 0), (2, 3, 4)):
        x, y = (round(v) for v in hand.scatter.at(position))
        assert changed[max(0, y - 25) : y + 25, max(0, x - 25) : x + 25].any()


def test_axes_are_chosen_among_the_components(hand: Hand) -> None:
    assert [value for _, value in hand.view.across.options] == [0, 1, 2]
    move(hand.view.across, index=2)
    y = hand.scores[:, 1].flatten().numpy()
    x = hand.scores[:, 2].flatten().numpy()
    inner = np.abs(x) < np.abs(x).max()
    assert np.corrcoef(hand.scatter.x[inner], x[inner])[0, 1] == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(hand.scatter.y, y)[0, 1] == pytest.approx(-1, abs=1e-2)
    hand.view.show(hand.scores[:, :2], hand.heatmaps)
    assert hand.view.across.value in (0, 1)
    move(hand.view.across, index=1)
    assert hand.view.across.value == hand.view.up.value == 1
    assert "stacked" in hand.view.overlay.html.value


def test_keys_step_through_the_axes_and_around(hand: Hand) -> None:
    for key, shift, wanted in (("x", False, (1, 1)), ("y", False, (1, 2)), ("y", False, (1, 0)),
                               ("Y", True, (1, 2)), ("q", False, (1, 2))):  # fmt: skip
        happen(hand.canvas, "key_down", key=key, shift_key=shift, ctrl_key=False, meta_key=False)
        assert (hand.view.across.value, hand.view.up.value) == wanted


def test_single_component_is_stacked_and_more_give_a_plane_again(recorded: RecordedPage) -> None:
    hand = Hand(recorded, components=1)
    assert (hand.view.across.value, hand.view.up.value) == (0, 0)
    assert "stacked" in hand.view.overlay.html.value
    hand.view.show(torch.randn(3, 4, 4, 5), hand.heatmaps)
    assert (hand.view.across.value, hand.view.up.value) == (0, 1)
    assert "stacked" not in hand.view.overlay.html.value


def test_points_stay_while_colours_change(hand: Hand) -> None:
    scatter = hand.scatter
    hand.view.show(hand.scores.clone(), hand.heatmaps * 0.5)
    assert hand.scatter is scatter
    sent = len(hand.recorded.drawings)
    hand.view.show(hand.scores, hand.heatmaps * 0.5)
    assert len(hand.recorded.drawings) == sent
    hand.view.show(hand.scores * 1.01, hand.heatmaps)
    assert hand.scatter is not scatter
    assert hand.scatter.limits is scatter.limits


def test_reloaded_page_is_painted_again_on_repaint(hand: Hand) -> None:
    before = hand.recorded.picture(hand.canvas).copy()
    hand.recorded.load_anew()
    hand.view.repaint()
    assert np.abs(hand.recorded.picture(hand.canvas) - before).max() < 1


@pytest.mark.parametrize("key", ["Tab", "Escape"])
def test_keyboard_leaves_the_canvas(hand: Hand, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bool] = []
    monkeypatch.setattr(type(hand.canvas), "blur", lambda _: left.append(True))
    hand.key(key)
    assert left == [True]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 1, 1), (200, 2, 1, 1), (2, 12, 7, 3)])
def test_odd_shapes_are_shown(recorded: RecordedPage, shape: tuple[int, ...]) -> None:
    view = ScatterPlot(lambda _: None, lambda _: None)
    view.show(torch.randn(*shape), torch.rand(shape[0], 14, 6, 3))
    happen(view.canvas.displayed, "mouse_move", x=200, y=200)
    happen(view.canvas.displayed, "mouse_down", x=0, y=0)
    happen(view.canvas.displayed, "mouse_move", x=540, y=540)
    assert view.plot.selected.all()
    close_all(view.widget)
