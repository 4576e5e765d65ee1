"""Shortcuts of the real SqueezeNet: a disc on bees, and animals on backgrounds of two kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import pfv_widgets as pw
from tests.benchmarks.bench_shortcuts import fitted, planted, worst
from tests.benchmarks.shortcut_cases import (
    RATE,
    Mark,
    ants_and_bees,
    backgrounds,
    batch_of,
    squeezenet_features,
)

pytestmark = [pytest.mark.assets, pytest.mark.slow]


@pytest.fixture(scope="module")
def features(assets: Path) -> nn.Module:
    return squeezenet_features(assets)


def test_a_disc_on_bees_is_found_and_cutting_it_gives_accuracy_back(
    assets: Path, features: nn.Module
) -> None:
    disc = Mark("sticker", fixed=False, colour=(250, 220, 30), scale=0.22)
    outcome = planted(features, ants_and_bees(assets, 160), disc, marked=1, seed=3)
    assert outcome.first
    assert outcome.pointing >= 0.9
    assert outcome.given_back >= 0.7
    assert outcome.cost <= 0.02


def test_repair_by_groups_helps_the_worst_of_animals_on_backgrounds(
    assets: Path, features: nn.Module
) -> None:
    """How much of the gain of balanced training that is, the benchmark measures over seeds."""
    train = backgrounds(assets, 180, RATE, seed=0)
    test = backgrounds(assets, 160, 0.5, test=True, seed=0)
    images = batch_of(train.pixels, train.labels, ("cat", "dog"))
    model = fitted(features, images, train.labels)
    repaired = pw.repair(model, images, groups=[f"kind {kind}" for kind in train.kinds])
    assert worst(repaired.model, test) > worst(model, test) + 0.05
    small = [one for one in repaired.before.values() if one.count < 10]
    assert bool(small) == any("Too little data" in one for one in repaired.warnings)
