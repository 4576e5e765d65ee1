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
from tests.widgets.classes.conftest import Harness, OpenTab
from tests.widgets.explorer_contents import run_code
from tests.widgets.fake_page import move

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
def harness(open_tab: OpenTab) -> Harness:
    return open_tab(network(), labelled(), classes=NAMES, layer="10")


def words(widget: Any) -> str:
    text = re.sub(r"<[^>]+>", " ", re.sub(r"</t[dh]>", " | ", widget.value))
    return " ".join(html.unescape(text).split())


def test_parts_of_a_score_add_up_as_they_are_written(harness: Harness) -> None:
    harness.tab.show_image(2)
    rows = re.findall(r"<td>([^<]*)</td><td>([^<]*)</td>", harness.tab.photo.value)
    numbers = {name: float(value.replace("−", "-")) for name, value in rows}
    total = numbers.pop("score")
    assert list(numbers) == [
        "mean feature", "component 1", "component 2", "component 3", "all others",
    ]  # fmt: skip
    assert sum(numbers.values()) == pytest.approx(total, abs=0.03)
    with torch.no_grad():
        scores = network()(labelled().tensor)[2]
    assert total == pytest.approx(float(scores.max()), abs=0.01)
    assert HOSTILE not in harness.tab.photo.value + harness.tab.effect.value
    assert "data:image" in harness.tab.strips[0].value


def test_cutting_shows_accuracy_before_and_after_and_undoes(harness: Harness) -> None:
    images = labelled()
    expected = torch.tensor([NAMES.index(label) for label in images.labels])
    harness.press(0)
    harness.press(2)
    explorer = harness.explorer
    assert explorer.settings.cut == (0, 2)
    frame = explorer.frame
    without = pw.ablate(network(), frame.layer, frame.basis, (0, 2))
    with torch.no_grad():
        rates = [
            round(100 * float((model(images.tensor).argmax(1) == expected).float().mean()))
            for model in (network(), without)
        ]
    assert rates[0] != rates[1]
    assert f"all | 12 | {rates[0]} % | {rates[1]} %" in words(harness.tab.effect)
    assert f"{rates[0]} → {rates[1]} % right" in harness.status
    assert "pw.ablate(model, frame.layer, frame.basis, (0, 2))" in explorer.snippet()
    explorer.undo()
    harness.wait()
    assert (explorer.settings.cut, harness.tab.buttons[2].value) == ((0,), False)
    move(harness.tab.mode, index=1)
    harness.wait()
    assert explorer.settings.cut_mode == "keep"
    assert "mode='keep'" in explorer.snippet()
    harness.tab.clear_button.click()
    harness.wait()
    assert explorer.settings.cut == ()
    assert "Nothing is cut" in words(harness.tab.effect)


def test_a_toggle_runs_no_layer_before_the_cut(open_tab: OpenTab) -> None:
    model = tiny()
    harness = open_tab(model, labelled(), classes=NAMES, layer="10")
    with counted(*(one for one in model.modules() if isinstance(one, nn.Conv2d))) as calls:
        harness.press(1)
    assert calls == []
    assert harness.explorer.settings.cut == (1,)


def test_a_class_has_components_of_its_own(harness: Harness) -> None:
    index = [value for _, value in harness.tab.class_list.options].index(1)
    move(harness.tab.class_list, index=index)
    assert harness.tab.class_view.value.count("of the variance of those shown") == 3
    assert harness.tab.class_view.value.count("<img") >= 6


def test_hidden_tab_computes_nothing(fake_page: object) -> None:
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
    ("model", "more", "message"),
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
    open_tab: OpenTab, model: nn.Module, more: dict[str, Any], message: str
) -> None:
    harness = open_tab(model, labelled(), **more)
    assert message in words(harness.tab.about)
    assert message in harness.status
    assert harness.explorer.settings.cut == ()


def test_where_scores_read_a_class_token_one_press_goes_to_the_last_layer_that_counts(
    open_tab: OpenTab,
) -> None:
    torch.manual_seed(2)
    model = VisionTransformer(32, 8, 2, 2, hidden_dim=16, mlp_dim=16, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    harness = open_tab(model.eval(), labelled())
    tab, last = harness.tab, "encoder.layers.encoder_layer_1.ln_1"
    assert "scores do not depend on its feature map" in words(tab.about)
    assert last in words(tab.about)
    assert tab.layer_button.layout.display is None
    tab.layer_button.click()
    harness.wait()
    assert (
        harness.explorer.settings.layer == last == pw.component_classes(harness.explorer.pfv).layer
    )
    assert "integrated gradients" in words(tab.about)
    assert tab.layer_button.layout.display == "none"


def test_the_difference_to_the_expected_class_is_written_in_parts_that_add_up(
    harness: Harness,
) -> None:
    result = pw.component_classes(harness.explorer.frame, NAMES)
    wrong = int((result.predicted != result.expected).nonzero()[0])
    harness.tab.show_image(wrong)
    text = words(harness.tab.photo).replace("−", "-")
    total, *parts = re.findall(r"-?[0-9]+[.][0-9]+", text[text.index("The difference of") :])
    assert float(total) == pytest.approx(float(result.difference(wrong).sum()), abs=0.01)
    assert sum(map(float, parts)) == pytest.approx(float(total), abs=0.03)


def test_output_chosen_by_the_user_is_taken(open_tab: OpenTab) -> None:
    model = nn.Sequential(tiny(), Function(_two))
    harness = open_tab(model, labelled(), layer="0.10", output=1, classes=NAMES)
    harness.press(1)
    scope: dict[str, Any] = {"model": model, "images": labelled(), "classes": NAMES}
    run_code(harness.explorer.snippet(), scope)
    assert scope["explorer"].output == 1
    scope["explorer"].close()
    assert "exact: " in words(harness.tab.about)


def test_photos_without_labels_or_numbers_are_said_to_be_undefined(open_tab: OpenTab) -> None:
    images = blobs(6)
    images.tensor[2] += 100
    model = nn.Sequential(Function(broken_if_third), tiny())
    start = pw.Settings(images=(1, 1, 0, 1, 1, 1))
    harness = open_tab(model, images, layer="1.10", components=2, settings=start)
    assert "undefined" in words(harness.tab.effect)
    assert "1 photo is left out" in words(harness.tab.effect)
    harness.tab.show_image(2)
    assert "not numbers" in words(harness.tab.photo)
    assert "nan" not in "".join(one.value.lower() for one in harness.tab.moves[:2])
    harness.press(0)
    assert "Without component 1" in harness.status


def test_all_components_cut_is_told_and_the_tab_goes_on(open_tab: OpenTab) -> None:
    harness = open_tab(tiny(channels=3), labelled(), classes=NAMES, layer="10", components=3)
    for index in range(3):
        harness.press(index)
    assert "nothing is left" in words(harness.tab.about)
    assert "nothing is left" in harness.status
    harness.press(1, cut=False)
    assert "Without components 1, 3" in harness.status
    assert "nothing is left" not in words(harness.tab.about)


def test_cut_is_checked_and_follows_the_number_of_components(harness: Harness) -> None:
    with pytest.raises(pw.PFVValueError, match="each once"):
        pw.Settings(cut=(1, 1))
    with pytest.raises(pw.PFVValueError, match="cut_mode='burn'"):
        pw.Settings(cut_mode="burn")
    harness.explorer.settings = replace(harness.explorer.settings, cut=(2, 0))
    assert harness.explorer.settings.cut == (0, 2)
    move(harness.explorer.knobs["components"], value=2)
    harness.wait()
    assert harness.explorer.settings.cut == (0,)
    assert len(harness.tab.rows.children) == 2


def test_without_an_image_the_tab_says_what_the_status_line_says(harness: Harness) -> None:
    explorer = harness.explorer
    explorer.settings = replace(explorer.settings, images=(0.0,) * 12)
    harness.wait()
    assert harness.status == words(harness.tab.about).removeprefix("● ")
    assert harness.status.startswith("No image is in the batch")
    explorer.settings = replace(explorer.settings, images=None)
    harness.wait()
    assert "exact: " in words(harness.tab.about)


def test_cut_after_a_stop_is_neither_stopped_nor_said_to_go_on(harness: Harness) -> None:
    harness.explorer.stop()
    harness.press(0)
    assert harness.status.startswith("Without component 1")
    assert harness.explorer.status_line.stop_button.layout.visibility == "hidden"
    harness.explorer.tabs.open("Picture")
    move(harness.explorer.knobs["sigma"], value=2.0)
    harness.wait()
    assert harness.status == "Up to date."


def test_what_is_kept_or_clamped_is_said(harness: Harness) -> None:
    harness.press(1)
    for index, words_of_mode in enumerate(
        ["Without component 2", "With component 2 alone", "With the high side of component 2"]
    ):
        move(harness.tab.mode, index=index)
        harness.wait()
        assert words_of_mode in harness.status
        assert words_of_mode in words(harness.tab.effect)


def test_a_network_with_one_output_predicts_no_class(open_tab: OpenTab) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*tiny()[:-1], nn.Linear(8, 1)).eval()
    images = blobs(6)
    harness = open_tab(model, images, layer="10")
    harness.press(0)
    frame = harness.explorer.frame
    without = pw.ablate(model, frame.layer, frame.basis, 0)
    with torch.no_grad():
        before, after = (float(one(images.tensor).mean()) for one in (model, without))
    change = f"mean score {before:+.2f} → {after:+.2f}".replace("-", "−")
    assert f"Without component 1: {change}." in harness.status
    effect = words(harness.tab.effect)
    assert "no class is predicted" in effect
    assert "%" not in effect
    assert "the only output" in words(harness.tab.photo)


def test_names_of_a_head_that_was_replaced_are_left_out(open_tab: OpenTab) -> None:
    model = tiny()
    model.classes = [f"class of before {index}" for index in range(7)]
    harness = open_tab(model, labelled(), layer="10")
    harness.press(0)
    assert "Without component 1" in harness.status
    assert "of before" not in words(harness.tab.photo)


def test_a_component_that_is_not_shown_is_said_not_to_be_cut(open_tab: OpenTab) -> None:
    start = pw.Settings(cut=(0, 9))
    harness = open_tab(tiny(), labelled(), classes=NAMES, layer="10", settings=start)
    assert "Without component 1" in harness.status
    assert "Not cut: component 10, of 3 that are shown." in harness.status
    assert harness.explorer.status_line.status.kind == "warning"
