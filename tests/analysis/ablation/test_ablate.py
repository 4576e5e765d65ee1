"""A network without some components runs as a manual forward pass says."""

from __future__ import annotations

import copy
import dataclasses
import io

import pytest
import torch
from torch import Tensor, nn

import pfv_widgets as pw
from pfv_widgets.analysis.ablation.ablate import cut_components
from pfv_widgets.engine.network.feature_layout import LAYOUTS, LayoutKind
from pfv_widgets.engine.pca.basis import PrincipalBasis
from tests.networks import Tokens, blobs, tiny

LAYER = "10"  # the last ReLU of `tiny`


def fit_basis(model: nn.Module, layer: str = LAYER, components: int = 3) -> PrincipalBasis:
    return pw.PFV(model, blobs(6)).render(layer=layer, components=components).basis


def by_hand(model: nn.Sequential, basis: PrincipalBasis, chosen: list[int], mode: str) -> Tensor:
    """Cut with float64 matrices, position by position."""
    with torch.no_grad():
        maps = model[: int(LAYER) + 1](blobs(6).tensor).double()
        rows = basis.components[chosen].double()
        vectors = maps.permute(0, 2, 3, 1) - basis.mean.double()
        scores = vectors @ rows.T
        kept = scores if mode != "clamp" else scores * (scores > 0)
        part = kept @ rows
        cut = (part if mode == "keep" else vectors - part) + basis.mean.double()
        return model[int(LAYER) + 1 :](cut.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("mode", ["project", "keep", "clamp"])
@pytest.mark.parametrize("chosen", [[0], [2, 1]])
def test_it_gives_what_a_manual_forward_pass_gives(mode: str, chosen: list[int]) -> None:
    model = tiny()
    basis = fit_basis(model)
    network = pw.ablate(model, LAYER, basis, iter(chosen), mode=mode)
    with torch.no_grad():
        torch.testing.assert_close(
            network(blobs(6).tensor), by_hand(model, basis, chosen, mode), rtol=1e-4, atol=1e-5
        )
        assert not torch.allclose(network(blobs(6).tensor), model(blobs(6).tensor))


def test_signs_choose_the_side_that_is_clamped() -> None:
    model, images = tiny(), blobs(6).tensor
    basis = fit_basis(model)
    cut = [pw.ablate(model, LAYER, basis, 0, mode="clamp", signs=[sign]) for sign in (1, -1)]
    whole = pw.ablate(model, LAYER, basis, 0)
    with torch.no_grad():
        plain = model(images)
        both = sum(one(images) - plain for one in cut)
        # behind this layer all is affine: the two sides add up to the projection
        torch.testing.assert_close(both + plain, whole(images), rtol=1e-4, atol=1e-5)


def test_it_saves_loads_copies_trains_and_can_be_undone() -> None:
    model, images = tiny(), blobs(6).tensor
    before = copy.deepcopy(model.state_dict())
    network = pw.ablate(model, LAYER, fit_basis(model), 0).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    nn.functional.cross_entropy(network(images), torch.zeros(6, dtype=torch.long)).backward()
    optimiser.step()
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert not model.training  # the network given stays as it was
    network.eval()
    other = pw.ablate(model, LAYER, fit_basis(model), 1)
    other.readers += 1  # they come back with the state
    other.load_state_dict(network.state_dict())
    file = io.BytesIO()
    torch.save(copy.deepcopy(network), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    with torch.no_grad():
        expected = network(images)
        assert torch.equal(other.eval()(images), expected)
        assert torch.equal(loaded(images), expected)
        network.active = False
        assert torch.equal(network(images), network.undo()(images))
        assert not torch.equal(network(images), expected)
    assert all(not module._forward_hooks for module in network.modules())


def test_cutting_a_component_again_changes_nothing() -> None:
    model, images = tiny(), blobs(6).tensor
    basis = fit_basis(model)
    once = pw.ablate(model, LAYER, basis, 1)
    twice = pw.ablate(once, LAYER, basis, 1)
    both = pw.ablate(once, LAYER, basis, 0)
    every = fit_basis(model, components=8)
    rest = pw.ablate(model, LAYER, every, range(7))
    with pytest.raises(pw.PFVValueError, match="all 8 of layer '10'"):  # nothing would be left
        pw.ablate(rest, LAYER, every, 7)
    with torch.no_grad():
        torch.testing.assert_close(twice(images), once(images))
        torch.testing.assert_close(both(images), pw.ablate(model, LAYER, basis, [0, 1])(images))


def test_class_tokens_stay_and_channels_last_are_seen() -> None:
    torch.manual_seed(0)
    model = Tokens(extra=1).eval()
    basis = fit_basis(model, "norm")
    with torch.no_grad():  # the read-out takes the class token
        images = blobs(6).tensor
        network = pw.ablate(model, "norm", basis, 0)
        with pytest.warns(pw.PFVWarning, match="leaves the network's output as it is") as warned:
            assert torch.equal(network(images), model(images))
        assert warned[0].filename == __file__
        assert torch.equal(network(images), model(images))  # it is said once
        training = pw.ablate(model.train(), "norm", basis, 0)
        with pytest.warns(pw.PFVWarning, match="leaves the network's output as it is"):
            training(images)
        assert training.training
        assert training.model.training
    activations = []
    network.model.block.register_forward_pre_hook(lambda _, inputs: activations.append(inputs[0]))
    network(images)
    scores = (activations[0][:, 1:] - basis.mean) @ basis.components[0]
    assert scores.abs().max() < 1e-4


class Swapped(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 1, 3)


def test_a_layout_that_is_one_more_entry_is_listed_and_cut(monkeypatch) -> None:
    between = LayoutKind(lambda output, _: output.permute(0, 2, 1, 3), grid=(1, 3))
    monkeypatch.setitem(LAYOUTS, "channels between", between)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), Swapped(), Swapped(), nn.Conv2d(5, 2, 3)).eval()
    images, basis = blobs(6).tensor, fit_basis(model, "1")
    with torch.no_grad():
        cut = cut_components(model[0](images), basis.mean, basis.components[:1], "project")
        torch.testing.assert_close(pw.ablate(model, "1", basis, 0)(images), model[3](cut))


def test_half_precision_and_another_batch_size() -> None:
    model = tiny()
    network = pw.ablate(model, LAYER, fit_basis(model), 0).to(torch.float64)
    assert network(blobs(2).tensor.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": [1, 1]}, r"components=\(1, 1\): name each component once"),
        ({"components": 3}, r"components=\[3\].*from 0 to 2"),
        ({"components": []}, r"components=\[\]"),
        ({"components": 2.5}, r"components=2\.5"),
        ({"mode": "cut"}, r"mode='cut': choose one of 'project'"),
        ({"layer": "9"}, r"layer='9': the basis is of layer '10'"),
        ({"layer": ""}, r"layer='': the basis is of layer '10'"),
        ({"suspects": ""}, r"suspects='': expected a ShortcutReport"),
        ({"basis": None}, r"basis=None: expected a PrincipalBasis"),
        ({"signs": [0]}, r"signs=\(0,\)"),
        ({"components": list(range(8)), "basis": 8}, r"Leave at least one"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    model = tiny()
    number = arguments.get("basis", 3)
    basis = None if number is None else fit_basis(model, components=number)
    options = {"layer": LAYER, "components": 0} | arguments | {"basis": basis}
    with pytest.raises(pw.PFVError, match=message):
        pw.ablate(model, **options)


def test_a_basis_of_another_network_and_a_scripted_network_are_refused() -> None:
    wide = fit_basis(tiny(channels=6))
    with pytest.raises(pw.PFVValueError, match=r"basis has 6 channels, and layer '10' gives"):
        pw.ablate(tiny(), LAYER, wide, 0)(blobs(2).tensor)
    second = dataclasses.replace(wide, layer="10#2")  # which runs once
    with pytest.raises(pw.PFVValueError, match="layer='10#2' did not run"):
        pw.ablate(tiny(channels=6), None, second, 0)(blobs(2).tensor)
    broken = dataclasses.replace(wide, mean=wide.mean * torch.nan)
    with pytest.raises(pw.PFVValueError, match="basis: its mean or components are NaN"):
        pw.ablate(tiny(channels=6), LAYER, broken, 0)
    with pytest.raises(pw.PFVTypeError, match="traced or scripted"):
        pw.ablate(torch.jit.trace(tiny(), blobs(1).tensor), LAYER, wide, 0)


def test_layers_of_an_averaged_network_are_found_by_its_own_names() -> None:
    model, images = tiny(), blobs(6)
    averaged = torch.optim.swa_utils.AveragedModel(model).eval()
    basis = pw.PFV(averaged, images).render(layer=f"module.{LAYER}").basis
    plain = pw.ablate(model, LAYER, fit_basis(model), 0)
    with torch.no_grad():
        for layer in (None, f"module.{LAYER}"):
            cut = pw.ablate(averaged, layer, basis, 0)
            torch.testing.assert_close(cut(images.tensor), plain(images.tensor))
    twice = pw.ablate(cut, None, basis, 1)
    assert twice.layer == f"module.{LAYER}"


class Conditional(nn.Module):
    """Takes a number for each photo before the photos."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny()

    def forward(self, scale: Tensor, images: Tensor) -> Tensor:
        return self.network(images) * scale[:, None]


def test_photos_need_not_come_first_among_the_arguments() -> None:
    model, images = Conditional().eval(), blobs(6).tensor
    basis = dataclasses.replace(fit_basis(model.network), layer=f"network.{LAYER}")
    cut = pw.ablate(model, None, basis, 0)
    inner = pw.ablate(model.network, None, fit_basis(model.network), 0)
    with torch.no_grad():
        assert torch.equal(cut(torch.ones(6), images), inner(images))
        assert torch.equal(cut(scale=torch.ones(6), images=images), inner(images))


def test_a_component_without_a_variance_cannot_be_cut() -> None:
    basis = fit_basis(tiny())
    rows = basis.components.clone()
    rows[2] = 0
    basis = dataclasses.replace(basis, components=rows)
    assert len(pw.ablate(tiny(), LAYER, basis, [0, 2]).directions) == 1
    with pytest.raises(pw.PFVValueError, match=r"components: .* zero"):
        pw.ablate(tiny(), LAYER, basis, 2)
