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
from tests.widgets.recorded_page import RecordedPage, happen, move

LABELS = ("cat", "dog", "cat", "dog", "cat", "owl")
FOREIGN = '<img src=x onerror="alert(1)">$x$'


def batch_of(labels: tuple[str, ...] | None = LABELS, number: int = 6) -> ImageBatch:
    pixels = np.full((number, 12, 16, 3), 200, np.uint8)
    names = tuple(f"photo_{index}" for index in range(number))
    return ImageBatch(pixels, torch.zeros(number, 3, 12, 16), names, labels)


class Holder:
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
def open_tab(recorded: RecordedPage) -> Iterator[Callable[[ImageBatch], Holder]]:
    with ExitStack() as stack:

        def opened(images: ImageBatch) -> Holder:
            holder = Holder(images)
            stack.callback(holder.tab.close)
            return holder

        yield opened


@pytest.fixture
def holder(open_tab: Callable[[ImageBatch], Holder]) -> Holder:
    return open_tab(batch_of())


def test_summary_counts_the_images_in_the_basis(holder: Holder) -> None:
    assert holder.summary == "6 of 6 images are used to find the colours."
    holder.tab.show(Settings(images=(0, 0.5, 2, 0, 1, 1)))
    assert holder.summary == "4 of 6 images are used to find the colours."


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("All", None), ("None", (0,) * 6), ("Invert", (1, 0, 0, 0, 0, 0))],
)
def test_buttons_set_all_weights_as_one_step(
    holder: Holder, name: str, wanted: tuple[float, ...] | None
) -> None:
    holder.settings = Settings(images=(0, 1, 1, 0.5, 1, 1))
    holder.tab.buttons[name].click()
    assert holder.settings.images == wanted
    assert holder.history == [True, wanted, False]


def test_all_images_at_weight_1_are_no_setting_however_one_comes_there(holder: Holder) -> None:
    holder.settings = Settings(images=(1, 0, 1, 1, 1, 1))
    holder.tab.show(holder.settings)
    holder.click(1)
    assert holder.settings.changed() == {}
    holder.tab.show(holder.settings)
    holder.tab.buttons["None"].click()
    holder.tab.buttons["Invert"].click()
    assert holder.settings.changed() == {}
    for weight in (0.5, 1.0):
        move(holder.tab.classes["dog"], value=weight)
    assert holder.settings.changed() == {}


def test_class_sliders_follow_the_settings_without_calling_back(holder: Holder) -> None:
    holder.tab.show(Settings(images=(0.5, 0, 0.25, 0, 0, 7.0)))
    assert [slider.value for slider in holder.tab.classes.values()] == [0.5, 0, 2.0]
    assert holder.history == []


def test_class_slider_weighs_its_class(holder: Holder) -> None:
    move(holder.tab.classes["dog"], value=0.1 + 0.3)
    assert holder.settings.images == (1, 0.4, 1, 0.4, 1, 1)
    assert holder.history == [(1, 0.4, 1, 0.4, 1, 1)]  # runs are gathered by the history


def test_class_weight_between_two_steps_stays_where_a_page_shows_the_nearer_one(
    holder: Holder,
) -> None:
    third = Settings(images=(1, 1 / 3, 1, 0.1, 1, 1))
    holder.settings = third
    holder.tab.show(third)
    move(holder.tab.classes["dog"], value=0.35)
    assert holder.settings == third
    move(holder.tab.classes["dog"], value=0.5)
    assert holder.settings.images == (1, 0.5, 1, 0.5, 1, 1)


def test_every_preset_can_be_chosen_again_and_again(holder: Holder) -> None:
    for name in ("Only cat", "First half", "Only cat", "Only cat"):
        holder.choose(name)
        assert holder.tab.preset.index == 0
    images = [entry for entry in holder.history if isinstance(entry, tuple)]
    cats, half = (1, 0, 1, 0, 1, 0), (1, 1, 1, 0, 0, 0)
    assert images == [cats, half, cats, cats]
    assert holder.history[:3] == [True, cats, False]


def test_random_half_is_another_one_every_time(holder: Holder) -> None:
    for _ in range(8):
        holder.choose("Random half")
    images = [entry for entry in holder.history if isinstance(entry, tuple)]
    assert {sum(entry) for entry in images} == {3.0}
    assert len(set(images)) > 3


def test_click_on_a_thumbnail_toggles_its_image(holder: Holder) -> None:
    holder.settings = Settings(images=(0.4, 1, 0.4, 1, 0.4, 1))
    holder.tab.show(holder.settings)
    holder.click(2)
    assert holder.settings.images == (0.4, 1, 0, 1, 0.4, 1)
    holder.click(2)  # back with the weight of its class
    assert holder.settings.images == (0.4, 1, 0.4, 1, 0.4, 1)
    assert [entry for entry in holder.history if isinstance(entry, bool)] == [True, False] * 2


def test_hint_tells_about_the_image_that_is_pointed_at(holder: Holder) -> None:
    how_to = holder.hint
    holder.click(1)
    assert holder.hint == "2: photo_1 · dog · not used to find the colours"
    holder.tab.show_influence(holder.found(1, np.nan, 41.4, 2, 3, 4))
    left, top = holder.tab.thumbnails.grid.corner(2)
    happen(holder.tab.thumbnails.widget, "mouse_move", x=left, y=top)
    assert holder.hint == "3: photo_2 · cat · weight 1 · 41° without it"
    happen(holder.tab.thumbnails.widget, "mouse_out", x=-1, y=0)
    assert holder.hint == how_to


def test_page_says_what_a_sweep_will_show(holder: Holder) -> None:
    assert "how much the colours change" in holder.result


def test_result_names_the_three_images_that_turn_the_basis_most(holder: Holder) -> None:
    holder.tab.show_influence(holder.found(1, 20, 41.4, 2, 12.6, np.nan))
    assert holder.result == (
        "Without 3: photo_2 the colours change by 41°.Next: 2: photo_1 20°, 5: photo_4 13°."
    )
    assert holder.shows_influence


def test_result_of_even_images_names_none(holder: Holder) -> None:
    holder.tab.show_influence(holder.found(*[0.1] * 6))
    assert holder.result == (
        "No single image matters much: leaving any out changes the colours by less than 0.5°."
    )


def test_result_without_any_angle_says_why(holder: Holder) -> None:
    nothing = replace(
        holder.found(*[np.nan] * 6),
        reasons={0: "it is not used to find the colours", 1: "it is the only image that is used"},
    )
    holder.tab.show_influence(nothing)
    assert holder.result == "No image can be left out: it is the only image that is used."


@pytest.mark.parametrize("change", [{"components": 2}, {"images": (1, 1, 0, 1, 1, 1)}])
def test_result_for_other_settings_is_marked_and_comes_back(
    holder: Holder, change: dict[str, object]
) -> None:
    first = holder.settings
    holder.tab.show_influence(holder.found(1, 20, 41.4, 2, 12.6, 3))
    holder.tab.show(replace(first, **change))
    assert holder.result.startswith("The colours have changed since: press again.Without 3: ")
    assert not holder.shows_influence
    holder.tab.show(first)
    assert holder.result.startswith("Without 3: ")
    assert holder.shows_influence


def test_result_stays_when_only_the_look_changes(holder: Holder) -> None:
    holder.tab.show_influence(holder.found(1, 20, 41.4, 2, 12.6, 3))
    before = holder.result
    holder.tab.show(replace(holder.settings, opacity=0.1, sigma=2.0, images=(1.0,) * 6))
    assert holder.result == before
    assert holder.shows_influence


def test_result_that_comes_late_is_marked_at_once(holder: Holder) -> None:
    late = holder.found(1, 20, 41.4, 2, 12.6, 3)
    holder.tab.buttons["Invert"].click()
    holder.tab.show_influence(late)
    assert "press again" in holder.result
    assert not holder.shows_influence


def test_sweep_shows_progress_until_its_end(holder: Holder) -> None:
    tab = holder.tab
    assert tab.progress.layout.visibility == "hidden"
    tab.sweep_button.click()
    assert holder.swept == 1
    assert tab.sweep_button.disabled
    tab.show_progress(4, 6)
    assert (tab.progress.value, tab.progress.max) == (4, 6)
    assert tab.progress.layout.visibility == "visible"
    tab.show_influence(None)
    assert not tab.sweep_button.disabled
    assert tab.progress.layout.visibility == "hidden"


def test_problem_of_a_sweep_is_told_and_the_button_works_again(holder: Holder) -> None:
    def fails() -> None:
        raise PFVValueError("images: every weight is 0.")

    holder.tab.sweep = fails
    holder.tab.sweep_button.click()
    assert "every weight is 0" in holder.result
    assert not holder.tab.sweep_button.disabled


def test_batch_without_labels_has_no_classes(open_tab: Callable[[ImageBatch], Holder]) -> None:
    holder = open_tab(batch_of(None))
    assert holder.tab.classes == {}
    holder.click(3)
    assert holder.settings.images == (1, 1, 1, 0, 1, 1)
    assert holder.hint == "4: photo_3 · not used to find the colours"


def test_single_image_has_nothing_to_choose_from(
    open_tab: Callable[[ImageBatch], Holder],
) -> None:
    assert open_tab(batch_of(None, 1)).tab.preset.disabled


def test_foreign_names_stay_text(open_tab: Callable[[ImageBatch], Holder]) -> None:
    batch = replace(batch_of((FOREIGN,) * 5 + ("b",)), names=(FOREIGN,) * 6)
    holder = open_tab(batch)
    holder.tab.show_influence(holder.found(50, 40, 30, 2, 1, 0))
    holder.click(0)
    for widget in (holder.tab.hint, holder.tab.result, holder.tab.summary):
        assert "<img" not in widget.value


def test_weights_of_another_number_of_images_read_as_ones(holder: Holder) -> None:
    holder.tab.show(Settings(images=(1.0, 0.0)))
    assert holder.summary == "6 of 6 images are used to find the colours."


def test_calls_from_many_threads_end_with_the_last_settings(holder: Holder) -> None:
    lock, errors = threading.RLock(), []

    def edit(change: Callable[[Settings], Settings]) -> None:
        with lock:  # as an explorer does
            holder.settings = change(holder.settings)
            holder.tab.show(holder.settings)

    holder.tab.edit = edit

    def slide() -> None:
        for step in range(40):
            holder.tab.classes["cat"].value = 0.5 + step / 80

    def click() -> None:
        for step in range(40):
            holder.click(1 + 2 * (step % 2))

    def sweep() -> None:
        for step in range(40):
            holder.tab.show_progress(step, 40)
            holder.tab.show_influence(holder.found(*[float(step)] * 6))

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
    assert holder.settings.images is not None
    assert holder.tab.thumbnails.weights == holder.settings.images


def test_closing_leaves_no_canvas_on_the_page(recorded: RecordedPage) -> None:
    holder = Holder(batch_of())
    canvas = holder.tab.thumbnails.widget
    ids = {canvas.model_id, holder.tab.thumbnails.canvas.buffers[0].model_id}
    holder.tab.close()
    assert ids <= recorded.closed
