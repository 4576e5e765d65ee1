"""Two galleries under one explorer, each with settings, controls and photos of its own.

A browser test runs this file as a cell of a notebook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Progress
from pfv_widgets.widgets.browser.gallery_script import FOLLOWED
from pfv_widgets.widgets.browser.page_script import PageScript
from pfv_widgets.widgets.gallery.gallery_view import GalleryView
from pfv_widgets.widgets.toolkit.controls import Controls


class Pane:
    """The least that a gallery belongs to: settings, three controls, no history."""

    def __init__(self, pfv: PFV, lock: AbstractContextManager[object], settings: Settings) -> None:
        self.pfv, self.lock = pfv, lock
        self.settings = replace(settings, layer=pfv.layer(settings.layer).name)
        self.errors: list[Exception] = []
        self.controls = Controls(
            self.settings,
            FOLLOWED,
            lambda name, value: self.edit(lambda old: replace(old, **{name: value})),
        )
        self.messages: list[tuple[str, str]] = []
        self.gallery = GalleryView(pfv, self, self.settings, self.controls.by_name)
        self.gallery.start()
        self.wait = self.gallery.wait
        self.widget = w.VBox([self.gallery.widget, *self.controls.by_name.values()])
        self.widget.add_class("test-pane")

    def edit(self, change: Callable[[Settings], Settings]) -> None:
        with self.lock:
            self.settings = change(self.settings)
            self.gallery.show_settings(self.settings)
            self.show_state()

    def set(self, **changes: Any) -> None:
        self.edit(lambda old: replace(old, **changes))

    def outdate_error(self) -> None:
        """Say everything: an error has no place of its own here."""

    def show_state(self) -> None:
        self.controls.show(self.settings)
        self.gallery.show()

    def show_message(self, message: str, kind: str = "ok", tip: str = "") -> None:
        del tip
        self.messages.append((message, kind))

    def report_progress(self, progress: Progress) -> None:
        self.messages.append((str(progress), "busy"))

    def reject(self, settings: Settings, error: Exception, shown: Settings | None) -> None:
        del settings, shown
        self.errors.append(error)

    def gesture(self, begins: bool) -> None:
        del begins  # nothing is undone here

    def undo(self) -> None:
        raise NotImplementedError

    redo = undo

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.errors.append(error)

        return guarded


class TwoPanes:
    """Two panes side by side under one root, as an explorer lays them out."""

    def __init__(self, *pfvs: PFV, settings: Settings | None = None) -> None:
        lock = threading.RLock()
        self.panes = [Pane(pfv, lock, settings or Settings()) for pfv in pfvs]
        row = w.HBox([pane.widget for pane in self.panes])
        self.widget = w.VBox([row, PageScript(lambda *_: None)])
        self.widget.add_class("pfv-explorer")
