"""The sections "Settings" and "Bookmarks": states as text, by name, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as w

from pfv_widgets.engine.export.output_paths import checked_path, replacing
from pfv_widgets.errors import PFVValueError
from pfv_widgets.widgets.browser.page_script import copy_button
from pfv_widgets.widgets.export.bookmarks import Bookmarks, read_text
from pfv_widgets.widgets.export.section import LABEL, Section, row, text_field
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import drop_down
from pfv_widgets.widgets.toolkit.protocols import Explorer

_FILE = "Where to write, or what to read."


def json_path(field: w.Text) -> str:
    """Return what was typed, with ``.json`` at its end where it has no suffix."""
    typed: str = field.value.strip()
    return typed if not typed or Path(typed).suffix or typed.endswith("/") else f"{typed}.json"


class SettingsSection(Section):
    """All settings as JSON, to copy, paste, save and load."""

    title = "Settings"

    def __init__(self, explorer: Explorer[Any]) -> None:
        super().__init__(explorer)
        self.json = w.Textarea(
            placeholder="Paste settings here, then press Apply.",
            tooltip="Settings as JSON: one line for each.",
            rows=6,
            layout=w.Layout(width="100%", margin="1px 0"),
        )
        self.json.add_class("pfv-export-json")
        self.file = text_field("File", _FILE, value="pfv-settings.json")
        self.apply = self.button(
            "Apply", "Show the view that the text above describes.", self._apply
        )
        self.widget = self.laid_out(
            self.json,
            row(
                self.button("Show", "Write the settings of this view above.", self._show),
                copy_button(),
                self.apply,
            ),
            self.file,
            row(
                self.button("Save", "Write the settings of this view to the file.", self._save),
                self.button(
                    "Download", "Save the file where your browser saves files.", self._fetch
                ),
                self.button("Load", "Read the file and show its view.", self._load),
            ),
        )

    def _show(self) -> None:
        self.json.value = self.explorer.settings.to_json()
        self.say("These are the settings of this view.", tell=False)

    def _apply(self) -> None:
        if not self.json.value.strip():
            raise PFVValueError("There is nothing to apply: paste settings as JSON first.")
        self._take(self.json.value, "Applied.")

    def _take(self, content: str, done: str) -> None:
        settings, notes = self.explorer.settings.read_json(content)
        apply(self, settings, notes, done)

    def _fetch(self) -> None:
        download_text(self, self.file, self.explorer.settings.to_json())

    def _save(self) -> None:
        self.say(self.written(json_path(self.file), self._write))

    def _write(self, path: str | Path) -> None:
        with replacing(checked_path(path, (".json",), "for the settings")) as part:
            part.write_text(self.explorer.settings.to_json(), "utf-8")

    def _load(self) -> None:
        path = json_path(self.file)
        content = read_text(path)
        self.json.value = content
        self._take(content, f"Loaded {path}.")


def download_text(section: Section, field: w.Text, content: str) -> None:
    """Send text to the browser, as a file of the name in a field."""
    name = Path(json_path(field)).name
    if not name:
        raise PFVValueError("Type a file name.")
    section.say(section.sent_content(name, content.encode()))


def apply(section: Section, settings: Any, notes: tuple[str, ...], done: str) -> None:
    """Show settings in the explorer, and say what became of them."""
    section.explorer.gesture(False)  # a step of its own, however quickly it follows another
    if not section.explorer.edit(lambda _: settings):
        section.say(f"Not applied: {section.explorer.status}", "error", tell=False)
    elif notes:
        section.say(f"{done} {' '.join(notes)}", "warning")
    else:
        section.say(done, tell=False)


class BookmarkSection(Section):
    """Named states of the explorer."""

    title = "Bookmarks"

    def __init__(self, explorer: Explorer[Any]) -> None:
        super().__init__(explorer)
        self.bookmarks = Bookmarks(kind=type(explorer.settings))
        self.name = text_field("Name", "A name for this view.", placeholder="such as: cats only")
        tip = "The bookmarks, in the order in which they were added."
        self.bookmark_menu = drop_down("Go to", tip, label_width=LABEL)
        self.file = text_field("File", _FILE, value="pfv-bookmarks.json")
        self.add = self.button("Add", "Remember this view by the name above.", self._add)
        self.go = self.button("Go", "Show this view.", self._go)
        self._needing = [
            self.go,
            self.button("Rename", "Give it the name typed above.", self._rename),
            self.button("Delete", "Delete this bookmark.", self._delete),
        ]
        save = self.button("Save", "Write all bookmarks to the file.", self._save)
        fetch = self.button(
            "Download", "Save the file where your browser saves files.", self._fetch
        )
        self._needing += [save, fetch]
        self.widget = self.laid_out(
            self.name,
            row(self.add),
            self.bookmark_menu,
            row(*self._needing[:3]),
            self.file,
            row(save, fetch, self.button("Load", "Add the bookmarks of the file.", self._load)),
        )
        self._set(self.bookmarks)

    def _set(self, bookmarks: Bookmarks, name: str | None = None) -> None:
        self.bookmarks = bookmarks
        options: list[tuple[str, Any]] = [(text.plain(one, 30), one) for one in bookmarks.names]
        self.bookmark_menu.options = options
        if name is not None:
            self.bookmark_menu.value = name
        self.bookmark_menu.disabled = not options
        for button in self._needing:
            button.disabled = not options

    def _add(self) -> None:
        bookmarks = self.bookmarks.add(self.name.value, self.explorer.settings)
        name = bookmarks.names[-1]
        self._set(bookmarks, name)
        self.name.value = ""
        self.say(f"Added “{name}”.", tell=False)

    def _go(self) -> None:
        name = self.bookmark_menu.value
        apply(self, self.bookmarks.get(name), (), f"This is “{name}”.")

    def _rename(self) -> None:
        old = self.bookmark_menu.value
        index = self.bookmarks.names.index(old)
        bookmarks = self.bookmarks.rename(old, self.name.value)
        name = bookmarks.names[index]
        self._set(bookmarks, name)
        self.name.value = ""
        self.say(f"“{old}” is now “{name}”.", tell=False)

    def _delete(self) -> None:
        name = self.bookmark_menu.value
        index = self.bookmarks.names.index(name)
        left = self.bookmarks.delete(name)
        self._set(left, left.names[min(index, len(left) - 1)] if len(left) else None)
        self.say(f"Deleted “{name}”.", tell=False)

    def _fetch(self) -> None:
        download_text(self, self.file, self.bookmarks.to_json())

    def _save(self) -> None:
        self.say(self.written(json_path(self.file), self.bookmarks.save))

    def _load(self) -> None:
        path = json_path(self.file)
        found, notes = Bookmarks.load(path, self.bookmarks.kind)
        joined = self.bookmarks.joined(found)
        new = joined.names[len(self.bookmarks) :]  # a name that was taken has a number now
        self._set(joined, next(iter((*new, *found.names)), None))
        done = f"Loaded {len(found)} bookmark{'s' * (len(found) != 1)} from {path}."
        self.say(" ".join((done, *notes)), "warning" if notes else "ok")
