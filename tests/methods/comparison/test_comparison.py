"""Cells of a comparison: the same maps as `attribute`, computed once; scales that are honest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.engine.network.named_models import named_models
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.methods.comparison.cell_tiles import number
from pfv_widgets.methods.comparison.colour_scales import (
    SCALES,
    ColourRange,
    colour_ranges,
    coloured,
    ranked,
)
from pfv_widgets.methods.comparison.compared_methods import (
    PrincipalFeatures,
    explainer_of,
    explainers,
    names,
)
from pfv_widgets.methods.comparison.comparison import Cell, Comparison, Task
from pfv_widgets.methods.core.method import CancelledError
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.gradient.backprop import GuidedBackprop, Saliency
from pfv_widgets.methods.gradient.gradcam import GradCAM
from pfv_widgets.methods.gradient.path_and_noise import SmoothGrad
from tests.networks import blobs, counted, tiny

OUTPUT = Target()


@pytest.mark.parametrize("method", [Saliency(), GradCAM(), SmoothGrad(samples=3)])
def test_cell_is_the_map_that_attribute_gives(method: SmoothGrad) -> None:
    model, images = tiny(), blobs(3)
    right = pw.attribute(model, images, method, layer="4", unit=2)
    cell = Comparison(model, images).compute(Task(0, 1, method, Target("4", 2)))
    assert cell.map is not None
    torch.testing.assert_close(cell.map, right.maps[1])
    assert cell.unit == 2
    assert cell.score == pytest.approx(float(right.scores[1]), rel=1e-4)


def test_each_cell_is_computed_once_for_its_options_target_network_and_image() -> None:
    models, images = {"a": tiny(), "b": tiny(1)}, blobs(2)
    comparison = Comparison(models, images)
    first = Task(0, 0, SmoothGrad(samples=2), OUTPUT)
    cell = comparison.compute(first)
    with counted(models["a"][0]) as calls:
        assert comparison.compute(first) is cell
        assert comparison.cached(Task(0, 0, SmoothGrad(samples=2), Target())) is cell
    assert not calls
    for other in (
        dataclasses.replace(first, method=SmoothGrad(samples=3)),
        dataclasses.replace(first, target=Target(unit=1)),
        dataclasses.replace(first, network=1),
        dataclasses.replace(first, image=1),
    ):
        assert comparison.cached(other) is None
        assert not torch.equal(comparison.compute(other).values, cell.values)
    comparison.close()
    assert comparison.cached(first) is None


def test_pfv_fills_in_all_images_at_once_with_their_common_colours() -> None:
    model, images = tiny(), blobs(3)
    comparison = Comparison(model, images)
    row = PrincipalFeatures(components=2, weighting="none")
    cell = comparison.compute(Task(0, 1, row, Target("4")))
    right = pw.PFV(model, images).render(layer="4", components=2, weighting="none")
    torch.testing.assert_close(cell.values, right.heatmaps[1].cpu())
    assert (cell.map, cell.score, cell.unit) == (None, None, None)
    assert comparison.cached(Task(0, 2, row, Target("4"))) is not None
    assert comparison.layer_of(Task(0, 0, row, Target("4"))) == "4"
    # a layer without maps has none to decompose: the last one before it stands there
    assert comparison.layer_of(Task(0, 0, row, Target("14"))) == pw.PFV(model, images).default_layer
    with pytest.raises(PFVValueError, match="layer='nowhere'"):
        comparison.layer_of(Task(0, 0, row, Target("nowhere")))


def test_stopping_keeps_what_is_known_and_the_model_as_it_came() -> None:
    model, images = tiny().train(), blobs(2)
    comparison = Comparison(model, images)
    done = Task(0, 0, GuidedBackprop(), OUTPUT)
    cell = comparison.compute(done)
    for method in (SmoothGrad(), PrincipalFeatures()):
        with pytest.raises(CancelledError):
            comparison.compute(Task(0, 0, method, OUTPUT), None, lambda: True)
    assert comparison.cached(done) is cell
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_changed_weights_are_noticed() -> None:
    model, images = tiny(), blobs(2)
    comparison = Comparison(model, images)
    task = Task(0, 0, Saliency(), OUTPUT)
    before = comparison.compute(task)
    comparison.refresh()
    assert comparison.cached(task) is before
    with torch.no_grad():
        model[0].weight.mul_(-1)
    comparison.refresh()
    assert comparison.cached(task) is None
    assert not torch.equal(comparison.compute(task).values, before.values)

    def refresh(_: int, __: int) -> None:  # while a cell is computed
        with torch.no_grad():
            model[0].weight.mul_(2)
        comparison.refresh()

    other = Task(0, 1, Saliency(), OUTPUT)
    comparison.compute(other, refresh)
    assert comparison.cached(other) is None


def test_cells_of_a_network_stay_where_another_one_has_changed() -> None:
    models = {"one": tiny(), "other": tiny(1)}
    comparison = Comparison(models, blobs(1))
    tasks = [Task(network, 0, Saliency(), OUTPUT) for network in range(2)]
    first = comparison.compute(tasks[0])
    comparison.compute(tasks[1])
    assert not comparison.refresh()
    with torch.no_grad():
        models["other"][0].weight.mul_(-1)
    assert comparison.refresh()
    assert comparison.cached(tasks[0]) is first
    assert comparison.cached(tasks[1]) is None


def test_nan_in_one_image_is_an_error_of_its_cell() -> None:
    images = blobs(2)
    spoilt = images.tensor.clone()
    spoilt[1, 0, 3, 3] = torch.nan
    comparison = Comparison(tiny(), dataclasses.replace(images, tensor=spoilt))
    assert comparison.compute(Task(0, 0, Saliency(), OUTPUT)).limit > 0
    with pytest.raises(PFVValueError, match="NaN or infinite"):
        comparison.compute(Task(0, 1, Saliency(), OUTPUT))


class TwoInputs(nn.Module):
    """Adds a number of each image to its pixels, and has two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.pool = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)

    def forward(self, pixels: Tensor, shift: Tensor) -> dict[str, Tensor]:
        maps = self.conv(pixels + shift[:, None, None, None]).relu()
        units = self.pool(maps).flatten(1)
        return {"logits": units, "twice": 2 * units[:, :2]}


def test_networks_with_several_inputs_and_outputs_are_explained_image_by_image() -> None:
    model, images, shift = TwoInputs().eval(), blobs(3), torch.tensor([0.0, 2.0, -1.0])
    comparison = Comparison(model, images, inputs={"shift": shift})
    assert comparison.networks[0].outputs == {"logits": 4, "twice": 2}
    assert comparison.first_output == "logits"
    target = Target(output="twice")
    right = pw.attribute(model, images, "saliency", output="twice", inputs={"shift": shift})
    for image in range(3):
        cell = comparison.compute(Task(0, image, Saliency(), target))
        torch.testing.assert_close(cell.map, right.maps[image])
    with pytest.raises(PFVValueError, match="PFV takes all images at once"):
        comparison.compute(Task(0, 0, PrincipalFeatures(), target))
    one = Comparison(model, images, inputs={"shift": torch.ones(1)})
    assert one.compute(Task(0, 0, PrincipalFeatures(), target)).values is not None


def test_networks_have_names() -> None:
    a, b = tiny(), tiny(1)
    assert named_models(a) == {"Sequential": (a, None)}
    assert list(named_models([a, b, nn.Conv2d(3, 1, 1)])) == [
        "Sequential", "Sequential 2", "Conv2d",
    ]  # fmt: skip
    assert list(named_models({"x": a, 3: b})) == ["x", "3"]
    for wrong, match in (
        (3, "models=3"),
        ([], "empty"),
        ({"x": 3}, r"models\['x'\]=3"),
        ([a, 3], r"models\[1\]=3"),
    ):
        with pytest.raises(PFVError, match=match):
            named_models(wrong)


def test_methods_are_chosen_by_name_or_instance() -> None:
    for name in names():
        assert explainer_of(name)[0] == name
    assert explainers(["pfv", SmoothGrad(samples=3)]) == (
        PrincipalFeatures(),
        SmoothGrad(samples=3),
    )
    assert explainers("saliency") == (Saliency(),)
    with pytest.raises(PFVValueError, match="Did you mean 'saliency'"):
        explainers(["salience"])
    with pytest.raises(PFVValueError, match="'saliency' twice with the same options"):
        explainers(["saliency", Saliency()])
    for wrong in (3, [3]):
        with pytest.raises(PFVTypeError, match=r"methods?=3"):
            explainers(wrong)


def test_rank_is_the_share_of_weaker_pixels_with_its_sign() -> None:
    values = torch.tensor([[0.0, -3.0, 1.0], [1.0, 0.5, 0.0]])
    slow = torch.empty_like(values)
    for row in range(2):
        for column in range(3):
            own = values[row, column]
            weaker = (values.abs() < own.abs()).sum()
            slow[row, column] = weaker / 5 * own.sign()
    torch.testing.assert_close(ranked(values), slow)
    torch.testing.assert_close(ranked(values * 1e-20), slow)
    assert not ranked(torch.zeros(4, 4)).any()


def test_scales_share_what_they_say() -> None:
    ramp = torch.linspace(0, 1, 400).reshape(20, 20)
    weak, strong = Cell(ramp), Cell(10 * ramp)
    against = Cell(-ramp)
    failed, pfv = Cell(error="no"), Cell(torch.rand(20, 20, 3))
    own = colour_ranges([weak, strong, None, failed, pfv], "each map")
    assert [ink and ink.signed for ink in own] == [False, False, None, None, None]
    assert own[0].limit == pytest.approx(own[1].limit / 10)
    both = colour_ranges([weak, strong], "each method")
    assert both[0] == both[1] == ColourRange(strong.limit, False)
    assert colour_ranges([weak, against], "each map")[0].signed  # one kind of colours in a row
    alike = colour_ranges([weak, strong], "all alike")
    assert np.array_equal(coloured(weak, alike[0]), coloured(strong, alike[1]))
    assert np.array_equal(coloured(weak, own[0]), coloured(strong, own[1]))
    assert not np.allclose(coloured(weak, both[0]), coloured(strong, both[1]))
    assert np.array_equal(coloured(pfv, None), pfv.values.numpy())
    assert coloured(failed, None) is None


@pytest.mark.parametrize("scale", SCALES)
def test_a_map_of_zeros_has_one_colour_on_every_scale(scale: str) -> None:
    nothing, something = Cell(torch.zeros(9, 9)), Cell(torch.randn(9, 9))
    for cells in ([nothing], [nothing, something]):
        colours = coloured(nothing, colour_ranges(cells, scale)[0])
        assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 1


def test_numbers_have_two_digits() -> None:
    assert [number(one) for one in (0.0, 0.99999, 123456.0)] == ["0", "1", "1.2e5"]


def test_units_have_the_names_that_a_network_brings_along() -> None:
    own, bare = pw.demo_model(), tiny()
    images = pw.demo_images(2)
    one, other = Comparison({"own": own, "bare": bare}, images, device="cpu").networks
    assert list(one.classes.values()) == list(own.classes)
    assert other.classes == {}
    (named,) = Comparison(own, images, classes={0: "first"}, device="cpu").networks
    assert named.classes == {0: "first"}
