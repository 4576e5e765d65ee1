"""The layer that is shown first: the last map on the way to the output, before the read-out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs


def default_of(network: nn.Module, side: int = 32) -> str:
    pfv = PFV(network.eval(), blobs(2, side), device="cpu")
    pfv.render()
    return pfv.default_layer


def block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1), nn.ReLU())


class Network(nn.Module):
    """Two convolutional blocks; what follows differs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.early, self.late = block(3, 8), block(8, 8)


class Segmentation(Network):
    """A classifier of positions and an auxiliary one, which runs last."""

    def __init__(self, names: tuple[str, ...] = ("out", "aux")) -> None:
        super().__init__()
        self.names = names
        self.classifier = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 5, 1))
        self.auxiliary = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 5, 1))

    def forward(self, images: Tensor) -> object:
        early = self.early(images)
        heads = (self.classifier(self.late(early)), self.auxiliary(nn.MaxPool2d(2)(early)))
        sized = [nn.functional.interpolate(one, images.shape[2:]) for one in heads]
        return dict(zip(self.names, sized, strict=True)) if self.names else tuple(sized)


@pytest.mark.parametrize("names", [("out", "aux"), ()])
@pytest.mark.parametrize("frozen", [False, True])
def test_auxiliary_head_is_passed_over(names: tuple[str, ...], frozen: bool) -> None:
    network = Segmentation(names).requires_grad_(not frozen)
    assert default_of(network) == "classifier.0"
    assert all(parameter.grad is None for parameter in network.parameters())


class TwoClassifiers(Network):
    """Two maps of classes, which are added."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        early = self.early(images)
        late = self.late(early)
        return self.low(early) + nn.functional.interpolate(self.high(late), scale_factor=2)


class TokenClassifier(Network):
    """The mean token is classified, and then each token as well."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.each = nn.LayerNorm(8), nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(self.late(self.early(images)).flatten(2).transpose(1, 2))
        return self.head(tokens.mean(1)) + 0.5 * self.each(tokens).amax(1)


class AttentionPooling(nn.Module):
    """One query for all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8)
        self.query = nn.Parameter(torch.randn(8))

    def forward(self, tokens: Tensor) -> Tensor:
        weights = (self.key(tokens) @ self.query).softmax(1)
        return (weights[:, :, None] * self.value(tokens)).sum(1)


class PooledByAttention(Network):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool, self.head = nn.LayerNorm(8), AttentionPooling(), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.late(self.early(images)).flatten(2).transpose(1, 2)
        return self.head(self.pool(self.norm(tokens)))


class BoxHead(nn.Module):
    """Scores and offsets of boxes from several maps."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(8, 4, 3, padding=1)
        self.boxes = nn.Conv2d(4, 4, 1)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        boxes = [self.boxes(self.shared(one)).flatten(2).transpose(1, 2) for one in maps]
        return {"boxes": torch.cat(boxes, dim=1)}


class Detector(Network):
    def __init__(self) -> None:
        super().__init__()
        self.head = BoxHead()

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        early = self.early(images)
        result = self.head([early, self.late(early)])
        return [{"boxes": one} for one in result["boxes"]]


class Pyramid(Network):
    """Maps of several resolutions are the output itself."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        early = self.early(images)
        return {"early": early, "late": self.late(early)}


class WithoutHead(Network):
    """A block whose last linear layer gives as many channels as the network."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(8, 8)
        self.whole = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.late(self.early(images)).flatten(2).transpose(1, 2)
        return self.whole(tokens + self.mlp(tokens)).mean(1)


@pytest.mark.parametrize(
    ("network", "default"),
    [
        (TwoClassifiers, "late.1"),
        (TokenClassifier, "norm"),
        (PooledByAttention, "norm"),
        (Detector, "late.1"),
        (Pyramid, "late.1"),
        (WithoutHead, "whole"),
    ],
)
def test_read_out_and_heads_are_passed_over(network: type[Network], default: str) -> None:
    assert default_of(network()) == default


def test_trunk_that_ends_in_a_vector_is_no_head() -> None:
    # most weights lie in the second part, which takes maps and gives none
    pooled = nn.Sequential(block(8, 16), block(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert default_of(nn.Sequential(block(3, 8), pooled)) == "1.1"


def test_only_head_is_shown_where_nothing_else_has_a_map() -> None:
    assert default_of(nn.Sequential(nn.Conv2d(3, 5, 1))) == "0"
