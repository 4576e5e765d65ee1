"""Which unit of the output a label is, and names in another order than the network's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pfv_widgets.analysis.classes.component_classes import component_classes
from pfv_widgets.analysis.core.labelled_units import LabelledUnits, labelled_units
from pfv_widgets.analysis.repair.repair import repair
from pfv_widgets.analysis.shortcuts.find_shortcuts import find_shortcuts
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.errors import PFVValueError

NAMES = ("ant", "bee", "cat")
UNITS = torch.arange(24) % 3
SHIFTED = torch.eye(3)[(UNITS + 1) % 3]  # the scores of a network that calls its outputs otherwise


def test_names_in_another_order_than_the_outputs_are_said_with_the_order_that_fits() -> None:
    note = LabelledUnits(NAMES, UNITS, by_name=True).checked_by(SHIFTED).note
    assert "right on 0 of 24 photos, fewer than by chance, but on 24" in note
    assert "in their order, 'cat', 'ant', 'bee'" in note


@pytest.mark.parametrize(
    ("scores", "photos", "by_name"),
    [
        (torch.eye(3)[UNITS], 24, True),
        (torch.eye(3)[UNITS // 2 % 3], 24, True),  # by chance
        (SHIFTED, 9, True),  # too few to tell
        (SHIFTED, 24, False),  # numbers are no names
        (SHIFTED * torch.nan, 24, True),
    ],
)
def test_nothing_is_said_of_an_order_that_fits_or_too_few_photos(
    scores: torch.Tensor, photos: int, *, by_name: bool
) -> None:
    assert not LabelledUnits(NAMES, UNITS[:photos], "", by_name).checked_by(scores[:photos]).note


def test_names_and_numbers_are_told_apart() -> None:
    assert labelled_units(["a", "b"], None, 2, 2).by_name
    assert not labelled_units(["1", "0"], None, 2, 2).by_name


ANALYSES = {
    "search": find_shortcuts,
    "repair": partial(repair, groups=["a", "b"] * 4),
    "classes": lambda model, photos, labels, **names: component_classes(
        PFV(model, photos), labels=labels, **names
    ),
}


@pytest.mark.parametrize("analysis", ANALYSES)
def test_the_search_the_repair_and_the_classes_say_so(analysis: str) -> None:
    """A network that calls red its first class, with labels by which it is the second."""
    colours = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        colours.weight[:] = torch.tensor([[4.0, -4, 0], [-4, 4, 0]])[:, :, None, None]
    read_out = nn.Linear(2, 2)
    nn.init.eye_(read_out.weight)
    model = nn.Sequential(colours, nn.AdaptiveAvgPool2d(1), nn.Flatten(), read_out).eval()
    photos = np.random.default_rng(0).random((8, 16, 16, 3)) * 0.2
    photos[::2, :, :, 0] += 0.8
    photos[1::2, :, :, 1] += 0.8
    labels = ["red", "green"] * 4
    result = ANALYSES[analysis](model, photos, labels)
    assert "right on 0 of 8 photos" in " ".join(result.warnings)
    named = ANALYSES[analysis](model, photos, labels, classes=["red", "green"])
    assert "right on" not in " ".join(named.warnings)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_names_of_another_number_of_classes_are_refused(analysis: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    photos = np.random.default_rng(0).random((8, 16, 16, 3))
    with pytest.raises(PFVValueError, match="classes: the list has 3 names"):
        ANALYSES[analysis](model, photos, ["a", "b"] * 4, classes=["a", "b", "c"])
