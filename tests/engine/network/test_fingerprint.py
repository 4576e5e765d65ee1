"""Changes of a network's numbers are noticed, however they are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pfv_widgets.engine.network import devices
from pfv_widgets.engine.network.fingerprint import Fingerprint
from pfv_widgets.engine.pipeline.pfv import PFV
from tests.networks import blobs, tiny


def scale_data(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.data.mul_(1.3)


def prune(network: nn.Module) -> None:
    weight = network[8].weight
    weight.data[weight.data.abs() < weight.data.abs().median()] = 0


def replace_data(network: nn.Module) -> None:
    network[4].weight.data = network[4].weight.data * 0.5


def write_in_place(network: nn.Module) -> None:
    with torch.no_grad():
        network[8].bias.add_(1.0)


def change_a_buffer(network: nn.Module) -> None:
    network[5].running_mean.data.add_(0.5)


def one_channel(network: nn.Module) -> None:
    network[4].weight.data[3] *= -1


def load(network: nn.Module) -> None:
    network.load_state_dict(tiny(seed=3).state_dict())


def replace_an_activation(network: nn.Module) -> None:
    network[6] = nn.Softplus()


def change_an_option(network: nn.Module) -> None:
    network[4].dilation = network[4].padding = (2, 2)


CHANGES = [
    scale_data, prune, replace_data, write_in_place, change_a_buffer, one_channel, load,
    replace_an_activation, change_an_option,
]  # fmt: skip


@pytest.fixture(params=["itself", "copy"])
def _on_its_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the network, or a copy as where there is a GPU and the network is on the processor."""
    if request.param == "copy":
        monkeypatch.setattr(devices, "_same_device", lambda *_: False)


@pytest.mark.usefixtures("_on_its_device")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("inference", [False, True])
def test_picture_follows_a_change_of_the_network(
    change: Callable[[nn.Module], None], inference: bool
) -> None:
    with torch.inference_mode(inference):
        network = tiny()
    images = blobs(3)
    pfv = PFV(network, images, device="cpu")
    before = pfv.render().scores
    with torch.inference_mode(inference):
        change(network)
    result = pfv.render()
    fresh = PFV(network, images, device="cpu").render()
    torch.testing.assert_close(result.scores.abs(), fresh.scores.abs(), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(result.scores.abs(), before.abs(), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("_on_its_device")
def test_layers_follow_a_change_of_the_modules() -> None:
    network, images = tiny(), blobs(2)
    pfv = PFV(network, images, device="cpu")
    pfv.render()
    network[4].stride = (2, 2)
    network[10] = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1))
    pfv.render()
    assert pfv.layers == PFV(network, images, device="cpu").layers
    assert pfv.render(layer="10.1").scores.shape[2:] == (4, 4)


def test_counter_of_a_module_of_ones_own_is_no_change() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Counting())
    fingerprint = Fingerprint(network)
    state = fingerprint.state()
    network(torch.zeros(1, 3, 8, 8))
    assert network[1].calls == 1
    assert fingerprint.state() == state


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_value_in_ten_is_noticed_in_a_large_tensor(layout: torch.memory_format) -> None:
    network = nn.Conv2d(64, 128, 3).to(memory_format=layout)
    fingerprint = Fingerprint(network)
    states = [fingerprint.state()]
    assert fingerprint.state() == states[0]
    for _ in range(3):
        mask = torch.rand(network.weight.shape) < 0.1
        network.weight.data[mask] += 1e-6
        states.append(fingerprint.state())
    assert len(set(states)) == 4


def test_state_is_the_same_while_nothing_changes() -> None:
    network = tiny()
    pfv = PFV(network, blobs(2), device="cpu")
    first = pfv.render()
    fingerprint = Fingerprint(network)
    state = fingerprint.state()
    network(blobs(2).tensor)
    assert fingerprint.state() == state
    assert pfv.colours.previous
    assert torch.equal(pfv.render().heatmaps, first.heatmaps)


def test_refresh_computes_anew_what_no_fingerprint_sees() -> None:
    network, images = nn.Sequential(nn.Conv2d(3, 400, 3), nn.ReLU()), blobs(2, 16)
    pfv = PFV(network, images, device="cpu")
    before = pfv.render(layer="0").scores
    unseen = torch.ones(400 * 27, dtype=torch.bool)
    unseen[:: 400 * 27 // 512 | 1] = False
    flat = network[0].weight.data.view(-1)
    indices = unseen.nonzero()[5:9, 0]
    flat[indices] += 5.0
    assert torch.equal(pfv.render(layer="0").scores, before)
    pfv.refresh()
    fresh = PFV(network, images, device="cpu").render(layer="0")
    torch.testing.assert_close(pfv.render(layer="0").scores, fresh.scores)
    assert not torch.equal(fresh.scores, before)
