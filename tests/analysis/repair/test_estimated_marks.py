"""What a repair says of photos with a mark is measured with an estimate of it, and says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import pfv_widgets as pw
from pfv_widgets.analysis.core.suspects import Suspect
from tests.widgets.classes.marked_photos import fooled_network, marked_photos

NAMES = {"classes": ["marked", "plain"]}
ESTIMATED = "an estimate of it put on. With the real mark, on other photos, both networks may do"


@pytest.fixture(scope="module")
def suspect() -> Suspect:
    report = pw.find_shortcuts(fooled_network(), marked_photos(), layer="2", **NAMES)
    return report.suspects[0]


def fainter(suspect: Suspect, share: float) -> Suspect:
    assert suspect.overlay is not None
    return replace(suspect, overlay=replace(suspect.overlay, alpha=share * suspect.overlay.alpha))


@pytest.mark.parametrize("method", ["cut", "clamp", "refit"])
def test_an_estimate_that_misleads_the_network_on_few_photos_is_said_to_be_weak(
    suspect: Suspect, method: str
) -> None:
    model, images = fooled_network(), marked_photos()
    strong = pw.repair(model, images, suspects=suspect, method=method, **NAMES)
    assert ESTIMATED in str(strong)
    assert "misleads" not in str(strong)
    weak = pw.repair(model, images, suspects=fainter(suspect, 0.02), method=method, **NAMES)
    assert (
        "The estimated mark misleads the network on few photos (plain, with the mark of marked "
        "1.00 → 1.00)."
    ) in str(weak)
    assert f"then what the {method} gains is not known" in str(weak)
    assert ESTIMATED in str(weak)


def test_photos_as_they_are_are_no_estimates(suspect: Suspect) -> None:
    model, images = fooled_network(), marked_photos()
    result = pw.repair(model, images, groups=["here", "there"] * 12, suspects=suspect, **NAMES)
    assert "estimate" not in str(result)


def test_photos_without_numbers_are_left_out_of_the_estimates(suspect: Suspect) -> None:
    images = marked_photos()
    images.tensor[0] = torch.nan
    faint = fainter(suspect, 0.02)
    result = pw.repair(fooled_network(), images, suspects=faint, method="cut", **NAMES)
    assert "misleads the network on few photos" in str(result)
