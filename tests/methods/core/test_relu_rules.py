"""ReLU rules hold for every form of ReLU: against hand-patched networks and captum."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows
from torchvision import models

from pfv_widgets.engine.data.load_images import load_images
from pfv_widgets.errors import PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.core.relu_rules import ReluMode
from tests.methods.lrp.test_relevance import network
from tests.networks import blobs
from tests.slow_oracles import agreement

RULES = ("deconvnet", "guided")
NAMES = {"deconvnet": "deconvnet", "guided": "guided_backprop"}


def by_hand(values: Tensor, rule: str, high: float = torch.inf) -> Tensor:
    """The slow oracle: the native gradient, or none of its masks, and a hook for the signal."""
    rectified = values.clamp(0, high)
    if rule == "deconvnet":
        rectified = values + (rectified - values).detach()
    else:  # ReLU's own gradient, strictly inside of the limits
        inside = ((values > 0) & (values < high)).to(values)
        rectified = values * inside + (rectified - values * inside).detach()
    if rectified.requires_grad:
        rectified.register_hook(lambda signal: signal.clamp(min=0))
    return rectified


class ByHand(nn.Module):
    def __init__(self, rule: str, high: float = torch.inf) -> None:
        super().__init__()
        self.rule, self.high = rule, high

    def forward(self, values: Tensor) -> Tensor:
        return by_hand(values, self.rule, self.high)


def patched(model: nn.Module, rule: str) -> nn.Module:
    """A copy with every ReLU module replaced."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, ByHand(rule, 6.0))
            elif isinstance(child, nn.ReLU):
                setattr(module, name, ByHand(rule))
    return model


@pytest.mark.parametrize("method", NAMES.values())
def test_checkpointed_parts_give_the_same_map(method: str) -> None:
    maps = []
    for efficient in (False, True):
        torch.manual_seed(0)
        model = models.DenseNet(8, (2, 2), 8, num_classes=4, memory_efficient=efficient).eval()
        maps.append(attribute(model, blobs(2, 32), method).signed)
    assert torch.equal(*maps)
    assert maps[0].abs().max() > 0


class Rewriting(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        squared = images**2
        images.relu_()  # which the square still needs
        return (squared + images).flatten(1)


@pytest.mark.parametrize("method", ["saliency", *NAMES.values()])
def test_values_that_are_rewritten_under_a_gradient_are_told(method: str) -> None:
    with pytest.raises(PFVValueError, match=r"in-?place operation"):
        attribute(nn.Sequential(nn.Conv2d(3, 4, 3), Rewriting()), blobs(2, 8), method)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "googlenet", pytest.param("densenet121", marks=pytest.mark.all)]
)
def test_rule_equals_a_network_patched_by_hand(
    name: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = network(name), blobs(2, 64)
    result = attribute(model, images, NAMES[rule])
    oracle = patched(model, rule)

    def functional(values: Tensor, inplace: bool = False) -> Tensor:
        return by_hand(values, rule)

    monkeypatch.setattr("torch.nn.functional.relu", functional)
    pixels = images.tensor.clone().requires_grad_()
    scores = oracle(pixels).gather(1, result.units[:, None])
    (right,) = torch.autograd.grad(scores.sum(), pixels)
    assert agreement(result.signed, right) < 1e-4
    monkeypatch.undo()
    plain = attribute(model, images, "saliency")
    assert agreement(plain.signed, right) > 0.1  # what others return instead
    assert result.warnings == ()


@pytest.mark.filterwarnings("ignore:The map adds up")  # random weights, few steps
@pytest.mark.parametrize(
    "name",
    [*(pytest.param(one, marks=pytest.mark.all) for one in ("vgg", "resnet18")), "squeezenet1_1"],
)
def test_maps_are_those_of_captum_where_it_is_right(name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    model, images = network(name), blobs(2, 64)
    calls = {
        "saliency": lambda given: captum.Saliency(given).attribute(pixels(), units, abs=False),
        "deconvnet": lambda given: captum.Deconvolution(given).attribute(pixels(), target=units),
        "guided_backprop": lambda given: captum.GuidedBackprop(given).attribute(
            pixels(), target=units
        ),
        "integrated_gradients": lambda given: captum.IntegratedGradients(given).attribute(
            pixels(), target=units, n_steps=6
        ),
    }

    def pixels() -> Tensor:
        return images.tensor.clone().requires_grad_()

    for method, call in calls.items():
        options = {"steps": 6} if method == "integrated_gradients" else {}
        result = attribute(model, images, method, **options)
        units = result.units
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum announces its hooks
            right = call(copy.deepcopy(model))
        assert agreement(result.signed, right.detach()) < 1e-4, method


@pytest.mark.assets
def test_real_squeezenet_agrees_with_captum_and_shows_the_things(
    assets: Path, squeezenet: nn.Module
) -> None:
    captum = pytest.importorskip("captum.attr")
    stems = ("014_indigo_bunting", "812_space_shuttle", "106_wombat")
    images = load_images([assets / "photos" / "imagenet" / f"{stem}.jpg" for stem in stems])
    result = attribute(squeezenet, images, "guided_backprop", unit=[14, 812, 106])
    assert result.units.tolist() == [14, 812, 106]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = captum.GuidedBackprop(copy.deepcopy(squeezenet)).attribute(
            images.tensor.clone().requires_grad_(), target=result.units
        )
    assert agreement(result.signed, right.detach()) < 1e-4
    # in float64, as rounding flips a ReLU here and there: captum differs from itself by 7e-4
    exact = squeezenet.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few steps
        path = attribute(exact, images.subset([0]), "integrated_gradients", steps=4)
    right = captum.IntegratedGradients(exact).attribute(
        images.tensor[:1].double(), target=path.units, n_steps=4
    )
    assert agreement(path.signed, right) < 1e-4
    # (top, bottom, left, right) of the bird, the shuttle, the wombat's face, as shares
    boxes = [(0.1, 0.55, 0.25, 0.75), (0.3, 0.8, 0.0, 1.0), (0.1, 0.8, 0.1, 0.9)]
    for one, (top, bottom, left, right_) in zip(result.maps, boxes, strict=True):
        height, width = one.shape
        box = one[int(top * height) : int(bottom * height), int(left * width) : int(right_ * width)]
        inside = float(box.sum() / one.sum())
        area = (bottom - top) * (right_ - left)
        assert inside > min(0.85, 2 * area), (inside, area)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp by position": lambda x: torch.clamp(x, 0.0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "clip": lambda x: torch.clip(x, 0),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "nn.Threshold": nn.Threshold(0, 0, inplace=True),
}
LIMITED: dict[str, Callable[[Tensor], Tensor]] = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "F.hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "nn.Hardtanh in place": nn.Hardtanh(0, 6, inplace=True),
    "clamp": lambda x: torch.clamp(x, 0, 6),
    "clamp_ by keyword": lambda x: x.clamp_(min=0, max=6),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("form", "high"),
    [pytest.param(form, torch.inf, id=name) for name, form in FORMS.items()]
    + [pytest.param(form, 6.0, id=f"{name} to 6") for name, form in LIMITED.items()],
)
def test_every_form_of_relu_keeps_the_rule(
    form: Callable[[Tensor], Tensor], high: float, rule: str
) -> None:
    start = torch.tensor([-1.0, 0.0, 0.5, 2.0, 6.0, 7.0, -2.0, 3.0], requires_grad=True)
    weights = torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -2.0])
    with ReluMode(rule) as mode:  # type: ignore[arg-type]
        rectified = form(start * 1)
        result = torch.autograd.grad((rectified * weights).sum(), start)[0]
    passes = weights.clamp(min=0)
    if rule == "guided":
        passes = passes * (start > 0) * (start < high)
    assert torch.equal(rectified.detach(), start.detach().clamp(0, high))
    assert torch.equal(result, passes)
    assert mode.relu_count == 1


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.clamp(min=1e-3),
        lambda x: x.clamp(max=3),
        F.hardtanh,
        lambda x: F.threshold(x, 0.0, 1.0),
    ],
)
def test_other_limits_keep_their_own_gradient(form: Callable[[Tensor], Tensor]) -> None:
    start = torch.linspace(-4, 4, 9).requires_grad_()
    (right,) = torch.autograd.grad(-form(start).sum(), start)
    with ReluMode("guided") as mode:
        (result,) = torch.autograd.grad(-form(start).sum(), start)
    assert torch.equal(result, right)
    assert mode.relu_count == 0


def test_a_relu_module_that_runs_twice_keeps_the_rule_each_time() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, images: Tensor) -> Tensor:
            return self.act(self.two(self.act(self.one(images)))).sum((2, 3))

    model, images = Twice().eval(), blobs(2, 16)
    result = attribute(model, images, "guided_backprop", unit=1)
    pixels = images.tensor.clone().requires_grad_()
    patched(model, "guided")(pixels)[:, 1].sum().backward()
    assert agreement(result.signed, pixels.grad) < 1e-6


def test_relu_inside_a_scripted_part_is_told() -> None:
    inner = torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), inner, nn.AdaptiveAvgPool2d(1))
    with pytest.warns(PFVWarning, match=r"1 ReLUs lie inside traced or scripted parts"):
        attribute(model.eval(), blobs(2, 16), "guided_backprop")
