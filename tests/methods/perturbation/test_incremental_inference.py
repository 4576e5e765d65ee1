"""Passes that compute only the reach of a box, against passes of the whole image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody knows

from pfv_widgets.methods.perturbation.incremental_inference import Tape, Window
from pfv_widgets.methods.perturbation.incremental_operations import LOCAL_OPERATIONS
from tests.networks import Function, Tokens, blobs, tiny

BOXES = [(0, 9, 0, 7), (11, 20, 14, 19), (23, 32, 30, 40), (0, 32, 0, 3), (5, 6, 8, 9)]


def build_seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    return build().eval()


class Residual(nn.Module):
    """Sums in place, channels put together, a gate, and a map that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.two = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2)
        self.gate = nn.Conv2d(12, 12, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.one(images)
        second = F.relu(self.two(F.relu(first)))
        second += first
        both = torch.cat([second, first * 0.5 - 1], 1)
        gated = both * torch.sigmoid(self.gate(both.mean((2, 3), keepdim=True)))
        return gated.amax((2, 3))


class Awkward(nn.Module):
    """Operations that nobody knows to be local, in place and on a view."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.one(images)
        maps[:, 1] += 2
        maps.cumsum_(2)
        transposed = maps.permute(0, 2, 3, 1).flip(1)
        return F.layer_norm(transposed, (4,)).std((1, 2)) * (2 if float(images.sum()) > 0 else 3)


class MadeAnew(nn.Module):
    """A kernel that is computed from the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 4 * 3 * 9)
        self.last = nn.Conv2d(4, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        kernel = self.mix(images.mean((0, 2, 3))).view(4, 3, 3, 3)
        return self.last(F.conv2d(images, kernel)).mean((2, 3))


def pooled(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(3, 5, 3, 2), *layers, nn.Conv2d(5, 4, 2))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "tiny": tiny,
    "strides": lambda: nn.Sequential(nn.Conv2d(3, 5, 5, 3, 1), nn.ReLU6(), nn.Conv2d(5, 4, 1, 2)),
    "unlike axes": lambda: nn.Conv2d(3, 5, (1, 4), (2, 1), (0, 2), (1, 3)),
    "same": lambda: nn.Conv2d(3, 5, 3, padding="same"),
    "mirrored": lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"),
    "pool": pooled(nn.MaxPool2d(3, 2, 1), nn.Dropout(), nn.SiLU()),
    "ceiling": pooled(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Hardswish(inplace=True)),
    "dilated pool": pooled(nn.MaxPool2d(2, 1, dilation=2), nn.LeakyReLU()),
    "mean": pooled(nn.AvgPool2d(3, 2, 1), nn.Tanh()),
    "mean of those inside": pooled(nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "mean, ceiling": pooled(nn.AvgPool2d(3, 2, ceil_mode=True)),
    "norm": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "statistics of the batch": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "statistics of the image": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4)),
    "residual": Residual,
    "awkward": Awkward,
    "made anew": MadeAnew,
    "tokens": Tokens,
    "itself": lambda: Function(lambda x: x * x + x.mul_(2)),
    "number first": lambda: Function(lambda x: 1 - x),
}  # fmt: skip


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_pass_of_a_part_gives_what_a_whole_pass_gives(name: str) -> None:
    network = build_seeded(NETWORKS[name])
    images = blobs(2, 32, 40).tensor
    before = images.clone()
    tape, changed = Tape(images, LOCAL_OPERATIONS), False
    with torch.no_grad():
        untouched = network(images.clone())
        for box in (*BOXES, *BOXES):
            top, bottom, left, right = box
            values = torch.randn(2, 3, bottom - top, right - left)
            hidden = images.clone()
            hidden[:, :, top:bottom, left:right] = values
            right_one = network(hidden)
            result = network(tape.changed([box], [values]).clone())
            whole = result.whole() if isinstance(result, Window) else result
            torch.testing.assert_close(whole, right_one, rtol=1e-4, atol=1e-5)
            changed |= not torch.equal(right_one, untouched)
    assert changed == (name != "tokens")  # of those only the class token is read
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_several_boxes_pass_together(name: str) -> None:
    network = build_seeded(NETWORKS[name])
    images = blobs(2, 32, 40).tensor
    tape = Tape(images, LOCAL_OPERATIONS)
    for boxes in (BOXES, BOXES[:1] + BOXES[2:], BOXES[1:3] * 2):
        values = [torch.randn(2, 3, one[1] - one[0], one[3] - one[2]) for one in boxes]
        hidden = images.repeat(len(boxes), 1, 1, 1)
        for index, (top, bottom, left, right) in enumerate(boxes):
            hidden[2 * index : 2 * index + 2, :, top:bottom, left:right] = values[index]
        with torch.no_grad():
            result = network(tape.changed(boxes, values).clone())
            whole = result.whole() if isinstance(result, Window) else result
            torch.testing.assert_close(whole, network(hidden), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["strides", "pool", "ceiling", "mean", "norm"])
def test_only_the_reach_of_the_box_is_computed(name: str) -> None:
    network = build_seeded(NETWORKS[name])
    images = blobs(1, 64).tensor
    values = torch.randn(1, 3, 8, 8)
    hidden = images.clone()
    hidden[:, :, 20:28, 40:48] = values
    with torch.no_grad():
        result = network(Tape(images, LOCAL_OPERATIONS).changed([(20, 28, 40, 48)], [values]))
        differs = (network(hidden) != network(images)).any(1)[0].nonzero()
    assert isinstance(result, Window)
    ((top, bottom, left, right),) = result.boxes
    assert result.part.shape[2:] == (bottom - top, right - left)
    (first_row, first_column), (last_row, last_column) = differs.amin(0), differs.amax(0)
    assert top <= first_row <= last_row < bottom
    assert left <= first_column <= last_column < right
    # no more than the outputs whose kernels touch the box
    assert bottom - top <= int(last_row - first_row) + 3
    assert result.part.numel() < 0.25 * result.numel()


def test_only_maps_that_are_read_beyond_the_box_are_kept() -> None:
    network = build_seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    tape = Tape(blobs(1, 64).tensor, LOCAL_OPERATIONS)
    with torch.no_grad():
        for _ in range(5):
            network(tape.changed([(20, 28, 40, 48)], [torch.randn(1, 3, 8, 8)]))
    assert tape.size == 4 * 4 * 62 * 62  # bytes of what the second convolution reads


def test_a_part_of_a_map_tells_the_shape_of_the_map() -> None:
    window = Tape(blobs(2, 32).tensor, LOCAL_OPERATIONS).changed(
        [(0, 4, 0, 5)], [torch.zeros(2, 3, 4, 5)]
    )
    assert (window.shape, len(window), window.dim()) == ((2, 3, 32, 32), 2, 4)
    assert (window.dtype, window.device.type) == (torch.float32, "cpu")
    assert torch.equal(window[:, :, :4, :5], torch.zeros(2, 3, 4, 5))
