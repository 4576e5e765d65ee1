"""An explorer from its first picture to its end: shown, saved, brought back, closed."""

from __future__ import annotations

import base64
import gc
import io
import itertools
import subprocess
import sys
import threading
import weakref
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image

import pfv_widgets as pw
from pfv_widgets.engine.export.still_picture import still
from pfv_widgets.engine.pipeline.cache import ByteBoundedCache
from pfv_widgets.engine.pipeline.frame import Frame
from pfv_widgets.widgets.explorer.notebook_fallback import StillPicture
from pfv_widgets.widgets.explorer.pfv_explorer import PFVExplorer
from tests.networks import blobs, tiny
from tests.widgets.conftest import Open, scenes
from tests.widgets.explorer_contents import (
    is_error,
    load_anew,
    press,
    run_code,
    shows_its_frame,
    threads_have_ended,
    until,
)
from tests.widgets.fake_page import FakePage, move


def test_page_that_is_loaded_anew_is_painted_again(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    grid = explorer.gallery.tiles
    fake_page.load_anew(grid.widget)
    explorer.settings = replace(explorer.settings, opacity=0.3, images=(1, 0, 1, 1))
    assert shows_its_frame(explorer)
    before = fake_page.picture(grid.widget).copy()
    for _ in range(3):
        fake_page.load_anew(grid.widget, *grid.canvas.buffers)
        assert explorer.wait(60)
        assert np.abs(fake_page.picture(grid.widget) - before).max() < 1


def test_snippet_brings_the_view_back(explorer: PFVExplorer) -> None:
    explorer.settings = replace(
        explorer.settings, components=4, channels=(3, 0), images=(1, 0, 0.5, 1), sigma=1.5
    )
    space = {"model": pw.demo_model(), "images": scenes(4)}
    run_code(explorer.snippet(), space)
    again = space["explorer"]
    assert again.settings == explorer.settings
    products = again.frame.basis.components @ explorer.frame.basis.components.T
    assert (products.abs().amax(dim=1) > 0.999).all()  # order and signs come from earlier ones
    again.close()


def test_basis_of_elsewhere_is_shown_and_comes_back_with_the_snippet(
    fake_page: FakePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = pw.demo_model(), scenes(4)
    basis = pw.PFV(model, scenes(6), device="cpu").render(components=2).basis
    first = pw.explore(model, images, device="cpu", basis=basis, components=2)
    assert torch.equal(first.frame.basis.components, basis.components)
    monkeypatch.chdir(tmp_path)
    basis.save("basis.npz")
    space: dict[str, Any] = {"model": model, "images": images}
    run_code(first.snippet(), space)
    again = space["explorer"]
    assert torch.equal(again.frame.heatmaps, first.frame.heatmaps)
    first.close()
    again.close()


def test_save_writes_the_picture_and_the_arrays(explorer: PFVExplorer, tmp_path: Path) -> None:
    explorer.settings = replace(explorer.settings, components=2)
    explorer.save(tmp_path / "view.png")
    explorer.save(str(tmp_path / "view.npz"))
    with Image.open(tmp_path / "view.png") as picture:
        assert picture.width > 300
    with np.load(tmp_path / "view.npz") as arrays:
        assert arrays["scores"].shape[:2] == (4, 2)
    with pytest.raises(pw.PFVValueError, match="no folder"):
        explorer.save(tmp_path / "missing" / "view.png")


def test_place_without_widgets_gets_a_picture(explorer: PFVExplorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 300
        assert np.asarray(picture.convert("RGB")).std() > 20


def test_close_frees_what_the_engine_keeps_and_closes_every_widget(
    fake_page: FakePage, open_explorer: Open
) -> None:
    before = set(threading.enumerate())
    explorer = open_explorer()
    explorer.settings = replace(explorer.settings, sigma=2.0)
    threads = [one for one in set(threading.enumerate()) - before if one.name == "pfv"]
    assert threads
    explorer.close()
    assert len(explorer.pfv.store.cache) == 0
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert not fake_page.open_comms
    explorer.close()


def test_closed_explorer_paints_no_more_and_says_that_it_is_closed(
    fake_page: FakePage, explorer: PFVExplorer
) -> None:
    assert explorer.wait(60)
    explorer.close()
    fake_page.drawings.clear()
    with pytest.raises(pw.PFVError, match="PFVExplorer is closed"):
        explorer.settings = replace(explorer.settings, sigma=2.0)
    with pytest.raises(pw.PFVError, match="PFVExplorer is closed"):
        explorer.edit(lambda old: replace(old, sigma=2.0))
    with pytest.raises(pw.PFVError, match="PFVExplorer is closed"):
        explorer.undo()
    assert explorer.wait(5)
    assert fake_page.drawings == []
    assert explorer.frame.settings.sigma == 1.0


def test_closing_one_explorer_frees_nothing_that_another_one_uses(fake_page: FakePage) -> None:
    first = pw.explore(tiny(), blobs(3), device="cpu")
    second = PFVExplorer(first.pfv)
    assert first.wait(60)
    assert second.wait(60)
    cached = len(first.pfv.store.cache)
    first.close()
    assert len(first.pfv.store.cache) >= cached > 0
    second.settings = replace(second.settings, sigma=2.0)
    assert second.frame.settings.sigma == 2.0
    second.close()
    assert len(first.pfv.store.cache) == 0


def test_close_waits_for_the_frame_in_work(
    fake_page: FakePage, explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    render = explorer.pfv.render

    def slow(*args: object, **kwargs: object) -> Frame:
        begun.set()
        assert go.wait(10)
        return render(*args, **kwargs)

    monkeypatch.setattr(explorer.pfv, "render", slow)
    explorer.settings = replace(explorer.settings, sigma=2.0)
    assert begun.wait(10)
    threading.Timer(0.1, go.set).start()
    explorer.close()
    assert len(explorer.pfv.store.cache) == 0
    last = fake_page.messages[-1]
    assert last[0] == "comm_close"
    assert not is_error(explorer)


@pytest.mark.all
def test_explorer_opens_without_what_analyses_and_figures_alone_need() -> None:
    code = (
        "import sys\nimport pfv_widgets as pw\n"
        "explorer = pw.explore(pw.demo_model(), pw.demo_images(2), device='cpu')\n"
        "assert explorer.wait(60)\n"
        "late = {'sklearn', 'scipy.stats', 'matplotlib.figure', 'torchvision'}\n"
        "assert not late & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_closed_explorer_is_forgotten(fake_page: FakePage) -> None:
    before = set(threading.enumerate())
    explorer = pw.explore(tiny(), blobs(2), device="cpu")
    explorer.settings = replace(explorer.settings, sigma=2.0)
    assert explorer.wait(60)
    memory = weakref.ref(explorer.pfv)
    explorer.close()
    assert threads_have_ended(before)
    del explorer
    gc.collect()
    assert memory() is None


def test_explorer_that_fails_to_open_leaves_no_widget(fake_page: FakePage) -> None:
    with pytest.raises(pw.PFVError, match="every weight is 0"):
        pw.explore(tiny(), blobs(2), settings=pw.Settings(images=(0, 0)))
    assert not fake_page.open_comms


def test_every_widget_is_forgotten_when_an_explorer_is_closed(fake_page: FakePage) -> None:
    before = set(_instances)
    explorer = pw.explore(tiny(), blobs(3), device="cpu")
    during = set(_instances) - before
    assert len(during) > 50
    for index in range(len(explorer.tabs.widget.children)):
        explorer.tabs.widget.selected_index = index
    press(explorer, "Home", "z", "Enter")
    explorer.settings = replace(explorer.settings, sigma=2.0)
    assert explorer.wait(60)
    explorer.close()
    assert set(_instances) == before


def test_what_the_engine_keeps_is_freed_when_an_explorer_is_closed(open_explorer: Open) -> None:
    explorer = open_explorer(model=tiny(), batch=blobs(3))
    for layer in explorer.pfv.layers:
        explorer.settings = replace(explorer.settings, layer=layer.name)
        assert explorer.wait(60)
    references = [weakref.ref(value) for value in tensors(explorer.pfv.store.cache)]
    assert len(references) > 5
    explorer.close()
    explorer.gallery.render_loop.frame = None
    gc.collect()
    assert [one() for one in references if one() is not None] == []


def tensors(cache: ByteBoundedCache) -> list[torch.Tensor]:
    """Every tensor in a cache, however deep."""
    result, waiting = [], cache.values()
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            result.append(one)
        elif is_dataclass(one):
            waiting += [getattr(one, field.name) for field in fields(one)]
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return result


def test_observer_of_a_user_that_raises_is_named_and_the_change_is_made(
    explorer: PFVExplorer,
) -> None:
    load_anew(explorer)

    def my_observer(_: object) -> None:
        raise ZeroDivisionError("mine")

    explorer.observe(my_observer, "settings")
    move(explorer.knobs["sigma"], value=2.0)
    assert is_error(explorer)
    assert "my_observer (line " in explorer.status.message
    assert (
        "which observes this explorer, raised ZeroDivisionError: mine. The"
        in explorer.status.message
    )
    assert explorer.settings.sigma == 2.0
    with pytest.raises(ZeroDivisionError, match="mine"):  # code is told where it stands
        explorer.settings = replace(explorer.settings, sigma=3.0)
    assert explorer.settings.sigma == 3.0
    assert shows_its_frame(explorer)


def test_saved_notebook_has_the_picture_that_was_shown_last(
    explorer: PFVExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs: list[dict[str, str]] = []

    class Output:
        def update(self, bundle: dict[str, str], *, raw: bool) -> None:
            assert raw
            outputs.append(bundle)

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool = False) -> Output | None:
        assert "image/png" not in bundle
        return Output() if display_id else None

    for module in ("shell", "notebook_fallback"):
        monkeypatch.setattr(f"pfv_widgets.widgets.explorer.{module}.display", display)
    assert explorer.wait(60)
    explorer._ipython_display_()
    until(lambda: len(outputs) == 1)
    explorer.settings = replace(explorer.settings, colour_map="safe", sigma=0.5)
    assert explorer.wait(60)
    until(lambda: len(outputs) == 2)
    first, last = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(o["image/png"])))) for o in outputs
    )
    assert (last == np.asarray(Image.open(io.BytesIO(still(explorer.frame))))).all()
    assert (first != last).any()


def test_a_change_is_sent_to_the_last_few_outputs_of_an_explorer_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[int] = []

    class Output:
        def __init__(self, index: int) -> None:
            self.index = index

        def update(self, *_: object, **__: object) -> None:
            sent.append(self.index)

    indices = itertools.count()
    monkeypatch.setattr(
        "pfv_widgets.widgets.explorer.notebook_fallback.display",
        lambda *_, display_id=False, **__: Output(next(indices)) if display_id else None,
    )
    picture = StillPicture(lambda: b"a picture")
    for _ in range(20):
        picture.show()
    assert picture.wait(60)
    sent.clear()
    picture.renew()
    assert picture.wait(60)
    assert sent == sorted(sent)
    assert sent[-1] == 19
    assert 1 <= len(sent) < 6
    picture.close()
