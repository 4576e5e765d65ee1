from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfv_widgets.engine.basis import PrincipalBasis
from pfv_widgets.engine.frame import FADED, Frame
from pfv_widgets.engine.settings import Settings
from pfv_widgets.engine.stages import heatmaps_from_activations
from pfv_widgets.errors import PFVValueError
from tests.networks import seeded

HOSTILE = ("$x$", "<img src=x onerror=alert(1)>", "two\nlines\there", r"\frac{1}{0} $", "犬 🐕", "")


@pytest.fixture
def frame() -> Frame:
    maps = torch.randn(6, 7, 5, 4, generator=seeded())
    painted = heatmaps_from_activations([maps], Settings(weighting="none"), size=(12, 10))
    pixels = (torch.rand(6, 12, 10, 3, generator=seeded(1)) * 255).to(torch.uint8).numpy()
    names = tuple(f"image {index}" for index in range(6))
    return replace(painted, pixels=pixels, names=names)


def viewed(frame: Frame, **changes: object) -> np.ndarray:
    return replace(frame, settings=replace(frame.settings, **changes)).composite()


def titles(frame: Frame) -> list[str]:
    figure = frame.figure()
    return [axis.get_title() for axis in figure.axes]


def test_views_show_the_heatmap_the_photo_or_one_over_the_other(frame: Frame) -> None:
    heat = frame.heatmaps.numpy() * 255
    assert np.abs(viewed(frame, view="heatmap") - heat).max() <= 0.5001
    assert np.array_equal(viewed(frame, view="photo"), frame.pixels)
    mixed = 0.3 * heat + 0.7 * frame.pixels.astype(float)
    assert np.abs(viewed(frame, view="overlay", opacity=0.3) - mixed).max() <= 0.5001
    assert np.array_equal(viewed(frame, opacity=0.0), frame.pixels)
    assert np.array_equal(viewed(frame, opacity=1.0), viewed(frame, view="heatmap"))


def test_frame_without_photos_shows_heatmaps(frame: Frame) -> None:
    bare = replace(frame, pixels=None)
    assert np.array_equal(bare.composite(), viewed(frame, view="heatmap"))


@pytest.mark.parametrize("view", ["overlay", "heatmap", "photo"])
def test_images_left_out_of_the_basis_fade_towards_white(frame: Frame, view: str) -> None:
    plain = viewed(frame, view=view)
    partly = viewed(replace(frame, weights=(1.0, 0, 2, 1, 1, 0.1)), view=view)
    assert np.array_equal(np.delete(partly, 1, 0), np.delete(plain, 1, 0))
    faded = 127.5 * FADED + (1 - FADED) * plain[1].astype(float)
    assert np.abs(partly[1] - faded).max() <= 1


def test_composite_changes_nothing_in_the_frame(frame: Frame) -> None:
    heat, pixels = frame.heatmaps.clone(), frame.pixels.copy()
    composite = frame.composite()
    composite[:] = 0
    assert torch.equal(frame.heatmaps, heat)
    assert np.array_equal(frame.pixels, pixels)
    assert composite.dtype == np.uint8
    assert len(frame) == 6


@pytest.mark.parametrize("columns", [None, 1, 4, 6, 50])
@pytest.mark.parametrize("components", [1, 3, 6])
def test_figure_has_a_tile_for_each_image_and_a_ramp_for_each_component(
    columns: int | None, components: int
) -> None:
    maps = torch.randn(5, 7, 5, 4, generator=seeded())
    frame = heatmaps_from_activations([maps], Settings(components=components))
    figure = frame.figure(columns)
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(drawn) == 5 + components
    percents = [axis.get_title() for axis in drawn[5:]]
    ratios = frame.basis.explained_variance_ratio.tolist()
    for index, (title, ratio) in enumerate(zip(percents, ratios, strict=True), start=1):
        assert f"component {index} ({100 * ratio:.1f} %)" in title


def test_legend_names_the_components_that_are_shown(frame: Frame) -> None:
    chosen = replace(frame, settings=replace(frame.settings, channels=(2, 0)))
    legend = [title for title in titles(chosen) if "component" in title]
    assert [title.split()[2] for title in legend] == ["3", "1"]


@pytest.mark.filterwarnings("ignore:Glyph")  # of letters that the font lacks
def test_hostile_names_are_drawn_as_plain_text(frame: Frame, tmp_path: Path) -> None:
    hostile = replace(frame, names=HOSTILE)
    figure = hostile.figure()
    figure.savefig(tmp_path / "drawn.svg")  # mathematics would be parsed, and fail, here
    for axis, name in zip(figure.axes, HOSTILE, strict=False):
        text = axis.title
        shown, is_math = text._preprocess_math(text.get_text())
        assert is_math is False
        assert "\n" not in shown
        assert shown.rstrip("…") in " ".join(name.split())


@pytest.mark.parametrize("layer", ["plain.layer", "$x$", r"odd$\frac"])
def test_hostile_layer_names_are_drawn_as_plain_text(
    frame: Frame, layer: str, tmp_path: Path
) -> None:
    named = replace(frame, settings=replace(frame.settings, layer=layer))
    figure = named.figure()
    figure.savefig(tmp_path / "drawn.svg")
    title = figure.subfigs[0]._suptitle
    assert title._preprocess_math(title.get_text()) == (f"{layer} · none weighting", False)
    assert named.layer == layer


def test_figure_is_drawn_without_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from pfv_widgets.engine.stages import heatmaps_from_activations\n"
        "frame = heatmaps_from_activations([torch.randn(2, 4, 5, 5)])\n"
        "assert 'matplotlib' not in sys.modules, 'it is imported when it is needed'\n"
        "frame.save(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "drawn.png")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".PNG"])
def test_picture_is_saved_as_a_readable_file(frame: Frame, tmp_path: Path, suffix: str) -> None:
    frame.save(str(tmp_path / f"picture{suffix}"))
    with Image.open(tmp_path / f"picture{suffix}") as picture:
        assert min(picture.size) > 200
        assert picture.convert("L").getextrema()[0] < 128


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_figure_is_saved_as_a_drawing(
    frame: Frame, tmp_path: Path, suffix: str, start: bytes
) -> None:
    frame.save(tmp_path / f"picture{suffix}")
    assert (tmp_path / f"picture{suffix}").read_bytes().startswith(start)


def test_arrays_are_saved_without_pickle(frame: Frame, tmp_path: Path) -> None:
    frame.save(tmp_path / "numbers.npz")
    with np.load(tmp_path / "numbers.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert set(arrays) == {
        "heatmaps", "scores", "mean", "components", "explained_variance_ratio", "names", "weights",
    }  # fmt: skip
    assert np.array_equal(arrays["heatmaps"], frame.heatmaps.numpy())
    assert np.array_equal(arrays["components"], frame.basis.components.numpy())
    assert arrays["names"].tolist() == list(frame.names)
    assert arrays["weights"].tolist() == [1.0] * 6


@pytest.mark.parametrize(
    "name", ["picture.bmp", "picture", "picture.png.exe", "absent/picture.png"]
)
def test_file_that_cannot_be_written_is_named(frame: Frame, tmp_path: Path, name: str) -> None:
    with pytest.raises(PFVValueError) as caught:
        frame.save(tmp_path / name)
    assert name.rpartition("/")[2] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_basis_behind_a_frame_can_be_saved(frame: Frame, tmp_path: Path) -> None:
    frame.basis.save(tmp_path / "basis.npz")
    loaded = PrincipalBasis.load(tmp_path / "basis.npz")
    assert torch.equal(loaded.components, frame.basis.components)
