"""Networks with different normalisations are each given the photos in their own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

import pfv_widgets as pw
from pfv_widgets.engine.data.normalisation import IMAGENET, Normalisation
from pfv_widgets.engine.network.named_models import declared_normalisation, images_by_network
from pfv_widgets.errors import PFVTypeError, PFVValueError
from pfv_widgets.methods.comparison.compared_methods import explainers
from pfv_widgets.methods.comparison.comparison import Comparison, Task
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.gradient.backprop import Saliency
from tests.networks import blobs, tiny

HALF = Normalisation((0.5,) * 3, (0.5,) * 3)


def declaring(model: nn.Module, config: object) -> nn.Module:
    """A network that says how its images are normalised, as timm's do."""
    model.pretrained_cfg = config
    return model


def half() -> nn.Module:
    return declaring(tiny(1), {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "pool_size": None})


def as_taken(images: pw.ImageBatch, by: Normalisation) -> pw.ImageBatch:
    """The same photos, normalised from what is shown, slowly."""
    pixels = images.tensor * torch.tensor(images.std)[:, None, None]
    pixels = pixels + torch.tensor(images.mean)[:, None, None]
    inputs = (pixels - torch.tensor(by.mean)[:, None, None]) / torch.tensor(by.std)[:, None, None]
    return dataclasses.replace(images, tensor=inputs, mean=by.mean, std=by.std)


def test_each_network_explains_the_photos_in_its_own_normalisation() -> None:
    images, models = blobs(2), {"usual": tiny(), "half": half()}
    comparison = Comparison(models, images)
    for network, by in enumerate((IMAGENET, HALF)):
        model = list(models.values())[network]
        right = pw.attribute(model, as_taken(images, by), "saliency", unit=2)
        for image in range(2):
            cell = comparison.compute(Task(network, image, Saliency(), Target(unit=2)))
            assert cell.score == pytest.approx(float(right.scores[image]), rel=1e-4)
            torch.testing.assert_close(cell.map, right.maps[image], rtol=1e-3, atol=1e-6)
    assert "half by mean 0.5 and deviation 0.5" in comparison.note
    assert "usual by mean 0.485, 0.456, 0.406" in comparison.note


def test_pfv_of_a_network_sees_its_own_normalisation() -> None:
    images, model = blobs(3), half()
    comparison = Comparison({"usual": tiny(), "half": model}, images)
    (method,) = explainers("pfv")
    cell = comparison.compute(Task(1, 0, method, Target("4")))
    right = pw.PFV(model, as_taken(images, HALF)).render(layer="4").heatmaps[0]
    torch.testing.assert_close(cell.values, right.cpu(), rtol=1e-3, atol=1e-3)


def test_one_choice_for_all_networks_stays() -> None:
    images = as_taken(blobs(2), HALF)  # fine-tuned networks may take others than they declare
    usual = {"mean": IMAGENET.mean, "std": IMAGENET.std}
    named = {name: (declaring(tiny(), usual), None) for name in ("a", "b")}
    assert all(batch is images for batch in images_by_network(named, images).values())
    assert images_by_network({"a": (half(), None)}, blobs(2))["a"].normalisation == IMAGENET
    assert Comparison(tiny(), images).note == ""


def test_own_images_or_a_transform_decide() -> None:
    images = blobs(2)
    own = as_taken(images, Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
    transform = SimpleNamespace(mean=[0.5], std=[0.25])
    transformed: Any = type("Preset", (), {**vars(transform), "__call__": lambda _, image: image})()
    comparison = Comparison({"a": (half(), own), "b": (tiny(), transformed), "c": tiny()}, images)
    first, second, third = comparison.networks
    assert first.images is own
    assert second.images.normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    assert third.images is images
    assert np.array_equal(second.images.pixels, images.pixels)
    listed = Comparison([(tiny(), own), tiny()], images)
    assert [one.name for one in listed.networks] == ["Sequential", "Sequential 2"]
    assert listed.networks[0].images is own


def test_images_that_do_not_belong_are_named() -> None:
    with pytest.raises(PFVValueError, match=r"models\['a'\]: its own images are .*3 images"):
        Comparison({"a": (tiny(), blobs(3))}, blobs(2))
    with pytest.raises(PFVTypeError, match=r"(?s)models\['a'\]=.*a pair \(network, images\)"):
        Comparison({"a": (blobs(2), tiny())}, blobs(2))


@pytest.mark.parametrize(
    ("config", "result"),
    [
        ({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, HALF),
        (SimpleNamespace(mean=(0.5,) * 3, std=(0.5,) * 3), HALF),
        ({"mean": (0.5,), "std": (0.5,)}, None),
        ({"mean": None, "std": None}, None),
        ({}, None),
        ("resnet", None),
    ],
)
def test_a_declaration_is_read_where_it_is_one(config: object, result: object) -> None:
    assert declared_normalisation(declaring(tiny(), config)) == result
    assert declared_normalisation(nn.DataParallel(declaring(tiny(), config))) == result
    other = tiny()
    other.default_cfg = config
    assert declared_normalisation(other) == result


def test_figures_and_the_grid_say_how_images_are_normalised() -> None:
    models = {"usual": tiny(), "half": half()}
    figure = pw.figure_networks(models, blobs(1), "saliency")
    assert "half by mean 0.5" in " ".join(one.get_text() for one in figure.findobj(Text))
    explorer = pw.explore_methods(models, blobs(1), ["saliency"], device="cpu")
    try:
        assert explorer.wait(60)
        assert "half by mean 0.5" in explorer.page.legend.value
    finally:
        explorer.close()
