from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS
from pfv_widgets.engine.colouring.colour_maps import PIN_COLOURS
from pfv_widgets.engine.colouring.compositing import VIEWS
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import parameters_of
from pfv_widgets.validation import MOST_PINS, checked_activations, few
from tests.networks import blobs, tiny


def test_new_knobs_are_declared_with_their_labels() -> None:
    declared = parameters_of(Settings)
    labels = {name: declared[name].label for name in ("view", "split", "sharing", "similarity")}
    assert labels == {
        "view": "View",
        "split": "Divider",
        "sharing": "Show colours",
        "similarity": "Similarity to pins",
    }
    assert tuple(VIEWS) == ("overlay", "heatmap", "photo", "side by side", "split", "rgb split")
    assert tuple(COLOUR_FILTERS) == ("all", "inclusive", "exclusive")


def test_pins_become_tuples_of_plain_numbers() -> None:
    settings = Settings(pins=[np.array([1, 0.5, 0]), [0, 1, 0.25]])
    assert settings.pins == ((1, 0.5, 0.0), (0, 1.0, 0.25))
    assert [type(value) for value in settings.pins[0]] == [int, float, float]
    assert Settings(pins=None).pins == Settings(pins=[]).pins == ()
    assert hash(settings)


@pytest.mark.parametrize(
    ("pins", "kind", "words"),
    [
        ("abc", PFVTypeError, "pins='abc'"),
        (3, PFVTypeError, "pins=3"),
        ([3], PFVTypeError, r"pins\[0\]=3"),
        (["abc"], PFVTypeError, r"pins\[0\]='abc'"),
        ([(0, 0, 0), (0, "x", 0)], PFVTypeError, r"pins\[1\]"),
        ([(True, 0, 0)], PFVTypeError, r"pins\[0\]"),
        ([(0, 0)], PFVValueError, r"pins\[0\]"),
        ([(0, 0, 0, 0)], PFVValueError, r"pins\[0\]"),
        ([(-1, 0, 0)], PFVValueError, "whole number from 0"),
        ([(0.5, 0, 0)], PFVValueError, "whole number from 0"),
        ([(float("inf"), 0, 0)], PFVValueError, "whole number from 0"),
        ([(0, 1.01, 0)], PFVValueError, "from 0 to 1"),
        ([(0, 0, -0.01)], PFVValueError, "from 0 to 1"),
        ([(0, float("nan"), 0)], PFVValueError, "from 0 to 1"),
        ([(0, 0, 0)] * 9, PFVValueError, "at most 8"),
    ],
)
def test_pin_that_is_none_is_named(pins: Any, kind: type[PFVError], words: str) -> None:
    with pytest.raises(kind, match=words):
        Settings(pins=pins)


def test_there_is_a_colour_for_each_pin() -> None:
    assert len(set(PIN_COLOURS)) == MOST_PINS
    assert len(Settings(pins=[(0, 0, 0)] * MOST_PINS).pins) == MOST_PINS


@pytest.mark.parametrize("similarity", [True, False])
def test_pin_beyond_the_batch_is_named_when_it_is_painted(similarity: bool) -> None:
    pfv = PFV(tiny(), blobs(3), device="cpu")
    settings = Settings(pins=[(2, 0, 0), (3, 0.5, 0.5)], similarity=similarity)
    with pytest.raises(PFVValueError, match=r"pins\[1\]=\(3, 0\.5, 0\.5\).*from 0 to 2"):
        pfv.render(settings)
    assert pfv.render(settings, pins=[(2, 0, 0)]).settings.pins == ((2, 0.0, 0.0),)


@pytest.mark.parametrize(
    ("only", "kind"),
    [
        ("01", PFVTypeError),
        (1, PFVTypeError),
        ([0.0], PFVTypeError),
        ([True], PFVTypeError),
        ([], PFVValueError),
        ([-1], PFVValueError),
        ([0, 3], PFVValueError),
    ],
)
def test_images_to_paint_that_are_none_are_named(only: Any, kind: type[PFVError]) -> None:
    with pytest.raises(kind, match=r"only=.*from 0 to 2"):
        PFV(tiny(), blobs(3), device="cpu").render(only=only)


def test_few_indices_are_written_out_and_many_counted() -> None:
    assert few([1, 4]) == "1, 4"
    assert few(range(9)) == "0, 1, 2, 3, 4, 5 and 3 more"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda maps: maps.to_sparse(), "layout torch.sparse_coo"),
        (lambda maps: torch.nested.nested_tensor([*maps]), "nested"),
        (lambda maps: maps.to(torch.float8_e4m3fn), "Convert it"),
        (lambda maps: maps.to("meta"), "meta device"),
    ],
)
def test_activations_without_plain_numbers_are_refused_in_words(
    make: Callable[[torch.Tensor], torch.Tensor], words: str
) -> None:
    with pytest.raises(PFVError, match=rf"activations\[0\].*{words}"):
        checked_activations([make(torch.rand(2, 8, 4, 4))])
