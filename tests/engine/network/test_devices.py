"""Networks that run on another device than their owner's: what is copied, and what follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, spectral_norm

import pfv_widgets as pw
from pfv_widgets.engine.network import devices, model_guard
from pfv_widgets.engine.network.devices import choose_device, copied, copied_to, on_device
from pfv_widgets.engine.network.model_guard import guarded, run
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError
from pfv_widgets.methods.comparison.comparison import Comparison, Task
from pfv_widgets.methods.core.target import Target
from pfv_widgets.methods.gradient.backprop import Saliency
from tests.networks import Function, blobs, tiny

META = torch.device("meta")  # another device that is there everywhere; it holds no numbers


@pytest.fixture
def copied_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run copies, as where there is a GPU and the network lies on the processor."""
    monkeypatch.setattr(devices, "_same_device", lambda *_: False)


class Constants(nn.Module):
    """Holds tensors that no module has registered, and makes one in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.gain, self.offsets = torch.full((1, 4, 1, 1), 2.0), [torch.ones(4, 1, 1)]
        self.tables = {"scale": torch.full((4, 1, 1), 0.5)}
        self.same = self.gain
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images) * self.gain + self.offsets[0] * self.tables["scale"]
        pooled = (maps * torch.linspace(0, 1, maps.shape[-1])).mean((2, 3))
        return self.head(pooled)


def test_what_no_module_has_registered_lies_with_the_copy() -> None:
    network = Constants()
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    moved = on_device(network, META)
    for one in (moved.conv.weight, moved.gain, moved.offsets[0], moved.tables["scale"]):
        assert one.device == META
    assert moved.same is moved.gain
    assert moved.conv.weight.grad is None
    assert {one.device.type for one in (network.gain, network.offsets[0], network.conv.weight)} == {
        "cpu"
    }


def test_a_copy_makes_its_tensors_where_its_weights_are() -> None:
    network, images = Constants().eval(), blobs(2).tensor
    with guarded(on_device(network, META)) as moved:
        assert run(moved, images.to(META)).device == META
        with guarded(network) as own:
            assert run(own, images).device.type == "cpu"
        assert run(moved, images.to(META)).device == META


def test_a_copy_that_its_owner_moved_back_is_a_network_as_any_other() -> None:
    moved = on_device(tiny(), META)
    assert copied_to(moved) == META
    assert copied_to(nn.Sequential(moved)) == META
    assert copied_to(moved.to_empty(device="cpu")) is None
    assert copied_to(tiny()) is None


def test_tensors_of_two_devices_are_named_with_what_to_do() -> None:
    network = tiny()
    elsewhere = torch.ones(8, 1, 1)
    network[2] = Function(lambda maps: maps + elsewhere)

    with (
        guarded(on_device(network, META)) as moved,
        pytest.raises(PFVValueError, match=r"ran on meta.*Pass device='cpu', or move"),
    ):
        run(moved, blobs(1).tensor.to(META))


@pytest.mark.usefixtures("copied_networks")
def test_maps_of_a_copy_follow_the_network() -> None:
    network, images = tiny(), blobs(2)
    comparison = Comparison(network, images)
    task = Task(0, 0, Saliency(), Target())
    before = comparison.compute(task)
    with torch.no_grad():
        network[0].weight.mul_(-1)
    comparison.refresh()
    assert comparison.cached(task) is None
    after = comparison.compute(task).values
    assert not torch.equal(after, before.values)
    torch.testing.assert_close(after, Comparison(network, images).compute(task).values)


@pytest.mark.usefixtures("copied_networks")
def test_a_network_in_training_is_followed_whatever_it_keeps_of_a_pass() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = spectral_norm(nn.Conv2d(3, 8, 3))
            self.gain, self.head = torch.ones(1, requires_grad=True), nn.Linear(8, 3)
            self.parts, self.drop = self.pooled, nn.Dropout(0.5)

        def pooled(self, maps: Tensor) -> Tensor:
            return maps.mean((2, 3))

        def forward(self, images: Tensor) -> Tensor:
            self.features = self.conv(images).relu() * self.gain
            return self.head(self.drop(self.parts(self.features)))

    network, images = Keeping(), blobs(3)
    optimiser = torch.optim.SGD(network.parameters(), 0.5)
    pfv = PFV(network, images, device="cpu")
    for _ in range(2):
        before = pfv.render().scores
        loss = network(images.tensor).square().sum()
        loss.backward()
        optimiser.step()
        result, fresh = pfv.render().scores, PFV(network, images, device="cpu").render().scores
        torch.testing.assert_close(result.abs(), fresh.abs(), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(result.abs(), before.abs(), rtol=1e-3, atol=1e-4)
    moved = pfv.model
    assert moved.parts.__self__ is moved
    assert moved.gain.is_leaf
    assert moved.conv.weight_orig.requires_grad


@pytest.mark.usefixtures("copied_networks")
def test_a_copy_that_fails_once_is_made_at_the_next_refresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, images = tiny(), blobs(2)
    comparison, pfv = Comparison(network, images), PFV(network, images, device="cpu")
    task = Task(0, 0, Saliency(), Target())
    before, picture = comparison.compute(task).values, pfv.render().scores
    with torch.no_grad():
        network[0].weight.mul_(-1)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(devices, "_moved_tensors", full)
        for again in (comparison.refresh, pfv.render):
            with pytest.raises(PFVValueError, match=r"could not be copied to cpu .*out of memory"):
                again()
    comparison.refresh()
    assert not torch.equal(comparison.compute(task).values, before)
    assert not torch.allclose(pfv.render().scores.abs(), picture.abs(), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("copied_networks")
def test_a_grid_knows_the_outputs_of_a_new_head() -> None:
    network, images = tiny(), blobs(2)
    comparison = Comparison(network, images)
    assert comparison.networks[0].outputs == {None: 5}
    network[-1] = nn.Linear(8, 9)
    comparison.refresh()
    assert comparison.networks[0].outputs == {None: 9}


def test_tensors_of_two_owners_are_copied_once_and_none_is_taken_for_another() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 4), nn.Linear(4, 4))
    network[2].weight = network[1].weight
    network[0].weight.requires_grad_(False)
    network[1].register_buffer("steps", torch.zeros(1), persistent=False)
    moved = on_device(network, META)
    assert moved[1].weight is moved[2].weight
    assert not moved[0].weight.requires_grad
    assert moved[1].weight.requires_grad
    assert moved[1].steps.device == META


class Remembering(nn.Conv2d):
    """Holds what it gave last."""

    def forward(self, images: Tensor) -> Tensor:
        self.last = super().forward(images)
        return self.last


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5),
        lambda: nn.utils.weight_norm(nn.Conv2d(3, 4, 3)),
        lambda: Remembering(3, 4, 3),
    ],
)
def test_networks_that_keep_what_they_computed_are_copied(make: Callable[[], nn.Module]) -> None:
    model, images = nn.Sequential(make()).eval(), blobs(2).tensor
    expected = model(images)
    new = copied(model)
    assert torch.equal(new(images), expected)
    with torch.no_grad():
        for one in new.parameters():
            one.add_(1)
        assert torch.equal(model(images), expected)
        assert not torch.equal(new(images), expected)


def test_a_network_of_buffers_runs_where_they_are_and_is_copied() -> None:
    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kernel", torch.ones(4, 3, 3, 3))

    network = Filter()
    assert on_device(network, META).kernel.device == META
    assert choose_device(network.to(META)) == META


def test_parts_that_give_themselves_for_a_copy_do_not_move() -> None:
    class Frozen(nn.Conv2d):
        def __deepcopy__(self, _: object) -> Frozen:
            return self

    network = nn.Sequential(Frozen(3, 4, 3))
    with pytest.raises(PFVValueError, match=r"could not be copied to meta \(Frozen is itself"):
        on_device(network, META)
    assert network[0].weight.device.type == "cpu"


def test_a_copy_is_made_outside_of_inference_mode() -> None:
    with torch.inference_mode():
        moved = on_device(tiny(), META)
    assert not moved[0].weight.is_inference()


def test_parts_of_a_pass_run_as_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the layer that is changed as well, and with their gradients."""
    made: set[str] = set()

    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(3, 4, 3, stride=2), nn.GRU(4, 5, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            values = self.conv(images).relu().flatten(2).transpose(1, 2)
            made.add(torch.zeros(()).device.type)
            if torch.is_grad_enabled():
                assert not torch.backends.cudnn.enabled
            return self.rnn(values)[0][:, -1]

    monkeypatch.setattr(model_guard, "copied_to", lambda _: META)
    pw.component_classes(PFV(Behind(), blobs(3), device="cpu").render(layer="conv"))
    assert made == {"meta"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor")
def test_quantised_networks_and_those_without_weights_stay_on_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "available_devices", lambda: ("auto", "cpu", "cuda"))
    assert choose_device(tiny()).type == "cuda"
    assert choose_device(nn.Sequential(nn.AvgPool2d(2))).type == "cpu"
    quantised = torch.ao.quantization.quantize_dynamic(tiny(), {nn.Linear})
    assert choose_device(quantised).type == "cpu"


def test_gradients_of_recurrent_layers_are_computed_without_cudnn() -> None:
    """In evaluation mode cuDNN gives none; passes without gradients keep it."""
    seen: list[tuple[bool, bool]] = []

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(3, 4, 3, stride=2), nn.LSTM(4, 5, batch_first=True)

        def forward(self, images: Tensor) -> Tensor:
            seen.append((torch.is_grad_enabled(), torch.backends.cudnn.enabled))
            return self.rnn(self.conv(images).flatten(2).transpose(1, 2))[0][:, -1]

    before = torch.backends.cudnn.enabled
    pw.attribute(Recurrent(), blobs(2), "saliency", unit=1)
    pw.PFV(Recurrent(), blobs(2), "cpu")
    assert set(seen) == {(True, False), (False, before)}
    assert torch.backends.cudnn.enabled is before
