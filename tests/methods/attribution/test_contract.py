"""What every method of the registry keeps: shapes, determinism, and the model as it came."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError, PFVWarning
from pfv_widgets.methods.attribution.attribute import attribute
from pfv_widgets.methods.attribution.registry import DEFAULT, METHODS
from pfv_widgets.methods.attribution.result import Attribution
from pfv_widgets.methods.core.method import CancelledError, Method
from pfv_widgets.methods.perturbation import occluded_scores
from pfv_widgets.parameters import Choice, Slider, Toggle, parameters_of
from tests.networks import Function, blobs, tiny, unchanged

pytestmark = pytest.mark.filterwarnings("ignore::pfv_widgets.errors.PFVWarning")
each_method = pytest.mark.parametrize("name", list(METHODS))


@each_method
def test_method_is_a_frozen_dataclass_with_a_label(name: str) -> None:
    kind = METHODS[name]
    assert isinstance(kind(), Method)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.label
    assert kind.family in ("input modification", "deconvolutional", "input reconstruction")
    labels = [other.label for other in METHODS.values()]
    assert labels.count(kind.label) == 1


@each_method
def test_each_method_says_what_it_passes_and_fails_with_its_source(name: str) -> None:
    evidence, fails = METHODS[name].evidence, bool(METHODS[name].caution)
    assert evidence.startswith(f"{'fails' if fails else 'passes'} the randomisation check (")
    assert re.search(r"\(.* et al\. 20\d\d", evidence)
    assert "insertion" in evidence
    assert not fails or "randomisation check" in METHODS[name].caution
    assert name != DEFAULT or not fails


def test_methods_that_show_the_image_whatever_the_network_warn_of_it() -> None:
    for name in ("guided_backprop", "deconvnet"):  # Adebayo et al. 2018, Nie et al. 2018
        assert METHODS[name].caution


@each_method
def test_illegal_options_are_named_errors(name: str) -> None:
    for option, parameter in parameters_of(METHODS[name]).items():
        wrong: dict[type, object] = {Slider: -1e9, Choice: "nothing", Toggle: "yes"}
        with pytest.raises(PFVError, match=option):
            METHODS[name](**{option: wrong[type(parameter)]})
        assert parameter.label
        assert parameter.help
    with pytest.raises(PFVTypeError, match=r"nonsense=3.*no such option"):
        attribute(tiny(), blobs(2), name, nonsense=3)


@each_method
def test_attribution_has_maps_scores_and_provenance(name: str) -> None:
    model, images = tiny(), blobs(3, 24, 40)
    result = attribute(model, images, name)
    assert isinstance(result, Attribution)
    assert result.maps.shape == (3, 24, 40)
    assert result.maps.dtype == result.signed.dtype == torch.float32
    assert result.signed.shape in ((3, 3, 24, 40), (3, 24, 40))
    assert bool(result.maps.isfinite().all())
    right = model(images.tensor).detach()
    assert torch.equal(result.units, right.argmax(1))
    torch.testing.assert_close(result.scores, right.amax(1), rtol=1e-4, atol=1e-5)
    assert not result.maps.requires_grad
    assert not result.scores.requires_grad
    assert (result.method, result.names) == (name, images.names)
    assert set(parameters_of(METHODS[name])) <= set(result.options)
    assert bool((result.maps != 0).any())
    if METHODS[name].reduction == "magnitude":
        assert float(result.maps.min()) >= 0


@each_method
def test_the_same_call_gives_the_same_map_and_changes_nothing(name: str) -> None:
    model, images = tiny(), blobs(3)
    model[1].train()
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    images.tensor.requires_grad_(False)
    before = images.tensor.clone()
    with unchanged(model):
        first = attribute(model, images, name)
    torch.rand(3)
    with unchanged(model), torch.inference_mode():
        second = attribute(model, images, name)
    assert torch.equal(first.signed, second.signed)
    assert torch.equal(images.tensor, before)
    assert images.tensor.grad is None


@each_method
def test_map_does_not_depend_on_the_chunk(name: str) -> None:
    model, images = tiny(), blobs(3)
    whole, single = (attribute(model, images, name, chunk_size=size) for size in (3, 1))
    scale = float(whole.signed.abs().max())
    torch.testing.assert_close(whole.signed, single.signed, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("wide", [True, False])  # whether occlusion passes parts
@pytest.mark.parametrize(("name", "few"), [("rise", {"masks": 10}), ("occlusion", {})])
def test_no_pass_has_more_images_than_the_batch_size(
    name: str, few: dict[str, int], wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []

    def note(values: torch.Tensor) -> torch.Tensor:
        passed.append(len(values))
        return values

    if not wide:
        monkeypatch.setattr(occluded_scores, "_WIDE", ())
    model, images = nn.Sequential(Function(note), tiny()), blobs(5)
    right = attribute(model, images, name, unit=[0, 1, 2, 3, 4], **few)
    assert max(passed) > 5
    for size in (1, 3):
        passed.clear()
        result = attribute(model, images, name, unit=[0, 1, 2, 3, 4], batch_size=size, **few)
        assert max(passed) == size
        torch.testing.assert_close(result.maps, right.maps, rtol=1e-4, atol=1e-5)


@each_method
def test_units_of_a_layer_inside_can_be_explained(name: str) -> None:
    model, images = tiny(), blobs(2)
    result = attribute(model, images, name, layer="4", unit=3)
    maps = model[:5](images.tensor)
    torch.testing.assert_close(result.scores, maps[:, 3].sum((1, 2)).detach(), rtol=1e-3, atol=1e-3)
    strongest = attribute(model, images, name, layer="4")
    assert torch.equal(strongest.units, maps.sum((2, 3)).argmax(1))


@each_method
def test_model_comes_back_after_an_exception(name: str) -> None:
    model, images = tiny().train(), blobs(3)
    with unchanged(model), pytest.raises(CancelledError):
        attribute(model, images, name, cancelled=lambda: True)
    with unchanged(model), pytest.raises(PFVValueError, match="unit=5: the output has 5 units"):
        attribute(model, images, name, unit=5)

    class Broken(nn.Module):
        def forward(self, _: object) -> object:
            raise RuntimeError("no luck")

    model.add_module("last", Broken())
    with unchanged(model), pytest.raises(PFVValueError, match="no luck"):
        attribute(model, images, name)


@each_method
def test_progress_ends_at_all(name: str) -> None:
    calls: list[tuple[int, int]] = []
    attribute(tiny(), blobs(3), name, chunk_size=2, progress=lambda *step: calls.append(step))
    assert calls[-1][0] == calls[-1][1] > 0
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@each_method
def test_nan_in_one_image_is_told_and_leaves_the_others_alone(name: str) -> None:
    model, images = tiny(), blobs(3)
    spoilt = images.tensor.clone()
    spoilt[1, :, 4, 4] = torch.nan
    batch = dataclasses.replace(images, tensor=spoilt)
    with pytest.warns(PFVWarning, match="NaN or infinite values in 1 of 3 images"):
        result = attribute(model, batch, name)
    assert bool(result.maps.isfinite().all())
    right = attribute(model, images, name)
    scale = float(right.signed.abs().max())
    torch.testing.assert_close(
        result.signed[[0, 2]], right.signed[[0, 2]], rtol=1e-3, atol=1e-4 * scale
    )
    with torch.no_grad():
        model[0].bias.fill_(torch.nan)
    with pytest.raises(PFVValueError, match="NaN or infinite for every image"):
        attribute(model, images, name)
