"""Methods × images × networks, live: one target for all, filled in as the maps come."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ipywidgets as w

from pfv_widgets.engine.export.output_paths import FIGURE_OR_ARRAYS, write_figure_or_arrays
from pfv_widgets.errors import named
from pfv_widgets.methods.comparison.comparison import Cell, Comparison, Task
from pfv_widgets.methods.core.method import CancelledError
from pfv_widgets.widgets.explorer import responsive_layout
from pfv_widgets.widgets.explorer.lazy_tabs import LazyTabs
from pfv_widgets.widgets.explorer.responsive_layout import body, controls
from pfv_widgets.widgets.explorer.shell import CLOSING_TIMEOUT, SettingsTrait, Shell, code_head
from pfv_widgets.widgets.export.export_tab import ExportTab
from pfv_widgets.widgets.methods.cell_queue import CellQueue
from pfv_widgets.widgets.methods.grid_page import MethodsPage
from pfv_widgets.widgets.methods.grid_texts import STYLE, outcome_line, progress_line
from pfv_widgets.widgets.methods.grid_toolbar import MethodsBar
from pfv_widgets.widgets.methods.methods_tab import MethodsTab
from pfv_widgets.widgets.methods.settings import MethodsSettings, encoded
from pfv_widgets.widgets.toolkit import shared_resources
from pfv_widgets.widgets.toolkit.latest_wins import LatestWins

_SELDOM = 0.15  # seconds between two reports of one map's progress
_STILL_DPI = 80

TABS = {"Methods": MethodsTab, "Export": ExportTab}


class MethodsExplorer(Shell[MethodsSettings]):
    """A grid of methods, images and networks with one target for all.

    Set ``settings`` from code, or move a control: both take the same road. Each map is computed
    once and cached; a problem is reported in its cell and in the status line, and the rest goes on.

    Parameters
    ----------
    comparison
        Networks and images.
    settings
        What to show first.
    """

    settings = SettingsTrait(MethodsSettings)
    file_kinds = FIGURE_OR_ARRAYS
    file_stem = "methods"

    def __init__(self, comparison: Comparison, settings: MethodsSettings | None = None) -> None:
        settings = settings or MethodsSettings()
        if settings.layer is None and settings.output is None:
            settings = replace(settings, output=comparison.first_output)
        self.comparison = comparison
        self._failed: dict[Task, Cell] = {}
        self._seconds: dict[str, float] = {}  # that a map of each method took last
        self._reported = 0.0
        super().__init__(settings)
        with self._opening():
            shared_resources.use(comparison, self)
            self._closing.append(lambda: shared_resources.release(comparison, self))
            self.queue = CellQueue(self._compute_cell, lambda: self.painting.submit(None))
            self.painting: LatestWins[None] = LatestWins(lambda _: self._paint())
            self.page = MethodsPage(comparison)
            self._closing += [self.page.close, self._end_work]
            self.bar = MethodsBar(self.safely(self.go_on), self.safely(self.turn))
            self.tabs = LazyTabs(self, TABS)
            self._closing.append(self.tabs.close)
            self._open(self._laid_out(), STYLE + responsive_layout.STYLE)
            self.add_class("pfv-methods")
            self.page.canvas.canvas.on_ready(self._repaint)
            self._compute(settings)

    @property
    def stopped(self) -> bool:
        """Whether the work was stopped; ``go_on()`` resumes it."""
        return self.queue.stopped

    def cells(self) -> dict[Task, Cell | None]:
        """Return each cell of the page; None: it is not computed."""
        return {task: self._cell(task) for task in self.settings.tasks(self.comparison)}

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the page is filled, or stopped, and painted; False after ``timeout`` s."""
        return self.queue.wait(timeout) and self.painting.wait(timeout)

    def go_on(self) -> None:
        """Compute what is missing, and what failed once more."""
        self.queue.go_on()
        self._failed.clear()
        self._compute(self.settings)

    def turn(self, pages: int) -> None:
        """Show other images, so many pages on."""
        networks, number = len(self.comparison.networks), len(self.comparison.images)
        size = max(1, self.settings.across // networks)
        first = self.settings.page(number, networks).start + pages * size
        self.settings = replace(self.settings, first=min(max(first, 0), number - 1))

    def snippet(self) -> str:
        """Return lines of code that bring this view back.

        What was given for ``classes``, ``inputs`` and ``argument`` has these names there.
        """
        changes = self.settings.changed()
        changes.pop("methods", None)
        rows = "".join(f"    {encoded(method)!r},\n" for method in self.settings.methods)
        fields = "".join(f", {name}={name}" for name in self.comparison.given)
        fields += "".join(f", {name}={value!r}" for name, value in changes.items())
        return (
            f"{code_head('models', 'images', *self.comparison.given)}methods = [\n{rows}]\n"
            f"explorer = pw.explore_methods(models, images, methods{fields})\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the page as a figure with its colour bars, or its maps as ``.npz`` arrays.

        A cell that is not computed stays empty, and is NaN among the numbers.

        Raises
        ------
        PFVValueError, PFVTypeError
            For another suffix, a folder that is not there, or a path that cannot be written.
        """
        settings = self.settings
        write_figure_or_arrays(
            path,
            lambda: self.page.figure(settings, self._cell),
            lambda: self.page.arrays(settings, self._cell),
        )

    def _check(self, settings: MethodsSettings) -> None:
        settings.target.check_count(len(self.comparison.images))

    def _compute(self, settings: MethodsSettings) -> None:
        """Ask for what is missing on the page."""
        if self.comparison.refresh():
            self._failed.clear()
        cells = {task: self._cell(task) for task in settings.tasks(self.comparison)}
        self.queue.request([task for task, cell in cells.items() if cell is None])
        self.painting.submit(None)

    def _show_controls(self) -> None:
        self.tabs.show(self.settings)

    def _still_picture(self) -> bytes | None:
        buffer = io.BytesIO()
        figure = self.page.figure(self.settings, self._cell)
        figure.savefig(buffer, format="png", dpi=_STILL_DPI)
        return buffer.getvalue()

    def _stopped(self) -> None:
        self.queue.stop()
        self.painting.submit(None)

    def _end_work(self) -> None:
        self.queue.close(CLOSING_TIMEOUT)
        self.painting.close()
        self.painting.wait(CLOSING_TIMEOUT)

    def _cell(self, task: Task) -> Cell | None:
        return self.comparison.cached(task) or self._failed.get(task)

    def _compute_cell(self, task: Task, cancelled: Callable[[], bool]) -> None:
        """Compute one cell, in the background."""
        if self._cell(task) is not None:  # PFV fills in all images at once
            return
        self.painting.submit(None)
        begin = time.monotonic()
        try:
            self.comparison.compute(task, self._progressed, cancelled)
            self._seconds[task.method.label] = time.monotonic() - begin
        except CancelledError:
            return
        except Exception as error:
            self._failed[task] = Cell(error=named(error))
        finally:
            self.painting.submit(None)

    def _progressed(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._reported > _SELDOM:
            self._reported = now
            self._report(done / total if total else 0.0)

    def _paint(self) -> None:
        """Draw the page as it stands, in the background."""
        settings = self.settings
        try:
            self.page.paint(settings, self._cell, self.queue.running)
            self.bar.show(
                settings.page(len(self.comparison.images), len(self.comparison.networks)),
                len(self.comparison.images),
            )
            self._report(0.0)
        except Exception as error:
            self.fail(error)

    def _report(self, share: float) -> None:
        """Say in the status line how far the page is."""
        found, running = self.cells(), self.queue.running
        cells = list(found.values())
        known, total = sum(cell is not None for cell in cells), len(cells)
        failed = any(cell is not None and cell.error is not None for cell in cells)
        self.bar.go_on.disabled = not self.stopped and (known < total or not failed)
        if running is not None and not self.stopped:
            line = progress_line(known, total, self._named(running), share)
            timed = all(task.method.label in self._seconds for task in found)
            cost = {task: self._seconds[task.method.label] if timed else 1.0 for task in found}
            done = sum(cost[task] for task, cell in found.items() if cell is not None)
            done += share * cost.get(running, 0.0)
            # where a method was not timed yet, what is left may take any time
            whole = max(sum(cost.values()), 1e-9)
            self.status_line.report(line, "busy", done / whole, guess=timed)
        else:
            target = self.settings.target
            self.status_line.report(*outcome_line(cells, target, stopped=self.stopped))
            self._still.renew()

    def _named(self, task: Task) -> str:
        network = self.comparison.networks[task.network].name
        of = f" in {network}" if len(self.comparison.networks) > 1 else ""
        return f"{task.method.label} of {self.comparison.images.names[task.image]}{of}"

    def _repaint(self) -> None:
        """Paint everything again: a page of the browser has appeared and shows nothing."""
        self.page.canvas.forget()
        self.painting.submit(None)

    def _laid_out(self) -> w.Box:
        left = w.VBox(
            [self.bar.widget, self.page.widget],
            layout=w.Layout(min_width="0", overflow="visible"),
        )
        return body(left, controls([], self.tabs.widget))
