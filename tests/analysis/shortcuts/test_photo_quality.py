"""Photos of a class that are blurred, noisy or compressed are told apart, and by what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pfv_widgets.analysis.core.degradation import DEGRADATIONS, Degradation
from pfv_widgets.analysis.core.intervals import auc
from pfv_widgets.analysis.shortcuts import photo_quality
from pfv_widgets.analysis.shortcuts.photo_quality import (
    contrasts,
    discriminant_scores,
    likely_degradation,
)
from tests.analysis.shortcuts.planted_shortcut import scenes

FREE = torch.zeros(48, 64, 64, dtype=torch.bool)
OWN = torch.arange(48) % 4 < 2  # half of the scenes of each kind


def photos() -> torch.Tensor:
    return torch.from_numpy(scenes(48, 0)[0]).permute(0, 3, 1, 2).float()[:, :, ::2, ::2] / 255


@pytest.mark.parametrize("kind", list(DEGRADATIONS))
def test_what_was_done_to_the_photos_of_a_class_is_found(kind: str) -> None:
    strengths = DEGRADATIONS[kind].strengths
    true = Degradation(kind, strengths[2])
    plain, some = photos(), photos()
    some[OWN] = true(plain[OWN])
    some[0] = plain[0]  # one was spared
    rows = contrasts(some, FREE)
    assert auc(discriminant_scores(rows, OWN).double().numpy(), OWN.numpy()) > 0.85
    found = likely_degradation(rows[OWN], rows[~OWN], plain[~OWN])
    assert found is not None
    result, explained = found
    assert 0.7 < explained <= 1
    assert result.degradation is not None
    assert result.degradation.kind == kind
    assert result.degradation.strength in strengths[1:4]
    torch.testing.assert_close(result.put(plain[:2])[0], result.degradation(plain[:2]))


def of_any_contrast(some: torch.Tensor) -> torch.Tensor:
    strength = 0.05 + 0.95 * torch.rand(48, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    return 0.5 + (some - 0.5) * strength


def test_compression_is_found_where_photos_differ_in_contrast() -> None:
    plain = of_any_contrast(photos())
    some = plain.clone()
    some[OWN] = Degradation("compression", 24)(plain[OWN])
    rows = contrasts(some, FREE)
    assert auc(discriminant_scores(rows, OWN).double().numpy(), OWN.numpy()) > 0.85
    found = likely_degradation(rows[OWN], rows[~OWN], plain[~OWN])
    assert found is not None
    assert found[0].degradation is not None
    assert found[0].degradation.kind == "compression"
    rows = contrasts(plain, FREE)
    assert auc(discriminant_scores(rows, OWN).double().numpy(), OWN.numpy()) < 0.7


def test_what_was_done_explains_more_than_its_opposite_on_the_other_class() -> None:
    some = photos()
    some[OWN] = Degradation("noise", 0.11)(some[OWN])
    rows = contrasts(some, FREE)
    found = likely_degradation(rows[OWN], rows[~OWN], some[~OWN])
    mirrored = likely_degradation(rows[~OWN], rows[OWN], some[OWN])
    assert found is not None
    assert mirrored is not None
    assert mirrored[1] < found[1]


def test_photos_as_they_are_are_not_told_apart_by_quality() -> None:
    rows = contrasts(photos(), FREE)
    assert abs(auc(discriminant_scores(rows, OWN).double().numpy(), OWN.numpy()) - 0.5) < 0.25
    assert likely_degradation(rows[OWN], rows[~OWN], photos()[~OWN]) is None


def test_contrasts_are_quantiles_of_what_neighbouring_scales_differ_by() -> None:
    some = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    covered = torch.zeros(2, 32, 48, dtype=torch.bool)
    covered[0, :, :24] = True
    result = contrasts(some, covered).view(2, 4, 3, 5)
    light = some.sum(1).numpy() / 3**0.5
    wide = np.pad(light, ((0, 0), (1, 1), (0, 0)), mode="edge")
    rows = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    wide = np.pad(rows, ((0, 0), (0, 0), (1, 1)), mode="edge")
    fine = abs(light - (wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]) / 4)[:, ::4, ::3]
    for photo, part in enumerate((fine[0, :, 8:], fine[1])):
        ordered = np.sort(part.ravel())
        by_hand = [ordered[int(q * len(ordered))] for q in (0.1, 0.35, 0.6, 0.85, 0.97)]
        np.testing.assert_allclose(result[photo, 0, 0], np.log(np.array(by_hand) + 1 / 255), 1e-4)
    covered[1] = True
    assert contrasts(some, covered)[1].isnan().all()  # nothing is left of it


def test_contrasts_of_a_photo_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    some, covered, computed = photos()[:6], FREE[:6], []

    def counted(part: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        computed.append(len(part))
        return contrasts(part, beside)

    monkeypatch.setattr(photo_quality, "contrasts", counted)
    known = photo_quality.PhotoContrasts(some, covered)
    torch.testing.assert_close(
        known.of(torch.tensor([4, 0, 2])), contrasts(some, covered)[[4, 0, 2]]
    )
    torch.testing.assert_close(known.of(torch.arange(6)), contrasts(some, covered))
    assert computed == [3, 3]
