"""The page "Export": the picture, an animation, code, settings and bookmarks to take along."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.browser.page_script import copy_button
from pfv_widgets.widgets.export.animation_section import AnimationSection
from pfv_widgets.widgets.export.bookmarks import Bookmarks
from pfv_widgets.widgets.export.section import Actions, FileField, Section, exists, row, written
from pfv_widgets.widgets.export.settings_sections import BookmarkSection, SettingsSection
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Showing, close_all

__all__ = ["Actions", "ExportTab"]

_KINDS = {
    ".png": "PNG picture",
    ".svg": "SVG drawing",
    ".pdf": "PDF for print",
    ".html": "HTML page with values",
    ".npz": "NPZ arrays of numbers",
}


class PictureSection(Section):
    """Write the picture with its legend, as a page, or as arrays."""

    title = "Picture"

    def __init__(self, actions: Actions) -> None:
        super().__init__(actions)
        tip = "Where to write: a name, or a folder and a name."
        self.file = FileField("pfv.png", _KINDS, tip, typed=(".jpg", ".jpeg", ".htm"))
        self.save = self.button("Save", "Write what is shown now.", self._start)
        self.widget = self.laid_out(self.file.kind, self.file.name, row(self.save))

    def _start(self) -> None:
        path = self.file.path
        self.say("Writing the file …", "busy", tell=False)
        self.in_background(self.save, lambda: self._write(path))

    def _write(self, path: str) -> None:
        existed = exists(path)
        self.actions.save(path)
        self.say(written(path, existed=existed))


class CodeSection(Section):
    """The lines that reproduce the view, to copy by a button or by hand."""

    title = "Code"

    def __init__(self, actions: Actions) -> None:
        super().__init__(actions)
        self._showing = Showing()
        self.code = w.Textarea(
            tooltip="Code that brings this view back; model and images are yours.",
            rows=8,
            layout=w.Layout(width="100%", margin="1px 0"),
        )
        self.code.add_class("pfv-export-code")
        self.code.observe(self._typed, "value")
        hint = "By hand: click into the text, then Ctrl+A and Ctrl+C (⌘A, ⌘C)."
        self.widget = self.laid_out(self.code, row(copy_button()), w.HTML(text.hint(hint)))

    def refresh(self) -> None:
        """Write the lines of the view that is shown."""
        with self._showing:
            self.guarded(lambda: setattr(self.code, "value", self.actions.snippet()))

    def _typed(self, _: dict[str, Any]) -> None:
        if not self._showing.now:  # it is there to be read
            self.refresh()


class ExportTab:
    """Everything that a person takes along, in sections of which one is open.

    Parameters
    ----------
    actions
        What the explorer does for it: see :class:`Actions`.

    Attributes
    ----------
    widget
        About 270 CSS pixels wide; it takes what it is given.
    """

    def __init__(self, actions: Actions) -> None:
        self.picture = PictureSection(actions)
        self.animation = AnimationSection(actions)
        self.code = CodeSection(actions)
        self.settings = SettingsSection(actions)
        self.marks = BookmarkSection(actions)
        sections = (self.picture, self.animation, self.code, self.settings, self.marks)
        self._stack = w.Stack([section.widget for section in sections], selected_index=0)
        self._stack.add_class("pfv-export-section")
        # buttons, where folds would take no focus and so be closed to a keyboard
        self.chosen = w.ToggleButtons(
            options=[(section.title, place) for place, section in enumerate(sections)],
            tooltips=[f"Export: {section.title.lower()}" for section in sections],
            layout=w.Layout(width="100%", margin="0 0 6px 0"),
            style={"button_width": "auto"},
        )
        self.widget = w.VBox([self.chosen, self._stack], layout=w.Layout(width="100%"))
        self.widget.add_class("pfv-export")
        self._code_at = sections.index(self.code)
        self.chosen.observe(lambda change: self._choose(change["new"]), "value")

    @property
    def bookmarks(self) -> Bookmarks:
        """The named states."""
        return self.marks.bookmarks

    def show(self, _: Settings) -> None:
        """Follow the settings of the explorer, without calling back."""
        self._refresh()

    def close(self) -> None:
        """Stop what runs and close every widget."""
        self.animation.close()
        close_all(self.widget)

    def _choose(self, place: int) -> None:
        self._stack.selected_index = place
        self._refresh()

    def _refresh(self) -> None:
        if self.chosen.value == self._code_at:  # nobody reads it elsewhere
            self.code.refresh()
