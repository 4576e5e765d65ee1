"""Class scores split by components: shares against sums by hand."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import pfv_widgets as pw
from pfv_widgets.analysis.ablation.cut_effect import cut_effect
from pfv_widgets.analysis.classes.score_decomposition import shares_of_parts
from pfv_widgets.engine.progress import Cancelled, Progress
from tests.figure_layout import assert_words_have_room, texts
from tests.networks import blobs, tiny

LAYER = "10"  # pooling and a linear read-out follow


def test_shares_are_the_manual_sums_where_a_linear_read_out_follows() -> None:
    model = tiny()
    frame = pw.PFV(model, blobs(6)).render(layer=LAYER, components=3)
    result = pw.component_classes(frame)
    weights, bias = model[-1].weight, model[-1].bias
    with torch.no_grad():
        along = weights @ frame.basis.components.T  # (K, k)
        expected = frame.scores.mean((2, 3))[:, :, None] * along.T
        baseline = bias + weights @ frame.basis.mean
        scores = model(blobs(6).tensor)
    assert result.exact
    assert result.completeness_error == 0
    torch.testing.assert_close(result.image_shares, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(result.shares, expected.mean(0), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(result.baseline, baseline, rtol=1e-4, atol=1e-5)
    total = result.image_baseline + result.image_shares.sum(1) + result.image_rest
    torch.testing.assert_close(total, scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.residual, result.rest)
    torch.testing.assert_close(result.slopes, along.T, rtol=1e-2, atol=1e-3)


def test_scores_that_bend_where_one_part_is_missing_are_not_told_from_shares() -> None:
    def run(features: Tensor) -> Tensor:
        return (1 + features.sum((1, 2, 3)))[:, None].relu()

    features = torch.tensor([1.8, -0.9, -0.9]).view(1, 3, 1, 1)  # below 0 without the first alone
    for factor, exact in ((1.0, False), (0.5, True)):
        centred, mean = factor * features, torch.zeros(1, 3, 1, 1)
        part = SimpleNamespace(features=centred, scores=run(centred), run=run)
        parts = [centred * one[None, :, None, None] for one in torch.eye(3)]
        shares = shares_of_parts(part, mean, centred, parts, 1e-6)
        assert (shares is not None) == exact


def test_with_all_components_nothing_is_left() -> None:
    result = pw.component_classes(pw.PFV(tiny(), blobs(6)), layer=LAYER, components=8)
    assert result.rest.abs().max() < 1e-4


def test_elsewhere_the_gradient_is_integrated_along_the_components() -> None:
    model = tiny()
    pfv = pw.PFV(model, blobs(3))
    reports: list[Progress] = []
    few, many = (
        pw.component_classes(pfv, layer="6", components=2, steps=n, on_progress=reports.append)
        for n in (2, 32)
    )
    assert not few.exact
    assert list(dict.fromkeys(map(str, reports[:-1])))[:2] == [
        "Naming components by classes: 0 of 2 steps",
        "Naming components by classes: 1 of 2 steps",
    ]
    assert 0 < many.completeness_error < few.completeness_error
    off = few.image_error.abs().max() / (few.scores - few.image_baseline).abs().max()
    assert f"off by up to {100 * off:.0f} %" in few.warnings[0]
    assert "steps=8" in few.warnings[0]
    assert not many.warnings
    frame = pfv.render(layer="6", components=2)
    expected = riemann(model, 6, frame)
    torch.testing.assert_close(many.image_shares, expected, rtol=0.05, atol=5e-3)
    with torch.no_grad():
        total = many.image_baseline + many.image_shares.sum(1) + many.image_rest
        torch.testing.assert_close(total, model(blobs(3).tensor), rtol=1e-4, atol=1e-5)


def riemann(model: nn.Sequential, layer: int, frame: pw.Frame, steps: int = 60) -> Tensor:
    """Sum gradients at the midpoints of many steps, one class after the other."""
    with torch.no_grad():
        maps = model[: layer + 1](blobs(3).tensor)
    mean = frame.basis.mean[None, :, None, None]
    total = torch.zeros(3, 2, 5)
    for step in range(steps):
        features = (mean + (step + 0.5) / steps * (maps - mean)).requires_grad_()
        scores = model[layer + 1 :](features.clone())
        for unit in range(5):
            (slope,) = torch.autograd.grad(scores[:, unit].sum(), features, retain_graph=True)
            along = torch.einsum("kc,nchw->nkhw", frame.basis.components, slope)
            total[:, :, unit] += (along * frame.scores).sum((2, 3)) / steps
    return total


def test_backward_and_forward_derivatives_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from pfv_widgets.analysis.classes import score_decomposition

    pfv = pw.PFV(tiny(), blobs(3))
    forward = pw.component_classes(pfv, layer="6", components=2)

    def refuse(*_: object) -> list[Tensor]:
        raise NotImplementedError

    monkeypatch.setattr(score_decomposition, "_forward_slopes", refuse)
    backward = pw.component_classes(pfv, layer="6", components=2)
    torch.testing.assert_close(forward.image_shares, backward.image_shares, rtol=1e-3, atol=1e-6)


def test_first_derivative_does_not_warn_of_what_pytorch_itself_calls(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    from pfv_widgets.analysis.classes import score_decomposition

    make_dual, calls = forward_ad.make_dual, []

    def make_dual_of_a_new_process(*tensors: Tensor) -> Tensor:
        if not calls:
            warnings.warn("`torch.jit.script` is deprecated.", FutureWarning, stacklevel=2)
        calls.append(tensors)
        return make_dual(*tensors)  # type: ignore[no-untyped-call,no-any-return]

    monkeypatch.setattr(forward_ad, "make_dual", make_dual_of_a_new_process)
    score_decomposition._load_forward_mode.cache_clear()
    pw.component_classes(pw.PFV(tiny(), blobs(3)), layer="6", components=2)
    assert len(calls) > 1
    assert not recwarn.list


def test_labels_are_matched_and_differences_add_up() -> None:
    names = ["ant", "bee", "cat", "dog", "emu"]
    pfv = pw.PFV(tiny(), blobs(5))
    result = pw.component_classes(pfv, names, ["dog", "ant", "ant", "emu", "bee"], layer=LAYER)
    assert result.classes == tuple(names)
    assert result.expected.tolist() == [3, 0, 0, 4, 1]
    predicted = int(result.predicted[0])
    parts = result.difference(0)
    expected = result.scores[0, predicted] - result.scores[0, 3]
    torch.testing.assert_close(parts.sum(), expected, rtol=1e-4, atol=1e-5)
    by_alphabet = pw.component_classes(pfv, labels=["e", "a", "b", "c", "d"], layer=LAYER)
    assert by_alphabet.expected.tolist() == [4, 0, 1, 2, 3]
    assert "alphabetical" in by_alphabet.warnings[0]


@pytest.mark.parametrize(
    ("classes", "labels", "words"),
    [
        (None, "xyx", r"5 classes have no names to compare the photos' labels \('x', 'y'\) with"),
        (["a", "b", "c", "big cat", "e"], ["a", "cat", "a"],
         "'cat' is not among the names of the network's 5 classes.*such as 'big cat'"),
        (["a", "a", "b", "c", "d"], "abd", "classes is called 'a'.*with the numbers of"),
    ],
)  # fmt: skip
def test_labels_of_folders_that_are_no_classes_are_explained(
    classes: object, labels: str | list[str], words: str
) -> None:
    batch = replace(blobs(3), labels=tuple(labels))
    result = pw.component_classes(pw.PFV(tiny(), batch), classes, layer=LAYER, components=1)
    assert result.expected is None
    assert re.search(words, result.warnings[0])


def test_names_are_those_that_the_network_has_itself() -> None:
    model = pw.demo_model()
    result = pw.component_classes(pw.PFV(model, pw.demo_images(6), device="cpu"), components=1)
    assert tuple(result.classes) == tuple(model.classes)
    assert result.warnings == ()


def test_evidence_is_where_a_component_is_strongest() -> None:
    frame = pw.PFV(tiny(), blobs(6)).render(layer=LAYER, components=2)
    result = pw.component_classes(frame)
    for sign in (1, -1):
        first = result.evidence(1, sign)[0]
        assert first.score * sign == pytest.approx(float((sign * frame.scores[:, 1]).max()))
        assert float(frame.scores[first.image, 1][first.position]) == pytest.approx(first.score)
        top, bottom, left, right = first.box
        assert 0 <= top < bottom <= 32
        assert 0 <= left < right <= 32


def test_a_class_has_components_of_its_own_that_add_up_to_its_score() -> None:
    model = tiny()
    result = pw.component_classes(pw.PFV(model, blobs(12)), layer=LAYER)
    own = result.class_components(2, 8)
    weights = model[-1].weight[2].detach()
    torch.testing.assert_close(own.weights, weights, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        pooled = model[: int(LAYER) + 1](blobs(12).tensor).mean((2, 3)).double() * weights
    centred = pooled - pooled.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / 12).flip(0)
    torch.testing.assert_close(own.variances, variances, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(own.contributions.sum(1), centred.sum(1), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(own.maps.mean((2, 3)), own.contributions, rtol=1e-3, atol=1e-6)
    with pytest.raises(pw.PFVValueError, match="pooling and a linear read-out"):
        pw.component_classes(pw.PFV(model, blobs(3)), layer="6").class_components(0)


class Several(nn.Module):
    """Two outputs, and a branch that neither depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.aside = nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.stem(images)
        return {"one": maps.mean((2, 3)), "two": self.aside(maps).mean((2, 3)) * 0 + 1}


def test_bad_networks_and_labels_are_named() -> None:
    pfv = pw.PFV(Several(), blobs(3))
    with pytest.raises(pw.PFVValueError, match=r"output=None.*'one', 'two'"):
        pw.component_classes(pfv, layer="stem", components=2)
    with pytest.raises(pw.PFVValueError, match=r"layer='aside': .*depend on it.*such as 'stem'"):
        pw.component_classes(pfv, layer="aside", components=2, output="one")
    assert pw.component_classes(pfv, components=2, output="one").layer == "stem"
    with pytest.raises(pw.PFVValueError, match=r"shape \(2, 4, 30, 30\)"):  # no head
        pw.component_classes(pw.PFV(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), blobs(3)))
    network = pw.PFV(tiny(), blobs(3))
    with pytest.raises(pw.PFVValueError, match=r"layer='12'|layer='11'"):  # after pooling
        pw.component_classes(network, layer="12")
    with pytest.raises(pw.PFVValueError, match=r"labels: 2 names"):
        pw.component_classes(network, labels=["a", "b", "b"], layer=LAYER)
    with pytest.raises(pw.PFVValueError, match=r"labels: '7' is not one"):
        pw.component_classes(network, labels=[0, 7, 1], layer=LAYER)
    with pytest.raises(pw.PFVTypeError, match="pfv_or_frame"):
        pw.component_classes(tiny())
    alone = pw.heatmaps_from_activations([torch.randn(2, 4, 5, 5)])
    with pytest.raises(pw.PFVValueError, match="without a network"):
        pw.component_classes(alone)
    assert torch.isnan(pw.component_classes(network, layer=LAYER).slopes).sum() == 0


def test_nan_features_are_refused_and_a_training_network_is_evaluated() -> None:
    broken, images = tiny(), blobs(3)
    with torch.no_grad():
        broken[0].weight[0] = torch.nan
    with pytest.raises(pw.PFVValueError, match="NaN or infinite in image 0, 1, 2"):
        pw.component_classes(pw.PFV(broken, images), layer=LAYER)
    model = tiny()
    expected = pw.component_classes(pw.PFV(model, images), layer=LAYER).shares
    with torch.no_grad():
        broken[0].weight.copy_(model[0].weight)
        broken[-1].bias[0] = torch.nan
    warnings = pw.component_classes(pw.PFV(broken, images), layer=LAYER).warnings
    assert warnings == ("The scores of 3 of 3 photos are NaN or infinite.",)
    training = model.train()
    torch.testing.assert_close(
        pw.component_classes(pw.PFV(training, images), layer=LAYER).shares, expected
    )
    assert training.training


def test_one_photo_of_nan_says_nothing_of_the_others() -> None:
    images = blobs(6)
    images.tensor[0] = torch.nan
    pfv = pw.PFV(tiny(), images)
    weights = (0.0,) + (1.0,) * 5
    exact, integrated = (
        pw.component_classes(pfv.render(layer=layer, components=2, images=weights))
        for layer in (LAYER, "6")
    )
    assert (exact.exact, integrated.exact) == (True, False)
    assert 0 < integrated.completeness_error < 1
    assert integrated.image_rest[0].isnan().all()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_results_are_copied_and_pickled_without_the_network(again: Callable[[Any], Any]) -> None:
    result = pw.component_classes(pw.PFV(tiny(), blobs(4)), layer="6", components=2)
    new = again(result)
    assert torch.equal(new.image_shares, result.image_shares)
    assert new.evidence(0) == result.evidence(0)
    assert (new.classes, new.exact) == (result.classes, result.exact)
    new.figure()
    for call in (lambda: new.class_components(0), lambda: cut_effect(new, [0])):
        with pytest.raises(pw.PFVValueError, match=r"copy .* has no network"):
            call()


def test_a_frame_of_other_weights_than_the_network_has_now_is_refused() -> None:
    model = tiny()
    pfv = pw.PFV(model, blobs(4))
    frame = pfv.render(layer=LAYER, components=2)
    pw.component_classes(frame)
    elsewhere = pickle.loads(pickle.dumps(frame))  # with the network as it was
    with torch.no_grad():
        model[0].weight.mul_(1.5)
    with pytest.raises(pw.PFVValueError, match=r"the network has changed .* Render it again"):
        pw.component_classes(frame)
    pw.component_classes(elsewhere)
    result = pw.component_classes(pfv.render(layer=LAYER, components=2))
    with torch.no_grad():
        torch.testing.assert_close(result.scores, model(blobs(4).tensor))


def test_layer_and_components_of_a_frame_are_its_own() -> None:
    frame = pw.PFV(tiny(), blobs(4)).render(layer=LAYER, components=2)
    assert pw.component_classes(frame, layer=LAYER, components=2).layer == LAYER
    with pytest.raises(pw.PFVValueError, match=r"layer='nope': the frame has layer='10'"):
        pw.component_classes(frame, layer="nope")
    with pytest.raises(pw.PFVValueError, match=r"components=99: the frame has components=2"):
        pw.component_classes(frame, components=99)


@pytest.mark.parametrize("sign", [0, 2, None, float("nan")])
def test_a_side_that_is_none_is_named(sign: Any) -> None:
    result = pw.component_classes(pw.PFV(tiny(), blobs(3)), layer=LAYER, components=1)
    with pytest.raises(pw.PFVError, match=rf"sign={sign}: expected 1 or -1"):
        result.evidence(0, sign=sign)


def test_the_figure_has_a_row_a_component() -> None:
    result = pw.component_classes(pw.PFV(tiny(), blobs(4)), layer=LAYER, components=2)
    figure = result.figure()
    assert_words_have_room(figure)
    words = " ".join(one.get_text() for one in texts(figure))
    assert "component\N{NO-BREAK SPACE}2" in words
    assert "class 4" in words
    means = result.maps.mean((2, 3)).numpy()
    for component in range(2):  # by numpy, score by score
        shares = result.image_shares[:, component].numpy()
        expected = [np.cov(means[:, component], one, ddof=0)[0, 1] for one in shares.T]
        expected = np.array(expected) / means[:, component].std()
        np.testing.assert_allclose(result.effects[component], expected, rtol=1e-3, atol=1e-6)


def test_names_of_classes_that_begin_alike_differ_in_the_figure() -> None:
    names = [f"a long name that the classes have in common {number}" for number in range(5)]
    figure = pw.component_classes(pw.PFV(tiny(), blobs(4)), names, layer=LAYER).figure()
    cut = [one.get_text() for one in texts(figure) if "…" in one.get_text()]
    assert len({text[-1] for text in cut}) == 5


class Cautious(nn.Module):
    """A network that takes more than images, of functions as well, and says itself what fails."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 12, 3, 2)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor, gain: Tensor | None = None) -> Tensor:
        try:
            maps = self.last(torch.relu(self.first(images)))
            maps = torch.relu(maps * (1 if gain is None else gain.view(-1, 1, 1, 1)))
            scores: Tensor = self.head(maps.mean((2, 3)))
        except Exception as error:
            raise ValueError("it failed") from error
        return scores


def test_networks_that_handle_errors_themselves_are_split_as_others() -> None:
    images, model = blobs(6), Cautious().eval()
    plain = pw.component_classes(pw.PFV(model, images))
    wrapped = pw.with_inputs(model, {"gain": torch.ones(1)})
    assert plain.layer == pw.component_classes(pw.PFV(wrapped, images)).layer == "last"
    with torch.no_grad():
        torch.testing.assert_close(plain.scores, model(images.tensor))

    def stop(_: Progress) -> None:
        raise Cancelled

    for network in (model, wrapped):
        with pytest.raises(Cancelled):
            pw.component_classes(pw.PFV(network, images), on_progress=stop)
    with pytest.raises(pw.PFVTypeError, match="on_progress=3"):
        pw.component_classes(pw.PFV(model, images), on_progress=3)


def test_scores_that_bend_a_little_beside_their_size_are_not_called_exact() -> None:
    class Bent(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return 10 + 0.1 * torch.tanh(5 * features)

    model = nn.Sequential(*tiny()[:-1], nn.Linear(8, 5), Bent()).eval()
    assert not pw.component_classes(pw.PFV(model, blobs(6)), layer=LAYER).exact
    assert pw.component_classes(pw.PFV(tiny(), blobs(6)), layer=LAYER).exact


def test_the_components_of_a_class_are_printed_in_a_line() -> None:
    found = pw.component_classes(pw.PFV(tiny(), blobs(6)), layer=LAYER)
    printed = repr(found.class_components(2, 3))
    assert printed == "<ClassBasis of class 2: 3 components, 6 photos>"
