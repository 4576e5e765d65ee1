"""Cascading re-initialisation: what is drawn anew, what is shared, and what stays as it was."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import pfv_widgets as pw
from pfv_widgets.analysis.compare.randomised import randomised
from pfv_widgets.engine.network.capture import modules_by_name
from pfv_widgets.errors import PFVTypeError, PFVValueError
from tests.networks import blobs, tiny


def numbers(model: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in model.state_dict().items()}


def changed(model: nn.Module, trained: dict[str, Tensor]) -> set[str]:
    now = model.state_dict()
    return {name for name, values in trained.items() if not torch.equal(values, now[name])}


def test_each_network_has_one_more_block_of_the_top_drawn_anew() -> None:
    model = tiny()
    trained = numbers(model)
    networks = pw.randomised(model)
    assert list(networks) == ["trained", "down to 14", "down to 8", "down to 4", "down to 0"]
    assert networks["trained"] is model
    tops = [{"14"}, {"14", "8", "9"}, {"14", "8", "9", "4", "5"}]
    for name, top in zip(list(networks)[1:], tops, strict=False):
        assert {one.split(".")[0] for one in changed(networks[name], trained)} == top
    assert not changed(model, trained)


def test_a_block_has_the_same_new_weights_in_all_networks_and_shares_the_others() -> None:
    model = tiny()
    networks = randomised(model)
    *_, before, last = (dict(networks[name].named_parameters()) for name in networks)
    own = dict(model.named_parameters())
    for name, values in before.items():
        other = own if name.startswith(("0.", "1.")) else last
        assert values.data_ptr() == other[name].data_ptr()
        assert values.requires_grad == own[name].requires_grad


def test_weights_are_those_that_reset_parameters_draws() -> None:
    model = tiny(channels=40)
    last = randomised(model)["down to 0"]
    bound = 1 / 40**0.5  # Kaiming with a = √5: 1 / √(fan in)
    weights = last[14].weight.detach()
    assert float(weights.abs().max()) <= bound
    assert float(weights.std()) == pytest.approx(bound / 3**0.5, rel=0.15)
    for norm in (one for one in last.modules() if isinstance(one, nn.BatchNorm2d)):
        assert torch.equal(norm.running_mean, torch.zeros(40))
        assert torch.equal(norm.running_var, torch.ones(40))


def test_the_seed_decides_and_no_global_generator_notices() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    one, same, other = (randomised(tiny(), seed)["down to 0"] for seed in (1, 1, 2))
    torch.manual_seed(20200823)  # `tiny` seeds it
    assert not changed(same, numbers(one))
    assert {"0.weight", "4.weight", "14.bias"} <= changed(other, numbers(one))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


def test_a_network_is_made_when_it_is_visited_and_stays_while_it_is_used() -> None:
    networks = randomised(tiny())
    first = networks["down to 14"]
    for name in networks:
        assert name in networks
        assert networks[name] is networks[name]
    assert networks["down to 14"] is first
    with pytest.raises(KeyError):
        networks["down to nowhere"]


class Odd(nn.Module):
    """Parameters that no method draws, in places of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, 12).reshape(1, 3, 2, 2))
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.body = nn.Conv2d(3, 3, 1, bias=False)
        self.other = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
        self.tied = nn.Conv2d(3, 3, 1, bias=False)
        self.tied.weight = self.body.weight
        self.listed = [self.body.weight]
        self.register_buffer("running_mean", torch.ones(3))
        self.table = torch.arange(3.0)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.gain * images * self.scale.mean() + self.running_mean[:, None, None]
        return self.other(nn.functional.conv2d(maps, *self.listed)) + self.tied(maps)


def test_what_no_method_draws_is_shuffled_and_ties_hold() -> None:
    model = Odd().eval()
    trained, table = numbers(model), model.table.clone()
    networks = randomised(model)
    last = networks[list(networks)[-1]]
    assert not torch.equal(last.scale, model.scale)
    assert torch.equal(last.scale.flatten().sort()[0], model.scale.flatten())
    assert last.gain != model.gain
    assert last.tied.weight is last.body.weight is last.listed[0]
    assert torch.equal(last.running_mean, torch.zeros(3))
    assert not torch.equal(last.other.weight, model.other.weight)
    assert not changed(model, trained)
    assert torch.equal(model.table, table)


def test_a_randomised_network_is_a_network_like_any_other() -> None:
    model, images = tiny(), blobs(2)
    last = randomised(model)["down to 0"]
    frame = pw.PFV(last, images, device="cpu").render(components=2, layer="8")
    assert torch.isfinite(frame.heatmaps).all()
    assert set(modules_by_name(last)) == set(modules_by_name(model))
    last.train()
    last(images.tensor).sum().backward()
    assert all(one.grad is None for one in model.parameters())
    assert not model.training


def test_what_cannot_be_randomised_is_named() -> None:
    with pytest.raises(PFVTypeError, match="model=3"):
        randomised(3)
    with pytest.raises(PFVValueError, match="no parameters"):
        randomised(nn.ReLU())
    with pytest.raises(PFVValueError, match="seed=-1"):
        randomised(tiny(), -1)
    scripted = torch.jit.script(nn.Conv2d(3, 3, 1))
    with pytest.raises(PFVValueError, match="'0' is traced or scripted"):
        randomised(nn.Sequential(scripted))


class Uncopied(dict[str, object]):
    def __copy__(self) -> Uncopied:
        raise TypeError("there is one of me")


class Locked(Uncopied):
    def __deepcopy__(self, _: object) -> Locked:
        raise TypeError("there is one of me")


def test_a_network_that_cannot_be_copied_in_parts_is_copied_whole_or_named() -> None:
    model = tiny()
    model.by_name = Uncopied(first=model[0])
    networks = randomised(model)
    assert networks["down to 14"][0].weight.data_ptr() == model[0].weight.data_ptr()
    model.by_name = Locked(first=model[0])
    with pytest.raises(PFVValueError, match=r"could not be copied \(there is one of me"):
        randomised(model)


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_a_spectral_norm_is_that_of_the_new_weights(norm: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), norm(nn.Conv2d(8, 4, 3)))
    for _ in range(20):
        model(blobs(2).tensor)
    model.eval()
    *_, last = randomised(model).values()
    with torch.no_grad():
        last(blobs(2).tensor)
        for index in (0, 2):
            largest = torch.linalg.matrix_norm(last[index].weight.flatten(1), 2)
            assert float(largest) == pytest.approx(1, abs=0.1)
            assert not torch.equal(last[index].weight, model[index].weight)
