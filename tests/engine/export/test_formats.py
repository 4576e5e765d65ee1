"""Every format of a frame writes a file, and a new one is one entry."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from IPython.core.formatters import PNGFormatter
from matplotlib.figure import Figure
from PIL import Image

from pfv_widgets.engine.colouring.compositing import VIEWS, Layer, View
from pfv_widgets.engine.export.formats import FORMATS, Format
from pfv_widgets.engine.export.html_page import page_of
from pfv_widgets.engine.export.output_paths import FIGURE_FORMATS, write_figure_or_arrays
from pfv_widgets.engine.pca.basis import PrincipalBasis
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from tests.networks import blobs, tiny


@pytest.fixture(scope="module")
def frame() -> Frame:
    return PFV(tiny(), blobs(2), device="cpu").render()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_writes_a_file(frame: Frame, tmp_path: Path, suffix: str) -> None:
    frame.save(tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 500
    assert [one.name for one in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_what_is_no_ordinary_file_is_left_alone(frame: Frame, tmp_path: Path) -> None:
    for suffix in (".png", ".npz"):
        pipe = tmp_path / f"a{suffix}"
        os.mkfifo(pipe)
        with pytest.raises(PFVValueError, match="no ordinary file"):
            frame.save(pipe)
        with pytest.raises(PFVValueError, match="no ordinary file"):
            frame.basis.save(pipe)
        assert pipe.is_fifo()


def test_home_of_the_user_is_a_folder_to_write_to(
    frame: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    frame.save("~/a.png")
    frame.basis.save("~/b.npz")
    assert PrincipalBasis.load("~/b.npz").layer == frame.layer
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.npz"]


def test_notebook_shows_a_figure_as_a_sharp_picture_without_any_set_up(frame: Frame) -> None:
    figure = frame.figure()
    picture, page = PNGFormatter()(figure)
    with Image.open(io.BytesIO(picture)) as image:
        width, height = image.size
    assert (width, height) == pytest.approx((2 * page["width"], 2 * page["height"]), abs=2)
    assert page["width"] == pytest.approx(figure.get_size_inches()[0] * figure.dpi, abs=1)


def test_new_format_is_one_entry(
    frame: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PFVValueError, match=r"ends in \.png, "):
        frame.save(tmp_path / "a.new")
    monkeypatch.setitem(FORMATS, ".new", Format(lambda one, path: path.write_text(repr(one)), "T"))  # type: ignore[arg-type, return-value] # a number comes back
    frame.save(tmp_path / "a.new")
    assert (tmp_path / "a.new").read_text().startswith("<Frame: 2 images")


def test_new_view_is_one_entry(frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, heat = Layer("photo"), Layer("heatmap")
    panes = ((photo,), (photo, Layer("heatmap", 0.5)), (heat,))
    monkeypatch.setitem(VIEWS, "three", View(panes, (3, 1), wide=True))
    pfv = PFV(tiny(), blobs(2), device="cpu")
    result = pfv.render(view="three")
    height, width = result.heatmaps.shape[1:3]
    tiles = result.composite()
    assert tiles.shape == (2, height, 3 * width, 3)
    assert (tiles[:, :, :width] == blobs(2).pixels).all()
    assert len(pfv.render(view="three", pins=[(0, 0.5, 0.5)]).rings()) == 3


def test_new_figure_format_is_one_entry_for_every_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(name: str) -> None:
        write_figure_or_arrays(tmp_path / name, Figure, lambda: {"a": np.zeros(1)})

    with pytest.raises(PFVValueError, match=r"ends in \.png, .*\.npz for a figure or the arrays"):
        save("a.ps")
    monkeypatch.setitem(FIGURE_FORMATS, ".ps", "PostScript")
    for name in ("a.ps", "a.npz"):
        save(name)
    assert (tmp_path / "a.ps").read_bytes().startswith(b"%!PS")


def test_html_page_offers_each_view_that_two_pictures_can_show(
    frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    faint = View(((Layer("photo"), Layer("heatmap", 0.25)),))
    monkeypatch.setitem(VIEWS, "faint", faint)
    page = page_of(replace(frame, settings=replace(frame.settings, view="faint")))
    assert re.findall('name="view" value="([^"]+)"', page) == [
        "overlay", "heatmap", "photo", "faint"
    ]  # fmt: skip
    rules = dict(re.findall(r'data-view="([^"]+)"\] .photo \+ .heat { opacity: ([^;]+);', page))
    assert rules == {"overlay": "var(--opacity)", "heatmap": "1", "photo": "0", "faint": "0.25"}
    assert 'value="faint" checked' in page
