"""The last linear layer, fitted anew to balanced groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations, prune

from pfv_widgets.analysis.repair.read_out_refit import (
    STRENGTH,
    STRENGTH_WITH_OFFSETS,
    Numbers,
    Whole,
    refitted_weights,
    weights_with_margins,
    weights_with_offsets,
    with_read_out,
)
from pfv_widgets.analysis.repair.repair import repair
from pfv_widgets.errors import PFVValueError
from tests.networks import blobs, tiny


def noise(sizes: tuple[int, ...], seed: int) -> tuple[Numbers, Whole, Whole]:
    """Draw inputs that tell the class a little, and the kind of background well."""
    random = np.random.default_rng(seed)
    labels, kinds = np.repeat([0, 0, 1, 1], sizes), np.repeat([0, 1, 0, 1], sizes)
    inputs = random.normal(size=(len(labels), 60))
    inputs[:, 0] += 1.5 * labels
    inputs[:, 1] += 3 * kinds
    return inputs, labels, 2 * labels + kinds


def worst_group(
    fit: Callable[..., tuple[Numbers, Numbers]], few: int, seed: int, *, other: int | None = None,
    known: bool = False,
) -> float:  # fmt: skip
    training = noise((90, few, few if other is None else other, 90), seed)
    kinds = (training[2] % 2,) if known else ()
    weight, bias = fit(*training, 3, *kinds)
    inputs, labels, groups = noise((400,) * 4, 100 + seed)
    right = (inputs @ weight.T + bias).argmax(1) == labels
    return float(min(right[groups == one].mean() for one in range(4)))


@pytest.mark.parametrize("few", [4, 12])
def test_balanced_subsets_help_the_worst_group_of_other_photos(few: int) -> None:
    for seed in range(2):
        alone = worst_group(weights_with_margins, few, seed)
        assert worst_group(refitted_weights, few, seed) > alone + 0.03


def test_offsets_are_how_often_each_class_is_on_a_background() -> None:
    """The slopes of the loss are 0, by automatic differentiation."""
    random = np.random.default_rng(0)
    labels, kinds = random.integers(0, 3, 90), random.integers(0, 2, 90)
    kinds[labels == 2] = 1
    inputs = random.normal(size=(90, 5))
    inputs[:, 0] += labels
    weight, bias = weights_with_offsets(inputs, labels, kinds, 3)
    mean, spread = inputs.mean(0), inputs.std(0)
    rows = torch.tensor(np.column_stack([weight * spread, (bias + weight @ mean) / 10]))
    rows.requires_grad_()
    wide = torch.tensor(np.pad((inputs - mean) / spread, ((0, 0), (0, 1)), constant_values=10.0))
    often = [[((kinds == kind) & (labels == one)).sum() + 0.5 for one in range(3)]
             for kind in kinds]  # fmt: skip
    scores = wide @ rows.T + torch.tensor(np.log(often))
    loss = cross_entropy(scores, torch.tensor(labels), reduction="sum")
    (STRENGTH_WITH_OFFSETS * loss + rows.square().sum() / 2).backward()
    assert rows.grad is not None
    assert rows.grad.abs().max() < 1e-3 * rows.detach().abs().max()


def test_backgrounds_that_classes_share_are_balanced_where_a_class_lacks_another() -> None:
    for seed in range(2):
        alone = worst_group(refitted_weights, 0, seed, other=8)
        assert worst_group(refitted_weights, 0, seed, other=8, known=True) > alone + 0.03


def test_subsets_have_as_many_of_each_background_as_classes_share() -> None:
    """So all photos, where classes have as many of each: those of the smallest group are fewer."""
    inputs, labels, groups = noise((14, 4, 14, 4), 0)
    weight, bias = refitted_weights(inputs, labels, groups, 2, groups % 2)
    fits = [weights_with_margins(inputs, labels, groups, 2),
            weights_with_offsets(inputs, labels, groups % 2, 2)]  # fmt: skip
    whole, offsets = (inputs @ one.T + constant for one, constant in fits)
    mean = (whole + offsets * whole.std() / offsets.std()) / 2
    np.testing.assert_allclose(inputs @ weight.T + bias, mean, atol=1e-6)
    assert not np.allclose(weight, refitted_weights(inputs, labels, groups, 2)[0], atol=1e-3)


def test_classes_that_share_no_background_are_not_thinned_out() -> None:
    training = noise((30, 0, 0, 30), 0)
    fits = [refitted_weights(*training, 2, training[2]), weights_with_margins(*training, 2)]
    for one, other in zip(*fits, strict=True):
        np.testing.assert_array_equal(one, other)


def test_groups_of_one_size_are_fitted_by_one_plain_regression() -> None:
    inputs, labels, groups = noise((12,) * 4, 0)
    weight, bias = refitted_weights(inputs, labels, groups, 3)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    plain = LogisticRegression(C=STRENGTH).fit(standard, labels)
    scores = inputs @ weight.T + bias
    difference = scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(difference, plain.decision_function(standard), atol=2e-2)
    assert (scores[:, 2] < -100).all()  # a class without photos


def test_classes_with_different_numbers_of_groups_are_not_thinned_out() -> None:
    """Of subsets, a class with one group would have half the photos of one with two."""
    inputs, labels, groups = noise((30, 0, 12, 30), 0)
    fits = [fit(inputs, labels, groups, 2) for fit in (refitted_weights, weights_with_margins)]
    for one, other in zip(*fits, strict=True):
        np.testing.assert_array_equal(one, other)


HEADS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "plain": lambda layer: layer,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "former weight norm": nn.utils.weight_norm,
    "former spectral norm": nn.utils.spectral_norm,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_refitted_network_gives_the_scores_of_the_fit(name: str) -> None:
    network = nn.Sequential(*tiny(), nn.ReLU(), HEADS[name](nn.Linear(5, 3))).eval()
    images, seen = blobs(4), []
    network[-1].register_forward_hook(lambda *_: seen.append(name))
    with torch.no_grad():
        network(images.tensor)
    if name in (
        "pruned",
        "former weight norm",
    ):  # its weight is no leaf until it has run without gradients
        network[-1].weight = network[-1].weight.detach()
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(3, 5)), random.normal(size=3)
    state = torch.get_rng_state()
    new = with_read_out(network, str(len(network) - 1), weight, bias)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        expected = network[:-1](images.tensor).double().numpy() @ weight.T + bias
        assert new(images.tensor).numpy() == pytest.approx(expected, abs=1e-5)
        assert len(seen) == 2
        assert network(images.tensor).numpy() != pytest.approx(expected, abs=1e-1)


class Tied(nn.Module):
    """A read-out whose weights make its inputs as well."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = self.maps(images).mean((2, 3))
        scores: torch.Tensor = self.head(pooled * self.head.weight[0])
        return scores


def test_a_read_out_whose_weights_are_used_elsewhere_as_well_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(PFVValueError, match="weights are used elsewhere as well"):
        repair(Tied().eval(), blobs(16), [0, 1] * 8, groups=[0] * 16, method="refit")


class Offset(nn.Module):
    """Features far from zero, whose parts of a score cancel."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("between", [nn.Identity, Offset])
def test_networks_of_half_precision_are_refitted(
    between: Callable[[], nn.Module], dtype: torch.dtype
) -> None:
    images, labels = blobs(16), [0, 1] * 8
    model = nn.Sequential(*tiny()[:-1], between(), nn.Linear(8, 5)).to(dtype).eval()
    result = repair(model, images, labels, groups=[0] * 16, method="refit")
    assert result.method == "refit"
    assert {one.dtype for one in result.model.parameters()} == {dtype}


def test_a_network_that_cannot_be_copied_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(nn.Linear, "__deepcopy__", refuse, raising=False)
    with pytest.raises(PFVValueError, match=r"could not be copied \(NotImplementedError\)"):
        repair(tiny(), blobs(16), [0, 1] * 8, groups=[0] * 16, method="refit")
