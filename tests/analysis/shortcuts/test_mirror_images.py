"""Of two degradations that mirror each other, one is suspected."""

from __future__ import annotations

import math

import numpy as np
import torch

import pfv_widgets as pw
from pfv_widgets.analysis.core.intervals import Share
from pfv_widgets.analysis.core.suspects import Evidence
from pfv_widgets.analysis.shortcuts.causal_test import Trial
from pfv_widgets.analysis.shortcuts.mirror_images import without_mirror_images
from tests.analysis.shortcuts.planted_shortcut import batch, trained

NONE = Share(0, 0)


def trial(unit: int, quality: str, explained: float, least: float = 0.3) -> Trial:
    evidence = Evidence(
        0.9, (0.8, 1.0), 0.3, 1.0, 1.0, "everywhere", 1.0, math.nan, NONE, NONE, NONE, 0.4,
        (least, 0.5), NONE, NONE, 0.96, quality=quality, explained=explained,
    )  # fmt: skip
    direction = torch.tensor([1.0, 0.0])
    name = ("ants", "bees")[unit]
    return Trial(direction, direction, 1.0, unit, name, "layer", evidence, None, (0, 1.0))


def test_the_one_that_explains_more_is_left_and_says_what_the_other_would_be() -> None:
    noisy, compressed, tint = trial(1, "noisy", 0.99), trial(0, "compressed", 0.95), trial(0, "", 0)
    one, left = without_mirror_images([tint, compressed, noisy], 2)
    assert one is tint
    assert left.name == "bees"
    lines = left.evidence.lines()
    assert "Beside others, photos of the class look noisy." in lines
    assert (
        "That explains 99 % of what their contrasts differ by, which alone tell them from others "
        "with AUC 0.96."
    ) in lines
    assert (
        "It may be the other way round: those of 'ants' look compressed, which explains 95 %."
    ) in lines


def test_degradations_of_two_among_three_classes_are_both_left() -> None:
    several = [trial(1, "noisy", 0.99), trial(0, "compressed", 0.95)]
    assert without_mirror_images(several, 3) == several


def test_one_that_is_not_confirmed_is_named_beside_the_other() -> None:
    blurred, posterised = trial(0, "blurred", 0.8), trial(1, "posterised", 0.95, least=0.0)
    left = without_mirror_images([blurred, posterised], 2)
    assert [one.evidence.quality for one in left] == ["blurred", "posterised"]
    assert left[0].evidence.mirrored == "those of 'bees' look posterised, which explains 95 %"


def test_what_has_no_mirror_image_is_left_as_it_is() -> None:
    several = [trial(1, "noisy", 0.9), trial(1, "", math.nan)]
    assert without_mirror_images(several, 2) == several
    assert (
        "It may be the other way round: photos of others may have been changed, the opposite way."
    ) in several[0].evidence.lines()


def test_noise_on_a_class_is_not_said_to_be_large_pixels_of_the_other() -> None:
    def noisy(photo: np.ndarray, random: np.random.Generator) -> None:
        photo[:] = np.clip(photo + random.normal(0, 25, photo.shape), 0, 255)

    images = batch(40, 1100, noisy)
    model = trained(images)
    degraded = [one for one in pw.find_shortcuts(model, images).suspects if one.evidence.quality]
    assert [one.class_name for one in degraded] == ["house"]
    assert degraded[0].evidence.quality.startswith("noisy")
    assert degraded[0].evidence.mirrored.startswith("those of 'apple' look ")
