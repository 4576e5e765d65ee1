"""Methods × images × networks, live: one target for all, filled in as the maps come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets

from pfv_widgets.engine.export.output_paths import checked_place, write_figure_or_arrays
from pfv_widgets.errors import named
from pfv_widgets.methods.comparison.cells import Cell, Comparison, Task
from pfv_widgets.methods.comparison.explainers import name_of
from pfv_widgets.methods.core.method import CancelledError
from pfv_widgets.widgets.browser.page_script import InPage
from pfv_widgets.widgets.export.export_box import ExportBox
from pfv_widgets.widgets.methods.background_filling import Filling
from pfv_widgets.widgets.methods.bar import MethodsBar
from pfv_widgets.widgets.methods.grid_page import MethodsPage
from pfv_widgets.widgets.methods.grid_texts import STYLE, outcome_line, progress_line
from pfv_widgets.widgets.methods.panel import MethodsPanel
from pfv_widgets.widgets.methods.view_state import MethodsSettings
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

_FAREWELL = 10.0  # seconds that closing waits for the step in work
_SELDOM = 0.15  # seconds between two reports of one map's progress
_SUFFIXES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".npz")


class MethodsExplorer(w.VBox):
    """A grid of methods, images and networks with one target for all.

    Set ``settings`` from code, or move a control: both take the same road. Each map is computed
    once and kept; a problem is told in its cell and in the status line, and the rest goes on.

    Parameters
    ----------
    comparison
        Networks and images.
    settings
        What to show first.
    """

    settings = traitlets.Instance(MethodsSettings)
    _parts: w.VBox | None = None

    def __init__(
        self,
        comparison: Comparison,
        settings: MethodsSettings | None = None,
    ) -> None:
        settings = settings or MethodsSettings()
        if settings.layer is None and settings.output is None:
            settings = replace(settings, output=comparison.first_output)
        self.comparison = comparison
        self._editing = threading.RLock()
        self._failed: dict[Task, Cell] = {}
        self._told = 0.0
        self._complaint: str | None = None
        self._page = MethodsPage(comparison)
        self._bar = MethodsBar(
            self.safely(self.stop), self.safely(self.go_on), self.safely(self.turn)
        )
        self._panel = MethodsPanel(comparison, settings, self.edit)
        self._export = ExportBox("methods.png", self.save, self.snippet)
        self._filling = Filling(self._compute, lambda: self._painting.submit(None))
        self._painting: LatestWins[None] = LatestWins(lambda _: self._paint())
        left = w.VBox(
            [self._bar.widget, self._page.widget],
            layout=w.Layout(flex="1 1 480px", min_width="0", overflow="hidden"),
        )
        right = w.VBox(
            [self._panel.widget, self._export.widget],
            layout=w.Layout(flex="0 1 250px", min_width="230px", padding="0 0 0 12px"),
        )
        row = w.HBox([left, right], layout=w.Layout(width="100%", flex_flow="row wrap"))
        style = w.HTML(text.STYLE + STYLE, layout=w.Layout(margin="0"))
        self._parts = w.VBox([style, row, InPage(self._bar.tell)])
        super().__init__([self._parts], layout=w.Layout(width="100%"), settings=settings)
        self.add_class("pfv-explorer")
        self.add_class("pfv-methods")
        self.observe(lambda _: self._changed(), "settings")
        self._page.on_ready(self._repaint)
        self._changed()

    @property
    def stopped(self) -> bool:
        """Whether the work was stopped; ``go_on()`` resumes it."""
        return self._filling.stopped

    def cells(self) -> dict[Task, Cell | None]:
        """Return each cell of the page; None: it is not computed."""
        return {task: self._cell(task) for task in self.settings.tasks(self.comparison)}

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the page is filled, or stopped, and painted; False after ``timeout`` s."""
        return self._filling.wait(timeout) and self._painting.wait(timeout)

    def stop(self) -> None:
        """Stop the work at once; what is computed stays."""
        self._filling.stop()
        self._painting.submit(None)

    def go_on(self) -> None:
        """Compute what is missing, and what failed once more."""
        self._filling.go_on()
        self._failed.clear()
        self._plan()

    def turn(self, pages: int) -> None:
        """Show other images, so many pages on."""
        networks, number = len(self.comparison.networks), len(self.comparison.images)
        size = max(1, self.settings.across // networks)
        first = self.settings.page(number, networks).start + pages * size
        self.settings = replace(self.settings, first=min(max(first, 0), number - 1))

    def snippet(self) -> str:
        """Lines of code that bring this view back."""
        changes = self.settings.changed()
        changes.pop("methods", None)
        methods, homes = [], []
        for method in self.settings.methods:
            plain = method == type(method)()
            methods.append(repr(name_of(method)) if plain else repr(method))
            if not plain:
                homes.append(f"from {type(method).__module__} import {type(method).__name__}\n")
        rows = "".join(f"    {method},\n" for method in methods)
        fields = "".join(f", {name}={value!r}" for name, value in changes.items())
        lines = "".join(sorted(set(homes)))
        return (
            f"import pfv_widgets as pw\n{lines}\nmethods = [\n{rows}]\n"
            f"explorer = pw.explore_methods(models, images, methods{fields})\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the page as a figure with its colour bars, or its maps as ``.npz`` arrays.

        A cell that is not computed stays empty, and is NaN among the numbers.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a place that cannot be written.
        """
        place, settings = checked_place(path, _SUFFIXES, "for a figure or the maps"), self.settings
        write_figure_or_arrays(
            place,
            lambda: self._page.figure(settings, self._cell),
            lambda: self._page.arrays(settings, self._cell),
        )

    def close(self) -> None:
        """Remove the widget from every page, stop the work and free what is kept."""
        if self._parts is None:  # an error came before there was anything to close
            return
        self._filling.close(_FAREWELL)
        self._painting.close()
        self._painting.wait(_FAREWELL)
        self._page.close()
        self._export.close()
        self.comparison.close()
        close_all(self._parts)
        if self.comm is not None:
            self.layout.close()
        super().close()

    def edit(self, change: Callable[[MethodsSettings], MethodsSettings]) -> None:
        """Apply a person's change; a value that is not legal is told and goes back."""
        with self._editing:
            try:
                self.settings = change(self.settings)
            except Exception as error:
                self._complain(error)
                self._panel.show(self.settings)

    def safely(self, action: Callable[..., None]) -> Callable[..., None]:
        """Make an action of the page tell its errors in the status line: nothing else would."""

        @wraps(action)
        def told(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self._complain(error)

        return told

    def _changed(self) -> None:
        with self._editing:
            self._complaint = None
            self._plan()
            self._panel.show(self.settings)
            self._export.show()

    def _plan(self) -> None:
        """Ask for what is missing on the page."""
        self.comparison.refresh()
        missing = [task for task, cell in self.cells().items() if cell is None]
        self._filling.want(missing)
        self._painting.submit(None)

    def _cell(self, task: Task) -> Cell | None:
        return self.comparison.cached(task) or self._failed.get(task)

    def _compute(self, task: Task, cancelled: Callable[[], bool]) -> None:
        """Fill in one cell, in the background."""
        if self._cell(task) is not None:  # PFV fills in all images at once
            return
        self._painting.submit(None)
        try:
            self.comparison.compute(task, self._progressed, cancelled)
        except CancelledError:
            return
        except Exception as error:
            self._failed[task] = Cell(error=named(error))
        finally:
            self._painting.submit(None)

    def _progressed(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told > _SELDOM:
            self._told = now
            self._report(done / total if total else 0.0)

    def _paint(self) -> None:
        """Draw the page as it stands, in the background."""
        settings = self.settings
        try:
            self._page.paint(settings, self._cell, self._filling.running)
            self._bar.show(
                settings.page(len(self.comparison.images), len(self.comparison.networks)),
                len(self.comparison.images),
            )
            self._report(0.0)
        except Exception as error:
            self._bar.tell(named(error), "error")

    def _report(self, share: float) -> None:
        """Say in the status line how far the page is."""
        cells, running = list(self.cells().values()), self._filling.running
        known, total = sum(cell is not None for cell in cells), len(cells)
        failed = any(cell is not None and cell.error is not None for cell in cells)
        self._bar.working(running=known < total, stopped=self.stopped, failed=failed)
        if self._complaint is not None:
            self._bar.tell(self._complaint, "error")
        elif running is not None and not self.stopped:
            line = progress_line(known, total, self._named(running), share)
            self._bar.tell(line, "busy", (known + share) / max(total, 1))
        else:
            target = self.settings.target
            self._bar.tell(*outcome_line(cells, target, stopped=self.stopped))

    def _named(self, task: Task) -> str:
        network = self.comparison.networks[task.network].name
        of = f" in {network}" if len(self.comparison.networks) > 1 else ""
        return f"{task.method.label} of {self.comparison.images.names[task.image]}{of}"

    def _repaint(self) -> None:
        """Paint everything again: a page of the browser has appeared and shows nothing."""
        self._page.forget()
        self._painting.submit(None)

    def _complain(self, error: Exception) -> None:
        self._complaint = named(error)
        self._bar.tell(self._complaint, "error")
