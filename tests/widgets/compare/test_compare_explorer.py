"""Two networks on the same photos: linked, aligned, and each alive without the other."""

from __future__ import annotations

import copy
import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError
from pfv_widgets.widgets.compare.alignments import Alignments
from pfv_widgets.widgets.compare.compare_explorer import DIFFERENCE
from pfv_widgets.widgets.compare.networks import Networks
from pfv_widgets.widgets.compare.settings import CompareSettings, joined
from pfv_widgets.widgets.gallery.view_state import Selection
from pfv_widgets.widgets.toolkit.geometry import Spot
from tests.networks import blobs, tiny
from tests.widgets.compare.conftest import OpenComparison, change
from tests.widgets.explorer_contents import run_code

LAYER = "4"  # a convolution of `tiny`


def rotated(network: nn.Sequential, layer: str) -> nn.Sequential:
    """A copy whose convolution is followed by a random orthogonal matrix, as one module."""
    other = copy.deepcopy(network)
    conv = other[int(layer)]
    matrix = torch.linalg.qr(torch.randn(len(conv.weight), len(conv.weight)))[0]
    with torch.no_grad():
        conv.weight.copy_(torch.einsum("ij,jklm->iklm", matrix, conv.weight))
        conv.bias.copy_(matrix @ conv.bias)
    return other


@pytest.mark.parametrize("weighting", ["none", "flat"])
def test_network_and_its_rotated_copy_have_the_same_colours_once_aligned(
    open_comparison: OpenComparison, weighting: str
) -> None:
    network = tiny(0)
    models = {"one": network, "same": network, "rotated": rotated(network, LAYER)}
    explorer = open_comparison(models, layer=LAYER, weighting=weighting, components=4)
    for second in ("one", "same", "rotated"):
        change(explorer, second=second)
        first, other = explorer.frames
        torch.testing.assert_close(other.heatmaps, first.heatmaps, atol=1e-3, rtol=0)
        assert explorer.agreement == pytest.approx(1, abs=1e-6)
    # without the alignment the network itself has the same colours too; its copy need not
    change(explorer, second="same", aligned=False)
    first, other = explorer.frames
    torch.testing.assert_close(other.heatmaps, first.heatmaps, atol=1e-6, rtol=0)


def test_alignment_keeps_what_the_network_explains_and_turns_with_the_switch(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(layer=LAYER, components=4)
    aligned = explorer.frames[1]
    change(explorer, aligned=False)
    own = explorer.frames[1]
    assert not torch.allclose(aligned.heatmaps, own.heatmaps, atol=0.05)
    # by hand, with numpy: the rotation of the own scores that is nearest to the first one's
    x, y = (one.scores.movedim(1, 3).reshape(-1, 4).double() for one in (own, explorer.frames[0]))
    x, y = x - x.mean(0), y - y.mean(0)
    left, values, right = np.linalg.svd((x.T @ y).numpy())
    rotated = x.numpy() @ left @ right
    scores = aligned.scores.movedim(1, 3).reshape(-1, 4).double()
    np.testing.assert_allclose((scores - scores.mean(0)).numpy(), rotated, atol=1e-4)
    share = values.sum() ** 2 / float(x.square().sum() * y.square().sum())
    assert explorer.agreement == pytest.approx(share, rel=1e-5)
    assert float(aligned.basis.variances.sum()) == pytest.approx(
        float(own.basis.variances.sum()), rel=1e-4
    )
    along = aligned.basis.project(explorer.networks.pfv("two").store.captured(LAYER)[0].maps)
    assert along.shape[1] == 4


def test_hover_pins_selection_zoom_and_pages_are_linked_over_grids_of_other_sizes(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(images=blobs(6), layer="0", second_layer="8", linked=False)
    first, second = explorer.galleries
    assert (first.map_size, second.map_size) == ((32, 32), (8, 8))
    mask = np.zeros((6, 8, 8), bool)
    mask[2, 1, 3] = True
    second.go(lambda state: replace(state, hover=Spot(2, 0.4, 0.2), cursor=2))
    second.go(lambda state: replace(state, selection=Selection(mask)))
    state = first.view_state
    assert (state.hover, state.cursor) == (Spot(2, 0.4, 0.2), 2)
    assert state.selection is not None
    large = np.repeat(np.repeat(mask, 4, axis=1), 4, axis=2)
    assert (state.selection.mask == large).all()
    first.go(lambda state: replace(state, selection=Selection(large)))
    assert second.view_state.selection is not None
    assert (second.view_state.selection.mask == mask).all()

    columns = first.view_state.page.columns
    second.interaction.zoom(True)
    assert first.view_state.page == second.view_state.page
    first.interaction.turn_page(1)
    assert second.view_state.page.first == first.view_state.page.first == 3
    first.interaction.zoom(False)
    assert first.view_state.page.columns == second.view_state.page.columns == columns

    second.interaction.pin(Spot(1, 0.5, 0.5))
    assert explorer.settings.pins == ((1, 0.5, 0.5),)
    assert all(gallery.view_state.settings.pins for gallery in explorer.galleries)


def test_layers_are_linked_by_name_and_by_depth_or_apart(open_comparison: OpenComparison) -> None:
    named = nn.Sequential()
    for name, module in tiny(1)._modules.items():
        named.add_module(f"part{name}", module)
    explorer = open_comparison({"one": tiny(0), "two": tiny(1), "three": named}, layer="4")
    first, second = explorer.sides
    assert explorer.layers == ("4", "4")
    second.layer.value = "5"
    assert explorer.layers == ("5", "5")
    second.network.value = "three"
    assert explorer.wait(60)  # it is opened in the background
    assert explorer.names == ("one", "three")
    assert explorer.layers == ("5", "part5")
    first.layer.value = "0"
    assert explorer.layers == ("0", "part0")
    explorer.knobs["linked"].value = False
    first.layer.value = "8"
    assert explorer.layers == ("8", "part0")
    explorer.undo()
    assert explorer.layers == ("0", "part0")
    explorer.knobs["linked"].value = True
    assert explorer.settings.second_layer is None
    assert explorer.wait(60)
    assert explorer.status.kind != "error"


class Broken(nn.Module):
    """NaN for the second photo."""

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps.clone()
        maps[1:2] = torch.nan
        return maps


def test_side_of_nan_says_so_and_the_other_one_lives(open_comparison: OpenComparison) -> None:
    network = tiny(1)
    network[5] = Broken()
    explorer = open_comparison({"whole": tiny(0), "broken": network}, layer="6")
    first, second = explorer.sides
    assert first.gallery.render_loop.frame is not None
    assert second.gallery.render_loop.frame is None
    assert "NaN" in explorer.status.message
    assert "broken" in explorer.status.message
    assert "NaN" in second.line.value
    with pytest.raises(PFVError, match="NaN"):
        _ = explorer.agreement
    change(explorer, sigma=0.5)
    assert first.gallery.render_loop.frame.settings.sigma == 0.5
    change(explorer, images=(1.0, 0.0, 1.0, 1.0))
    assert second.gallery.render_loop.frame is not None
    assert "NaN" not in second.line.value
    # the first side broken: the second shows its own colours, and says why
    change(explorer, first="broken", second="whole", images=None)
    assert second.gallery.render_loop.frame.settings.layer == "6"
    assert "not aligned" in second.gallery.render_loop.frame.warnings[-1]


class OneSize(nn.Module):
    """Takes photos of 40 × 40 pixels alone, and says so."""

    image_size = 40

    def __init__(self, speaks: bool = True) -> None:
        super().__init__()
        self.body = tiny(2)
        if not speaks:
            self.image_size = None  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != (40, 40):
            raise ValueError("40 × 40 pixels, please")
        return self.body(images)


def test_network_of_another_size_has_the_photos_resized_or_is_named(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison({"usual": tiny(0), "other": OneSize()})
    assert explorer.frames[1].heatmaps.shape == explorer.frames[0].heatmaps.shape == (4, 32, 32, 3)
    assert (explorer.frames[1].pixels == explorer.images.pixels).all()
    assert "40 × 40" in explorer.sides[1].line.value
    assert all("min-height:1.35em" in side.line.value for side in explorer.sides)  # stay level
    with pytest.raises(PFVError, match=r"other: images: the model failed.*40 × 40 pixels, please"):
        open_comparison({"usual": tiny(0), "other": OneSize(speaks=False)})


def test_settings_of_a_comparison_are_written_read_and_brought_back_by_the_code(
    open_comparison: OpenComparison, tmp_path: Path
) -> None:
    models = {"one": tiny(0), "two": tiny(1)}
    weights = pw.Settings(images=(1, 0.5, 0, 1))
    explorer = open_comparison(
        models, settings=weights, sigma=0.5, layer="4", aligned=False, first="two"
    )
    settings = explorer.settings
    assert CompareSettings.read_json(settings.to_json()) == (settings, ())
    assert json.loads(settings.to_json())["first"] == "two"
    scope: dict[str, Any] = {"models": models, "images": blobs(4)}
    run_code(explorer.snippet(), scope)
    assert scope["explorer"].settings == settings
    scope["explorer"].close()
    explorer.save(tmp_path / "two.npz")
    with np.load(tmp_path / "two.npz") as arrays:
        np.testing.assert_array_equal(arrays["second_scores"], explorer.frames[1].scores)
        assert float(arrays["agreement"]) == pytest.approx(explorer.agreement)
    explorer.save(tmp_path / "two.png")
    assert (tmp_path / "two.png").stat().st_size > 10_000
    explorer.bookmarks.add("here", settings)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([tiny(0)], "at least two"),
        (tiny(0), "models has 1 network: give at least two"),
        ({}, "at least two"),
        ([("a", tiny(0)), ("a", tiny(1))], "'a' twice"),
        ({"a": tiny(0), "b": 3}, "expected a torch.nn.Module"),
        ([(tiny(0), blobs(2)), tiny(1)], "a network alone.*same photos, as images.*pretrained_cfg"),
        ({1: tiny(0), 2: tiny(1)}, "expected texts"),
        (3, "by name or in a list"),
    ],
)
def test_models_that_are_none_are_named(models: Any, message: str) -> None:
    with pytest.raises(PFVError, match=message):
        pw.compare(models, blobs(2), device="cpu")


def test_settings_that_cannot_be_shown_are_named(open_comparison: OpenComparison) -> None:
    for settings, message in [
        ({"first": "on"}, "first='on' is not here. Did you mean 'one'"),
        ({"second_layer": "99"}, "two: layer='99'"),
        ({"sigmo": 1.0}, "'sigma'"),
        ({"settings": pw.Settings(images=(0.0,) * 4)}, "every weight is 0"),
    ]:
        with pytest.raises(PFVError, match=message):
            open_comparison(**settings)
    explorer = open_comparison(images=blobs(1))
    before = explorer.settings
    explorer.settings = replace(before, second="nobody")
    assert explorer.settings == before
    assert "nobody" in explorer.status.message


def broken_sequence() -> LazyNetworks:
    """Networks that are made when they are visited; the third cannot be, the fourth is too late."""

    def make(name: str) -> nn.Module:
        if name == "third":
            raise RuntimeError("disk is gone")
        return OneSize(speaks=False) if name == "fourth" else tiny(len(name))

    return LazyNetworks(("first", "second", "third", "fourth", "fifth"), make)


def test_network_that_cannot_be_opened_leaves_the_other_side_alive(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(broken_sequence(), layer="4")
    first, second = explorer.sides
    for name, message in [("third", "disk is gone"), ("fourth", "40 × 40 pixels, please")]:
        second.network.value = name
        assert explorer.wait(60)
        assert explorer.names == ("first", name)
        assert message in second.line.value
        assert message in explorer.status.message
        assert second.layer.disabled
        change(explorer, sigma=explorer.settings.sigma + 0.5)
        assert first.gallery.render_loop.frame is not None
        assert first.gallery.render_loop.frame.settings.sigma == explorer.settings.sigma
    second.network.value = "fifth"
    assert explorer.wait(60)
    assert explorer.names == ("first", "fifth")
    assert explorer.layers == ("4", "4")
    assert explorer.status.kind != "error"
    assert not second.layer.disabled
    # figures go over the broken ones
    curve = explorer.tabs["Compare"].curve_task
    curve.press()
    assert explorer.jobs.wait(60)
    points = explorer.similarities.points(explorer.settings)
    assert "disk is gone" in points["third"].note
    assert np.isfinite(points["fifth"].cka)
    with pytest.raises(PFVError, match=r"third: .*disk is gone"):
        open_comparison(broken_sequence(), second="third")


def test_figures_of_the_pair_on_show_are_those_of_similarity(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(images=blobs(5), layer="4", linked=False, second_layer="8")
    pair = explorer.tabs["Compare"].pair
    assert explorer.wait_for_numbers(60)
    models = {"one": tiny(0), "two": tiny(1)}
    layers = {"one": ["4"], "two": ["8"]}
    alone = pw.similarity(models, blobs(5), layers, device="cpu")
    result = explorer.similarities.pair(explorer.settings)
    np.testing.assert_allclose(result.cka, alone.cka, atol=1e-5)
    np.testing.assert_allclose(result.angles_by_photo, alone.angles_by_photo, atol=0.01)
    np.testing.assert_allclose(result.null, alone.null, atol=1e-5)
    assert f"CKA {alone.cka[0, 0]:.2f}".replace("-", "−") in pair.whole.value
    assert "too small" in pair.whole.value
    explorer.galleries[0].go(lambda state: replace(state, hover=Spot(2, 0.4, 0.2)))
    assert explorer.wait(60)
    own = f"CKA {alone.cka_by_photo[0, 0, 2]:.2f}".replace("-", "−")
    assert own in pair.photo.value
    assert own in explorer.galleries[1].captions.html.value
    # another pair has no figures until they are computed
    change(explorer, second_layer="0")
    assert own not in explorer.galleries[1].captions.html.value
    assert explorer.wait_for_numbers(60)
    assert "CKA" in explorer.galleries[1].captions.html.value
    # both galleries are sorted by it, and both hide their names
    order = explorer.galleries[0].order
    order.sort.value = DIFFERENCE
    assert explorer.wait(60)
    by_photo = explorer.similarities.pair(explorer.settings).cka_by_photo[0, 0]
    assert [g.view_state.page.order for g in explorer.galleries] == [tuple(by_photo.argsort())] * 2
    explorer.galleries[0].toolbar.toggles["names"].value = False
    assert not any(gallery.view_state.page.named for gallery in explorer.galleries)


def test_networks_not_seen_for_longest_are_freed_within_the_bound() -> None:
    models = {f"n{index}": tiny(index) for index in range(5)}
    networks = Networks(models, blobs(4), "cpu", memory=1)
    first = networks.pfv("n0")
    first.render(components=1)
    assert first.store.cache.nbytes > 0
    for name in models:
        networks.pfv(name).render(components=1)
    assert first.store.cache.nbytes == 0
    assert networks.pfv("n0") is not first
    assert networks.pfv("n4").store.cache.nbytes > 0


def test_networks_that_were_closed_are_not_held_by_the_colours_that_they_had() -> None:
    networks = Networks(
        LazyNetworks(tuple("abcdef"), lambda _: tiny(0), 1), blobs(4), "cpu", memory=1
    )
    alignments, references = Alignments(networks), []
    for name in networks.names:
        references.append(ref(networks.model(name)))
        alignments.alignment(joined(name, LAYER), joined("a", LAYER), Settings(components=2))
    gc.collect()
    assert sum(one() is not None for one in references) <= 3  # two side by side, and the one before


def test_networks_that_are_open_are_at_hand_while_another_one_opens() -> None:
    begun, going_on = threading.Event(), threading.Event()

    def make(name: str) -> nn.Module:
        if name == "late":
            begun.set()
            assert going_on.wait(60)
        return tiny(0)

    networks = Networks(LazyNetworks(("here", "late"), make), blobs(2), "cpu")
    here = networks.pfv("here")
    with ThreadPoolExecutor(3) as pool:
        late = pool.submit(networks.pfv, "late")
        assert begun.wait(60)
        again = pool.submit(networks.pfv, "here")
        visited = pool.submit(lambda: [networks.is_visited(name) for name in networks.names])
        try:
            assert again.result(timeout=30) is here
            assert visited.result(timeout=30) == [True, False]
        finally:
            going_on.set()
        assert late.result(timeout=30) is networks.pfv("late")


def test_choice_that_is_refused_leaves_no_side_opening(
    open_comparison: OpenComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = open_comparison({f"n{index}": tiny(index) for index in range(3)})

    def refuse(*_: object, **__: object) -> None:
        raise PFVError("not today")

    monkeypatch.setattr(explorer.links, "with_network", refuse)
    explorer.choose_network("second", "n2")
    assert explorer.wait(60)
    assert explorer.names == ("n0", "n1")
    assert "not today" in explorer.status.message
    assert explorer.sides[1].owner.message == "Up to date."


def test_photos_are_sorted_by_cka_once_it_is_known(
    open_comparison: OpenComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = open_comparison(layer="4")
    assert explorer.wait_for_numbers(60)
    monkeypatch.setattr(
        explorer.similarities, "compute_pair", lambda _: pytest.fail("in a control")
    )
    monkeypatch.setattr(explorer.similarities, "pair", lambda _: None)
    order = explorer.galleries[0].order
    assert DIFFERENCE in order.sort.options
    order.sort.value = DIFFERENCE
    assert "CKA of these two layers is not known yet" in explorer.status.message
    assert order.sort.value == "as loaded"
    explorer.show_state()
    assert DIFFERENCE not in order.sort.options
