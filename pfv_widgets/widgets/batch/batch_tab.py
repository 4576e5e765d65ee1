"""The tab "Batch": which images the colours are found in, and which of them matter."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import ipywidgets as w
import numpy as np

from pfv_widgets.analysis.leave_one_out import Influence
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.pca.batch_basis import Weights
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import named
from pfv_widgets.widgets.batch.influence_text import influence_line
from pfv_widgets.widgets.batch.thumbnails import Thumbnails
from pfv_widgets.widgets.gallery.batch_weights import (
    as_setting,
    class_weight,
    inverted,
    presets,
    weights_of,
    with_class_weight,
    with_membership,
)
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import (
    LABEL_WIDTH,
    Edit,
    Gesture,
    Watched,
    close_all,
    drop_down,
    push_button,
)
from pfv_widgets.widgets.toolkit.foldable_section import Fold
from pfv_widgets.widgets.toolkit.time_left import TimeLeft
from pfv_widgets.widgets.toolkit.tooltips import FloatSlider

_HEAVIEST = 2.0  # weight at the right end of a class slider
_HOW_TO = "Click or drag to take images in or out. Keys: arrows and Space."
_NO_PRESET = ""  # what the list of presets goes back to; None would show it empty
_ALL_AT_ONCE: dict[str, tuple[str, Callable[[Weights], Weights]]] = {
    "All": ("Use every image to find the colours, each once.", lambda old: (1.0,) * len(old)),
    "None": ("Take every image out, to start from none.", lambda old: (0.0,) * len(old)),
    "Invert": ("Take out the images that are in, and take in those that are out.", inverted),
}


class BatchTab:
    """Thumbnails, presets and class weights: calls back, and computes nothing itself.

    ``sweep`` is called when a person asks for "leave one out"; answer by ``show_progress``, then by
    ``show_influence`` or ``show_problem``, from any thread. ``has_own_basis`` says whether settings
    take the basis of these images, or that of a data set.
    """

    visible = False  # it costs little to follow the settings unseen

    def __init__(
        self,
        images: ImageBatch,
        edit: Edit,
        sweep: Callable[[], None],
        gesture: Gesture,
        has_own_basis: Callable[[Settings], bool] = lambda _: True,
    ) -> None:
        self._images, self._has_own_basis = images, has_own_basis
        self.edit, self.sweep, self._gesture = edit, sweep, gesture
        self._lock = threading.RLock()  # never held while calling back
        self._settings = Settings()
        self._influence: Influence | None = None
        self._problem, self._version = "", 0
        self._watched = Watched()
        self._seeds = itertools.count()
        self._time_left = TimeLeft()
        self._presets = presets(len(images), images.labels)
        self.summary, self.hint, self.result = w.HTML(), w.HTML(), w.HTML()
        self.buttons = {name: self._button(name) for name in _ALL_AT_ONCE}
        self.preset = self._preset_list()
        self.thumbnails = Thumbnails(images.pixels, self._dragged, gesture, self._point_at)
        self.classes = {label: self._class_slider(label) for label in images.classes}
        self.sweep_button = push_button(
            "Leave one out",
            "Find the colours without each image in turn, and measure how they change.",
            self._start_sweep,
            flex="0 0 auto",
        )
        self.progress = w.IntProgress(
            max=len(images), layout=w.Layout(width="auto", flex="1 1 0", visibility="hidden")
        )
        self.widget = self._laid_out()
        self._point_at(None)
        self._show_result()
        self.show(Settings())

    def show(self, settings: Settings) -> None:
        """Set everything to what ``settings`` say, without calling back."""
        with self._lock:
            before, self._settings = self._settings, settings
            weights = self._weights(settings)
            for label, slider in self.classes.items():
                share = min(class_weight(weights, self._images.labels, label), _HEAVIEST)
                self._watched.show(slider, share)
            inside = sum(weight > 0 for weight in weights)
            self.summary.value = text.hint(
                f"{inside} of {len(weights)} images are used to find the colours."
                if self._has_own_basis(settings)
                else f"The colours are those of a data set, whichever images are chosen here "
                f"({inside} of {len(weights)})."
            )
            self.thumbnails.show(weights)
            if self._basis_of(before) != self._basis_of(settings):
                self._problem = ""  # it was one of other settings
                self._show_result()

    def show_network(self, version: int) -> None:
        """Say which version of the network is on show: results of another one are dimmed."""
        with self._lock:
            if version != self._version:
                self._version = version
                self._show_result()

    def show_progress(self, done: int, of: int) -> None:
        """Show how many images were left out so far."""
        with self._lock:
            self.progress.max, self.progress.value = max(of, 1), done
            left = self._time_left.words(done / max(of, 1))
            line = f"{done} of {of} images left out in turn"
            self.result.value = text.hint(f"{line}, {left}." if left else f"{line} …")

    def show_influence(self, influence: Influence | None) -> None:
        """Show what "leave one out" found; None clears it."""
        with self._lock:
            self._influence, self._problem = influence, ""
            self._end_sweep()

    def show_problem(self, message: str) -> None:
        """Show why "leave one out" found nothing."""
        with self._lock:
            self._influence, self._problem = None, message
            self._end_sweep()

    def close(self) -> None:
        """Remove the tab with all that is in it."""
        close_all(self.widget)

    def _end_sweep(self) -> None:
        self.sweep_button.disabled = False
        self.progress.layout.visibility = "hidden"
        self._show_result()

    def _show_result(self) -> None:
        found = self._influence
        current = found is not None and self._is_current(found)
        self.thumbnails.show_influence(found.angles if found and current else None)
        line = text.hint("Orange bars will show how much the colours change without each image.")
        if self._problem:
            line = text.status(self._problem, kind="warning")
        elif found:
            line = influence_line(found, self._images.names, current=current)
        self.result.value = line

    def _is_current(self, influence: Influence) -> bool:
        same = influence.version == self._version
        return same and self._basis_of(influence.settings) == self._basis_of(self._settings)

    def _basis_of(self, settings: Settings) -> tuple[object, ...]:
        """Return what of the settings a basis depends on."""
        network = getattr(settings, "first", None)  # of a comparison: whose layer it is
        weights = self._weights(settings)
        return network, settings.layer, settings.components, settings.basis_of, weights

    def _weights(self, settings: Settings) -> Weights:
        return weights_of(settings.images, len(self._images))

    def _reweigh(self, change: Callable[[Weights], Weights], *, one_step: bool = True) -> None:
        if one_step:
            self._gesture(True)
        self.edit(lambda old: replace(old, images=as_setting(change(self._weights(old)))))
        if one_step:
            self._gesture(False)

    def _dragged(self, indices: tuple[int, ...], inside: bool) -> None:
        labels = self._images.labels
        self._reweigh(lambda old: with_membership(old, indices, inside, labels), one_step=False)
        self._point_at(indices[-1])

    def _point_at(self, index: int | None) -> None:
        self.hint.value = text.hint(_HOW_TO if index is None else self._about(index))

    def _about(self, index: int) -> str:
        images, found = self._images, self._influence
        label = images.labels[index] if images.labels else None
        weight = self._weights(self._settings)[index]
        line = text.about_image(index, images.names[index], label, weight, 24)
        if found and self._is_current(found) and np.isfinite(found.angles[index]):
            line += f" · {found.angles[index]:.0f}° without it"
        return line

    def _button(self, name: str) -> w.Button:
        tip, change = _ALL_AT_ONCE[name]
        return push_button(name, tip, lambda: self._reweigh(change), flex="1 1 0")

    def _preset_list(self) -> w.Dropdown:
        names = [(text.plain(name, 32), name) for name in self._presets]
        tip = "Ready-made choices of images; choose the random half again for another one."
        options = [("Choose …", _NO_PRESET), *names]
        control = drop_down("Preset", tip, options, width="auto", margin=None)
        control.disabled = not names
        self._watched.watch(control, self._preset_chosen)
        return control

    def _preset_chosen(self, name: str) -> None:
        if name == _NO_PRESET:
            return
        weights = self._presets[name](next(self._seeds))
        self._watched.show(self.preset, _NO_PRESET)  # ready to be chosen again
        self._reweigh(lambda _: weights)

    def _class_slider(self, label: str) -> FloatSlider:
        slider = FloatSlider(
            value=1.0,
            min=0.0,
            max=_HEAVIEST,
            step=0.05,
            description=text.plain(label, 18),
            tooltip=f"Weight of the class {text.plain(label)} in the colours; 0 leaves it out.",
            readout_format=".2f",
            layout=w.Layout(width="100%", margin="0"),
            style={"description_width": LABEL_WIDTH},
        )
        self._watched.watch(slider, partial(self._class_moved, label))
        return slider

    def _class_moved(self, label: str, weight: float) -> None:
        labels = self._images.labels or ()
        self._reweigh(lambda old: with_class_weight(old, labels, label, weight), one_step=False)

    def _start_sweep(self) -> None:
        with self._lock:
            self.sweep_button.disabled = True
            self._time_left.stop()
            self.progress.value, self.progress.layout.visibility = 0, "visible"
        try:
            self.sweep()
        except Exception as error:  # a page would show nothing
            self.show_problem(named(error))

    def _class_box(self) -> list[w.Widget]:
        # room for ten classes without a scroll bar
        layout = w.Layout(max_height="282px", overflow="hidden auto", flex="0 0 auto")
        sliders = w.VBox(list(self.classes.values()), layout=layout)
        return [Fold("Weight of each class", [sliders]).widget]

    def _laid_out(self) -> w.VBox:
        hint = self.hint.layout
        hint.height, hint.overflow = "42px", "hidden"  # no text moves the rest
        self.hint.add_class("pfv-batch-hint")
        self.result.layout.min_height = "92px"
        sweep = w.HBox([self.sweep_button, self.progress])
        influence = Fold("Which image matters most", [sweep, self.result])
        return w.VBox(
            [
                self.summary,
                w.HBox(list(self.buttons.values())),
                self.preset,
                self.thumbnails.widget,
                self.hint,
                *(self._class_box() if self.classes else []),
                influence.widget,
            ],
            layout=w.Layout(width="100%"),
        )
