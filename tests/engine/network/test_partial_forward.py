"""Only what lies behind a layer runs, and gives what whole passes give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pfv_widgets.engine.network.forward import Forward
from pfv_widgets.engine.network.list_layers import list_layers
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.network.partial_forward import PartialForward
from pfv_widgets.errors import PFVValueError
from tests.networks import Function, Tokens, blobs, counted, tiny, unchanged


class Skips(nn.Module):
    """A skip connection around the layer, from a map that a later ReLU rewrites in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.inner = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3, padding=1))
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        self.relu(stem)  # what it returns is not used
        shifted = stem - 0.1
        inner = self.inner(shifted)  # rewrites what it takes
        return self.last(inner + shifted + stem).mean((2, 3))


class Twice(nn.Module):
    """One module that runs before, in and behind the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.shared = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        maps = self.shared(self.stem(images))
        for _ in range(3):
            maps = self.shared(maps)
        return maps.mean((2, 3))


class Looks(nn.Module):
    """What lies behind the layer looks at the images, which are changed in place before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(7, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images.mul_(2))
        return self.last(torch.cat([maps, images], 1)).mean((2, 3))


def part_of(model: nn.Module, layer: str, count: int = 5, chunk_size: int = 2) -> PartialForward:
    images = blobs(count, 16).tensor
    with guarded(model) as network:
        listing = list_layers(network, images[:2], run)
    forward = Forward(model, images, torch.device("cpu"))
    return PartialForward(forward, listing[layer], lambda value, _: value, chunk_size)


def by_hand(model: nn.Module, layer: str, images: Tensor, features: Tensor) -> Tensor:
    base, _, number = layer.partition("#")
    runs = 0

    def replace(*_: object) -> Tensor | None:
        nonlocal runs
        runs += 1
        return features.clone() if runs == int(number or 1) else None

    handle = model.get_submodule(base).register_forward_hook(replace)
    with torch.no_grad():
        scores = model(images.clone())
    handle.remove()
    return scores


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (tiny, "0"), (tiny, "4"), (tiny, "10"), (Skips, "stem"), (Skips, "inner"),
        (Skips, "inner.1"), (Skips, "last"), (Twice, "shared#1"), (Twice, "shared#2"),
        (Twice, "shared.0#3"), (Looks, "stem"),
    ],
)  # fmt: skip
def test_it_gives_what_a_whole_pass_with_the_layer_replaced_gives(
    make: Callable[[], nn.Module], layer: str
) -> None:
    torch.manual_seed(3)
    model = make().eval()
    part = part_of(model, layer)
    changed = part.features.flip(0) * 1.5 - 0.3
    before = changed.clone()
    assert part.is_partial
    images = blobs(5, 16).tensor
    torch.testing.assert_close(part.run(changed), by_hand(model, layer, images, changed))
    torch.testing.assert_close(part.run(part.features), model(images.clone()))
    assert torch.equal(changed, before)


def test_modules_before_the_layer_do_not_run() -> None:
    model = tiny()
    part = part_of(model, "8", count=2)
    replica_runs = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: replica_runs.append(name))
    part = part_of(model, "8", count=2)
    replica_runs.clear()
    part.run(part.features)
    computing = [name for name in replica_runs if name and int(name) > 8]
    assert computing == ["9", "10", "11", "12", "13", "14"]
    replica_runs.clear()
    other = part.of(blobs(3, 16, seed=7).tensor)  # what is stored of a pass is known
    assert replica_runs.count("0") == 2  # chunks
    with torch.no_grad():
        torch.testing.assert_close(other.run(other.features), model(blobs(3, 16, seed=7).tensor))
    with counted(*model) as calls:
        part.run(part.features)
    assert calls == []  # the network itself stays out of it


def test_images_are_copied_only_where_something_behind_the_layer_uses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied: list[int] = []
    copy = PartialForward._copied
    monkeypatch.setattr(
        PartialForward,
        "_copied",
        lambda self, batch: copied.append(len(batch)) or copy(self, batch),
    )
    for make, expected in ((tiny, []), (Looks, [2, 2, 1])):
        part = part_of(make().eval(), "0" if make is tiny else "stem")
        copied.clear()
        part.run(part.features)
        assert copied == expected


def test_check_is_called_before_what_runs_behind_the_layer_alone() -> None:
    calls: list[None] = []
    part = part_of(tiny(), "8", count=2)
    part = PartialForward(
        part._forward, part._layer, part._read, 2, check=lambda: calls.append(None)
    )
    calls.clear()
    part.run(part.features)
    assert len(calls) == 6


def test_class_tokens_stay_as_they_are() -> None:
    torch.manual_seed(0)
    model = Tokens(extra=1).eval()
    part = part_of(model, "norm")
    with torch.no_grad():
        assert torch.equal(part.run(part.features * 2), part.scores)  # it reads the class token


def test_skips_are_stored_only_where_something_uses_them() -> None:
    assert part_of(tiny(), "8").stored_bytes == 0
    stored = part_of(Skips().eval(), "inner").stored_bytes
    # the stem, what the ReLU makes of it, and what `inner` gives and makes of its input
    assert stored == 5 * 6 * 16 * 16 * 4 * 4


def test_a_network_that_takes_another_way_runs_whole() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.layer = nn.Conv2d(4, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            stem = self.stem(images)
            maps = self.layer(stem)
            return (maps + stem if float(maps.max()) > 1e3 else maps).mean((2, 3))

    model = Branches().eval()
    part = part_of(model, "layer")
    large = part.features * 1e6
    expected = by_hand(model, "layer", blobs(5, 16).tensor, large)
    torch.testing.assert_close(part.run(large), expected)


def test_features_that_the_network_refuses_are_named() -> None:
    def checked(maps: Tensor) -> Tensor:
        if bool((maps < 0).any()):
            raise ValueError("negative maps")
        return maps

    model = nn.Sequential(*tiny()[:11], Function(checked), *tiny()[11:]).eval()
    part = part_of(model, "10")
    with pytest.raises(PFVValueError, match=r"negative maps\)\. .* other features of layer='10'"):
        part.run(part.features - 1)


def test_gradients_pass_from_the_scores_to_the_features() -> None:
    model = tiny()
    part = part_of(model, "8")
    features = part.features.clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(part.run(features).sum(), features)
    leaf = part.features.clone().requires_grad_()
    model[9:](leaf).sum().backward()
    torch.testing.assert_close(gradient, leaf.grad)


def test_the_network_is_left_as_it_is_and_other_shapes_are_refused() -> None:
    model = tiny().train()
    with unchanged(model):
        part = part_of(model, "8")
        part.run(part.features)
    with pytest.raises(PFVValueError, match=r"features of shape"):
        part.run(part.features[:2])
