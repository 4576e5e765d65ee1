"""Relevance against a slow oracle of its rules, against captum, and its sum on six families."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from pfv_widgets.demo import demo_images, demo_model
from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.errors import PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.result import Attribution
from pfv_widgets.methods.lrp.relevance import RULES
from tests.networks import blobs
from tests.slow_oracles import agreement

Array = npt.NDArray[np.float64]
FAMILIES = ("vgg", "squeezenet1_1", "resnet18", "mobilenet_v2", "googlenet", "densenet121")
LARGE = ("mobilenet_v2", "googlenet", "densenet121")


class Vgg(nn.Module):
    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Sequential(nn.Linear(512 * 4, 64), nn.ReLU(True), nn.Linear(64, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).flatten(1))


def network(name: str, seed: int = 0) -> nn.Module:
    """Random weights, and BatchNorm statistics that fit the images."""
    torch.manual_seed(seed)
    if name == "vgg":  # the convolutions of VGG-11, and dense layers that are made quickly
        features = models.vgg.make_layers(models.vgg.cfgs["A"])
        return Vgg(features).eval()
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = models.get_model(name, weights=None, num_classes=10, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all passes
    with torch.no_grad():
        model.train()(blobs(8, 64, seed=5).tensor)
    return model.eval()


def sums(result: Attribution) -> Array:
    """Relevance that arrives, as a share of the score: 1 is right."""
    shares: Array = (result.signed.double().flatten(1).sum(1) / result.scores).numpy()
    return shares


# the oracle: one output after the other, one input after the other


def as_matrix(conv: nn.Conv2d, height: int, width: int) -> tuple[Array, Array, list[list[int]]]:
    """Weights (outputs, inputs), biases, and the outputs of each place."""
    weight = conv.weight.detach().double().numpy()
    bias = conv.bias.detach().double().numpy()
    filters, channels, size, _ = weight.shape
    pad, step = conv.padding[0], conv.stride[0]
    high, wide = ((n + 2 * pad - size) // step + 1 for n in (height, width))
    matrix = np.zeros((filters * high * wide, channels * height * width))
    for o, y, x, c, i, j in np.ndindex(filters, high, wide, channels, size, size):
        row, column = y * step + i - pad, x * step + j - pad
        if 0 <= row < height and 0 <= column < width:
            from_ = (c * height + row) * width + column
            matrix[(o * high + y) * wide + x, from_] = weight[o, c, i, j]
    places = [[o * high * wide + p for o in range(filters)] for p in range(high * wide)]
    return matrix, np.repeat(bias, high * wide), places


def parts_of(parts: Array, bias: float, rule: str) -> Array:
    """What each contribution of one output gets of its relevance."""
    z = parts.sum() + bias
    sign = 1.0 if z >= 0 else -1.0
    if rule in ("epsilon", "zero"):
        return parts / (z + (0.01 if rule == "epsilon" else 0.0) * sign)
    helping = np.where(sign * parts > 0, parts, 0)
    if rule == "gamma":
        return (parts + 0.5 * helping) / (z + 0.5 * (helping.sum() + max(sign * bias, 0) * sign))
    up, down = np.clip(parts, 0, None), np.clip(parts, None, 0)
    alpha = 3.0 if rule == "alpha-beta" else 1.0
    above, below = up.sum() + max(bias, 0), down.sum() + min(bias, 0)
    result = alpha * up / above if above > 0 else np.zeros_like(parts)
    return result + ((1 - alpha) * down / below if below < 0 else 0)


def pixel_shares(weight: Array, x: Array, rule: str, channels: int) -> Array:
    if rule == "flat":
        return (weight != 0) / (weight != 0).sum()
    by_channel = x.reshape(channels, -1)
    lowest, highest = np.clip(by_channel.min(1), None, 0), np.clip(by_channel.max(1), 0, None)
    low, high = (np.repeat(end, by_channel.shape[1]) for end in (lowest, highest))
    parts = x * weight - low * np.clip(weight, 0, None) - high * np.clip(weight, None, 0)
    return parts / parts.sum()


def divide(  # noqa: PLR0917 - one layer; the order is that of the definition
    matrix: Array, bias: Array, places: list[list[int]], x: Array, relevance: Array,
    rule: str, first: str, redistributed: bool,
) -> Array:  # fmt: skip
    total = np.zeros_like(x)
    for place in places:
        missing, placed = 0.0, {}
        for j in place:
            parts = matrix[j] * x
            if first != "same":
                total += relevance[j] * pixel_shares(matrix[j], x, first, 3)
                continue
            got = relevance[j] * parts_of(parts, bias[j], rule)
            total += got
            missing += relevance[j] - got.sum()
            placed[j] = abs(got.sum()) if np.abs(parts).sum() > 0 else 0.0
        whole = sum(placed.values())
        for j, share in placed.items():
            if redistributed and whole > 0 and share > 0:
                sizes = np.abs(matrix[j] * x)
                total += missing * share / whole * sizes / sizes.sum()
    return total


def by_hand(
    model: nn.Sequential, image: Tensor, unit: int, *, rule: str, first: str, redistributed: bool
) -> Array:
    conv, dense = model[0], model[3]
    x = image.double().numpy().ravel()
    below = as_matrix(conv, *image.shape[1:])
    hidden = np.clip(below[0] @ x + below[1], 0, None)
    weight = dense.weight.detach().double().numpy()
    bias = dense.bias.detach().double().numpy()
    start = np.zeros(len(bias))
    start[unit] = (weight @ hidden + bias)[unit]
    *thirds, of_dense = RULES[rule]
    upper = of_dense or thirds[1]  # the second of two layers stands in the middle third
    every = [list(range(len(bias)))]
    above = divide(weight, bias, every, hidden, start, upper, "same", redistributed)
    result = divide(*below, x, above, thirds[0], first, redistributed)
    return result.reshape(image.shape)


@pytest.fixture(scope="module")
def small() -> nn.Sequential:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
                          nn.Linear(4 * 9, 5))  # fmt: skip
    return model.double().eval()


@pytest.mark.filterwarnings("ignore:The map adds up to")
@pytest.mark.parametrize("bias", ["absorbed", "redistributed"])
@pytest.mark.parametrize("first", ["same", "box", "flat"])
@pytest.mark.parametrize("rule", RULES)
def test_map_is_the_one_by_hand(small: nn.Sequential, rule: str, first: str, bias: str) -> None:
    images = blobs(2, 6, seed=3)
    options = {"epsilon": 0.01, "gamma": 0.5, "alpha": 3.0}
    for unit in (0, 3):  # of scores above and below zero
        result = attribute(
            small, images, "relevance", unit=unit, rule=rule, first=first, bias=bias, **options
        )
        for image, one in zip(images.tensor, result.signed, strict=True):
            right = by_hand(
                small, image, unit, rule=rule, first=first, redistributed=bias == "redistributed"
            )
            assert agreement(one.double(), torch.from_numpy(right)) < 1e-5


def captum_map(model: nn.Module, pixels: Tensor, units: Tensor, epsilon: float) -> Tensor:
    captum = pytest.importorskip("captum.attr")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.rule = rules.EpsilonRule(epsilon)  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces its hooks
        result = captum.LRP(model).attribute(pixels.clone().requires_grad_(), target=units)
    return result.detach()


@pytest.mark.filterwarnings("ignore:The map adds up to", "ignore:Most of the relevance cancels")
@pytest.mark.parametrize("epsilon", [1e-9, 1e-3])
@pytest.mark.parametrize("name", [pytest.param("vgg", marks=pytest.mark.all), "squeezenet1_1"])
def test_epsilon_rule_is_that_of_captum_where_it_is_right(name: str, epsilon: float) -> None:
    model, images = network(name), blobs(2, 64)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.bias.uniform_(-0.02, 0.02)
    options = {"rule": "epsilon", "epsilon": epsilon, "bias": "absorbed"}
    result = attribute(model, images, "relevance", **options)
    right = captum_map(model, images.tensor, result.units, epsilon)
    assert agreement(result.signed, right) < 1e-4


@pytest.mark.filterwarnings("ignore:The map adds up to", "ignore:Most of the relevance cancels")
@pytest.mark.assets
@pytest.mark.all
def test_real_squeezenet_agrees_with_captum_and_shows_the_things(
    assets: Path, squeezenet: nn.Module
) -> None:
    stems = ("014_indigo_bunting", "812_space_shuttle", "106_wombat")
    images = load_images([assets / "photos" / "imagenet" / f"{stem}.jpg" for stem in stems])
    units = [14, 812, 106]  # the strongest, but for the wombat with some decoders of JPEG
    result = attribute(squeezenet, images, "relevance", unit=units, rule="epsilon", bias="absorbed")
    assert result.units.tolist() == units
    right = captum_map(squeezenet, images.tensor, result.units, 1e-3)
    assert agreement(result.signed, right) < 1e-4
    assert 0.9 < sums(result).min() < sums(result).max() < 0.97  # its biases take the rest
    result = attribute(squeezenet, images, "relevance", unit=units, rule="gamma")
    assert sums(result) == pytest.approx(1, abs=1e-4)
    boxes = [(0.1, 0.55, 0.25, 0.75), (0.3, 0.8, 0.0, 1.0), (0.1, 0.8, 0.1, 0.9)]
    for one, (top, bottom, left, right_) in zip(result.maps.abs(), boxes, strict=True):
        rows = slice(int(top * len(one)), int(bottom * len(one)))
        columns = slice(int(left * len(one)), int(right_ * len(one)))
        area = (bottom - top) * (right_ - left)
        assert float(one[rows, columns].sum() / one.sum()) > min(0.85, 2 * area)


@pytest.mark.filterwarnings("ignore:Most of the relevance cancels")
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.all if one in LARGE else ()) for one in FAMILIES]
)
def test_relevance_adds_up_to_the_score(name: str) -> None:
    model, images = network(name), blobs(2, 64)
    for rule in ("epsilon", "epsilon-plus", "epsilon-plus by depth"):
        result = attribute(model, images, "relevance", rule=rule)
        assert sums(result) == pytest.approx(1, abs=0.01), rule
        assert not any("adds up to" in one for one in result.warnings)
        assert bool((result.signed.flatten(1).abs().amax(1) > 0).all())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", [*FAMILIES, "vgg16", "resnet50", "mnasnet0_5", "regnet_x_400mf"])
def test_relevance_adds_up_by_every_rule(name: str, seed: int) -> None:
    model, images = network(name, seed), blobs(2, 64, seed=seed)
    for rule in RULES:
        for first in ("same", "box", "flat"):
            result = attribute(model, images, "relevance", rule=rule, first=first)
            assert sums(result) == pytest.approx(1, abs=0.01), (rule, first)


@pytest.mark.filterwarnings("ignore:Most of the relevance cancels")
@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_without_epsilon_and_hand_over_the_map_is_gradient_times_input(name: str) -> None:
    # Ancona et al. 2018: true for networks of ReLUs, BatchNorm, sums and maxima
    model, images = network(name).double(), blobs(2, 64)
    options = {"rule": "epsilon", "epsilon": 0.0, "bias": "absorbed"}
    with pytest.warns(PFVWarning, match=r"adds up to .* biases and ε absorbed the rest"):
        result = attribute(model, images, "relevance", **options)
    right = attribute(model, images, "gradient_times_input")
    assert agreement(result.signed, right.signed) < 1e-4


def test_advice_where_relevance_cancels_is_not_the_rule_that_is_used() -> None:
    network, photo = demo_model(), demo_images(1)
    for rule, advice in (("epsilon-plus by depth", "larger score"), ("epsilon", "Prefer rule=")):
        with pytest.warns(PFVWarning, match=f"relevance cancels: in 1 of 1 images .* {advice}"):
            attribute(network, photo, "relevance", unit=4, rule=rule)


@pytest.mark.assets
def test_the_default_rule_is_no_gradient_times_input_and_epsilon_says_that_it_cancels(
    assets: Path, squeezenet: nn.Module
) -> None:
    stems = ("014_indigo_bunting", "812_space_shuttle")
    paths = [assets / "photos" / "imagenet" / f"{stem}.jpg" for stem in stems]
    images = load_images(paths, size=128)
    result = attribute(squeezenet, images, "relevance")
    assert result.options["rule"] == "epsilon-plus by depth"
    assert result.warnings == ()
    assert sums(result) == pytest.approx(1, abs=1e-3)
    scale = result.scores.abs()
    assert float((result.maps.abs().sum((1, 2)) / scale).max()) < 2
    with pytest.warns(
        PFVWarning, match=r"cancels: in 2 of 2 images .* times\), so the sum is right"
    ):
        plain = attribute(squeezenet, images, "relevance", rule="epsilon")
    assert sums(plain) == pytest.approx(1, abs=1e-3)
    assert float((plain.maps.abs().sum((1, 2)) / scale).min()) > 10
    product = attribute(squeezenet, images, "gradient_times_input").maps
    for one, other, right in zip(result.maps, plain.maps, product, strict=True):
        assert np.corrcoef(other.flatten(), right.flatten())[0, 1] > 0.99
        assert abs(np.corrcoef(one.flatten(), right.flatten())[0, 1]) < 0.5


@pytest.mark.assets
@pytest.mark.all
def test_the_default_rule_passes_the_randomisation_check_that_epsilon_plus_fails(
    assets: Path, squeezenet: nn.Module
) -> None:
    paths = sorted((assets / "photos" / "imagenet").glob("*.jpg"))[::13]
    images = load_images(paths, size=128)
    classes = [int(name[:3]) for name in images.names]
    other = copy.deepcopy(squeezenet)
    torch.manual_seed(0)
    other.classifier[1].reset_parameters()
    means = {}
    for rule in ("epsilon-plus by depth", "epsilon-plus"):
        maps = [
            attribute(one, images, "relevance", unit=classes, rule=rule).maps
            for one in (squeezenet, other)
        ]
        ranks = [one.flatten(1).argsort(1).argsort(1).double().numpy() for one in maps]
        means[rule] = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*ranks, strict=True)])
    assert means["epsilon-plus by depth"] < 0.35
    assert means["epsilon-plus"] > 0.5


def test_conserved_share_is_told() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    with torch.no_grad():
        model[3].bias.fill_(1.0)
    images = blobs(2, 8)
    with pytest.warns(PFVWarning, match="1 is right, in 2 of 2 images: biases and ε absorbed"):
        result = attribute(model.eval(), images, "relevance", bias="absorbed")
    assert abs(sums(result) - 1).min() > 0.01
    assert attribute(model, images, "relevance").warnings == ()
