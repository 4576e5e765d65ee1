"""What is taken along from a widget: the figure or its numbers, and the code."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from pfv_widgets.errors import named
from pfv_widgets.widgets.browser.page_script import copy_button
from pfv_widgets.widgets.export.section import FileField, exists, row, wrapped, written
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import close_all
from pfv_widgets.widgets.toolkit.jobs import Jobs

_KINDS = {
    ".png": "PNG picture",
    ".svg": "SVG drawing",
    ".pdf": "PDF for print",
    ".npz": "NPZ arrays of numbers",
}


class ExportBox:
    """A file's name with a button, and the lines that bring the view back.

    Parameters
    ----------
    file
        The name of the file that stands there first.
    save
        Writes what is shown to a file.
    snippet
        Returns the lines of code.
    """

    def __init__(self, file: str, save: Callable[[str], None], snippet: Callable[[], str]) -> None:
        self._save, self._snippet = save, snippet
        self._jobs = Jobs()
        tip = "Where to write: a name, or a folder and a name."
        self.file = FileField(file, _KINDS, tip, typed=(".jpg", ".jpeg"))
        self.button = w.Button(
            description="Save",
            tooltip="Write what is shown now.",
            layout=w.Layout(width="auto"),
        )
        self.button.on_click(lambda _: self._start())
        self.message = w.HTML(layout=w.Layout(width="96%", overflow="hidden"))
        self.code = w.Textarea(
            tooltip="Code that does what the controls ask; networks and images are yours.",
            rows=6,
            layout=w.Layout(width="100%", margin="1px 0"),
        )
        self.widget = w.VBox(
            [
                w.HTML(text.heading("Export")), self.file.kind, self.file.name, self.button,
                self.message, self.code, row(copy_button()),
            ],
            layout=w.Layout(width="100%", overflow="hidden"),
        )  # fmt: skip

    def show(self) -> None:
        """Write the lines of the view that is shown."""
        self.code.value = self._snippet()

    def wait(self) -> None:
        """Wait until the file is written."""
        self._jobs.wait()

    def close(self) -> None:
        """Close every widget; a file that is being written is finished."""
        self._jobs.close(10.0)
        close_all(self.widget)

    def _start(self) -> None:
        path = self.file.path
        self._say("Writing the file …", "busy")
        self.button.disabled = True
        self._jobs.run(lambda _: self._write(path), self._failed)

    def _write(self, path: str) -> None:
        existed = exists(path)
        self._save(path)
        self._say(written(path, existed=existed), "ok")
        self.button.disabled = False

    def _failed(self, error: Exception) -> None:
        self._say(named(error), "error")
        self.button.disabled = False

    def _say(self, message: str, kind: str) -> None:
        self.message.value = wrapped(text.status(message, kind=kind))
