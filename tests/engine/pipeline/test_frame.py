from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from pfv_widgets.engine.colouring.compositing import GREYED
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from tests.figure_layout import laid_out
from tests.networks import seeded

HOSTILE = (
    "$x$",
    "<img src=x onerror=alert(1)>",
    "two\nlines\there",
    r"\frac{1}{0} $",
    "犬 🐕",
    "a\x1b\u202e\0b",
)


@pytest.fixture
def frame() -> Frame:
    maps = torch.randn(6, 7, 5, 4, generator=seeded())
    painted = heatmaps_from_activations([maps], Settings(weighting="none"), size=(12, 10))
    pixels = (torch.rand(6, 12, 10, 3, generator=seeded(1)) * 255).to(torch.uint8).numpy()
    names = tuple(f"image {index}" for index in range(6))
    return replace(painted, pixels=pixels, names=names)


def composite_with(frame: Frame, **changes: object) -> np.ndarray:
    return replace(frame, settings=replace(frame.settings, **changes)).composite()


def titles(frame: Frame) -> list[str]:
    figure = frame.figure()
    return [axis.get_title() for axis in figure.axes]


def test_views_show_the_heatmap_the_photo_or_one_over_the_other(frame: Frame) -> None:
    heat = frame.heatmaps.numpy() * 255
    assert np.abs(composite_with(frame, view="heatmap") - heat).max() <= 0.5001
    assert np.array_equal(composite_with(frame, view="photo"), frame.pixels)
    mixed = 0.3 * heat + 0.7 * frame.pixels.astype(float)
    assert np.abs(composite_with(frame, view="overlay", opacity=0.3) - mixed).max() <= 0.5001
    assert np.array_equal(composite_with(frame, opacity=0.0), frame.pixels)
    assert np.array_equal(composite_with(frame, opacity=1.0), composite_with(frame, view="heatmap"))


def test_frame_without_photos_shows_heatmaps(frame: Frame) -> None:
    bare = replace(frame, pixels=None)
    assert np.array_equal(bare.composite(), composite_with(frame, view="heatmap"))


@pytest.mark.parametrize("view", ["overlay", "heatmap", "photo"])
def test_images_left_out_of_the_basis_fade_towards_white(frame: Frame, view: str) -> None:
    plain = composite_with(frame, view=view)
    partly = composite_with(replace(frame, weights=(1.0, 0, 2, 1, 1, 0.1)), view=view)
    assert np.array_equal(np.delete(partly, 1, 0), np.delete(plain, 1, 0))
    faded = 127.5 * GREYED.strength + (1 - GREYED.strength) * plain[1].astype(float)
    assert np.abs(partly[1] - faded).max() <= 1


def test_composite_changes_nothing_in_the_frame(frame: Frame) -> None:
    heat, pixels = frame.heatmaps.clone(), frame.pixels.copy()
    composite = frame.composite()
    composite[:] = 0
    assert torch.equal(frame.heatmaps, heat)
    assert np.array_equal(frame.pixels, pixels)
    assert composite.dtype == np.uint8
    assert len(frame) == 6


@pytest.mark.parametrize(("columns", "components"), [(None, 3), (1, 1), (4, 3), (6, 1), (50, 6)])
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
    reordered = replace(frame, settings=replace(frame.settings, channels=(2, 0)))
    legend = [title for title in titles(reordered) if "component" in title]
    assert [title.split()[2] for title in legend] == ["3", "1"]


def names_below(frame: Frame) -> list[str]:
    return [axis.get_xlabel() for axis in frame.figure().axes if axis.get_xlabel()]


def test_hostile_names_are_drawn_as_plain_text(frame: Frame, tmp_path: Path) -> None:
    hostile = replace(frame, names=HOSTILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of letters that the font lacks
        hostile.save(tmp_path / "drawn.svg")  # mathematics would be parsed, and fail, here
    ElementTree.parse(tmp_path / "drawn.svg")
    below = names_below(hostile)
    assert below == [*HOSTILE[:2], "two lines here", HOSTILE[3], "□ □", "ab"]
    labels = [axis.xaxis.label for axis in hostile.figure().axes[: len(HOSTILE)]]
    assert not any(label.get_parse_math() for label in labels)


@pytest.mark.parametrize(
    ("columns", "size"), [(1, (40, 10)), (2, (12, 10)), (3, (10, 40)), (6, (12, 10)), (6, (10, 40))]
)
def test_each_name_stays_below_its_own_tile(columns: int, size: tuple[int, int]) -> None:
    maps = torch.randn(6, 7, 5, 4, generator=seeded())
    frame = heatmaps_from_activations([maps], Settings(weighting="none"), size=size)
    names = tuple(letter * 300 for letter in "WWx.xW")  # each kind of neighbours
    figure = laid_out(replace(frame, names=names).figure(columns), dpi=150)
    tiles = [axis for axis in figure.axes if axis.get_xlabel()]
    boxes = [axis.xaxis.label.get_window_extent() for axis in tiles]
    for index, (box, axis) in enumerate(zip(boxes, tiles, strict=True)):
        tile = axis.get_window_extent()
        assert 0 <= tile.y0 - box.y1 < 0.1 * figure.dpi
        assert abs(box.x0 + box.x1 - tile.x0 - tile.x1) < 4
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert not box.overlaps(tile)
        others = [*boxes[:index], *boxes[index + 1 :]]
        others += [other.get_window_extent() for other in figure.axes if other is not axis]
        assert not any(box.overlaps(other) for other in others)


def test_wider_tiles_show_more_of_a_name(frame: Frame) -> None:
    long = replace(frame, names=("n" * 300,) * 6)
    few, many = (long.figure(columns).axes[0].get_xlabel() for columns in (3, 6))
    assert len(few) > len(many) > 10
    assert "…" in few


@pytest.mark.parametrize("number", [1, 2])
def test_few_images_fill_the_sheet(number: int) -> None:
    maps = torch.randn(number, 7, 5, 5, generator=seeded())
    figure = heatmaps_from_activations([maps]).figure()
    inches = figure.axes[0].get_position().width * figure.get_figwidth()
    assert number * inches > 0.8 * figure.get_figwidth()


def test_long_layer_name_is_cut_in_the_middle(frame: Frame) -> None:
    layer = "start." + "long." * 60 + "end"
    figure = replace(frame, settings=replace(frame.settings, layer=layer)).figure()
    laid_out(figure)
    assert figure.get_suptitle().startswith("start.long.")
    assert figure.get_suptitle().endswith("long.end · none weighting")
    (title,) = [one for one in figure.texts if one.get_text() == figure.get_suptitle()]
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_ramp_of_the_legend_is_smooth() -> None:
    maps = torch.randn(2, 7, 5, 5, generator=seeded())
    figure = heatmaps_from_activations([maps], Settings(components=1)).figure()
    figure.set_dpi(300)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.axes[-1].get_window_extent()
    pixels = np.asarray(canvas.buffer_rgba())
    middle = pixels[pixels.shape[0] - int((box.y0 + box.y1) / 2), int(box.x0) + 5 : int(box.x1) - 5]
    assert len(np.unique(middle, axis=0)) > 150


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (-1, PFVValueError),
        (0, PFVValueError),
        (2.5, PFVTypeError),
        ("a", PFVTypeError),
        (True, PFVTypeError),
    ],
)
def test_wrong_columns_are_named_with_what_is_legal(
    frame: Frame, columns: object, error: type[PFVError]
) -> None:
    with pytest.raises(error) as excinfo:
        frame.figure(columns)
    assert f"columns={columns!r}: expected a whole number from 1" in str(excinfo.value)


def test_frame_is_one_line_in_a_console(frame: Frame) -> None:
    named = replace(frame, settings=replace(frame.settings, layer="deep\nlayer", channels=(2, 0)))
    expected = "<Frame: 6 images of 10 × 12 pixels, layer 'deep\\nlayer', components 3, 1>"
    assert repr(named) == expected


@pytest.mark.parametrize("layer", ["plain.layer", "$x$", r"odd$\frac"])
def test_hostile_layer_names_are_drawn_as_plain_text(
    frame: Frame, layer: str, tmp_path: Path
) -> None:
    named = replace(frame, settings=replace(frame.settings, layer=layer))
    figure = named.figure()
    figure.savefig(tmp_path / "drawn.svg")
    assert figure.get_suptitle() == f"{layer} · none weighting"
    assert not any(text.get_parse_math() for text in figure.texts)
    assert named.layer == layer


@pytest.mark.all
def test_figure_is_drawn_without_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations\n"
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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".PNG"])
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
        "indices",
    }  # fmt: skip
    assert np.array_equal(arrays["heatmaps"], frame.heatmaps.numpy())
    assert np.array_equal(arrays["components"], frame.basis.components.numpy())
    assert arrays["names"].tolist() == list(frame.names)
    assert arrays["weights"].tolist() == [1.0] * 6
    assert arrays["indices"].tolist() == list(range(6))


@pytest.mark.parametrize(
    "name", ["picture.bmp", "picture", "picture.png.exe", "absent/picture.png", "absent/a.html"]
)
def test_file_that_cannot_be_written_is_named(frame: Frame, tmp_path: Path, name: str) -> None:
    with pytest.raises(PFVValueError) as excinfo:
        frame.save(tmp_path / name)
    assert name.rpartition("/")[2] in str(excinfo.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, b"drawn.png"])
def test_path_of_another_type_is_named(frame: Frame, path: object) -> None:
    with pytest.raises(PFVTypeError, match=r"path=.*: expected the name of a file"):
        frame.save(path)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("folder.png", "name of a file in it"),
        ("folder.npz", "name of a file in it"),
        ("folder.html", "it is a folder"),
        ("a\0.html", "cannot hold"),
        ("x" * 300 + ".html", "cannot be written"),
        ("nul\0.png", "leave it out"),
        ("n" * 300 + ".png", "shorter name"),
        ("n" * 300 + ".npz", "shorter name"),
        ("n" * 300 + "/a.npz", "n"),
    ],
)
def test_place_that_cannot_be_written_is_named_with_the_fix(
    frame: Frame, tmp_path: Path, name: str, fix: str
) -> None:
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    with pytest.raises(PFVValueError, match=fix) as excinfo:
        frame.save(tmp_path / name)
    assert str(excinfo.value).startswith("path=")
    assert not any(one.is_file() for one in tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".npz"])
def test_refusal_of_the_system_is_told_as_an_error_of_ours(
    frame: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", refused)
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(PFVValueError, match=r"path=.*Permission denied.*folder of yours"):
        frame.save(tmp_path / f"drawn{suffix}")


def test_basis_behind_a_frame_can_be_saved(frame: Frame, tmp_path: Path) -> None:
    frame.basis.save(tmp_path / "basis.npz")
    loaded = PrincipalBasis.load(tmp_path / "basis.npz")
    assert torch.equal(loaded.components, frame.basis.components)
