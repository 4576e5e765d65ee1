"""Numbers of a comparison: curves over a sequence, the map of layers, the difference."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.engine.network.lazy_networks import LazyNetworks
from pfv_widgets.engine.progress import Progress
from pfv_widgets.widgets.browser.text_overlay import WIDTH
from pfv_widgets.widgets.compare.compare_explorer import CompareExplorer
from pfv_widgets.widgets.compare.layer_map import picture
from pfv_widgets.widgets.compare.stoppable_task import Task
from pfv_widgets.widgets.toolkit import text
from pfv_widgets.widgets.toolkit.controls import all_in
from tests.networks import blobs, tiny
from tests.widgets.compare.conftest import OpenComparison, change
from tests.widgets.conftest import Open
from tests.widgets.explorer_contents import press_button
from tests.widgets.fake_page import happen


class Constant(nn.Module):
    """The same number everywhere."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.ones_like(maps)


def constant() -> nn.Sequential:
    network = tiny(0)
    network[4] = nn.Sequential(network[4], Constant())
    return network


def results(explorer: CompareExplorer) -> tuple[Any, Any]:
    tab = explorer.tabs["Compare"]
    return tab.curve_task, tab.map_task


def button(explorer: Any, name: str) -> Any:
    return next(one for one in all_in(explorer) if getattr(one, "description", "") == name)


def test_curve_over_a_sequence_falls_and_a_click_goes_to_a_network(
    open_comparison: OpenComparison,
) -> None:
    networks = dict(pw.randomised(tiny(0)))
    explorer = open_comparison(networks | {"constant": constant()}, images=blobs(6), layer="4")
    curve, _ = results(explorer)
    tab = explorer.tabs["Compare"]
    assert tab.curve.widget.layout.display == "none"
    curve.press()
    assert explorer.jobs.wait(60)
    points = explorer.similarities.points(explorer.settings)
    assert list(points) == [*networks, "constant"]
    assert points["trained"].cka == pytest.approx(1)
    assert points["trained"].ssim == pytest.approx(1)
    assert list(points.values())[-2].rank_correlation < 0.9
    assert np.isnan(points["constant"].cka)
    assert "undefined" in points["constant"].note or "same activations" in points["constant"].note
    # the same numbers as without a widget
    alone = pw.similarity_curve(networks, blobs(6), layer="4", device="cpu")
    ours = [points[name].rank_correlation for name in networks]
    np.testing.assert_allclose(ours, alone.rank_correlation, atol=1e-4)

    assert tab.curve.widget.layout.display is None
    last = list(networks)[-1]
    x = tab.curve.x_of(list(explorer.networks.names).index(last))
    happen(tab.curve.canvas.displayed, "mouse_down", x=x, y=100)
    assert explorer.names == ("trained", last)
    assert last in tab.curve.line.value
    change(explorer, weighting="none")
    assert "not computed" in tab.curve.line.value


def test_map_of_layers_is_computed_on_demand_and_a_click_sets_both(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(images=blobs(6), layer="4")
    _, task = results(explorer)
    task.press()
    assert explorer.jobs.wait(60)
    result = explorer.similarities.map(explorer.settings)
    models = {"one": tiny(0), "two": tiny(1)}
    alone = pw.similarity(models, blobs(6), device="cpu")
    np.testing.assert_allclose(result.cka, alone.cka, atol=1e-5)
    assert "too small" in task.line.value
    assert task.line.value == text.status(" ".join(result.warnings), kind="warning")
    layer_map = explorer.tabs["Compare"].map
    first, second = result.layers
    row, column = first.index("0"), second.index("8")
    height, width = layer_map.canvas.size
    x, y = (column + 0.5) * width / len(second), (row + 0.5) * height / len(first)
    happen(layer_map.canvas.displayed, "mouse_move", x=x, y=y)
    assert "0 and 8: CKA" in layer_map.line.value
    happen(layer_map.canvas.displayed, "mouse_down", x=x, y=y)
    assert explorer.layers == ("0", "8")
    assert not explorer.settings.linked
    happen(layer_map.canvas.displayed, "mouse_down", x=0, y=0)
    assert explorer.layers == (first[0], second[0])
    change(explorer, second="one")
    assert layer_map.widget.layout.display == "none"
    assert not task.line.value  # it was of the map that is gone


def test_all_similarities_are_of_the_photos_on_show(open_comparison: OpenComparison) -> None:
    models = {name: tiny(seed) for seed, name in enumerate("abc")}
    for name in "ab":
        models[name].pretrained_cfg = {"mean": (0.0,) * 3, "std": (0.125,) * 3}
    explorer = open_comparison(models, images=blobs(6), layer="4")
    assert explorer.wait_for_numbers(60)
    results, settings = explorer.similarities, explorer.settings
    layer_map = results.compute_map(settings, lambda _: None)
    results.compute_points(settings, lambda _: None, lambda: None)
    expected = results.pair(settings).cka[0, 0]
    assert layer_map.of("4") == pytest.approx(expected, abs=1e-5)
    assert results.points(settings)["b"].cka == pytest.approx(expected, abs=1e-5)


def test_networks_that_are_made_late_are_all_compared_in_their_own_normalisation(
    open_comparison: OpenComparison,
) -> None:
    models = {name: tiny(seed) for seed, name in enumerate("abc")}
    for name in "ab":
        models[name].pretrained_cfg = {"mean": (0.0,) * 3, "std": (0.125,) * 3}
    curves = []
    for networks in (models, LazyNetworks(tuple(models), models.__getitem__)):
        explorer = open_comparison(networks, images=blobs(6), layer="4")
        results, settings = explorer.similarities, explorer.settings
        results.compute_points(settings, lambda _: None, lambda: None)
        curves.append({name: one.cka for name, one in results.points(settings).items()})
    assert list(curves[0]) == list(models)
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)


def test_similarities_of_weights_that_have_changed_are_not_shown(
    open_comparison: OpenComparison,
) -> None:
    models = {"one": tiny(0), "two": tiny(0)}
    explorer = open_comparison(models, images=blobs(6), layer="4")
    results = explorer.similarities
    assert explorer.wait_for_numbers(60)
    results.compute_map(explorer.settings, lambda _: None)
    results.compute_points(explorer.settings, lambda _: None, lambda: None)
    assert results.pair(explorer.settings).cka[0, 0] == pytest.approx(1)
    before = explorer.settings
    models["two"].load_state_dict(tiny(1).state_dict())
    change(explorer, sigma=1.5)
    assert explorer.wait_for_numbers(60)
    assert results.pair(explorer.settings).cka[0, 0] < 0.9
    assert results.map(explorer.settings) is None
    assert "two" not in results.points(before)
    assert results.points(before)["one"].cka == pytest.approx(1)
    results.compute_points(explorer.settings, lambda _: None, lambda: None)
    assert results.points(explorer.settings)["two"].cka < 0.9


def test_picture_of_a_map_is_grey_where_it_is_undefined() -> None:
    pixels = picture(np.array([[0.0, 1.0], [np.nan, -0.2]]), (40, 2 * WIDTH))
    assert pixels.shape == (40, 2 * WIDTH, 3)
    assert pixels[0, 0].tolist() == pixels[39, -1].tolist() == [0, 0, 4]
    assert pixels[39, 0].tolist() == [128] * 3
    assert pixels[0, -1].min() > 180


def test_work_is_stopped_by_its_button_and_its_error_is_said(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison()

    pressed = threading.Event()

    def stops_itself(report: Any) -> str:
        assert pressed.wait(20)
        report(Progress("Working", 1, 2))
        raise AssertionError("it goes on")

    task = Task(explorer, "Work", "", stops_itself)
    task.press()
    assert task.button.description == "Stop"
    task.press()
    pressed.set()
    assert explorer.jobs.wait(20)
    assert "Stopped" in task.line.value
    assert task.button.description == "Work"

    def fails(_: Any) -> str:
        raise pw.PFVValueError("layer='x' is broken")

    failing = Task(explorer, "Work", "", fails)
    failing.press()
    assert explorer.jobs.wait(20)
    assert "is broken" in failing.line.value


def test_difference_is_where_two_networks_differ(open_comparison: OpenComparison) -> None:
    network = tiny(0)
    other = copy.deepcopy(network)

    class Corner(nn.Module):
        """Other channels in a corner."""

        def forward(self, maps: Tensor) -> Tensor:
            maps = maps.clone()
            maps[:, :, -4:, -4:] = maps[:, :, -4:, -4:].flip(1)
            return maps

    other[4] = nn.Sequential(other[4], Corner())
    explorer = open_comparison({"one": network, "other": other}, layer="4", components=8)
    assert explorer.third is None
    change(explorer, difference=True)
    third = explorer.third
    assert third is not None
    assert third.gallery.viewport in explorer.galleries[0].viewport.linked
    frame = third.gallery.render_loop.frame
    apart = frame.scores[:, 0]
    assert float(apart[:, -4:, -4:].mean()) > 2 * float(apart[:, :8].mean())
    lightness = frame.heatmaps.mean(3)
    side = lightness.shape[1] // 4
    assert float(lightness[:, -side:, -side:].mean()) > 1.5 * float(lightness[:, :side].mean())
    change(explorer, second="one", second_layer=None)
    assert float(third.gallery.render_loop.frame.scores.abs().max()) < 1e-3
    change(explorer, difference=False)
    assert third.widget.layout.display == "none"
    explorer.undo()
    assert third.widget.layout.display is None


def test_difference_has_a_line_for_each_of_a_side_so_that_tiles_stand_level(
    open_comparison: OpenComparison,
) -> None:
    one, other = tiny(0), tiny(1)
    explorer = open_comparison({"one": one, "other": other}, difference=True)
    assert explorer.third.line.value.count("<div") == 2
    other.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    explorer = open_comparison({"one": one, "other": other}, difference=True)
    assert "normalisation" in explorer.sides[1].line.value
    assert explorer.third.line.value.count("<div") == 3
    change(explorer, difference=False)
    explorer.undo()
    assert explorer.third.line.value.count("<div") == 3


def test_explorer_opens_a_comparison_with_an_untrained_copy(open_explorer: Open) -> None:
    explorer = open_explorer(model=tiny(0), batch=blobs(4), sigma=0.5, layer="4")
    press_button(button(explorer, "Compare with an untrained copy"))
    assert explorer.jobs.wait(60)
    comparison = explorer.comparison
    assert comparison.wait(60)
    assert comparison.names == ("trained", "untrained")
    assert (comparison.settings.sigma, comparison.layers) == (0.5, ("4", "4"))
    assert comparison.agreement < 0.9
    press_button(button(explorer, "Close the comparison"))
    assert explorer.comparison is None
    press_button(button(explorer, "Compare with an untrained copy"))
    assert explorer.jobs.wait(60)
    assert explorer.comparison.wait(60)


def test_network_without_weights_to_draw_anew_is_named_in_the_explorer(open_explorer: Open) -> None:
    explorer = open_explorer(model=nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), batch=blobs(2))
    press_button(button(explorer, "Compare with an untrained copy"))
    assert explorer.jobs.wait(60)
    assert explorer.status.kind == "error"
    assert "parameters" in explorer.status.message
    assert not explorer.panel.untrained.disabled


def test_visited_networks_are_shown_from_what_is_cached(open_comparison: OpenComparison) -> None:
    explorer = open_comparison({f"n{index}": tiny(index) for index in range(8)}, layer="4")
    runs: list[str] = []
    for name in explorer.networks.names:
        change(explorer, second=name)
    for name in explorer.networks.names:
        explorer.networks.pfv(name).on_progress = lambda progress, name=name: runs.append(
            f"{name} {progress.stage}"
        )
    for name in explorer.networks.names:
        change(explorer, second=name)
    assert not [one for one in runs if "Running" in one or "Fitting" in one]


def test_numbers_of_before_a_change_of_the_networks_are_not_shown(
    open_comparison: OpenComparison,
) -> None:
    explorer = open_comparison(images=blobs(6), layer="4")
    results, settings = explorer.similarities, explorer.settings

    def cleared(_: object) -> None:
        results.clear()

    assert explorer.wait_for_numbers(60)
    results.compute_map(settings, cleared)
    results.compute_points(settings, cleared, lambda: None)
    assert results.map(settings) is None
    assert results.points(settings) == {}


def test_second_comparison_takes_the_place_of_the_first(open_explorer: Open) -> None:
    explorer = open_explorer(model=tiny(0), batch=blobs(4), layer="4")
    explorer.compare_untrained()
    assert explorer.jobs.wait(60)
    first = explorer.comparison
    explorer.compare_untrained()
    assert explorer.jobs.wait(60)
    assert first.comm is None
    assert explorer.comparison is not first
    assert explorer.comparison.comm is not None


def test_work_that_waits_for_other_work_says_so(
    open_explorer: Open, open_comparison: OpenComparison
) -> None:
    gate, explorer, comparison = threading.Event(), open_explorer(batch=blobs(4)), open_comparison()
    task = comparison.tabs["Compare"].map_task
    for one in (explorer, comparison):
        one.jobs.run(lambda _: gate.wait(60), pytest.fail)
    explorer.compare_untrained()
    assert "Waiting for other work" in explorer.status.message
    task.press()
    assert "Waiting for other work" in task.line.value
    gate.set()
    assert explorer.jobs.wait(60)
    assert comparison.jobs.wait(60)
    assert explorer.comparison is not None
