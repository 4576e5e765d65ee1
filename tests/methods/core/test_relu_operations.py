"""ReLUs written with other operations keep the rule; what is no ReLU is told by its name."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows
from torchvision import models

from pfv_widgets.errors import PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.core.relu_rules import ReluMode
from tests.methods.core.test_relu_rules import NAMES, by_hand
from tests.networks import Function, blobs
from tests.slow_oracles import agreement

Activation = Callable[[Tensor], Tensor]
RULES = tuple(NAMES)
ZERO = torch.tensor(0.0)


def assigned(values: Tensor) -> Tensor:
    values[values < 0] = 0
    return values


def multiplied(values: Tensor) -> Tensor:
    values *= values > 0
    return values


def masked_without_gradient(values: Tensor) -> Tensor:
    with torch.no_grad():
        mask = values > 0
    return values * mask


WRITTEN: dict[str, Activation] = {
    "maximum of zeros": lambda z: torch.maximum(z, torch.zeros_like(z)),
    "zeros first": lambda z: torch.maximum(ZERO, z),
    "Tensor.maximum": lambda z: z.maximum(ZERO),
    "maximum by keyword": lambda z: torch.maximum(z, other=ZERO),
    "max": lambda z: torch.max(z, ZERO),
    "Tensor.max": lambda z: z.max(z.new_zeros(1)),
    "fmax": lambda z: torch.fmax(z, ZERO),
    "clamp by tensor": lambda z: z.clamp(min=torch.zeros(())),
    "product with a mask": lambda z: z * (z > 0),
    "product with a mask from the left": lambda z: (z >= 0) * z,
    "product with a mask of numbers": lambda z: z * (z > 0).float(),
    "product with a mask of its type": lambda z: torch.mul(z.gt(0).to(z.dtype), z),
    "product in place": multiplied,
    "product with a mask without gradient": masked_without_gradient,
    "product with a detached mask": lambda z: z * (z.detach() > 0),
    "where": lambda z: torch.where(z > 0, z, 0),
    "where of zeros": lambda z: torch.where(z > 0, z, torch.zeros_like(z)),
    "where the other way round": lambda z: torch.where(z <= 0, ZERO, z),
    "Tensor.where": lambda z: z.where(z > 0, 0),
    "masked_fill": lambda z: z.masked_fill(z < 0, 0),
    "masked_fill_": lambda z: z.masked_fill_(z < 0, 0),
    "assignment": assigned,
}
LIMITED: dict[str, Activation] = {
    "relu, clamp": lambda z: F.relu(z).clamp(max=0.4),
    "relu in place, clamp": lambda z: z.relu_().clamp(max=0.4),
    "relu, clamp_max": lambda z: torch.clamp_max(torch.relu(z), 0.4),
    "relu, minimum": lambda z: torch.minimum(torch.relu(z), torch.tensor(0.4)),
    "minimum of a tensor, relu": lambda z: torch.min(torch.full_like(z, 0.4), z.relu()),
    "maximum, minimum": lambda z: torch.fmin(torch.maximum(z, ZERO), torch.tensor(0.4)),
    "clamp by tensors": lambda z: torch.clamp(z, ZERO, torch.tensor(0.4)),
    "relu, clamp from below zero": lambda z: z.relu().clip(-1, 0.4),
}
FORMS = [pytest.param(form, torch.inf, id=name) for name, form in WRITTEN.items()]
FORMS += [pytest.param(form, 0.4, id=name) for name, form in LIMITED.items()]


class TwoConvolutions(nn.Module):
    """Two convolutions, each with one activation behind it."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.one, self.two = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.act = Function(activation)

    def forward(self, images: Tensor) -> Tensor:
        changed = self.act(self.two(self.act(self.one(images))))
        assert isinstance(changed, Tensor)
        return changed.mean((2, 3)) @ torch.linspace(-1, 1, changed.shape[1] * 3).reshape(-1, 3)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("form", "high"), FORMS)
def test_a_relu_of_other_operations_keeps_the_rule(
    form: Activation, high: float, rule: str
) -> None:
    images = blobs(2, 16)
    result = attribute(TwoConvolutions(form), images, NAMES[rule], unit=1)
    pixels = images.tensor.clone().requires_grad_()
    scores = TwoConvolutions(lambda z: by_hand(z, rule, high))(pixels)[:, 1]
    (right,) = torch.autograd.grad(scores.sum(), pixels)
    assert agreement(result.signed, right) < 1e-5
    torch.testing.assert_close(result.scores, scores.detach())
    assert result.warnings == ()
    plain = attribute(TwoConvolutions(form), images, "saliency", unit=1)
    assert agreement(plain.signed, right) > 0.1


@pytest.mark.parametrize("form", [*WRITTEN.values(), *LIMITED.values()])
def test_values_stay_those_of_the_operation(form: Activation) -> None:
    values = torch.tensor([-torch.inf, -1.0, -0.0, 0.0, 0.2, 0.4, 3.0, torch.nan])
    values = values.requires_grad_()
    right = form(values * 1)
    with ReluMode("guided"):
        result = form(values * 1)
    assert result.requires_grad
    torch.testing.assert_close(result, right, rtol=0, atol=0, equal_nan=True)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *signals: Tensor) -> Tensor:
        return signals[0] * (ctx.saved_tensors[0] > 0)


def shifted_mask(values: Tensor) -> Tensor:
    mask = values > 0
    return (values + 0.1) * mask


def changed_since(values: Tensor) -> Tensor:
    mask = values > 0
    values -= 0.1
    return values.masked_fill(~mask, 0)


def remade_mask(values: Tensor) -> Tensor:
    mask = values > 0
    mask[:, :, ::2] = True
    return values * mask


OTHERS: dict[str, tuple[Activation, str]] = {
    "abs": (lambda z: (z + z.abs()) / 2, "abs"),
    "builtin abs": (lambda z: (z + abs(z)) / 2, "abs"),
    "stack": (lambda z: torch.stack([z, torch.zeros_like(z)]).amax(0), "amax"),
    "stack, max": (lambda z: torch.stack([z, torch.zeros_like(z)], -1).max(-1).values, "max"),
    "own function": (Own.apply, "Own"),
    "maxout": (lambda z: torch.maximum(z, z.flip(1)), "maximum"),
    "maxout of channels": (lambda z: z.unflatten(1, (3, 2)).amax(2).repeat(1, 2, 1, 1), "amax"),
    "leaky maximum": (lambda z: torch.max(z, 0.1 * z), "max"),
    "maximum of a number": (lambda z: torch.maximum(z, torch.tensor(0.05)), "maximum"),
    "minimum": (lambda z: torch.minimum(z, ZERO), "minimum"),
    "leaky where": (lambda z: torch.where(z > 0, z, 0.1 * z), "where"),
    "where of another limit": (lambda z: torch.where(z > 0.1, z, 0), "where"),
    "another masked_fill": (lambda z: z.masked_fill(z < 0.1, 0), "masked_fill"),
    "mask of other values": (shifted_mask, "product with a mask"),
    "mask of older values": (changed_since, "masked_fill"),
    "mask that was rewritten": (remade_mask, "product with a mask"),
    "sign": (lambda z: z * torch.heaviside(z.detach(), ZERO), "product with a mask"),
    "clamp": (lambda z: z.clamp(min=0.05), "clamp"),
    "clamp before a relu": (lambda z: z.clamp(max=0.1).relu(), "clamp"),
}


@pytest.mark.parametrize("method", NAMES.values())
@pytest.mark.parametrize(
    ("form", "label"), [pytest.param(*other, id=name) for name, other in OTHERS.items()]
)
def test_an_operation_that_gates_otherwise_is_told(
    form: Activation, label: str, method: str
) -> None:
    with pytest.warns(PFVWarning, match=rf"\({label} × 2\).*plain gradient") as record:
        result = attribute(TwoConvolutions(form), blobs(2, 16), method)
    assert result.warnings == (str(record[0].message),)
    assert attribute(TwoConvolutions(form), blobs(2, 16), "saliency").warnings == ()


ACTIVATIONS = [
    nn.CELU(), nn.CELU(inplace=True), nn.Softsign(), nn.Threshold(0.1, 0.5), nn.Softmax2d(),
    nn.Threshold(0.1, 0.5, inplace=True), nn.Hardswish(), nn.Mish(), nn.Tanh(), nn.Sigmoid(),
    nn.LogSigmoid(), nn.Softplus(), nn.PReLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(),
    nn.SELU(inplace=True), nn.RReLU(), nn.RReLU(inplace=True), nn.Hardsigmoid(), nn.GLU(1),
    nn.Tanhshrink(), nn.Softshrink(0.01), nn.Hardshrink(0.01), nn.Hardtanh(), nn.GELU(), nn.SiLU(),
]  # fmt: skip


@pytest.mark.parametrize("method", NAMES.values())
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_each_activation_that_is_no_relu_is_told_once(activation: nn.Module, method: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.AdaptiveAvgPool2d(1)).eval()
    label = type(activation).__name__
    with pytest.warns(PFVWarning, match=rf"\({label} × 1\).*plain gradient"):
        attribute(model, blobs(2, 16), method, unit=0)


class Normalised(nn.Module):
    """Limits on weights and norms, which no signal of an activation is gated by."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.weight = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(3, 4))

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.conv(images)).amax((2, 3))
        maps = F.normalize(maps) / maps.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return maps @ self.weight.abs().sigmoid().clamp(max=0.6).T


class Marked(nn.Module):
    """A mask that belongs to the network, and a limit that is no part of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mask", torch.arange(4).reshape(1, 4, 1, 1) > 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images).relu()
        with torch.no_grad():
            maps.clamp_(min=0.1)
        return maps * self.mask.to(torch.bool).float()


def test_masks_of_the_network_are_left_as_they_are() -> None:
    model = Marked()
    with ReluMode("deconvnet") as mode:
        (warning,) = mode.diagnostics(model(blobs(2, 16).tensor.requires_grad_()).sum())
    assert "(product with a mask × 1)" in warning
    assert vars(model.mask) == {}


def test_pooling_norms_and_limits_of_weights_are_no_activations() -> None:
    with ReluMode("guided") as mode:
        assert mode.diagnostics(Normalised()(blobs(2, 16).tensor.requires_grad_()).sum()) == ()
    assert mode.relu_count == 1


@pytest.mark.parametrize(
    "name",
    ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "regnet_x_400mf"]
    + [
        pytest.param(one, marks=pytest.mark.all)
        for one in ("vgg11_bn", "densenet121", "mobilenet_v2", "googlenet", "inception_v3")
    ],
)
def test_networks_of_plain_relus_give_no_warning(name: str) -> None:
    torch.manual_seed(0)
    first = name in ("googlenet", "inception_v3")
    options = {"init_weights": False, "transform_input": True} if first else {}
    model = models.get_model(name, weights=None, num_classes=3, **options).eval()
    pixels = blobs(1, 80 if name == "inception_v3" else 40).tensor.requires_grad_()
    with warnings.catch_warnings(), ReluMode("guided") as mode:
        assert mode.diagnostics(model(pixels).sum()) == ()
    assert mode.relu_count > 5


def test_gates_of_squeeze_and_excitation_are_told() -> None:
    model = models.get_model("regnet_y_400mf", weights=None, num_classes=3).eval()
    pixels = blobs(1, 40).tensor.requires_grad_()
    with ReluMode("guided") as mode:
        (warning,) = mode.diagnostics(model(pixels).sum())
    assert "(Sigmoid × 16)" in warning
