"""The page "Export", without a browser: files, messages, and that nothing typed is lost."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import ipywidgets as w
import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances as widget_instances
from PIL import Image

from pfv_widgets.engine.export.formats import FILE_KINDS
from pfv_widgets.engine.export.sweep import SavedSweep, save_sweep
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.widgets.explorer.tabs import PFV_SECTIONS
from pfv_widgets.widgets.export.export_tab import ExportTab
from pfv_widgets.widgets.toolkit.jobs import Jobs
from tests.networks import blobs, tiny
from tests.widgets.fake_page import FakePage

LABELS = ("cat", "$x$ <b>", "cat", "dog")


class Explorer:
    """What the tab asks of an explorer, around a small network."""

    file_kinds = FILE_KINDS
    file_stem = "pfv"

    def __init__(self, labels: tuple[str, ...] | None = LABELS) -> None:
        self.pfv = PFV(tiny(), replace(blobs(4), labels=labels), "cpu")
        self.settings = Settings()
        self.messages: list[tuple[str, str]] = []
        self.status = ""
        self.jobs = Jobs()
        self.downloads: list[tuple[str, bytes]] = []
        self.refusing = False
        self.gate = threading.Event()
        self.gate.set()

    def edit(self, change: Callable[[Settings], Settings]) -> bool:
        if self.refusing:
            self.show_message("refused", "error")
            return False
        self.settings = change(self.settings)
        return True

    def gesture(self, begins: bool) -> None:
        pass

    def snippet(self) -> str:
        return f"settings = {self.settings.changed()!r}\n"

    def save(self, path: str | Path, images: str = "all") -> None:
        self.pfv.render(self.settings, only=None if images == "all" else [0]).save(path)

    def save_sweep(
        self,
        path: str,
        over: str,
        *,
        label: str | None,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> SavedSweep | None:
        self.gate.wait(20)
        return save_sweep(
            self.pfv, path, over, self.settings, label=label, progress=progress,
            cancelled=cancelled,
        )  # fmt: skip

    def download(self, name: str, content: bytes) -> None:
        self.downloads.append((name, content))

    def show_message(self, message: str, kind: str = "ok", _: str = "") -> None:
        self.status = message
        self.messages.append((message, kind))

    def fail(self, error: Exception) -> None:
        self.show_message(str(error), "error")

    def finish(self) -> None:
        self.jobs.wait()


@pytest.fixture
def explorer(fake_page: FakePage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Explorer:
    monkeypatch.chdir(tmp_path)
    return Explorer()


@pytest.fixture
def tab(explorer: Explorer) -> Iterator[ExportTab]:
    tab_ = ExportTab(explorer, PFV_SECTIONS)
    yield tab_
    explorer.finish()
    tab_.close()
    explorer.jobs.close(10)


def button(part: w.Widget, name: str, index: int = 0) -> w.Button:
    result = [one for one in walk(part) if isinstance(one, w.Button) and one.description == name]
    return result[index]


def press(explorer: Explorer, button: w.Button) -> tuple[str, str]:
    """Press a button; return what is said once its work has ended."""
    button.click()
    explorer.finish()
    return explorer.messages[-1]


def walk(part: w.Widget) -> Iterator[w.Widget]:
    yield part
    for child in getattr(part, "children", ()):
        yield from walk(child)


@pytest.mark.parametrize("kind", [".png", ".svg", ".pdf", ".html", ".npz"])
def test_picture_is_written_in_each_kind_and_told_where(
    tab: ExportTab, explorer: Explorer, tmp_path: Path, kind: str
) -> None:
    tab.sections["Picture"].file.kind.value = kind
    assert tab.sections["Picture"].file.name.value == f"pfv{kind}"
    press(explorer, tab.sections["Picture"].save)
    assert (tmp_path / f"pfv{kind}").stat().st_size > 1000
    message, how = explorer.messages[-1]
    assert how == "ok"
    assert message.startswith(f"Saved {tmp_path / 'pfv'}{kind} (")
    assert f"pfv{kind}" in tab.sections["Picture"].message.value
    assert not tab.sections["Picture"].save.disabled
    assert press(explorer, tab.sections["Picture"].save)[0].startswith("Replaced ")


def test_download_hands_the_same_file_to_the_browser_and_leaves_none_behind(
    tab: ExportTab, explorer: Explorer, tmp_path: Path
) -> None:
    section = tab.sections["Picture"]
    section.file.name.value = "folder/view.npz"
    section.images.value = "page"
    press(explorer, section.download)
    ((name, content),) = explorer.downloads
    assert name == "view.npz"
    with np.load(io.BytesIO(content)) as arrays:
        assert len(arrays["heatmaps"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert "Sent view.npz" in section.message.value
    assert not section.download.disabled


def test_name_and_kind_follow_each_other(tab: ExportTab) -> None:
    file = tab.sections["Picture"].file
    file.name.value = "a.b/my.cat.svg"
    assert file.kind.value == ".svg"
    file.kind.value = ".npz"
    assert file.name.value == "a.b/my.cat.npz"
    file.name.value = "my.cat"
    assert file.kind.value == ".npz"
    assert file.path == "my.cat.npz"
    file.name.value = "photo.JPG"
    assert file.path == "photo.JPG"
    file.name.value = "  spaced  "
    assert file.path == "spaced.npz"
    file.name.value = ""
    assert file.path == ""


@pytest.mark.parametrize("name", ["photo.bmp", "photo.TIFF", "notes.txt", "film.mov"])
def test_file_of_another_kind_is_refused_and_not_saved_by_a_longer_name(
    tab: ExportTab, explorer: Explorer, tmp_path: Path, name: str
) -> None:
    tab.sections["Picture"].file.name.value = name
    message, how = press(explorer, tab.sections["Picture"].save)
    assert how == "error"
    assert Path(name).suffix in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["absent/a.png", "", "/", "a\0.png", "x" * 300, "folder"])
def test_name_that_cannot_be_written_is_told_and_stays(
    tab: ExportTab, explorer: Explorer, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    tab.sections["Picture"].file.name.value = name
    message, how = press(explorer, tab.sections["Picture"].save)
    assert how == "error"
    assert message.startswith("File " if name else "Type a file name.")
    assert tab.sections["Picture"].file.name.value == name
    assert not tab.sections["Picture"].save.disabled
    assert 'role="alert"' in tab.sections["Picture"].message.value


def test_error_of_another_kind_is_told_too(
    tab: ExportTab, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: str) -> None:
        raise RuntimeError("<b>out of memory</b>")

    monkeypatch.setattr(explorer, "save", broken)
    assert press(explorer, tab.sections["Picture"].save) == (
        "RuntimeError: <b>out of memory</b>",
        "error",
    )
    assert "<b>" not in tab.sections["Picture"].message.value


@pytest.mark.parametrize("over", ["components", "layer", "class weight", "sigma"])
def test_animation_is_written_with_progress(
    tab: ExportTab, explorer: Explorer, tmp_path: Path, over: str
) -> None:
    animation = tab.sections["Animation"]
    animation.over.value = over
    press(explorer, animation.save)
    with Image.open(tmp_path / "pfv-sweep.gif") as file:
        count = file.n_frames
    assert f"{count} pictures" in explorer.messages[-1][0] or over == "class weight"
    assert animation.progress.value == animation.progress.max
    assert animation.progress.layout.visibility == "hidden"
    assert animation.cancel.disabled
    assert not animation.save.disabled


def test_class_is_asked_for_only_where_it_is_varied(tab: ExportTab, explorer: Explorer) -> None:
    animation = tab.sections["Animation"]
    assert animation.label.layout.display == "none"
    animation.over.value = "class weight"
    assert animation.label.layout.display is None
    assert [value for _, value in animation.label.options] == list(explorer.pfv.images.classes)


def test_images_without_labels_have_no_class_to_vary(fake_page: FakePage) -> None:
    tab = ExportTab(Explorer(labels=None), PFV_SECTIONS)
    assert "class weight" not in dict(tab.sections["Animation"].over.options).values()
    tab.close()


def test_animation_does_not_block_and_can_be_cancelled(
    tab: ExportTab, explorer: Explorer, tmp_path: Path
) -> None:
    explorer.gate.clear()
    tab.sections["Animation"].save.click()
    assert tab.sections["Animation"].save.disabled
    assert not tab.sections["Animation"].cancel.disabled
    assert tab.sections["Animation"].progress.layout.visibility == "visible"
    tab.sections["Animation"].cancel.click()
    explorer.gate.set()
    explorer.finish()
    assert list(tmp_path.iterdir()) == []
    assert explorer.messages[-1] == ("Cancelled: nothing was written.", "warning")
    tab.sections["Animation"].file.name.value = "again.webp"
    press(explorer, tab.sections["Animation"].save)
    assert (tmp_path / "again.webp").is_file()


def test_values_that_were_left_out_are_told(tab: ExportTab, explorer: Explorer) -> None:
    explorer.settings = Settings(images=(1.0, 0.0, 1.0, 0.0))
    tab.sections["Animation"].over.value = "class weight"
    message, how = press(explorer, tab.sections["Animation"].save)
    assert how == "warning"
    assert "Left out: weight of cat = 0" in message


def test_closing_stops_an_animation(fake_page: FakePage, tmp_path: Path) -> None:
    explorer = Explorer()
    tab = ExportTab(explorer, PFV_SECTIONS)
    explorer.gate.clear()
    tab.sections["Animation"].file.name.value = str(tmp_path / "a.gif")
    tab.sections["Animation"].save.click()
    tab.close()
    explorer.gate.set()
    explorer.finish()
    assert list(tmp_path.iterdir()) == []


def test_everything_is_closed(fake_page: FakePage) -> None:
    before = set(widget_instances)
    tab = ExportTab(Explorer(), PFV_SECTIONS)
    tab.close()
    assert set(widget_instances) <= before


def test_code_is_written_when_its_section_opens_and_follows_the_settings(
    tab: ExportTab, explorer: Explorer
) -> None:
    explorer.settings = Settings(sigma=2.0)
    tab.show(explorer.settings)
    assert tab.sections["Code"].code.value == ""
    tab.formats.value = "Code"
    assert tab.sections["Code"].code.value == "settings = {'sigma': 2.0}\n"
    explorer.settings = Settings(sigma=3.0)
    tab.show(explorer.settings)
    assert tab.sections["Code"].code.value == "settings = {'sigma': 3.0}\n"
    tab.sections["Code"].code.value = "typed"
    assert tab.sections["Code"].code.value == "settings = {'sigma': 3.0}\n"


def test_settings_go_out_as_json_and_come_back(tab: ExportTab, explorer: Explorer) -> None:
    explorer.settings = kept = Settings(sigma=2.0, pins=((1, 0.5, 0.5),))
    button(tab.sections["Settings"].widget, "Show").click()
    assert Settings.from_json(tab.sections["Settings"].json.value) == kept
    explorer.settings = Settings()
    button(tab.sections["Settings"].widget, "Apply").click()
    assert explorer.settings == kept
    assert "Applied." in tab.sections["Settings"].message.value


def test_settings_go_to_a_file_and_come_back(
    tab: ExportTab, explorer: Explorer, tmp_path: Path
) -> None:
    explorer.settings = kept = Settings(sigma=2.0)
    tab.sections["Settings"].file.value = "mine"
    button(tab.sections["Settings"].widget, "Save").click()
    assert (tmp_path / "mine.json").is_file()
    assert explorer.messages[-1][0].startswith(f"Saved {tmp_path / 'mine.json'}")
    explorer.settings = Settings()
    button(tab.sections["Settings"].widget, "Load").click()
    assert explorer.settings == kept


def test_notes_about_settings_of_another_version_are_told(
    tab: ExportTab, explorer: Explorer
) -> None:
    tab.sections["Settings"].json.value = '{"sigma": 2, "glow": 1, "opacity": 7}'
    button(tab.sections["Settings"].widget, "Apply").click()
    assert explorer.settings == Settings(sigma=2.0)
    message, how = explorer.messages[-1]
    assert how == "warning"
    assert "'glow' is no setting" in message
    assert "opacity" in message


@pytest.mark.parametrize("content", ["", "  ", "{", "3", "<script>alert(1)</script>"])
def test_text_that_is_no_settings_is_told_and_stays(
    tab: ExportTab, explorer: Explorer, content: str
) -> None:
    tab.sections["Settings"].json.value = content
    button(tab.sections["Settings"].widget, "Apply").click()
    assert explorer.messages[-1][1] == "error"
    assert tab.sections["Settings"].json.value == content
    assert explorer.settings == Settings()
    assert "<script" not in tab.sections["Settings"].message.value


def test_settings_that_the_explorer_refuses_are_not_called_applied(
    tab: ExportTab, explorer: Explorer
) -> None:
    explorer.refusing = True
    tab.sections["Settings"].json.value = '{"sigma": 2}'
    button(tab.sections["Settings"].widget, "Apply").click()
    assert explorer.messages == [("refused", "error")]
    assert "Not applied" in tab.sections["Settings"].message.value


@pytest.mark.parametrize("act", ["Save", "Load"])
@pytest.mark.parametrize("section", ["Settings", "Bookmarks"])
@pytest.mark.parametrize("name", ["absent/a.json", "", "a\0", "notes.txt"])
def test_file_that_cannot_be_used_is_told_and_its_name_stays(
    tab: ExportTab, explorer: Explorer, act: str, section: str, name: str
) -> None:
    part = tab.sections[section]
    tab.sections["Bookmarks"].name.value = "one"
    button(tab.sections["Bookmarks"].widget, "Add").click()
    part.file.value = name
    button(part.widget, act).click()
    assert explorer.messages[-1][1] == "error"
    assert explorer.messages[-1][0].startswith("File " if name else "Type a file name.")
    assert part.file.value == name


def test_bookmarks_are_added_shown_renamed_and_deleted(tab: ExportTab, explorer: Explorer) -> None:
    marks = tab.sections["Bookmarks"]
    assert button(marks.widget, "Go").disabled
    for sigma in (2.0, 3.0):
        explorer.settings = Settings(sigma=sigma)
        marks.name.value = "$view$"
        button(marks.widget, "Add").click()
    assert tab.bookmarks.names == ("$view$", "$view$ (2)")
    assert marks.bookmark_menu.value == "$view$ (2)"
    assert marks.bookmark_menu.label == "$view$ (2)"
    marks.bookmark_menu.value = "$view$"
    button(marks.widget, "Go").click()
    assert explorer.settings == Settings(sigma=2.0)
    marks.name.value = "first"
    button(marks.widget, "Rename").click()
    assert tab.bookmarks.names == ("first", "$view$ (2)")
    assert marks.bookmark_menu.value == "first"
    button(marks.widget, "Delete").click()
    assert marks.bookmark_menu.value == "$view$ (2)"
    button(marks.widget, "Delete").click()
    assert tab.bookmarks.names == ()
    assert marks.bookmark_menu.value is None
    assert button(marks.widget, "Go").disabled


def test_bookmark_without_a_name_is_told(tab: ExportTab, explorer: Explorer) -> None:
    tab.sections["Bookmarks"].name.value = "  "
    button(tab.sections["Bookmarks"].widget, "Add").click()
    assert "name is empty" in explorer.messages[-1][0]
    assert tab.sections["Bookmarks"].name.value == "  "
    tab.sections["Bookmarks"].name.value = "cats"
    button(tab.sections["Bookmarks"].widget, "Add").click()
    assert explorer.messages[-1] == ("Added “cats”.", "ok")  # the error has gone everywhere


def test_bookmarks_go_to_a_file_and_join_those_that_are_there(
    tab: ExportTab, explorer: Explorer, tmp_path: Path
) -> None:
    marks = tab.sections["Bookmarks"]
    marks.name.value = "a"
    button(marks.widget, "Add").click()
    button(marks.widget, "Save").click()
    assert (tmp_path / "pfv-bookmarks.json").is_file()
    button(marks.widget, "Delete").click()
    marks.name.value = "b"
    button(marks.widget, "Add").click()
    button(marks.widget, "Load").click()
    assert tab.bookmarks.names == ("b", "a")
    assert explorer.messages[-1][0].startswith("Loaded 1 bookmark from")
    button(marks.widget, "Delete").click()
    explorer.settings = Settings(sigma=2.0)
    marks.name.value = "a"
    button(marks.widget, "Add").click()
    button(marks.widget, "Load").click()
    assert tab.bookmarks.names == ("b", "a", "a (2)")
    assert marks.bookmark_menu.value == "a (2)"


def test_every_control_has_a_help_text(tab: ExportTab) -> None:
    kinds = (w.Button, w.Text, w.Textarea, w.Dropdown, w.IntProgress)
    controls = [one for one in walk(tab.widget) if isinstance(one, kinds)]
    assert len(controls) > 20
    assert [one for one in controls if not one.tooltip] == []
