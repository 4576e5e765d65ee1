"""The page "Batch": what it shows, what it edits, and what "leave one out" says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from pfv_widgets.analysis.leave_one_out import Influence
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVValueError
from pfv_widgets.widgets.batch.batch_tab import BatchTab
from tests.widgets.explorer_contents import words
from tests.widgets.fake_page import FakePage, happen, move

LABELS = ("cat", "dog", "cat", "dog", "cat", "owl")
FOREIGN = '<img src=x onerror="alert(1)">$x$'


def batch_of(labels: tuple[str, ...] | None = LABELS, number: int = 6) -> ImageBatch:
    pixels = np.full((number, 12, 16, 3), 200, np.uint8)
    names = tuple(f"photo_{index}" for index in range(number))
    return ImageBatch(pixels, torch.zeros(number, 3, 12, 16), names, labels)


class Harness:
    """Settings with a tab that edits them, as an explorer does."""

    def __init__(self, images: ImageBatch) -> None:
        self.settings = Settings()
        self.history: list[object] = []
        self.swept = 0
        self.tab = BatchTab(images, self.edit, self.sweep, self.history.append)

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        self.settings = change(self.settings)
        self.history.append(self.settings.images)
        self.tab.show(self.settings)

    def sweep(self) -> None:
        self.swept += 1

    def found(self, *angles: float, settings: Settings | None = None) -> Influence:
        values = np.array(angles)
        reasons = {
            int(i): "it is not used to find the colours" for i in np.flatnonzero(np.isnan(values))
        }
        return Influence(settings or self.settings, values, values / 2, reasons)

    def click(self, index: int) -> None:
        thumbs = self.tab.thumbnails
        left, top = thumbs.grid.corner(index)
        for event in ("mouse_down", "mouse_up"):
            happen(thumbs.widget, event, x=left + 5, y=top + 5)

    def choose(self, name: str) -> None:
        labels = [label for label, _ in self.tab.preset.options]
        move(self.tab.preset, index=labels.index(name))

    @property
    def summary(self) -> str:
        return words(self.tab.summary.value)

    @property
    def hint(self) -> str:
        return words(self.tab.hint.value)

    @property
    def result(self) -> str:
        return words(self.tab.result.value)

    @property
    def shows_influence(self) -> bool:
        return self.tab.thumbnails.angles is not None


@pytest.fixture
def open_tab(fake_page: FakePage) -> Iterator[Callable[[ImageBatch], Harness]]:
    with ExitStack() as stack:

        def open_(images: ImageBatch) -> Harness:
            harness = Harness(images)
            stack.callback(harness.tab.close)
            return harness

        yield open_


@pytest.fixture
def harness(open_tab: Callable[[ImageBatch], Harness]) -> Harness:
    return open_tab(batch_of())


def test_summary_counts_the_images_in_the_basis(harness: Harness) -> None:
    assert harness.summary == "6 of 6 images are used to find the colours."
    harness.tab.show(Settings(images=(0, 0.5, 2, 0, 1, 1)))
    assert harness.summary == "4 of 6 images are used to find the colours."


@pytest.mark.parametrize(
    ("name", "expected"), [("All", None), ("None", (0,) * 6), ("Invert", (1, 0, 0, 0, 0, 0))]
)
def test_buttons_set_all_weights_as_one_step(
    harness: Harness, name: str, expected: tuple[float, ...] | None
) -> None:
    harness.settings = Settings(images=(0, 1, 1, 0.5, 1, 1))
    harness.tab.buttons[name].click()
    assert harness.settings.images == expected
    assert harness.history == [True, expected, False]


def test_all_images_at_weight_1_are_no_setting_however_one_comes_there(harness: Harness) -> None:
    harness.settings = Settings(images=(1, 0, 1, 1, 1, 1))
    harness.tab.show(harness.settings)
    harness.click(1)
    assert harness.settings.changed() == {}
    harness.tab.show(harness.settings)
    harness.tab.buttons["None"].click()
    harness.tab.buttons["Invert"].click()
    assert harness.settings.changed() == {}
    for weight in (0.5, 1.0):
        move(harness.tab.classes["dog"], value=weight)
    assert harness.settings.changed() == {}


def test_class_sliders_follow_the_settings_without_calling_back(harness: Harness) -> None:
    harness.tab.show(Settings(images=(0.5, 0, 0.25, 0, 0, 7.0)))
    assert [slider.value for slider in harness.tab.classes.values()] == [0.5, 0, 2.0]
    assert harness.history == []


def test_class_slider_weighs_its_class(harness: Harness) -> None:
    move(harness.tab.classes["dog"], value=0.1 + 0.3)
    assert harness.settings.images == (1, 0.4, 1, 0.4, 1, 1)
    assert harness.history == [(1, 0.4, 1, 0.4, 1, 1)]  # runs are gathered by the history


def test_class_weight_between_two_steps_stays_where_a_page_shows_the_nearer_one(
    harness: Harness,
) -> None:
    third = Settings(images=(1, 1 / 3, 1, 0.1, 1, 1))
    harness.settings = third
    harness.tab.show(third)
    move(harness.tab.classes["dog"], value=0.35)
    assert harness.settings == third
    move(harness.tab.classes["dog"], value=0.5)
    assert harness.settings.images == (1, 0.5, 1, 0.5, 1, 1)


def test_every_preset_can_be_chosen_again_and_again(harness: Harness) -> None:
    for name in ("Only cat", "First half", "Only cat", "Only cat"):
        harness.choose(name)
        assert harness.tab.preset.index == 0
    images = [entry for entry in harness.history if isinstance(entry, tuple)]
    cats, half = (1, 0, 1, 0, 1, 0), (1, 1, 1, 0, 0, 0)
    assert images == [cats, half, cats, cats]
    assert harness.history[:3] == [True, cats, False]


def test_random_half_is_another_one_every_time(harness: Harness) -> None:
    for _ in range(8):
        harness.choose("Random half")
    images = [entry for entry in harness.history if isinstance(entry, tuple)]
    assert {sum(entry) for entry in images} == {3.0}
    assert len(set(images)) > 3


def test_click_on_a_thumbnail_toggles_its_image(harness: Harness) -> None:
    harness.settings = Settings(images=(0.4, 1, 0.4, 1, 0.4, 1))
    harness.tab.show(harness.settings)
    harness.click(2)
    assert harness.settings.images == (0.4, 1, 0, 1, 0.4, 1)
    harness.click(2)  # back with the weight of its class
    assert harness.settings.images == (0.4, 1, 0.4, 1, 0.4, 1)
    assert [entry for entry in harness.history if isinstance(entry, bool)] == [True, False] * 2


def test_hint_tells_about_the_image_that_is_pointed_at(harness: Harness) -> None:
    how_to = harness.hint
    harness.click(1)
    assert harness.hint == "2: photo_1 · dog · not used to find the colours"
    harness.tab.show_influence(harness.found(1, np.nan, 41.4, 2, 3, 4))
    left, top = harness.tab.thumbnails.grid.corner(2)
    happen(harness.tab.thumbnails.widget, "mouse_move", x=left, y=top)
    assert harness.hint == "3: photo_2 · cat · weight 1 · 41° without it"
    happen(harness.tab.thumbnails.widget, "mouse_out", x=-1, y=0)
    assert harness.hint == how_to


def test_page_says_what_a_sweep_will_show(harness: Harness) -> None:
    assert "how much the colours change" in harness.result


def test_result_names_the_three_images_that_turn_the_basis_most(harness: Harness) -> None:
    harness.tab.show_influence(harness.found(1, 20, 41.4, 2, 12.6, np.nan))
    assert harness.result == (
        "Without 3: photo_2 the colours change by 41°.Next: 2: photo_1 20°, 5: photo_4 13°."
    )
    assert harness.shows_influence


def test_result_of_even_images_names_none(harness: Harness) -> None:
    harness.tab.show_influence(harness.found(*[0.1] * 6))
    assert harness.result == (
        "No single image matters much: leaving any out changes the result by less than 0.5°."
    )


def test_result_without_any_angle_says_why(harness: Harness) -> None:
    nothing = replace(
        harness.found(*[np.nan] * 6),
        reasons={0: "it is not used to find the colours", 1: "it is the only image that is used"},
    )
    harness.tab.show_influence(nothing)
    assert harness.result == "No image can be left out: it is the only image that is used."


@pytest.mark.parametrize("change", [{"components": 2}, {"images": (1, 1, 0, 1, 1, 1)}])
def test_result_for_other_settings_is_marked_and_comes_back(
    harness: Harness, change: dict[str, object]
) -> None:
    first = harness.settings
    harness.tab.show_influence(harness.found(1, 20, 41.4, 2, 12.6, 3))
    harness.tab.show(replace(first, **change))
    assert harness.result.startswith("The colours have changed since: press again.Without 3: ")
    assert not harness.shows_influence
    harness.tab.show(first)
    assert harness.result.startswith("Without 3: ")
    assert harness.shows_influence


def test_result_stays_when_only_the_look_changes(harness: Harness) -> None:
    harness.tab.show_influence(harness.found(1, 20, 41.4, 2, 12.6, 3))
    before = harness.result
    harness.tab.show(replace(harness.settings, opacity=0.1, sigma=2.0, images=(1.0,) * 6))
    assert harness.result == before
    assert harness.shows_influence


def test_result_that_comes_late_is_marked_at_once(harness: Harness) -> None:
    late = harness.found(1, 20, 41.4, 2, 12.6, 3)
    harness.tab.buttons["Invert"].click()
    harness.tab.show_influence(late)
    assert "press again" in harness.result
    assert not harness.shows_influence


def test_sweep_shows_progress_until_its_end(harness: Harness) -> None:
    tab = harness.tab
    assert tab.progress.layout.visibility == "hidden"
    tab.sweep_button.click()
    assert harness.swept == 1
    assert tab.sweep_button.disabled
    tab.show_progress(4, 6)
    assert (tab.progress.value, tab.progress.max) == (4, 6)
    assert tab.progress.layout.visibility == "visible"
    tab.show_influence(None)
    assert not tab.sweep_button.disabled
    assert tab.progress.layout.visibility == "hidden"


def test_problem_of_a_sweep_is_told_and_the_button_works_again(harness: Harness) -> None:
    def fails() -> None:
        raise PFVValueError("images: every weight is 0.")

    harness.tab.sweep = fails
    harness.tab.sweep_button.click()
    assert "every weight is 0" in harness.result
    assert not harness.tab.sweep_button.disabled


def test_batch_without_labels_has_no_classes(open_tab: Callable[[ImageBatch], Harness]) -> None:
    harness = open_tab(batch_of(None))
    assert harness.tab.classes == {}
    harness.click(3)
    assert harness.settings.images == (1, 1, 1, 0, 1, 1)
    assert harness.hint == "4: photo_3 · not used to find the colours"


def test_single_image_has_nothing_to_choose_from(open_tab: Callable[[ImageBatch], Harness]) -> None:
    assert open_tab(batch_of(None, 1)).tab.preset.disabled


def test_foreign_names_stay_text(open_tab: Callable[[ImageBatch], Harness]) -> None:
    batch = replace(batch_of((FOREIGN,) * 5 + ("b",)), names=(FOREIGN,) * 6)
    harness = open_tab(batch)
    harness.tab.show_influence(harness.found(50, 40, 30, 2, 1, 0))
    harness.click(0)
    for widget in (harness.tab.hint, harness.tab.result, harness.tab.summary):
        assert "<img" not in widget.value


def test_weights_of_another_number_of_images_read_as_ones(harness: Harness) -> None:
    harness.tab.show(Settings(images=(1.0, 0.0)))
    assert harness.summary == "6 of 6 images are used to find the colours."


def test_calls_from_many_threads_end_with_the_last_settings(harness: Harness) -> None:
    lock, errors = threading.RLock(), []

    def edit(change: Callable[[Settings], Settings]) -> None:
        with lock:  # as an explorer does
            harness.settings = change(harness.settings)
            harness.tab.show(harness.settings)

    harness.tab.edit = edit

    def slide() -> None:
        for step in range(40):
            harness.tab.classes["cat"].value = 0.5 + step / 80

    def click() -> None:
        for step in range(40):
            harness.click(1 + 2 * (step % 2))

    def sweep() -> None:
        for step in range(40):
            harness.tab.show_progress(step, 40)
            harness.tab.show_influence(harness.found(*[float(step)] * 6))

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in (slide, click, sweep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    assert errors == []
    assert harness.settings.images is not None
    assert harness.tab.thumbnails.weights == harness.settings.images


def test_closing_leaves_no_canvas_on_the_page(fake_page: FakePage) -> None:
    harness = Harness(batch_of())
    canvas = harness.tab.thumbnails.widget
    ids = {canvas.model_id, harness.tab.thumbnails.canvas.buffers[0].model_id}
    harness.tab.close()
    assert ids <= fake_page.closed


def test_basis_of_a_data_set_is_said_to_be_of_no_image_here() -> None:
    tab = BatchTab(
        batch_of(), lambda _: None, lambda: None, lambda _: None,
        lambda settings: settings.basis_of == "this batch",
    )  # fmt: skip
    tab.show(Settings(images=(1, 0, 0, 0, 0, 0)))
    assert "those of a data set, whichever images are chosen here (1 of 6)" in tab.summary.value
    tab.show(Settings(images=(1, 0, 0, 0, 0, 0), basis_of="this batch"))
    assert "1 of 6 images are used" in tab.summary.value
