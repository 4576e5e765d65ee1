"""What the sections of the tab "Export" have in common: buttons, fields, messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets as w
from PIL import Image

from pfv_widgets.errors import named
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import Watched, drop_down, push_button
from pfv_widgets.widgets.toolkit.protocols import Explorer
from pfv_widgets.widgets.toolkit.tooltips import Text

Export = Callable[[str | Path], object]  # writes a file to a path
LABEL = "62px"  # width of a label
_OTHER_KINDS = (".avi", ".csv", ".json", ".mkv", ".mov", ".npy", ".tex", ".txt", ".webm", ".zip")


class Section:
    """One part of the tab: its controls, and a line that says what became of them."""

    title = ""
    widget: w.Widget

    def __init__(self, explorer: Explorer[Any]) -> None:
        self.explorer, self._failed = explorer, False
        self.message = w.HTML(layout=w.Layout(width="100%", overflow="hidden"))
        self.message.add_class("pfv-export-message")

    def refresh(self) -> None:
        """Follow the settings, where the section shows what depends on them."""

    def stop(self) -> None:
        """Let work of the section that runs end by itself."""

    def laid_out(self, *rows: w.Widget) -> w.VBox:
        """Put rows and the line of messages below each other."""
        return w.VBox([*rows, self.message], layout=w.Layout(width="100%", overflow="hidden"))

    def say(self, message: str, kind: str = "ok", *, tell: bool = True) -> None:
        """Write a message below the controls, and in the status line of the explorer."""
        self.message.value = wrapped(text.status(message, kind=kind))
        if tell or self._failed:  # an error does not stay where the next thing works
            self.explorer.show_message(message, kind)
        self._failed = kind == "error"

    def button(self, name: str, tip: str, act: Callable[[], None]) -> w.Button:
        """Make a button; an error in what it does is shown in words."""
        return push_button(name, tip, lambda: self.guarded(act), flex="1 1 0", min_width="0")

    def guarded(self, act: Callable[[], None]) -> None:
        """Do something; what goes wrong is said, and what was typed stays."""
        try:
            act()
        except Exception as error:
            # the field of the page, where the error names an argument of the library
            message = named(error).removeprefix("path='': ")
            self.say(re.sub("^path=", "File ", message), "error")

    def in_background(self, button: w.Button, message: str, work: Callable[[], None]) -> None:
        """Run ``work`` apart from this thread, saying ``message``; the button rests meanwhile."""

        def job(_: Callable[[], bool]) -> None:
            try:
                self.say(message, "busy")
                self.guarded(work)
            finally:
                button.disabled = False

        button.disabled = True
        self.say(self.explorer.jobs.beginning(message), "busy")
        self.explorer.jobs.run(job, self.explorer.fail)

    def written(self, path: str, export: Export) -> str:
        """Write a file by ``export(path)``; return where it is, and how large."""
        existed = exists(path)
        export(path)
        output = Path(path).resolve()
        amount = size_in_words(output.stat().st_size)
        return f"{'Replaced' if existed else 'Saved'} {output} ({amount})."

    def sent(self, path: str, export: Export) -> str:
        """Make a file by ``export(path)`` and send it to the browser; return how large it is."""
        name = Path(path).name
        with TemporaryDirectory() as folder:
            # a path without a name of a file is refused as it is
            export(Path(folder) / name if name else path)
            content = (Path(folder) / name).read_bytes()
        return self.sent_content(name, content)

    def sent_content(self, name: str, content: bytes) -> str:
        """Send a file to the browser; return how large it is."""
        self.explorer.download(name, content)
        return f"Sent {name} ({size_in_words(len(content))}) to your browser."


class FileField:
    """The name of a file and its kind, which follow each other.

    ``stem`` stands there first. The first of ``kinds`` is its suffix; each has words for the menu,
    or none: then it can only be typed.
    """

    def __init__(self, stem: str, kinds: Mapping[str, str], tip: str) -> None:
        self._known = tuple(kinds)
        name = f"{stem}{self._known[0]}"
        self._watched = Watched()
        self.name = text_field("File", tip, value=name)
        listed = [(words, suffix) for suffix, words in kinds.items() if words]
        tip = "What is written; the end of the name follows."
        self.kind = drop_down("Kind", tip, listed, LABEL)
        self._watched.show(self.kind, self._known[0])
        self._watched.watch(self.name, self._named)
        self._watched.watch(self.kind, self._chosen)

    @property
    def path(self) -> str:
        """What was typed, with the suffix of the kind where it has none of a file.

        One of another kind of file stays, to be refused: ``photo.bmp`` is no name for a PNG.
        """
        typed: str = self.name.value.strip()
        suffix = Path(typed).suffix.lower()
        kinds = (*self._known, *Image.registered_extensions(), *_OTHER_KINDS)
        if not typed or typed.endswith(("/", "\\")) or suffix in kinds:
            return typed
        return f"{typed}{self.kind.value}"

    def _named(self, name: str) -> None:
        suffix = Path(name.strip()).suffix.lower()
        if suffix in dict(self.kind.options).values():
            self._watched.show(self.kind, suffix)

    def _chosen(self, kind: str) -> None:
        typed = self.name.value.strip()
        suffix = Path(typed).suffix
        stem = typed[: -len(suffix)] if suffix.lower() in self._known else typed
        self._watched.show(self.name, f"{stem}{kind}")


def text_field(name: str, tip: str, **more: str) -> Text:
    """Return a labelled line to type into."""
    return Text(
        description=name, tooltip=tip, layout=w.Layout(width="100%", margin="1px 0"),
        style={"description_width": LABEL}, **more,
    )  # fmt: skip


def row(*widgets: w.Widget) -> w.HBox:
    """Put buttons beside each other, all of one width."""
    return w.HBox(list(widgets), layout=w.Layout(width="100%", margin="2px 0"))


def wrapped(line: str) -> str:
    """Let a message break anywhere: names of files have no spaces."""
    return f'<div style="overflow-wrap:anywhere;line-height:1.35">{line}</div>'


def size_in_words(size: int) -> str:
    """Return how large a file is that has so many bytes.

    >>> size_in_words(12_300), size_in_words(4_560_000)
    ('12 kB', '4.6 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"


def exists(path: str) -> bool:
    """Whether there is such a file already; a name that cannot be one is left to the writer."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False
