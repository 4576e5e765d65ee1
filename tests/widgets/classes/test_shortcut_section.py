"""The shortcut finder in the tab "Classes": evidence, pictures, a cut, and words for bad input."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.analysis.classes.component_classes import ComponentClasses
from pfv_widgets.analysis.shortcuts.find_shortcuts import find_shortcuts
from pfv_widgets.engine.progress import OnProgress, Progress
from tests.networks import blobs, tiny
from tests.widgets.classes.conftest import Harness, OpenTab
from tests.widgets.classes.marked_photos import fooled_network, marked_photos
from tests.widgets.classes.test_classes_tab import words
from tests.widgets.fake_page import move


@pytest.fixture
def harness(open_tab: OpenTab) -> Harness:
    return open_tab(fooled_network(), marked_photos(), classes=["marked", "plain"], layer="2")


def search(harness: Harness) -> Harness:
    harness.tab.shortcuts.button.click()
    assert harness.explorer.jobs.wait(60)
    harness.wait()
    return harness


def test_suspects_are_shown_with_their_evidence_and_cut_out(harness: Harness) -> None:
    model, images = harness.explorer.pfv.model, harness.explorer.pfv.images
    section = search(harness).tab.shortcuts
    report = find_shortcuts(model, images, layer="2", classes=["marked", "plain"])
    assert report.suspects
    assert 0 < len(section.toggles) <= len(report.suspects)
    first = section.list.children[0]
    for line in report.suspects[0].evidence.lines():
        assert " ".join(line.split()) in words(first.children[1])
    assert first.children[0].value.count("<img") == 4

    move(section.toggles[0], value=True)
    harness.wait()
    assert harness.explorer.settings.suspects == (0,)
    one = report.suspects[0]
    without = pw.ablate(model, one.layer, one.basis, suspects=one)
    with torch.no_grad():
        right = without(images.tensor).argmax(1) == torch.arange(24).add(1).remainder(2)
    rate = round(100 * float(right.float().mean()))
    assert f"100 → {rate} % right" in harness.status
    assert "Without suspect 1" in words(harness.tab.effect)

    harness.press(1)
    assert "Without component 2 and suspect 1" in words(harness.tab.effect)
    frame = harness.explorer.frame
    both = pw.ablate(model, frame.layer, frame.basis, 1, suspects=report.suspects[:1])
    scope = {"model": model, "images": images, "classes": ["marked", "plain"], "pw": pw}
    code = [line for line in harness.explorer.snippet().splitlines() if "pw.expl" not in line]
    exec("\n".join(code), scope | {"explorer": harness.explorer}, scope)
    with torch.no_grad():
        assert torch.equal(scope["without"](images.tensor), both(images.tensor))

    saved = harness.explorer.settings.to_json()
    harness.explorer.undo()
    harness.explorer.undo()
    harness.wait()
    assert section.toggles[0].value is False
    assert "Nothing is cut" in words(harness.tab.effect)
    harness.explorer.settings = pw.Settings.from_json(saved)
    harness.wait()
    assert "Without component 2 and suspect 1" in words(harness.tab.effect)
    harness.explorer.settings = replace(harness.explorer.settings, layer="0")
    harness.wait()
    assert section.toggles == []
    assert "Without component 2" in words(harness.tab.effect)
    unknown = "Not cut: suspect 1, which no search of this layer and network has found."
    assert unknown in words(harness.tab.effect)
    assert unknown in harness.status
    assert harness.explorer.status_line.status.kind == "warning"
    harness.explorer.undo()
    harness.wait()
    assert section.toggles[0].value is True


def test_another_layer_puts_what_is_cut_back_and_undo_cuts_it_again(harness: Harness) -> None:
    explorer, slider = harness.explorer, harness.explorer.panel.layer
    section = search(harness).tab.shortcuts
    move(section.toggles[0], value=True)
    harness.wait()
    harness.press(1)
    move(slider, index=[name for _, name in slider.options].index("0"))
    harness.wait()
    assert (explorer.settings.layer, explorer.settings.cut) == ("0", ())
    search(harness)
    assert explorer.settings.suspects == ()
    assert "Nothing is cut" in words(harness.tab.effect)
    assert harness.tab.clear_button.disabled is True
    explorer.undo()
    harness.wait()
    assert "Without component 2 and suspect 1" in words(harness.tab.effect)


def test_suspects_of_another_layer_are_dimmed_and_not_cut_while_this_one_is_named(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, section = harness.tab, search(harness).tab.shortcuts
    shown = [tab.photo, tab.rows, tab.effect, section.list]
    find, named = tab._find, threading.Event()

    def find_late(settings: pw.Settings) -> ComponentClasses:
        if settings.layer == "0":
            assert named.wait(60)
        return find(settings)

    monkeypatch.setattr(tab, "_find", find_late)
    harness.explorer.edit(lambda old: old.at_layer("0"))
    assert all("pfv-outdated" in part._dom_classes for part in shown)
    assert all(button.disabled for button in (*tab.buttons, *section.toggles))
    harness.explorer.undo()
    named.set()
    harness.wait()
    assert not any("pfv-outdated" in part._dom_classes for part in shown)
    assert not any(button.disabled for button in (*tab.buttons, *section.toggles))
    assert section.toggles
    assert "pfv-outdated" not in tab.about._dom_classes


def test_why_a_layer_cannot_be_named_is_not_dimmed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, find = harness.tab, harness.tab._find

    def fail(settings: pw.Settings) -> ComponentClasses:
        if settings.layer == "0":
            raise pw.PFVValueError("layer: nothing follows it.")
        return find(settings)

    monkeypatch.setattr(tab, "_find", fail)
    harness.explorer.edit(lambda old: old.at_layer("0"))
    harness.wait()
    assert "nothing follows it" in words(tab.about)
    assert "pfv-outdated" not in tab.about._dom_classes
    assert "pfv-outdated" in tab.rows._dom_classes
    harness.explorer.undo()
    harness.wait()
    assert "At 2, " in words(tab.about)
    assert "pfv-outdated" not in tab.rows._dom_classes


def test_suspects_of_the_network_as_it_was_are_gone_after_more_training(harness: Harness) -> None:
    model = harness.explorer.pfv.model
    section = search(harness).tab.shortcuts
    move(section.toggles[0], value=True)
    harness.wait()
    with torch.no_grad():
        model[0].bias.add_(0.1)
    harness.explorer.refresh()
    harness.wait()
    assert section.toggles == []
    assert "has changed since" in words(section.result)
    assert "Not cut: suspect 1" in words(harness.tab.effect)
    assert "Nothing is cut" in words(harness.tab.effect)
    assert search(harness).tab.shortcuts.toggles[0].value is True


def test_no_labels_and_too_few_photos_are_told_in_the_section(open_tab: OpenTab) -> None:
    harness = open_tab(tiny(), blobs(6), layer="10")
    assert "labels=None" in words(search(harness).tab.shortcuts.result)
    assert harness.tab.shortcuts.button.disabled is False
    few = replace(blobs(10), labels=tuple("01234" * 2))
    harness = open_tab(tiny(), few, layer="10")
    assert "No suspect" in words(search(harness).tab.shortcuts.result)
    assert "Too few photos" in words(harness.tab.shortcuts.result)


def test_stop_ends_the_search_and_the_naming_before_the_next_module(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer, section, reports, messages = harness.explorer, harness.tab.shortcuts, [], []
    reporter = explorer.reporter

    @contextmanager
    def stopped_at_the_third(message: str) -> Iterator[OnProgress]:
        with reporter(message) as report:

            def watch(progress: Progress) -> None:
                reports.append(progress.stage)
                if len(reports) == 3:
                    messages.append(words(section.result))
                    searches = section.button.description == "Stop searching"
                    (section.button.click if searches else explorer.stop)()
                report(progress)

            yield watch

    monkeypatch.setattr(explorer, "reporter", stopped_at_the_third)
    assert "Stopped before the end" in words(search(harness).tab.shortcuts.result)
    assert reports == ["Running the network"] * 3
    assert "Running the network: 0 of 24 photos" in messages[0]
    assert section.button.description == "Find shortcuts"
    assert "Stopped" in harness.status
    assert harness.tab.shortcuts.button.disabled is False
    reports.clear()
    move(explorer.knobs["components"], value=2)
    harness.wait()
    assert reports == ["Naming components by classes"] * 3
    assert "Stopped" in words(harness.tab.about)
    move(explorer.knobs["components"], value=3)
    harness.wait()
    assert "exact: " in words(harness.tab.about)
    assert "found" in words(search(harness).tab.shortcuts.result)


def test_naming_ends_once_other_components_are_asked_for_and_goes_on_where_the_tab_is_left(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer, reports, turns, messages = harness.explorer, [], [], []
    reporter, show = explorer.reporter, explorer.show_message

    def shown(message: str, *more: str, **options: str) -> None:
        messages.append(message)
        show(message, *more, **options)

    @contextmanager
    def turned_at_once(message: str) -> Iterator[OnProgress]:
        with reporter(message) as report:

            def watch(progress: Progress) -> None:
                reports.append(progress.stage)
                if turns:
                    turns.pop()()
                report(progress)

            yield watch

    monkeypatch.setattr(explorer, "reporter", turned_at_once)
    monkeypatch.setattr(explorer, "show_message", shown)
    turns.append(lambda: move(explorer.knobs["components"], value=4))
    move(explorer.knobs["components"], value=2)
    harness.wait()
    assert len(harness.tab.rows.children) == 4
    assert messages[-1] == "Up to date."  # not that it was named: the tab shows that
    turns.append(lambda: explorer.tabs.open("Picture"))
    move(explorer.knobs["components"], value=5)
    harness.wait()
    assert messages[-1] == "Up to date."
    del reports[:]
    explorer.tabs.open("Classes")
    harness.wait()
    assert reports == []
    assert len(harness.tab.rows.children) == 5  # named although the tab was left
    turns.append(lambda: move(explorer.knobs["components"], value=3))
    turns.append(lambda: explorer.tabs.open("Picture"))
    move(explorer.knobs["components"], value=6)
    harness.wait()
    assert len(reports) == 2  # nobody waits for six components any more, nor yet for three
    assert harness.status == "Up to date."
    assert "Stopped" not in words(harness.tab.about)
    explorer.tabs.open("Classes")
    harness.wait()
    assert len(harness.tab.rows.children) == 3
