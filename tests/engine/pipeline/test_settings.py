from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pfv_widgets.engine.colouring.colour_maps import COLOUR_MAPS
from pfv_widgets.engine.colouring.heatmaps import ColourSettings, render_heatmaps
from pfv_widgets.engine.colouring.weighting import WEIGHTINGS
from pfv_widgets.engine.pipeline.settings import Settings, settings_of
from pfv_widgets.errors import PFVError, PFVTypeError, PFVValueError
from pfv_widgets.parameters import parameters_of
from tests.non_default_settings import other_values


def test_defaults_are_those_of_the_paper() -> None:
    plain = Settings()
    assert (plain.components, plain.weighting, plain.sigma) == (3, "flat", 1.0)
    assert (plain.normalisation, plain.colour_map) == ("global", "rgb")
    assert (plain.layer, plain.channels, plain.images) == (None, None, None)
    assert plain.changed() == {}


def test_settings_are_frozen_hashable_and_compare_by_value() -> None:
    settings = Settings(images=[1, 0], channels=[2, 0])
    assert settings == Settings(images=(1.0, 0.0), channels=(2, 0))
    assert len({settings, Settings(images=(1, 0), channels=(2, 0))}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.sigma = 2  # type: ignore[misc]


def test_arrays_become_tuples_of_plain_numbers() -> None:
    settings = Settings(images=np.array([1, 0.5]), channels=np.array([1, 0]))
    assert settings.images == (1.0, 0.5)
    assert settings.channels == (1, 0)
    assert {type(entry) for entry in (*settings.images, *settings.channels)} == {float, int}


def test_every_registered_name_is_a_legal_setting() -> None:
    assert parameters_of(Settings)["weighting"].choices == WEIGHTINGS
    assert parameters_of(Settings)["colour_map"].choices == COLOUR_MAPS
    assert {"none", "flat", "hierarchical", "gradual"} <= set(WEIGHTINGS)


@pytest.mark.parametrize("name", parameters_of(ColourSettings))
def test_every_colour_setting_is_part_of_the_cache_key_and_of_the_heatmaps(name: str) -> None:
    plain = Settings()
    other = dataclasses.replace(plain, **{name: other_values()[name]})
    assert other.colouring != plain.colouring
    scores = (
        torch.linspace(-2, 3, 96).reshape(2, 3, 4, 4) * torch.tensor([3.0, 2, 1])[:, None, None]
    )
    first, second = (
        render_heatmaps(scores, [], (1.0, 1.0), one.colouring, (8, 8)) for one in (plain, other)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"components": 0}, PFVValueError, ["components=0", "1 to 12"]),
        ({"components": 13}, PFVValueError, ["components=13", "1 to 12"]),
        ({"sigma": 0}, PFVValueError, ["sigma=0", "0.25 to 4"]),
        ({"opacity": 1.1}, PFVValueError, ["opacity=1.1", "0 to 1"]),
        ({"weighting": "flatt"}, PFVValueError, ["weighting='flatt'", "Did you mean 'flat'"]),
        ({"colour_map": "jet"}, PFVValueError, ["colour_map='jet'", "'rgb'", "'safe'"]),
        ({"normalisation": "none"}, PFVValueError, ["normalisation", "'global', 'component'"]),
        ({"view": "both"}, PFVValueError, ["view='both'", "'overlay', 'heatmap', 'photo'"]),
        ({"layer": 3}, PFVTypeError, ["layer=3", "name of a layer"]),
        ({"stable_colours": 1}, PFVTypeError, ["stable_colours=1"]),
        ({"channels": ()}, PFVValueError, ["channels=()", "at least one"]),
        ({"channels": (0, 0)}, PFVValueError, ["channels=(0, 0)", "distinct"]),
        ({"channels": (3,)}, PFVValueError, ["channels=(3,)", "from 0 to 2", "components=3"]),
        ({"channels": (-1,)}, PFVValueError, ["channels=(-1,)"]),
        ({"channels": 1}, PFVTypeError, ["channels=1", "a tuple"]),
        ({"channels": (0.5,)}, PFVTypeError, ["channels=(0.5,)"]),
        ({"channels": (True,)}, PFVTypeError, ["channels=(True,)"]),
        ({"channels": "01"}, PFVTypeError, ["channels='01'"]),
        ({"images": (1, -0.5)}, PFVValueError, ["images[1]=-0.5", "≥ 0"]),
        ({"images": (float("nan"), 1)}, PFVValueError, ["images[0]=nan"]),
        ({"images": (1, float("inf"))}, PFVValueError, ["images[1]=inf"]),
        ({"images": 1}, PFVTypeError, ["images=1", "one weight"]),
        ({"images": ("a",)}, PFVTypeError, ["images=('a',)"]),
        ({"images": "10"}, PFVTypeError, ["images='10'"]),
        ({"cut_mode": np.ones(2)}, PFVValueError, ["cut_mode=array", "'project'"]),
    ],
)
def test_error_names_the_setting_its_value_and_what_is_legal(
    changes: dict[str, object], kind: type[PFVError], words: list[str]
) -> None:
    with pytest.raises(kind) as excinfo:
        Settings(**changes)  # type: ignore[arg-type]
    assert [word for word in words if word not in str(excinfo.value)] == []


def test_weights_are_all_one_unless_given() -> None:
    assert Settings().weights(3) == (1.0, 1.0, 1.0)
    assert Settings(images=(1, 0, 2)).weights(3) == (1.0, 0.0, 2.0)


@pytest.mark.parametrize(
    ("images", "words"),
    [((1, 1), "2 weights for a batch of 3 images"), ((0, 0, 0), "every weight is 0")],
)
def test_weights_that_fit_no_batch_are_refused(images: tuple[float, ...], words: str) -> None:
    with pytest.raises(PFVValueError, match=words):
        Settings(images=images).weights(3)


def test_shown_are_all_components_or_those_chosen() -> None:
    assert Settings(components=4).shown == (0, 1, 2, 3)
    assert Settings(components=4, channels=(3, 1)).shown == (3, 1)


def test_changed_tells_what_differs_from_the_defaults() -> None:
    assert Settings(sigma=2, weighting="flat").changed() == {"sigma": 2.0}


def test_keywords_are_merged_into_settings() -> None:
    base = Settings(sigma=2)
    assert settings_of(base, {"components": 5}) == Settings(sigma=2, components=5)
    assert settings_of(None, {}) == Settings()
    assert base == Settings(sigma=2)


def test_unknown_keyword_names_the_nearest_setting() -> None:
    with pytest.raises(PFVTypeError, match=r"'colormap' is no setting\. Did you mean 'colour_map'"):
        settings_of(None, {"colormap": "rgb"})
    with pytest.raises(PFVTypeError, match="expected a Settings"):
        settings_of({"sigma": 2}, {})  # type: ignore[arg-type]


def test_every_knob_declares_the_tab_that_shows_it() -> None:
    assert {knob.page for knob in parameters_of(Settings).values()} == {"Picture"}
