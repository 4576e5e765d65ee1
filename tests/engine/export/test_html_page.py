"""A frame as one HTML file: what it holds, what it refuses, and that nothing foreign lives."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfv_widgets.engine.export.html_page import page_of, write_page
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import seeded

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "$x$ \\(y\\) @@script@@",
    "犬 👨‍👩‍👧 \u202e\0\x1b\udcff",
    "' autofocus onfocus='alert(1)",
    "two\nlines <!-- ",
)


class Parsed(HTMLParser):
    """Elements of a page with their attributes, and the text of each script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        result = [attributes for name, attributes in self.elements if name == tag]
        return [one for one in result if not kind or kind in one.get("class", "").split()]

    def data(self) -> dict[str, object]:
        inside = [text for tag, text in self.texts if tag == "script"]
        return json.loads(inside[0])


def random_frame(count: int = 6, grid: tuple[int, int] = (5, 4), side: int = 80) -> Frame:
    maps = torch.randn(count, 7, *grid, generator=seeded())
    size = (side, side * grid[1] // grid[0])
    painted = heatmaps_from_activations([maps], Settings(weighting="none"), size=size)
    pixels = (torch.rand(count, *size, 3, generator=seeded(1)) * 255).to(torch.uint8).numpy()
    names = tuple(f"image {index}" for index in range(count))
    return replace(painted, pixels=pixels, names=names)


@pytest.fixture
def frame() -> Frame:
    return random_frame()


def decoded(source: str) -> np.ndarray:
    kind, _, text = source.partition(";base64,")
    assert kind in ("data:image/jpeg", "data:image/png")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_page_holds_every_photo_and_heatmap(frame: Frame) -> None:
    page = Parsed(page_of(frame))
    photos, heats = page.all("img", "photo"), page.all("img", "heat")
    assert len(photos) == len(heats) == len(frame)
    for index, (photo, heat) in enumerate(zip(photos, heats, strict=True)):
        expected = frame.heatmaps[index].numpy() * 255
        assert np.abs(decoded(heat["src"]) - expected).mean() < 4
        photo_pixels = decoded(photo["src"]).astype(float)
        assert abs(photo_pixels.mean() - frame.pixels[index].mean()) < 4
        assert photo_pixels.shape == frame.pixels[index].shape


def test_small_pictures_are_kept_without_loss() -> None:
    frame = random_frame(side=40)
    photos = Parsed(page_of(frame)).all("img", "photo")
    assert np.array_equal(decoded(photos[2]["src"]), frame.pixels[2])


def test_values_of_the_components_shown_come_back_from_the_page(frame: Frame) -> None:
    reordered = replace(frame, settings=replace(frame.settings, channels=(2, 0)))
    data = Parsed(page_of(reordered)).data()
    values = np.frombuffer(base64.b64decode(data["scores"]), "<f4").reshape(data["shape"])
    assert data["numbers"] == [3, 1]
    assert np.array_equal(values, frame.scores[:, [2, 0]].numpy())


def test_small_value_beside_a_large_one_keeps_its_digits(frame: Frame) -> None:
    scores = frame.scores.clone()
    scores[0, 0, 0, 0], scores[0, 0, 0, 1] = 850.0, -0.812
    data = Parsed(page_of(replace(frame, scores=scores))).data()
    values = np.frombuffer(base64.b64decode(data["scores"]), "<f4").reshape(data["shape"])
    assert f"{values[0, 0, 0, 1]:.3f}" == "-0.812"
    assert data["largest"][0] == 850.0


def test_nothing_is_loaded_from_elsewhere_and_no_other_script_may_run(frame: Frame) -> None:
    text = page_of(frame)
    page = Parsed(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert attributes.get(name, "data:").startswith("data:")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert "http" not in re.sub(r'content="[^"]*"|http-equiv', "", text)
    policy = page.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    codes = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.DOTALL)
    assert len(codes) == 2
    for code in codes:
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_hostile_names_labels_and_layers_stay_text(frame: Frame) -> None:
    plain = Parsed(page_of(replace(frame, labels=("a",) * 6)))
    layer = replace(frame.settings, layer=HOSTILE[0])
    hostile = replace(frame, names=HOSTILE, labels=HOSTILE[::-1], settings=layer, warnings=HOSTILE)
    text = page_of(hostile)
    page = Parsed(text)
    kinds = [[tag for tag, _ in one.elements if tag != "p"] for one in (plain, page)]
    assert kinds[0] == kinds[1]
    assert not [a for _, a in page.elements if {"onerror", "onmouseover", "onfocus"} & a.keys()]
    pictures = page.all("div", "picture")
    assert [one["data-name"] for one in pictures[:3]] == list(HOSTILE[:3])
    assert pictures[3]["data-name"] == "犬 👨‍👩‍👧"
    assert pictures[4]["data-name"] == HOSTILE[4]
    assert pictures[0]["data-label"] == "two lines <!--"
    assert "\u202e" not in text
    text.encode()


def test_tiles_tell_name_label_and_whether_they_are_in_the_basis(frame: Frame) -> None:
    out = replace(frame, weights=(1, 0, 1, 2, 1, 1), labels=tuple("abcdef"))
    page = Parsed(page_of(out))
    labels = [one["aria-label"] for one in page.all("figure")]
    assert labels[0] == "image 0, a"
    assert labels[1] == "image 1, b, not in the basis"
    assert ["out" in one["class"] for one in page.all("div", "picture")] == [
        index == 1 for index in range(6)
    ]
    assert page.all("img", "heat")[3]["alt"] == "Heatmap of image 3, d"
    assert all(one.get("alt") for one in page.all("img"))
    assert [one["tabindex"] for one in page.all("figure")] == ["0"] + ["-1"] * 5


def test_layer_variance_and_settings_are_told(frame: Frame) -> None:
    settings = replace(frame.settings, layer="features.7", sigma=1.5, opacity=0.4, view="photo")
    text = page_of(replace(frame, settings=settings))
    assert "<title>Principal features of features.7</title>" in text
    for ratio in frame.basis.explained_variance_ratio.tolist():
        assert f"{100 * ratio:.1f} %" in text
    assert "σ = 1.5" in text
    assert "--opacity: 0.4;" in text
    assert 'data-view="photo"' in text
    assert 'value="photo" checked' in text
    assert "<dd>6 of 6 images, all with the same weight</dd>" in text
    weighted = replace(settings, images=(1, 0, 1, 2, 1, 1))  # of the batch, which holds more
    part = replace(frame, heatmaps=frame.heatmaps[:2], settings=weighted, indices=(0, 1))
    assert "<dd>5 of 6 images, weighted differently</dd>" in page_of(part)
    fixed = page_of(replace(frame, basis_source="fixed, made of 9 feature vectors"))
    assert "<dd>fixed, made of 9 feature vectors</dd>" in fixed


def test_frame_without_photos_shows_heatmaps_alone(frame: Frame) -> None:
    page = Parsed(page_of(replace(frame, pixels=None, names=())))
    assert page.all("img", "photo") == []
    assert [one["aria-label"] for one in page.all("figure")][:2] == ["image 1", "image 2"]
    assert "hidden" in page.all("fieldset")[0]
    assert "--opacity: 1;" in page_of(replace(frame, pixels=None))


@pytest.mark.all
def test_large_frames_are_scaled_down_to_a_page_that_a_mail_can_carry() -> None:
    frame = random_frame(count=20, grid=(220, 220), side=900)
    text = page_of(frame)
    page = Parsed(text)
    count, number, high, wide = page.data()["shape"]
    assert count * number * high * wide <= 1_000_000 < count * number * (high + 1) * (wide + 1)
    shape = decoded(page.all("img", "photo")[0]["src"]).shape
    assert shape[0] == shape[1] < 800
    assert "averaged over blocks" in text


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_leave_valid_json(frame: Frame, broken: float) -> None:
    scores = frame.scores.clone()
    scores[0, 0, 0, 0] = broken
    data = Parsed(page_of(replace(frame, scores=scores))).data()
    assert all(np.isfinite(data["largest"]))


def test_written_page_is_the_page(frame: Frame, tmp_path: Path) -> None:
    write_page(frame, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text("utf-8") == page_of(frame)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        assert (tmp_path / "a.html").stat().st_mode & 0o777 == 0o666 & ~mask


def test_other_places_are_refused(frame: Frame, tmp_path: Path) -> None:
    with pytest.raises(PFVValueError, match=r"ends in \.html or \.htm for the page"):
        write_page(frame, tmp_path / "page.txt")
    with pytest.raises(PFVTypeError, match="path=3: expected the name of a file"):
        write_page(frame, 3)  # type: ignore[arg-type]
