"""The tab "Export": the picture, an animation, code, settings and bookmarks to take along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w

from pfv_widgets.widgets.browser.page_script import copy_button
from pfv_widgets.widgets.export.bookmarks import Bookmarks
from pfv_widgets.widgets.export.section import Export, FileField, Section, row
from pfv_widgets.widgets.export.settings_sections import BookmarkSection, SettingsSection
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, close_all
from pfv_widgets.widgets.toolkit.protocols import Explorer


class PictureSection(Section):
    """Write the picture with its legend, as a page, or as arrays."""

    title = "Picture"

    def __init__(self, explorer: Explorer[Any]) -> None:
        super().__init__(explorer)
        tip = "Where to write: a name, or a folder and a name."
        self.file = FileField(explorer.file_stem, explorer.file_kinds, tip)
        self.save = self.button(
            "Save", "Save the file where the kernel runs.",
            lambda: self._start(self.save, "Writing the file …", self.written),
        )  # fmt: skip
        self.download = self.button(
            "Download", "Save what is shown now where your browser saves files.",
            lambda: self._start(self.download, "Making the file …", self.sent),
        )  # fmt: skip
        self.widget = self.laid_out(
            *self._extra(), self.file.kind, self.file.name, row(self.save, self.download)
        )

    def _extra(self) -> list[w.Widget]:
        """Return controls of an explorer's own."""
        return []

    def _export(self, path: str | Path) -> None:
        self.explorer.save(path)

    def _start(self, button: w.Button, message: str, make: Callable[[str, Export], str]) -> None:
        path = self.file.path
        self.in_background(button, message, lambda: self.say(make(path, self._export)))


class CodeSection(Section):
    """The lines that reproduce the view, to copy by a button or by hand."""

    title = "Code"

    def __init__(self, explorer: Explorer[Any]) -> None:
        super().__init__(explorer)
        self._watched = Watched()
        self.code = w.Textarea(
            tooltip="Code that brings this view back. Its first lines say what must be there.",
            rows=8,
            layout=w.Layout(width="100%", margin="1px 0"),
        )
        self.code.add_class("pfv-export-code")
        self._watched.watch(self.code, lambda _: self.refresh())  # it is there to be read
        hint = "By hand: click into the text, then Ctrl+A and Ctrl+C (⌘A, ⌘C)."
        self.widget = self.laid_out(self.code, row(copy_button()), w.HTML(text.hint(hint)))

    def refresh(self) -> None:
        """Write the lines of the view that is shown."""
        self.guarded(lambda: self._watched.show(self.code, self.explorer.snippet()))


SECTIONS: tuple[Callable[[Any], Section], ...] = (
    PictureSection, CodeSection, SettingsSection, BookmarkSection,
)  # fmt: skip


class ExportTab:
    """Picture, code, settings and bookmarks to export, in ``sections`` of which one is open.

    About 270 CSS pixels wide; it takes what it is given.
    """

    visible = False

    def __init__(
        self, explorer: Explorer[Any], sections: Sequence[Callable[[Any], Section]] = SECTIONS
    ) -> None:
        self.sections = {
            section.title: section for section in (make(explorer) for make in sections)
        }
        parts = [section.widget for section in self.sections.values()]
        self._stack = w.Stack(parts, selected_index=0)
        self._stack.add_class("pfv-export-section")
        # buttons, where folds would take no focus and so be closed to a keyboard
        self.formats = w.ToggleButtons(
            options=list(self.sections),
            tooltips=[f"Export: {title.lower()}" for title in self.sections],
            layout=w.Layout(width="100%", margin="0 0 6px 0"),
            style={"button_width": "auto"},
        )
        self.widget = w.VBox([self.formats, self._stack], layout=w.Layout(width="100%"))
        self.widget.add_class("pfv-export")
        self.formats.observe(lambda _: self._choose(), "value")

    @property
    def bookmarks(self) -> Bookmarks:
        """The named settings."""
        section = self.sections[BookmarkSection.title]
        assert isinstance(section, BookmarkSection)
        return section.bookmarks

    def show(self, _: object) -> None:
        """Follow the settings of the explorer, without calling back."""
        self._refresh()

    def close(self) -> None:
        """Stop what runs and close every widget."""
        for section in self.sections.values():
            section.stop()
        close_all(self.widget)

    def _choose(self) -> None:
        self._stack.selected_index = list(self.sections).index(self.formats.value)
        self._refresh()

    def _refresh(self) -> None:
        self.sections[self.formats.value].refresh()  # nobody reads the others
