"""The section "Animation": what is varied, the file, progress and a way out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import ipywidgets as w

from pfv_widgets.engine.export.animation import ANIMATIONS
from pfv_widgets.engine.export.sweep import SavedSweep
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.engine.progress import Cancelled
from pfv_widgets.widgets.export.section import LABEL, Export, FileField, Section, row
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import drop_down
from pfv_widgets.widgets.toolkit.protocols import Explorer
from pfv_widgets.widgets.toolkit.time_left import TimeLeft


class SweepingExplorer(Explorer[Settings], Protocol):
    """An explorer of a batch that can be animated."""

    pfv: PFV

    @property
    def save_sweep(self) -> Callable[..., SavedSweep | None]:
        """Write an animation; None where it was cancelled."""


class AnimationSection(Section):
    """Write a sweep over one setting as an animation, in the background."""

    title = "Animation"

    def __init__(self, explorer: SweepingExplorer) -> None:
        super().__init__(explorer)
        self._save_sweep = explorer.save_sweep
        self._stop = threading.Event()
        self._time_left = TimeLeft()
        classes = explorer.pfv.images.classes
        self.over = drop_down(
            "Vary",
            "What changes from picture to picture; all else stays as it is now.",
            [
                ("Components 1, 2, 3 …", "components"),
                ("Layer, first to last", "layer"),
                *([("Class weight, 0 to 2", "class weight")] if classes else []),
                ("Contrast σ", "sigma"),
            ],
            LABEL,
        )
        names = [(text.plain(name, 30), name) for name in classes]
        self.label = drop_down("Class", "The class whose weight goes from 0 to 2.", names, LABEL)
        kinds = {end: one.label if one.is_available else "" for end, one in ANIMATIONS.items()}
        tip = "Where to write: a name, or a folder and a name."
        self.file = FileField("pfv-sweep", kinds, tip)
        self.save = self.button(
            "Save",
            "Render each picture and write the file where the kernel runs.",
            lambda: self._start(self.save, self.written),
        )
        self.download = self.button(
            "Download",
            "Render each picture and save the file where your browser saves files.",
            lambda: self._start(self.download, self.sent),
        )
        self.cancel = self.button("Cancel", "Stop; nothing is written.", self._cancel)
        self.progress = w.IntProgress(
            min=0, layout=w.Layout(width="100%"), tooltip="How far the work is"
        )
        self.over.observe(lambda _: self._arrange(), "value")
        self.widget = self.laid_out(
            self.over, self.label, self.file.kind, self.file.name,
            row(self.save, self.download, self.cancel), self.progress,
        )  # fmt: skip
        self._arrange()
        self._busy(on=False)

    def stop(self) -> None:
        """Let a sweep that runs end by itself."""
        self._stop.set()

    def _arrange(self) -> None:
        self.label.layout.display = None if self.over.value == "class weight" else "none"

    def _busy(self, *, on: bool) -> None:
        self.save.disabled = self.download.disabled = on
        self.cancel.disabled = not on
        self.progress.layout.visibility = "visible" if on else "hidden"

    def _start(self, button: w.Button, make: Callable[[str, Export], str]) -> None:
        self._stop.clear()
        self._time_left.stop()
        self.progress.value = 0
        self._busy(on=True)
        path, over = self.file.path, self.over.value
        label = self.label.value if over == "class weight" else None
        saved: list[SavedSweep] = []

        def export(target: str | Path) -> None:
            sweep = self._save_sweep(
                target, over, label=label, progress=self._progressed, cancelled=self._stop.is_set
            )
            if sweep is None:
                raise Cancelled
            saved.append(sweep)

        def work() -> None:
            try:
                done = make(path, export)
                self._report(done, *saved)
            except Cancelled:
                self.say("Cancelled: nothing was written.", "warning")
            finally:
                self._busy(on=False)

        self.in_background(button, "Rendering the pictures …", work)

    def _cancel(self) -> None:
        self._stop.set()
        self.say("Stopping …", "busy", tell=False)

    def _report(self, done: str, saved: SavedSweep) -> None:
        message = f"{done} {saved.pictures} pictures."
        if saved.skipped:
            message += f" Left out: {'; '.join(saved.skipped)}"
        self.say(message, "warning" if saved.skipped else "ok")

    def _progressed(self, done: int, of: int) -> None:
        self.progress.max = of = max(of, 1)
        self.progress.value = done
        if not self._stop.is_set():
            left = self._time_left.words(done / of)
            share = f"Rendering the pictures: {100 * done // of} %."
            stage = "Writing the file …" if done >= of - 1 else share
            self.say(f"{stage} {left.capitalize()}." if left else stage, "busy", tell=False)
