"""The tab "Classes": parts that add up, live cuts that undo, and words for bad input."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import pfv_widgets as pw
from pfv_widgets.engine.data.batch import ImageBatch
from tests.networks import Function, blobs, counted, tiny
from tests.widgets.classes.conftest import Holder, OpenTab
from tests.widgets.explorer_contents import run_code
from tests.widgets.recorded_page import move

HOSTILE = "<b>x</b>"
NAMES = [HOSTILE, "bee", "cat", "dog", "eel"]


def network() -> nn.Sequential:
    """Scores that differ from photo to photo, so that a cut changes what is predicted."""
    model = tiny(7)
    with torch.no_grad():
        model[-1].bias -= model(blobs(12).tensor).mean(0)
    return model


def labelled(count: int = 12) -> ImageBatch:
    return replace(blobs(count), labels=tuple(NAMES[index % 5] for index in range(count)))


@pytest.fixture
def holder(open_tab: OpenTab) -> Holder:
    return open_tab(network(), labelled(), classes=NAMES, layer="10")


def words(widget: Any) -> str:
    text = re.sub(r"<[^>]+>", " ", re.sub(r"</t[dh]>", " | ", widget.value))
    return " ".join(html.unescape(text).split())


def test_parts_of_a_score_add_up_as_they_are_written(holder: Holder) -> None:
    holder.tab.show_image(2)
    rows = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td>", holder.tab.photo.value)
    numbers = {name: float(value.replace("−", "-")) for name, value in rows}
    total = numbers.pop("score")
    assert list(numbers) == [
        "mean feature", "component 1", "component 2", "component 3", "all others",
    ]  # fmt: skip
    assert sum(numbers.values()) == pytest.approx(total, abs=0.03)
    with torch.no_grad():
        scores = network()(labelled().tensor)[2]
    assert total == pytest.approx(float(scores.max()), abs=0.01)
    assert HOSTILE not in holder.tab.photo.value + holder.tab.effect.value
    assert "data:image" in holder.tab.strips[0].value


def test_cutting_shows_accuracy_before_and_after_and_undoes(holder: Holder) -> None:
    images = labelled()
    expected = torch.tensor([NAMES.index(label) for label in images.labels])
    holder.press(0)
    holder.press(2)
    explorer = holder.explorer
    assert explorer.settings.cut == (0, 2)
    frame = explorer.frame
    without = pw.ablate(network(), frame.layer, frame.basis, (0, 2))
    with torch.no_grad():
        rates = [
            round(100 * float((model(images.tensor).argmax(1) == expected).float().mean()))
            for model in (network(), without)
        ]
    assert rates[0] != rates[1]
    assert f"all | 12 | {rates[0]} % | {rates[1]} %" in words(holder.tab.effect)
    assert f"{rates[0]} → {rates[1]} % right" in holder.status
    assert "pw.ablate(model, frame.layer, frame.basis, (0, 2))" in explorer.snippet()
    explorer.undo()
    holder.wait()
    assert (explorer.settings.cut, holder.tab.buttons[2].value) == ((0,), False)
    move(holder.tab.mode, index=1)
    holder.wait()
    assert explorer.settings.cut_mode == "keep"
    assert "mode='keep'" in explorer.snippet()
    holder.tab.clear_button.click()
    holder.wait()
    assert explorer.settings.cut == ()
    assert "Nothing is cut" in words(holder.tab.effect)


def test_a_toggle_runs_no_layer_before_the_cut(open_tab: OpenTab) -> None:
    model = tiny()
    holder = open_tab(model, labelled(), classes=NAMES, layer="10")
    with counted(*(one for one in model.modules() if isinstance(one, nn.Conv2d))) as ran:
        holder.press(1)
    assert ran == []
    assert holder.explorer.settings.cut == (1,)


def test_a_class_has_components_of_its_own(holder: Holder) -> None:
    index = [value for _, value in holder.tab.class_list.options].index(1)
    move(holder.tab.class_list, index=index)
    assert holder.tab.class_view.value.count("of the variance of those shown") == 3
    assert holder.tab.class_view.value.count("<img") >= 6


def test_hidden_tab_computes_nothing(recorded: object) -> None:
    explorer = pw.explore(tiny(), labelled(), device="cpu", layer="10")
    assert explorer.wait(60)
    tab = explorer.tabs["Classes"]
    explorer.settings = replace(explorer.settings, cut=(0,))
    assert explorer.wait(60)
    assert tab.wait(60)
    assert tab.buttons[0].value is True
    assert tab.effect.value == ""


def _two(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return values, 2 * values


def broken_if_third(images: torch.Tensor) -> torch.Tensor:
    marks = images.mean((1, 2, 3), keepdim=True) > 50
    return torch.where(marks, torch.nan, images)


@pytest.mark.parametrize(
    ("model", "more", "told"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), {}, "not (N, K)"),
        (
            nn.Sequential(tiny(), Function(_two)),
            {"layer": "0.10"},
            "output=None: the network gives",
        ),
    ],
)
def test_networks_without_one_row_of_scores_are_told_in_words(
    open_tab: OpenTab, model: nn.Module, more: dict[str, Any], told: str
) -> None:
    holder = open_tab(model, labelled(), **more)
    assert told in words(holder.tab.about)
    assert told in holder.status
    assert holder.explorer.settings.cut == ()


def test_where_scores_read_a_class_token_one_press_goes_to_the_last_layer_that_counts(
    open_tab: OpenTab,
) -> None:
    torch.manual_seed(2)
    model = VisionTransformer(32, 8, 2, 2, hidden_dim=16, mlp_dim=16, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    holder = open_tab(model.eval(), labelled())
    tab, last = holder.tab, "encoder.layers.encoder_layer_1.ln_1"
    assert "scores do not depend on its feature map" in words(tab.about)
    assert last in words(tab.about)
    assert tab.layer_button.layout.display is None
    tab.layer_button.click()
    holder.wait()
    assert holder.explorer.settings.layer == last == pw.component_classes(holder.explorer.pfv).layer
    assert "integrated gradients" in words(tab.about)
    assert tab.layer_button.layout.display == "none"


def test_the_difference_to_the_expected_class_is_written_in_parts_that_add_up(
    holder: Holder,
) -> None:
    found = pw.component_classes(holder.explorer.frame, NAMES)
    wrong = int((found.predicted != found.expected).nonzero()[0])
    holder.tab.show_image(wrong)
    text = words(holder.tab.photo).replace("−", "-")
    total, *parts = re.findall(r"-?[0-9]+[.][0-9]+", text[text.index("The difference of") :])
    assert float(total) == pytest.approx(float(found.difference(wrong).sum()), abs=0.01)
    assert sum(map(float, parts)) == pytest.approx(float(total), abs=0.03)


def test_output_chosen_by_the_user_is_taken(open_tab: OpenTab) -> None:
    model = nn.Sequential(tiny(), Function(_two))
    holder = open_tab(model, labelled(), layer="0.10", output=1, classes=NAMES)
    holder.press(1)
    scope: dict[str, Any] = {"model": model, "images": labelled(), "classes": NAMES}
    run_code(holder.explorer.snippet(), scope)
    assert scope["explorer"].output == 1
    scope["explorer"].close()
    assert "Exact" in words(holder.tab.about)


def test_photos_without_labels_or_numbers_are_said_to_be_undefined(open_tab: OpenTab) -> None:
    images = blobs(6)
    images.tensor[2] += 100
    model = nn.Sequential(Function(broken_if_third), tiny())
    start = pw.Settings(images=(1, 1, 0, 1, 1, 1))
    holder = open_tab(model, images, layer="1.10", components=2, settings=start)
    assert "undefined" in words(holder.tab.effect)
    assert "1 photo is left out" in words(holder.tab.effect)
    holder.tab.show_image(2)
    assert "not numbers" in words(holder.tab.photo)
    assert "nan" not in "".join(one.value.lower() for one in holder.tab.moves[:2])
    holder.press(0)
    assert "Without component 1" in holder.status


def test_all_components_cut_is_told_and_the_tab_goes_on(open_tab: OpenTab) -> None:
    holder = open_tab(tiny(channels=3), labelled(), classes=NAMES, layer="10", components=3)
    for index in range(3):
        holder.press(index)
    assert "nothing is left" in words(holder.tab.about)
    assert "nothing is left" in holder.status
    holder.press(1, cut=False)
    assert "Without components 1, 3" in holder.status
    assert "nothing is left" not in words(holder.tab.about)


def test_cut_is_checked_and_follows_the_number_of_components(holder: Holder) -> None:
    with pytest.raises(pw.PFVValueError, match="each once"):
        pw.Settings(cut=(1, 1))
    with pytest.raises(pw.PFVValueError, match="cut_mode='burn'"):
        pw.Settings(cut_mode="burn")
    holder.explorer.settings = replace(holder.explorer.settings, cut=(2, 0))
    assert holder.explorer.settings.cut == (0, 2)
    move(holder.explorer.knobs["components"], value=2)
    holder.wait()
    assert holder.explorer.settings.cut == (0,)
    assert len(holder.tab.rows.children) == 2


def test_without_an_image_the_tab_says_what_the_status_line_says(holder: Holder) -> None:
    explorer = holder.explorer
    explorer.settings = replace(explorer.settings, images=(0.0,) * 12)
    holder.wait()
    assert holder.status == words(holder.tab.about).removeprefix("● ")
    assert holder.status.startswith("No image is selected")
    explorer.settings = replace(explorer.settings, images=None)
    holder.wait()
    assert "Exact" in words(holder.tab.about)


def test_cut_after_a_stop_is_neither_stopped_nor_said_to_go_on(holder: Holder) -> None:
    holder.explorer.stop()
    holder.press(0)
    assert holder.status.startswith("Without component 1")
    assert holder.explorer.status_line.stop_button.layout.visibility == "hidden"
    holder.explorer.tabs.open("Picture")
    move(holder.explorer.knobs["sigma"], value=2.0)
    holder.wait()
    assert holder.status == "Up to date."
