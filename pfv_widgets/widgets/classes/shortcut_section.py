"""The shortcut finder in the tab "Classes": suspects, their evidence, and a way to cut them out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import ipywidgets as w

from pfv_widgets.analysis.core.highlighted_photos import peak, spotlight
from pfv_widgets.analysis.core.suspects import Suspect
from pfv_widgets.analysis.shortcuts.find_shortcuts import ShortcutReport
from pfv_widgets.engine.data.batch import ImageBatch
from pfv_widgets.engine.progress import Cancelled, OnProgress, Progress
from pfv_widgets.errors import named
from pfv_widgets.widgets.classes.evidence_strip import address, strip
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Edit, Watched, close_all, push_button
from pfv_widgets.widgets.toolkit.foldable_section import Fold

SearchResult = tuple[ShortcutReport, ImageBatch, int]  # and the version of the network
Answer = Callable[[SearchResult | Exception], None]
Search = Callable[[Answer, OnProgress], None]
_MOST_SUSPECTS, _PHOTOS, _LINES = 4, 4, 4
_HOW_TO = (
    "Which directions of this layer a class relies on without reason: marks, frames, backgrounds. "
    "Each is tested by what cutting it changes."
)
_FIND = "Find shortcuts", "Search this layer for what a class relies on without reason."
_STOP = "Stop searching", "Stop the search: what was found before stays."
_CLEAN = "No suspect among what could be tested."
_OUTDATED = "The network has changed since this layer was searched: search again."


class ShortcutSection:
    """A button that starts the search and stops it, and the suspects that it found in each layer.

    Which of them are cut out is part of the settings. ``search`` starts it in the background; its
    arguments are called with the result or an error, and with how far it is. ``changed`` is called
    after a search has found suspects.
    """

    def __init__(
        self, search: Search, stop: Callable[[], None], edit: Edit, changed: Callable[[], None]
    ) -> None:
        self._search, self._stop, self._edit, self._changed = search, stop, edit, changed
        self._searching = False
        self._lock = threading.RLock()
        self._watched = Watched()
        self._results: dict[str, SearchResult] = {}
        self._layer, self._version = "", 0
        self._chosen: tuple[int, ...] = ()
        self._enabled = True
        self.button = push_button(*_FIND, self._start_or_stop)
        self.result = w.HTML(text.hint(_HOW_TO), layout=w.Layout(width="100%"))
        self.toggles: list[w.ToggleButton] = []
        self.list = w.VBox(layout=w.Layout(width="100%"))
        self.widget = Fold("Shortcuts", [self.result, self.button, self.list]).widget

    def show(self, chosen: tuple[int, ...]) -> None:
        """Show which suspects are cut out, without calling back."""
        with self._lock:
            self._chosen = chosen
            for index, toggle in enumerate(self.toggles):
                self._watched.show(toggle, index in chosen)

    def enable(self, enabled: bool) -> None:
        """Let suspects be cut, or not while they are of a layer that is no longer in sight."""
        with self._lock:
            self._enabled = enabled
            for toggle in self.toggles:
                toggle.disabled = not enabled

    def show_layer(self, layer: str) -> None:
        """Show the suspects of a layer, or that it was not searched yet."""
        with self._lock:
            if layer != self._layer:
                self._layer = layer
                self._show_suspects()

    def show_network(self, version: int) -> None:
        """Say which version of the network is on show: suspects of another one are gone."""
        with self._lock:
            if version != self._version:
                self._version = version
                self._show_suspects()

    def suspects(self, chosen: tuple[int, ...]) -> tuple[Suspect, ...]:
        """Return those of the layer in sight with these numbers, as far as there are any."""
        with self._lock:
            every = self._suspects
            return tuple(every[index] for index in chosen if index < len(every))

    def close(self) -> None:
        """Remove it from every page."""
        close_all(self.widget)

    @property
    def _suspects(self) -> tuple[Suspect, ...]:
        found = self._results.get(self._layer)
        outdated = found is not None and found[2] != self._version
        return () if found is None or outdated else tuple(found[0].suspects[:_MOST_SUSPECTS])

    def _start_or_stop(self) -> None:
        with self._lock:
            starts, self._searching = not self._searching, True
            self.button.disabled = not starts  # until the module that runs has ended
        if not starts:
            self._stop()
            return
        self.button.description, self.button.tooltip = _STOP
        self.result.value = text.status("Starting …", kind="busy")
        self._search(self._answer, self._show_progress)

    def _show_progress(self, progress: Progress) -> None:
        done = progress.done / max(progress.total, 1)
        words = text.status(f"{progress}.", kind="busy", done=done)
        if self._searching and self.result.value != words:
            self.result.value = words

    def _answer(self, found: SearchResult | Exception) -> None:
        with self._lock:
            self._searching, self.button.disabled = False, False
            self.button.description, self.button.tooltip = _FIND
            if isinstance(found, Exception):
                self._show_suspects()
                stopped = isinstance(found, Cancelled)
                words = "Stopped before the end." if stopped else named(found)
                self.result.value = text.status(words, kind="warning")
                return
            self._results[found[0].layer] = found
            self._show_suspects()
        self._changed()

    def _show_suspects(self) -> None:
        former, found = self.list.children, self._results.get(self._layer)
        suspects = self._suspects
        self.toggles = [self._toggle(index) for index in range(len(suspects))]
        self.list.children = tuple(
            w.VBox([
                w.HTML(_title(index, one) + self._strip(*found[:2], one)), w.HTML(_words(one)),
                self.toggles[index],
            ])
            for index, one in enumerate(suspects) if found is not None
        )  # fmt: skip
        if not self._searching:  # else how far the search is stays
            self.result.value = text.hint(self._summary(found))
        for part in former:
            close_all(part)

    def _summary(self, found: SearchResult | None) -> str:
        if found is None:
            return _HOW_TO
        return _summary(found[0]) if found[2] == self._version else _OUTDATED

    def _toggle(self, index: int) -> w.ToggleButton:
        tip = f"Cut suspect {index + 1} out of the layer, or put it back."
        act = partial(self._toggled, index)
        toggle = self._watched.toggle_button("Cut it out", tip, act, width="auto")
        self._watched.show(toggle, index in self._chosen)
        toggle.disabled = not self._enabled
        return toggle

    def _toggled(self, index: int, is_on: bool) -> None:
        self._edit(lambda old: replace(old, suspects=with_one(old.suspects, index, is_on=is_on)))

    @staticmethod
    def _strip(report: ShortcutReport, images: ImageBatch, suspect: Suspect) -> str:
        maps = report.maps(suspect, images).float().cpu()
        strongest = maps.flatten(1).amax(1)
        hot = peak(maps)
        labels = images.labels or ()
        order = strongest.argsort(descending=True).tolist()
        own = [one for one in order if labels and labels[one] == suspect.class_name] or order
        pictures = [
            (
                f"{photo + 1}: {images.names[photo]}",
                address(spotlight(images.pixels[photo], (maps[photo] / hot).numpy())),
            )
            for photo in own[:_PHOTOS]
        ]
        return strip("", pictures)


def with_one(chosen: tuple[int, ...], index: int, *, is_on: bool) -> tuple[int, ...]:
    """Return sorted indices with or without one of them."""
    return tuple(sorted({*chosen, index} if is_on else {*chosen} - {index}))


def _summary(report: ShortcutReport) -> str:
    more = len(report.suspects) - _MOST_SUSPECTS
    words = f"{len(report.suspects)} found: see below{f', {more} not shown' if more > 0 else ''}."
    return " ".join([words if report.suspects else _CLEAN, *report.warnings])


def _title(index: int, suspect: Suspect) -> str:
    name = text.plain(suspect.class_name, 24)
    return text.heading(f"{index + 1}. {name}: score {suspect.score:.2f}")


def _words(suspect: Suspect) -> str:
    """Return the evidence as a list, what follows its first lines folded."""
    component, cosine = suspect.nearest
    like = f"Most like component {component + 1} (cosine {abs(cosine):.2f})."
    lines = [f"<li>{text.safe(line)}</li>" for line in (*suspect.evidence.lines(), like)]
    style = "margin:2px 0;padding-left:16px;line-height:1.35;font-size:12px"
    rest = f'<ul style="{style}">{"".join(lines[_LINES:])}</ul>'
    return (
        f'<ul style="{style}">{"".join(lines[:_LINES])}</ul><details style="font-size:12px">'
        f'<summary style="cursor:pointer">More evidence</summary>{rest}</details>'
    )
