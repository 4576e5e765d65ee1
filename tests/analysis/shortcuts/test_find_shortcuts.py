"""Planted marks are found by their causal test, clean networks have no suspect, repair works."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from torch import nn

import pfv_widgets as pw
from pfv_widgets.analysis.core.intervals import Share, auc
from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.core.suspects import Suspect
from pfv_widgets.analysis.repair.read_out_refit import (
    UNKNOWN,
    held_out_predictions,
    weights_with_margins,
)
from pfv_widgets.analysis.shortcuts import causal_test
from pfv_widgets.analysis.shortcuts.causal_test import Trial
from pfv_widgets.analysis.shortcuts.find_shortcuts import distinct_trials, ranked
from tests.analysis.shortcuts.planted_shortcut import Mark, accuracy, batch, frame, trained
from tests.figure_layout import assert_words_have_room
from tests.widgets.classes.marked_photos import fooled_network, marked_photos

MARKS = {"frame": frame}


@cache
def planted(name: str) -> tuple[nn.Module, pw.ImageBatch, pw.ShortcutReport]:
    images = batch(40, 1100, MARKS.get(name))
    model = trained(images)
    return model, images, pw.find_shortcuts(model, images)


@pytest.fixture(scope="module", autouse=True)
def _reports() -> None:
    """Make both reports once, before the first test: all tests look at them."""
    for name in ("frame", "none"):
        planted(name)


def swapped(mark: Mark) -> pw.ImageBatch:
    return batch(80, 5000, mark, marked=0)


def reader_by_hand(model: nn.Module, images: pw.ImageBatch, suspect: Suspect) -> np.ndarray:
    activations: list[torch.Tensor] = []
    layer = model.get_submodule(suspect.layer)
    handle = layer.register_forward_hook(lambda _, __, output: activations.append(output))
    with torch.no_grad():
        model(images.tensor)
    handle.remove()
    pooled, labels = activations[0].mean((2, 3)).double().numpy(), np.array(images.labels)
    inner = sum((labels == one).sum() * np.cov(pooled[labels == one].T, bias=True)
                for one in set(labels)) / (len(labels) - 2)  # fmt: skip
    inner += 3 * np.diag(inner).mean() * np.eye(len(inner))
    reader = np.linalg.inv(inner) @ suspect.direction.double().numpy()
    return reader / (reader @ suspect.direction.double().numpy())


@pytest.mark.parametrize("name", list(MARKS))
def test_a_planted_mark_is_ranked_first_and_cutting_it_gives_accuracy_back(name: str) -> None:
    model, images, report = planted(name)
    first = report.suspects[0]
    assert first.class_name == "house"
    assert first.evidence.place == "fixed"
    assert first.evidence.shift_interval[0] > 0.2
    clean, other = batch(80, 5000, None), swapped(MARKS[name])
    lost = accuracy(model, clean) - accuracy(model, other)
    assert lost > 0.05
    repaired = pw.ablate(model, report.layer, report.basis, suspects=first)
    assert accuracy(repaired, other) - accuracy(model, other) > 0.7 * lost
    assert accuracy(repaired, clean) > accuracy(model, clean) - 0.05
    reader = reader_by_hand(model, images, first)
    np.testing.assert_allclose(first.reader, reader, atol=1e-3 * np.abs(reader).max())
    torch.testing.assert_close(repaired.state_dict()["readers"], first.reader[None])
    torch.testing.assert_close(repaired.state_dict()["directions"], first.direction[None])
    # as a component of the report's basis it is cut in the same way; of a reversed one it cannot be
    state = pw.ablate(model, report.layer, report.basis, [first.component]).state_dict()
    torch.testing.assert_close(state["readers"], first.sign * first.reader[None])
    torch.testing.assert_close(state["directions"], first.sign * first.direction[None])
    reversed_ = report.basis.arranged((-1 - first.component,))
    state = pw.ablate(model, report.layer, reversed_, [0]).state_dict()
    torch.testing.assert_close(state["readers"], state["directions"])


def test_its_map_points_at_the_mark() -> None:
    _, images, report = planted("frame")
    maps = report.maps(report.suspects[0])
    assert maps.shape == (40, *images.size)
    marked = [index for index, label in enumerate(images.labels) if label == "house"]
    blue = (images.pixels == (0, 90, 220)).all(3)
    hits = [blue[index].flat[int(maps[index].argmax())] for index in marked]
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("share", [1, 2])
def test_the_direction_of_a_bar_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    model, images, _ = planted("frame")
    alpha = torch.ones(12, images.size[1] // share)
    blue = torch.tensor([0, 90, 220])[:, None, None] / 255
    bar, refined = Overlay(alpha, blue.expand(3, *alpha.shape), "anywhere"), []

    def marks(photos: torch.Tensor, own: torch.Tensor) -> Iterator[Any]:
        yield bar, torch.zeros(int(own.sum()), *images.size), 1.0

    monkeypatch.setattr(causal_test, "marks_of", marks)
    monkeypatch.setattr(causal_test, "tint_of", lambda *_: None)
    monkeypatch.setattr(causal_test, "degradation_of", lambda *_: None)
    monkeypatch.setattr(causal_test, "refined_direction", lambda *found: refined.append(found))
    assert len(pw.find_shortcuts(model, images).suspects) == 1
    assert len(refined) == share - 1


def test_a_clean_network_has_no_suspect() -> None:
    _, _, report = planted("none")
    assert report.suspects == ()
    assert str(report).startswith("No suspect in layer")
    assert report.figure().get_size_inches()[0] > 1


@pytest.mark.parametrize("place", ["fixed", "anywhere", "everywhere"])
def test_a_mark_that_the_pixels_tell_for_sure_is_confirmed_by_its_effect(place: str) -> None:
    evidence = replace(
        planted("frame")[2].suspects[0].evidence, place=place, auc=0.83, shift_interval=(0.1, 0.3)
    )

    def confirmed(seen: float) -> bool:
        trial = SimpleNamespace(evidence=replace(evidence, seen=seen))
        return Trial.confirmed.fget(trial)

    assert confirmed(0.97)
    assert not confirmed(0.9)  # with other features as strong in other photos
    assert not confirmed(math.nan)  # there is no mark in the pixels


def test_hyphens_of_a_group_stay_where_its_score_has_a_minus() -> None:
    evidence = replace(planted("frame")[2].suspects[0].evidence, groups={"half-open": -0.25})
    assert evidence.lines()[-1] == "Mean score by group: half-open −0.25."


def test_evidence_that_is_undefined_is_said_in_words() -> None:
    evidence, none = planted("frame")[2].suspects[0].evidence, Share(0, 0)
    undefined = replace(
        evidence, share=math.nan, shift=math.nan, shift_interval=(math.nan, math.nan),
        at_border=math.nan, flips=none, control=none, restored=none,
    )  # fmt: skip
    lines = undefined.lines()
    assert not any("nan" in line for line in lines)
    assert "How far it moves them towards the class is undefined." in lines


def test_a_report_draws_and_saves_its_evidence(tmp_path) -> None:
    _, _, report = planted("frame")
    report.save(tmp_path / "report.png")
    report.save(tmp_path / "report.npz")
    arrays = np.load(tmp_path / "report.npz")
    assert arrays["suspects"][0] == report.suspects[0].component
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert "it draws a share of" in str(report)
    assert_words_have_room(report.figure())


def test_repair_by_cut_clamp_and_refit_says_what_it_gains_by_group() -> None:
    model, images, report = planted("frame")
    other = swapped(frame)
    for method in ("cut", "clamp", "refit"):
        result = pw.repair(model, images, suspects=report.suspects[:1], method=method)
        assert next(iter(result.before)) == "apple, with the mark of house"
        assert result.worst_after > result.worst_before
        unknown = f"they cannot tell what the {method} gains and costs" in str(result)
        assert unknown == (method != "refit")  # which is compared on photos that it has not seen
        if method != "clamp":  # it moves photos without the mark as well
            assert accuracy(result.model, other) > accuracy(model, other) + 0.05
        assert result.state.keys() == result.model.state_dict().keys()
    assert accuracy(model, images) == 1.0  # the network given is as it was


def test_a_cut_that_leaves_a_class_nothing_says_so() -> None:
    model, images = fooled_network(), marked_photos()
    names = {"classes": ["marked", "plain"]}
    report = pw.find_shortcuts(model, images, layer="2", **names)
    result = pw.repair(model, images, suspects=report.suspects[:1], **names)
    assert result.after["plain"].value == 0.0
    assert result.warnings[0].startswith("The cut costs more than chance explains: plain 1.00 → 0.")
    unharmed = pw.repair(*planted("frame")[:2], suspects=planted("frame")[2].suspects[:1])
    assert "more than chance" not in str(unharmed)  # one photo of twenty


def test_refitting_to_groups_balances_them_and_says_where_photos_are_few() -> None:
    model, images, _ = planted("frame")
    kinds = ["marked" if label == "house" else "plain" for label in images.labels]
    kinds[0] = "marked"
    result = pw.repair(model, images, groups=kinds)
    assert result.method == "refit"
    assert "apple, marked (1)" in result.warnings[-1]
    assert "no photos of 'plain': balanced subsets are of the groups that all" in str(result)
    apart = pw.repair(model, images, groups=list(images.labels))
    assert "no group is of all classes, so the refit is to all photos" in str(apart)
    assert result.before["apple, marked"].count == 1
    assert_words_have_room(result.figure())


def test_a_network_trained_on_the_photos_is_said_to_do_better_on_them_than_its_refit() -> None:
    torch.manual_seed(0)
    noise, labels = torch.rand(24, 3, 8, 8), [0, 1] * 12
    model = nn.Sequential(nn.Conv2d(3, 24, 8), nn.Flatten(), nn.Linear(24, 2, bias=False)).eval()
    features = model[:2](noise).detach()
    with torch.no_grad():
        model[2].weight.copy_((torch.linalg.pinv(features) @ torch.eye(2)[labels]).T)
    result = pw.repair(model, noise, labels, groups=["here"] * 24)
    assert result.worst_before == 1.0 > result.worst_after
    assert "does better on these photos" in result.warnings[0]


def test_photos_without_numbers_are_left_out_or_named() -> None:
    model, images, report = planted("frame")
    broken = images.subset(range(20))
    broken.tensor[3] = torch.nan
    for more in ({"method": "cut"}, {"groups": ["one", "two"] * 10}):
        result = pw.repair(model, broken, suspects=report.suspects[:1], **more)
        assert "Left out, since their scores are NaN or infinite: 1." in result.warnings
        assert result.total_before.count == result.total_after.count == 19
    nowhere = copy.deepcopy(model)
    with torch.no_grad():
        nowhere.features.stage1[0].weight[0] = torch.nan
    with pytest.raises(pw.PFVValueError, match="model: its scores are NaN or infinite"):
        pw.repair(nowhere, broken, suspects=report.suspects[:1])
    with pytest.raises(pw.PFVValueError, match="NaN or infinite for every photo"):
        pw.find_shortcuts(nowhere, broken)
    with pytest.raises(pw.PFVValueError, match=r"images: .* for '3'[.] Leave these"):
        pw.find_shortcuts(model, broken)


@pytest.mark.parametrize("classes", [2, 3])
def test_balanced_weights_minimise_the_loss_of_groups_with_margins(classes: int) -> None:
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(60, 4)), random.integers(0, classes, 60)
    inputs[:, 0] += labels
    groups = labels * 2 + (random.random(60) < 0.2)
    weight, bias = weights_with_margins(inputs, labels, groups, 4, strength=0.5)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    counts = np.bincount(groups)[groups]
    rows = 1 if classes == 2 else classes

    def scores_of(flat: np.ndarray) -> np.ndarray:
        actual = standard @ flat[rows:].reshape(rows, 4).T + flat[:rows]
        return np.pad(actual, ((0, 0), (classes - rows, 0)))  # of two classes, one has score 0

    def loss(flat: np.ndarray) -> float:
        scores = scores_of(flat) * (counts[:, None] / counts.max()) ** 0.3
        each = logsumexp(scores, axis=1) - scores[np.arange(60), labels]
        return 0.5 * (60 / (2 * classes * counts) * each).sum() + 0.5 * (flat[rows:] ** 2).sum()

    expected = scores_of(minimize(loss, np.zeros(rows * 5)).x)
    scores = inputs @ weight.T + bias
    mine = scores[:, :classes] - scores[:, :1]
    np.testing.assert_allclose(mine, expected - expected[:, :1], atol=2e-2)
    assert (scores.argmax(1) < classes).all()
    predicted = held_out_predictions(inputs, labels, groups, 4)
    assert 1 / classes < np.mean(predicted == labels) < np.mean(scores.argmax(1) == labels) + 0.05


def test_photos_that_no_read_out_can_be_fitted_without_are_not_predicted() -> None:
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(13, 4)), np.array([0] * 10 + [1] * 2 + [2])
    inputs[:, 0] += 4 * labels
    predicted = held_out_predictions(inputs, labels, labels, 4)
    assert np.flatnonzero(predicted == UNKNOWN).tolist() == [12]
    apart = np.arange(13)  # a group for each photo: they are not all in one fold
    assert UNKNOWN not in held_out_predictions(inputs[:12], labels[:12], apart[:12], 4)
    pixels = random.integers(0, 256, (9, 8, 8, 3), np.uint8)
    model = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 2)).eval()
    result = pw.repair(model, pw.load_images(pixels, size=8), [0] * 8 + [1], groups=["here"] * 9)
    name = "class 1, here"
    assert str(result.after[name]) == "undefined (no photos)"
    assert result.before[name].count == 1
    assert 0 <= result.worst_after == result.after["class 0, here"].value
    assert any("unknown for" in line for line in result.warnings)
    assert "nan" not in repr(result) + str(result)


class TwoHeads(nn.Module):
    """Gives the scores of the first of two read-outs that are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
        self.used, self.copy = nn.Linear(48, 2), nn.Linear(48, 2)
        self.copy.load_state_dict(self.used.state_dict())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images)
        self.copy(features)
        return self.used(features)


def test_the_read_out_that_is_used_is_fitted_anew_and_not_its_copy() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    model, images = TwoHeads().eval(), pw.load_images(pixels, size=8)
    result = pw.repair(model, images, [0, 1] * 10, groups=[0] * 20)
    assert torch.equal(result.model.copy.weight, model.copy.weight)
    with torch.no_grad():
        assert not torch.equal(result.model(images.tensor), model(images.tensor))


def test_intervals_and_areas() -> None:
    low, high = Share(8, 10).interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)  # Wilson, by statsmodels
    assert str(Share(0, 0)) == "undefined (no photos)"
    random = np.random.default_rng(1)
    scores, positive = random.integers(0, 5, 40).astype(float), random.random(40) > 0.5
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(auc(scores, np.ones(40, bool)))


def test_of_two_estimates_of_one_mark_the_surer_is_left() -> None:
    def trial(place: str, seen: float, score: float, unit: int = 0) -> Any:
        direction = torch.tensor([0.6, 0.8] if place == "fixed" else [1.0, 0.0])
        evidence = SimpleNamespace(place=place, seen=seen)
        return SimpleNamespace(evidence=evidence, score=score, unit=unit, direction=direction)

    fixed = trial("fixed", 0.98, 0.3)
    assert distinct_trials([trial("anywhere", 0.97, 0.32), fixed]) == [fixed]
    assert distinct_trials([fixed, trial("anywhere", 0.97, 0.28)]) == [fixed]
    assert distinct_trials([fixed, trial("anywhere", 0.99, 0.1)]) == [fixed]  # a part of it alone
    patch = trial("anywhere", 0.99, 0.32)
    assert distinct_trials([patch, fixed]) == [fixed]  # which says more, and is about as sure
    blurred = trial("fixed", 0.93, 0.3)
    assert distinct_trials([patch, blurred]) == distinct_trials([blurred, patch]) == [patch]
    other = trial("anywhere", 0.96, 0.28, unit=1)  # of another class
    assert distinct_trials([fixed, other]) == [fixed, other]


@pytest.mark.parametrize(
    ("seen", "auc", "least", "confirmed"),
    [
        (0.97, 0.6, 0.06, True),  # the pixels tell the class, others hide the mark's features
        (0.97, 0.99, 0.04, False),  # so little that any mark may do it
        (0.5, 0.9, 0.06, True),
        (0.5, 0.8, 0.06, False),
        (math.nan, 0.9, 0.06, True),
        (0.97, 0.99, math.nan, False),
    ],
)
def test_what_tells_the_class_and_moves_photos_to_it_is_suspected(
    seen: float, auc: float, least: float, *, confirmed: bool
) -> None:
    evidence = SimpleNamespace(seen=seen, auc=auc, shift_interval=(least, 1.0))
    asked: Any = SimpleNamespace(evidence=evidence)
    trial: Any = Trial
    assert trial.confirmed.fget(asked) is confirmed


def test_marks_come_before_colours_and_a_shading_where_it_scores_more() -> None:
    def trial(place: str, score: float, shades: bool = False) -> Any:
        evidence = SimpleNamespace(place=place)
        overlay = SimpleNamespace(shades=shades)
        return SimpleNamespace(evidence=evidence, score=score, overlay=overlay)

    mark, tint = trial("anywhere", 0.1), trial("everywhere", 0.3)
    faint, strong = trial("fixed", 0.2, shades=True), trial("fixed", 0.4, shades=True)
    assert ranked([tint, mark]) == [mark, tint]
    assert ranked([tint, mark, faint]) == [mark, tint, faint]
    assert ranked([tint, mark, strong]) == [strong, mark, tint]
    assert ranked([mark, faint]) == [faint, mark]


def test_a_map_is_highest_on_a_thin_line() -> None:
    _, images, report = planted("frame")
    alpha = torch.zeros(images.size)
    alpha[::8] = 1
    overlay = Overlay(alpha, torch.zeros(3, *images.size), "fixed")
    maps = report.maps(replace(report.suspects[0], overlay=overlay)).flatten(1)
    visible = maps.amax(1) > 0
    assert visible.any()
    assert (alpha.flatten()[maps.argmax(1)][visible] == 1).all()


def test_bad_input_is_named() -> None:
    model, images, report = planted("frame")
    with pytest.raises(pw.PFVValueError, match="is not of layer"):
        report.maps(replace(report.suspects[0], layer="stem"))
    plain = pw.load_images(images.tensor[:16])
    with pytest.raises(pw.PFVValueError, match="labels=None"):
        pw.find_shortcuts(model, plain)
    with pytest.raises(pw.PFVValueError, match="all photos are of the class 'apple'"):
        pw.find_shortcuts(model, plain, ["apple"] * 16, classes=["apple", "house"])
    with pytest.raises(pw.PFVValueError, match=r"labels: 'dog' is not one"):
        pw.find_shortcuts(model, plain, ["dog"] * 16, classes=["apple", "house"])
    with pytest.raises(pw.PFVValueError, match=r"masks of shape \(16, 2, 2\)"):
        pw.find_shortcuts(model, plain, [0, 1] * 8, masks=np.ones((16, 2, 2)))
    with pytest.raises(pw.PFVTypeError, match="masks"):
        pw.find_shortcuts(model, plain, [0, 1] * 8, masks="circle")
    with pytest.raises(pw.PFVValueError, match="groups has 2 entries"):
        pw.find_shortcuts(model, plain, [0, 1] * 8, groups=[1, 2])
    with pytest.raises(pw.PFVTypeError, match="traced or scripted"):
        pw.find_shortcuts(torch.jit.trace(model, images.tensor[:1]), images)
    few = pw.find_shortcuts(model, images.subset(range(6)), masks=np.ones((6, *images.size)))
    assert few.suspects == ()
    assert "Too few photos to tell" in few.warnings[-2]
    assert "Backgrounds were not tested" in few.warnings[-1]
    with pytest.raises(pw.PFVValueError, match="groups has 2 entries"):
        pw.repair(model, plain, [0, 1] * 8, groups=[1, 2])
    with pytest.raises(pw.PFVValueError, match="nothing to repair"):
        pw.repair(model, images)
    with pytest.raises(pw.PFVValueError, match="method='burn'"):
        pw.repair(model, images, suspects=report, method="burn")
    with pytest.raises(pw.PFVTypeError, match="suspects="):
        pw.repair(model, images, suspects=[1])
