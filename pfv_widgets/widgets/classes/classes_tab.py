"""The tab "Classes": components named by classes, with evidence, and cut out live."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import ipywidgets as w
import torch

from pfv_widgets.analysis.ablation.ablate import MODES
from pfv_widgets.analysis.ablation.cut_effect import CutEffect, cut_effect
from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.analysis.core.scores_from_layer import UnusedLayerError
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled
from pfv_widgets.errors import named
from pfv_widgets.widgets.classes import class_texts
from pfv_widgets.widgets.classes.evidence_strip import class_strips, evidence
from pfv_widgets.widgets.classes.shortcut_section import Search, ShortcutSection, with_one
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import (
    Edit,
    Gesture,
    Watched,
    close_all,
    drop_down,
    push_button,
)
from pfv_widgets.widgets.toolkit.foldable_section import Fold
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

Find = Callable[[Settings], ComponentClasses]
Say = Callable[[str, str], None]
_LABELS = {"project": "Cut them out", "keep": "Keep only them", "clamp": "Clamp their high side"}
_MOST_COMPONENTS = 12
_HOW_TO = (
    "How much each component moves a class's score in a typical photo. Press a number to cut that "
    "component out: the layers behind are run again."
)
_NAMING = "Naming components by classes …"
_STOPPED = "Stopped: change a setting, or open this tab again, to go on."
_NO_CLASS = -1
_LABEL = "84px"


class ClassesTab:
    """Components by class; begins to compute, in a thread of its own, only while it is visible.

    What is being named when the tab is left is named to its end: it is there when it is opened
    again.

    Parameters
    ----------
    find
        Names the components of these settings by classes; it may take long and raise, as
        ``Cancelled`` once the tab says that they are :meth:`outdated`.
    say, fail
        Called with what is being done, in words, and its kind, or an error, from any thread.
    search, stop
        Start and stop the search for shortcuts: see :class:`ShortcutSection`.
    """

    def __init__(
        self,
        edit: Edit,
        find: Find,
        say: Say,
        fail: Callable[[Exception], None],
        *,
        gesture: Gesture,
        search: Search,
        stop: Callable[[], None],
    ) -> None:
        self._change, self._gesture = edit, gesture
        self._find, self._say, self._fail = find, say, fail
        self._lock = threading.RLock()
        self._watched = Watched()
        self._visible = False
        self._settings = Settings()
        self._image = 0
        self._result: ComponentClasses | None = None
        self._layer: str | None = None  # that of the settings which the result is of
        self._effect: tuple[CutEffect, str] | None = None  # with what was cut, in words
        self._unknown = ""  # which suspects are to be cut but were not found, in words
        self._problem = ""
        self._stopped: Settings | None = None
        self._worker = LatestWins(self._work)
        self.about = w.HTML(text.hint(_HOW_TO))
        tip = "Show the last layer that the scores depend on."
        self.layer_button = push_button("Go to that layer", tip, self._go, display="none")
        self._instead: str | None = None
        self.buttons = [self._button(index) for index in range(_MOST_COMPONENTS)]
        self.moves = [
            w.HTML(layout=w.Layout(margin="0", flex="1 1 0", min_width="0")) for _ in self.buttons
        ]
        self.strips = [w.HTML(layout=w.Layout(margin="0 0 8px 0")) for _ in self.buttons]
        self.mode = self._mode_list()
        clear = partial(self._edit, lambda old: replace(old, cut=(), suspects=()))
        self.clear_button = push_button("Put all back", "Cut nothing.", clear)
        self.clear_button.disabled = True
        self.shortcuts = ShortcutSection(search, stop, self._edit, self._again)
        self.effect, self.photo, self.class_view = w.HTML(), w.HTML(), w.HTML()
        self.class_list = self._class_list()
        parts = zip(self.buttons, self.moves, self.strips, strict=True)
        self._all_rows = [w.VBox([w.HBox([button, move]), strip]) for button, move, strip in parts]
        self.rows = w.VBox(layout=w.Layout(width="100%"))
        self.widget = self._laid_out()

    @property
    def visible(self) -> bool:
        """Whether a person sees the tab."""
        return self._visible

    @visible.setter
    def visible(self, visible: bool) -> None:
        with self._lock:
            self._visible, self._stopped = visible, None

    def show(self, settings: Settings) -> None:
        """Show which components are cut, without calling back, and begin to run what changed."""
        with self._lock:
            if settings.layer != self._settings.layer:
                self._problem = ""  # of the former one
            self._settings = settings
            for index, button in enumerate(self.buttons):
                self._watched.show(button, index in settings.cut)
            self._watched.show(self.mode, settings.cut_mode)
            self.shortcuts.show(settings.suspects)
            self.clear_button.disabled = not (settings.cut or settings.suspects)
            self._dim()
            if self._visible:
                self._worker.submit(settings)

    def show_image(self, image: int) -> None:
        """Show how the scores of image ``image`` are made up."""
        with self._lock:
            if image != self._image:
                self._image = image
                if self._visible:
                    self._show_photo()

    def outdated(self, settings: Settings) -> bool:
        """Whether nobody waits any more for the names of the components of ``settings``."""
        return self._worker.is_closed or _basis(self._settings) != _basis(settings)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is asked for is shown; False where ``timeout`` seconds passed."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """End what runs, and remove the tab from every page."""
        with self._lock:
            self._visible, self._result, self._effect = False, None, None
        self._worker.close()
        self.shortcuts.close()
        for part in (*self._all_rows, self.widget):
            close_all(part)

    def _edit(self, change: Callable[[Settings], Settings]) -> None:
        """Make one step to undo of one press."""
        self._gesture(True)
        self._change(change)
        self._gesture(False)

    def _work(self, settings: Settings) -> None:
        if settings == self._stopped:
            return
        self._stopped = None
        if settings.images is not None and not any(settings.images):  # the status line says it
            self._tell(text.NO_IMAGE)
            return
        with self._lock:
            if self._problem == _STOPPED or (self._result is None and not self._problem):
                self.about.value = text.hint(_HOW_TO) + text.status(_NAMING, kind="busy")
        try:
            found = self._find(settings)
            cut = tuple(one for one in settings.cut if one < len(found.basis.components))
            self.shortcuts.show_layer(found.layer)
            suspects = self.shortcuts.suspects(settings.suspects)
            vectors = [(one.direction, one.reader) for one in suspects]
            stacked = map(torch.stack, zip(*vectors, strict=True))
            effect = cut_effect(found, cut, settings.cut_mode, *stacked)
            chosen = settings.suspects[: len(suspects)]
            words = class_texts.cut_in_words(cut, chosen, settings.cut_mode)
            missing = settings.cut[len(cut) :], settings.suspects[len(suspects) :]
            unknown = _unknown_in_words(*missing, len(found.basis.components))
        except Cancelled:
            if self.outdated(settings):
                return
            with self._lock:
                self._stopped = settings
                self._tell(_STOPPED)
            self._say("Stopped.", "warning")
            return
        except Exception as error:
            with self._lock:
                self._tell(named(error))
                self._offer(error.instead if isinstance(error, UnusedLayerError) else None)
            self._fail(error)  # each time: the status line said that components are being named
            return
        with self._lock:
            if not self._visible:
                return
            new = found is not self._result or bool(self._problem)
            self._result, self._layer, self._problem = found, settings.layer, ""
            self._effect, self._unknown = (effect, words), unknown
            self._offer(None)
            self._dim()
            self.about.value = text.hint(_HOW_TO) + class_texts.about(found)
            if new:
                self._show_components(found)
            self._show_photo()
        if words or unknown:
            summary = class_texts.summary(effect, words) if words else ""
            self._say(f"{summary} {unknown}".strip(), "warning" if unknown else "ok")

    def _tell(self, problem: str) -> None:
        """Show why there are no components, in the place of what is said of them."""
        with self._lock:
            self._problem = problem
            self.about.value = text.status(problem, kind="warning")
            self._dim()

    def _offer(self, layer: str | None) -> None:
        """Show the button that goes to another layer, or hide it."""
        self._instead = layer
        self.layer_button.layout.display = "none" if layer is None else None

    def _go(self) -> None:
        layer = self._instead
        if layer is not None:
            self._edit(lambda old: old.at_layer(layer))

    def _dim(self) -> None:
        """Show where components and suspects are of another layer, and cannot be cut."""
        outdated = self._result is not None and self._layer != self._settings.layer
        parts = self.photo, self.rows, self.effect, self.class_view, self.shortcuts.list
        for part in parts:
            (part.add_class if outdated else part.remove_class)("pfv-outdated")
        told = outdated and not self._problem
        (self.about.add_class if told else self.about.remove_class)("pfv-outdated")
        for button in self.buttons:
            button.disabled = outdated
        self.shortcuts.enable(not outdated)

    def _show_components(self, found: ComponentClasses) -> None:
        ratios = found.basis.explained_variance_ratio.tolist()
        for index, ratio in enumerate(ratios):
            self.moves[index].value = class_texts.moves(found, index)
            self.strips[index].value = evidence(found, index)
            self.buttons[index].description = f"{index + 1} · {100 * ratio:.0f} %"
        self.rows.children = self._all_rows[: len(ratios)]
        units = found.predicted if found.expected is None else found.expected
        options = [(text.plain(found.classes[u], 32), u) for u in sorted(set(units.tolist()))]
        self._watched.offer(self.class_list, [("Choose …", _NO_CLASS), *options])
        self.class_view.value = ""

    def _show_photo(self) -> None:
        found = self._result
        if found is None or self._effect is None:
            return
        image = min(self._image, len(found) - 1)
        unknown = text.status(self._unknown, kind="warning") if self._unknown else ""
        self.effect.value = unknown + class_texts.effect_table(*self._effect, image)
        self.photo.value = class_texts.photo_table(found, image)

    def _again(self) -> None:
        with self._lock:
            if self._visible:
                self._worker.submit(self._settings)

    def _button(self, index: int) -> w.ToggleButton:
        tip = f"Cut component {index + 1} out of the layer, or put it back."
        return self._watched.toggle_button(
            str(index + 1), tip, partial(self._toggled, index),
            width="76px", flex="0 0 auto", margin="2px 6px 2px 0",
        )  # fmt: skip

    def _toggled(self, index: int, is_on: bool) -> None:
        self._edit(lambda old: replace(old, cut=with_one(old.cut, index, is_on=is_on)))

    def _mode_list(self) -> w.Dropdown:
        control = drop_down(
            "Selected",
            "What is done with the selected components: cut them out, keep nothing else, or cut "
            "only their positive side (SpuFix). The mean stays.",
            [(_LABELS[mode], mode) for mode in MODES],
            _LABEL,
            margin=None,
        )
        self._watched.watch(
            control, lambda mode: self._edit(lambda old: replace(old, cut_mode=mode))
        )
        return control

    def _class_list(self) -> w.Dropdown:
        control = drop_down(
            "Class",
            "The class whose own components are shown: principal components of the features times "
            "the class's weights. Each is a part of that class's score.",
            [("Choose …", _NO_CLASS)],
            _LABEL,
            margin=None,
        )
        self._watched.watch(control, self._class_chosen)
        return control

    def _class_chosen(self, unit: int) -> None:
        with self._lock:
            found = self._result
            if found is None or unit == _NO_CLASS:
                self.class_view.value = ""
                return
            try:
                own = found.class_components(unit, min(3, max(1, len(found) - 1)))
                self.class_view.value = class_strips(found, own)
            except Exception as error:
                self.class_view.value = text.status(named(error), kind="warning")

    def _laid_out(self) -> w.VBox:
        self.effect.layout.width = self.photo.layout.width = "100%"
        box = w.VBox(
            [
                w.HTML(class_texts.STYLE, layout=w.Layout(margin="0", height="0")),
                self.about,
                self.layer_button,
                self.photo,  # on top: it answers to the pointer over the gallery beside it
                self.rows,
                self.mode,
                self.clear_button,
                self.effect,
                Fold("A class's own components", [self.class_list, self.class_view]).widget,
                self.shortcuts.widget,
            ],
            layout=w.Layout(width="100%"),
        )
        box.add_class("pfv-classes")
        return box


def _basis(settings: Settings) -> tuple[object, ...]:
    """Return the settings that decide which components there are."""
    return (
        settings.layer, settings.components, settings.images, settings.basis_of,
        settings.stable_colours,
    )  # fmt: skip


def _unknown_in_words(cut: tuple[int, ...], suspects: tuple[int, ...], number: int) -> str:
    """Say what is not cut though it was chosen, since there is no such component or suspect."""
    lines = []
    if cut:
        lines.append(f"Not cut: {class_texts.names_of_cut(cut, ())}, of {number} that are shown.")
    if suspects:
        lines.append(
            f"Not cut: {class_texts.names_of_cut((), suspects)}, which no search of this layer and "
            "network has found. Search for shortcuts, or put all back."
        )
    return " ".join(lines)


def cut_code(settings: Settings, options: str = "") -> str:
    """Return lines that make the network ``without`` what is cut out; or nothing.

    ``options`` are arguments that name classes and output.
    """
    if not (settings.cut or settings.suspects):
        return ""
    mode = "" if settings.cut_mode == "project" else f", mode={settings.cut_mode!r}"
    lines, suspects = ["frame = explorer.frame"], ""
    if settings.suspects:
        lines.append(f"report = pw.find_shortcuts(model, images, layer=frame.layer{options})")
        chosen = ", ".join(f"report.suspects[{index}]" for index in settings.suspects)
        suspects = f", suspects=[{chosen}]"
    components = f", {settings.cut!r}" if settings.cut else ""
    lines.append(
        f"without = pw.ablate(model, frame.layer, frame.basis{components}{suspects}{mode})"
    )
    return "\n".join(lines) + "\n"
