"""What cutting changes: against whole forward passes, and counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

import pfv_widgets as pw
from pfv_widgets.analysis.ablation.ablate import cut_components, matched_readers, orthonormal
from pfv_widgets.analysis.ablation.cut_effect import CutEffect, cut_effect
from tests.networks import blobs, tiny


def components_of(layer: str) -> pw.ComponentClasses:
    labels = [str(index % 5) for index in range(12)]
    pfv = pw.PFV(tiny(), blobs(12), device="cpu")
    return pw.component_classes(pfv, labels=labels, layer=layer, components=4)


@pytest.fixture(scope="module")
def named_components() -> pw.ComponentClasses:
    return components_of("9")


@pytest.fixture(scope="module")
def read_components() -> pw.ComponentClasses:
    return components_of("10")  # pooling and a linear read-out follow


@pytest.mark.parametrize("mode", ["project", "keep", "clamp"])
@pytest.mark.parametrize("components", ["named_components", "read_components"])
def test_scores_are_those_of_the_network_without_the_components(
    request: pytest.FixtureRequest, components: str, mode: str
) -> None:
    result = request.getfixturevalue(components)
    effect = cut_effect(result, (0, 2), mode)
    without = pw.ablate(tiny(), result.layer, result.basis, (0, 2), mode=mode)
    with torch.no_grad():
        assert torch.allclose(effect.before, tiny()(blobs(12).tensor), atol=1e-5)
        assert torch.allclose(effect.after, without(blobs(12).tensor), atol=1e-5)
    assert not torch.allclose(effect.before, effect.after, atol=1e-3)


def test_only_what_lies_behind_the_layer_runs_and_nothing_where_shares_tell(
    named_components, read_components, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_components.exact
    assert not named_components.exact
    assert named_components.part.is_partial
    calls: list[str] = []
    for result in (named_components, read_components):
        before = result.part.run

        def run(*given, before=before, layer=result.layer, **more):
            calls.append(layer)
            return before(*given, **more)

        monkeypatch.setattr(result.part, "run", run)
        for components in ((1,), ()):
            cut_effect(result, components)
    assert calls == ["9"]
    cut_effect(read_components, (1,), "clamp")
    cut_effect(read_components, (1,), directions=read_components.basis.components[:1])
    assert calls == ["9", "10", "10"]


def test_accuracy_and_confusion_are_counted_by_hand() -> None:
    before = torch.eye(4)[[0, 0, 1, 1, 2, 3]]
    after = torch.eye(4)[[0, 1, 1, 1, 0, 0]]
    before[5] = torch.nan
    expected = torch.tensor([0, 1, 1, 1, 0, 0])
    effect = CutEffect(("a", "b", "c", "d"), before, after, expected)
    assert effect.changed == (1, 4)
    one, other = effect.accuracy()
    assert (one.value, other.value) == pytest.approx((3 / 5, 1))
    assert [(row[0], row[1], row[2].value, row[3].value) for row in effect.by_class()] == [
        ("a", 2, 0.5, 1.0),
        ("b", 3, pytest.approx(2 / 3), 1.0),
    ]
    names, was, now = effect.confusion()
    assert names == ("a", "b", "another class")
    labels = expected[:5].numpy()
    by_hand = confusion_matrix(labels, [0, 0, 1, 1, 2], labels=[0, 1, 2])[:2]
    assert (was == by_hand).all()
    assert (now == np.array([[2, 0, 0], [0, 3, 0]])).all()


def test_accuracy_is_undefined_without_labels_or_numbers(named_components) -> None:
    plain = CutEffect(("a", "b"), torch.eye(2), torch.eye(2), None)
    assert plain.accuracy() is None
    assert plain.by_class() == []
    with pytest.raises(pw.PFVValueError, match="no labels"):
        plain.confusion()
    empty = CutEffect(("a", "b"), torch.nan * torch.eye(2), torch.eye(2), torch.tensor([0, 1]))
    assert all(np.isnan(one.value) for one in empty.accuracy())


def test_what_cannot_be_cut_is_named(named_components) -> None:
    with pytest.raises(pw.PFVValueError, match="each component once"):
        cut_effect(named_components, (0, 0))
    with pytest.raises(pw.PFVValueError, match="from 0 to 3"):
        cut_effect(named_components, (7,))
    with pytest.raises(pw.PFVValueError, match="mode='burn'"):
        cut_effect(named_components, (0,), "burn")
    pfv = pw.PFV(tiny(), blobs(12), device="cpu")
    whole = pw.component_classes(pfv, layer="9", components=8)
    with pytest.raises(pw.PFVValueError, match="same features"):
        cut_effect(whole, range(8))


def test_other_directions_are_cut_with_the_components(named_components) -> None:
    mixed = (named_components.basis.components[1] + 2 * named_components.basis.components[3])[
        None
    ] / 5**0.5
    both = cut_effect(named_components, (3,), directions=mixed)
    assert torch.allclose(both.after, cut_effect(named_components, (1, 3)).after, atol=1e-5)
    one = cut_effect(named_components, (), directions=named_components.basis.components[[2, 2]])
    assert torch.allclose(one.after, cut_effect(named_components, (2,)).after, atol=1e-5)


def test_readers_cut_obliquely_as_a_manual_formula_says(named_components) -> None:
    torch.manual_seed(0)
    maps, mean = torch.randn(5, 8, 3, 3), torch.randn(8)
    rows = torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
    directions = rows + 0.5 * torch.randn(2, 8)
    x, d, v, m = (one.double().numpy() for one in (maps.movedim(1, 3), rows, directions, mean))
    scores = (x - m) @ v.T @ np.linalg.inv(d @ v.T)
    axes = orthonormal(rows)
    readers = matched_readers(axes, directions)
    for mode, expected in (("project", x - scores @ d), ("keep", m + scores @ d)):
        cut = cut_components(maps, mean, axes, mode, readers).movedim(1, 3)
        np.testing.assert_allclose(cut, expected, atol=1e-4)
    one = cut_components(maps, mean, rows[:1], "clamp", directions[:1] / (directions[0] @ rows[0]))
    part = ((x - m) @ v[0] / (v[0] @ d[0])).clip(0)
    np.testing.assert_allclose(one.movedim(1, 3), x - part[..., None] * d[0], atol=1e-4)
    torch.testing.assert_close(matched_readers(axes, rows), axes)  # at right angles
    torch.testing.assert_close(matched_readers(axes, rows[[0, 1, 1]]), axes)
    assert torch.equal(matched_readers(axes[:1], axes[1:]), axes[:1])  # it reads nothing of that
    along = named_components.basis.components[[2]]
    same = cut_effect(named_components, (0,), directions=along, readers=3 * along)
    assert torch.allclose(same.after, cut_effect(named_components, (0, 2)).after, atol=1e-5)
