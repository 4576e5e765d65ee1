"""Every option of every method gives one map: by `attribute`, in cells, figures and the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.engine.export.image_grid import ImageGrid
from pfv_widgets.methods.attribution.colours import heatmap_colours, limits
from pfv_widgets.methods.attribution.registry import METHODS
from pfv_widgets.methods.comparison import figures
from pfv_widgets.methods.comparison.comparison import Comparison, Task
from pfv_widgets.methods.core.method import Method
from pfv_widgets.methods.core.target import Target
from pfv_widgets.parameters import Choice, Slider, Toggle, parameters_of
from tests.networks import blobs, tiny

pytestmark = pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
# values of options that have no control and would be left at their default, and what some options
# need beside them
UNDECLARED: dict[str, tuple[Any, ...]] = {
    "size": (10, (8, 12)), "stride": (6,), "tests": ([(12, 6), (8, 8)],), "at": ("4",),
    "colour": ((1.0, 0.5, 0.0),), "normalisation": (),
}  # fmt: skip
BESIDE: dict[tuple[str, Any], dict[str, Any]] = {
    ("fill", "colour"): {"colour": (0.2, 0.9, 0.4)},
    ("colour", (1.0, 0.5, 0.0)): {"fill": "colour"},
}
QUICK = {"masks": 40, "steps": 8, "samples": 4, "step_x": 100, "step_y": 100}


def values_of(option: str, declared: Any) -> tuple[Any, ...]:
    if isinstance(declared, Choice):
        return tuple(declared.choices)
    if isinstance(declared, Toggle):
        return (True, False)
    if isinstance(declared, Slider):
        middle = declared.minimum + round(0.3 * (declared.maximum - declared.minimum), 3)
        return (min(int(middle), 40) if isinstance(declared.step, int) else middle,)
    return UNDECLARED.get(option, ())


def settings_of(kind: type[Method]) -> list[Method]:
    """A method with its defaults, then one with each other value of each of its options."""
    settings: list[Method] = []
    for one in every_setting(kind):
        if one not in settings:
            settings.append(one)
    return settings


def every_setting(kind: type[Method]) -> Iterator[Method]:
    assert dataclasses.is_dataclass(kind)
    fields = [one.name for one in dataclasses.fields(kind)]
    quick = {name: value for name, value in QUICK.items() if name in fields}
    yield kind(**quick)
    for option in fields:
        for value in values_of(option, parameters_of(kind).get(option)):
            more = BESIDE.get((option, value), {}) if not isinstance(value, list) else {}
            yield kind(**(quick | {option: value} | more))


EVERY = [(name, one) for name, kind in METHODS.items() for one in settings_of(kind)]
each_setting = pytest.mark.parametrize(
    ("name", "method"), EVERY, ids=[f"{name}-{number}" for number, (name, _) in enumerate(EVERY)]
)


def tiles(grid: ImageGrid) -> list[np.ndarray]:
    return [tile.picture for tile in grid.tiles if tile.picture is not None]


def assert_alike(result: torch.Tensor, right: torch.Tensor) -> None:
    scale = float(right.abs().max())
    torch.testing.assert_close(result, right, rtol=1e-3, atol=1e-4 * scale)


@each_setting
def test_every_option_gives_one_map_in_every_cell(name: str, method: Method) -> None:
    model, images, units = tiny(), blobs(2), [3, 1]
    right = pw.attribute(model, images, method, unit=units)
    assert right.method == name
    assert bool(right.maps.isfinite().all())
    comparison = Comparison(model, images)
    for image in range(2):
        cell = comparison.compute(Task(0, image, method, Target(unit=tuple(units))))
        assert cell.unit == units[image]
        assert_alike(cell.map, right.maps[image])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=name, marks=[pytest.mark.all] if name == "occlusion" else [])
        for name, kind in METHODS.items()
    ],
)
def test_figures_show_the_maps_of_every_option(
    kind: type[Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "draw_image_grid", lambda grid: grid)  # its own tests draw it
    model, images, units = tiny(), blobs(2), [3, 1]
    settings = settings_of(kind)
    rights = [pw.attribute(model, images, one, unit=units).maps for one in settings]
    of_methods = tiles(pw.figure_methods(model, images, settings, unit=units))
    networks = {"one": model, "again": model}
    of_networks = tiles(pw.figure_networks(networks, images, settings[-1], unit=units))
    for drawn, maps in ((of_methods, rights), (of_networks, [rights[-1]])):
        for row in range(2):
            for column, one in enumerate(maps, row * (len(drawn) // 2) + 1):
                expected = heatmap_colours(one, limits(one))[row]
                assert float(np.abs(drawn[column] - expected).mean()) < 0.01


@pytest.mark.parametrize("name", list(METHODS))
def test_every_option_gives_one_map_in_the_grid(name: str) -> None:
    model, images = tiny(), blobs(1)
    explorer = pw.explore_methods(model, images, [name], unit=2, device="cpu")
    try:
        for _, method in [one for one in EVERY if one[0] == name]:
            explorer.settings = dataclasses.replace(explorer.settings, methods=(method,))
            assert explorer.wait(60)
            ((task, cell),) = explorer.cells().items()
            assert cell is not None
            assert cell.error is None
            right = pw.attribute(model, images, method, unit=2).maps[0]
            assert_alike(cell.map, right)
            assert task.method == method
    finally:
        explorer.close()
