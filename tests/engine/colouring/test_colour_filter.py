from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pfv_widgets.engine.colouring.colour_filter import COLOUR_FILTERS as FILTERS
from pfv_widgets.engine.colouring.colour_filter import (
    SMALLEST_SHARE,
    codes_of,
    counting_size,
    hide,
    selected,
    shares_of,
)
from pfv_widgets.engine.colouring.heatmaps import render_heatmaps
from pfv_widgets.engine.pipeline.functional import heatmaps_from_activations
from pfv_widgets.engine.pipeline.pfv import PFV
from pfv_widgets.engine.pipeline.settings import Settings
from tests.networks import blobs, seeded, tiny

GREY = 0.5


@pytest.fixture
def pfv() -> PFV:
    return PFV(tiny(), blobs(5, 32, 40), device="cpu")


def colours_of(picture: np.ndarray) -> list[Counter[tuple[int, ...]]]:
    """How often each image of (N, H, W, 3) has each colour, at three levels a channel."""
    return [
        Counter(tuple(min(int(value * 3), 2) for value in pixel) for pixel in one.reshape(-1, 3))
        for one in picture.astype(np.float64)
    ]


def slowly(picture: np.ndarray, weights: Any, sharing: str) -> np.ndarray:
    """Hide one pixel after another."""
    counts = colours_of(picture)
    positions = picture.shape[1] * picture.shape[2]
    used = [count for count, weight in zip(counts, weights, strict=True) if weight > 0]
    every = {colour for count in counts for colour in count}
    common = {c for c in every if all(count[c] / positions >= SMALLEST_SHARE for count in used)}
    shown = common if sharing == "inclusive" else every - common
    painted = picture.copy()
    for index in np.ndindex(picture.shape[:3]):
        if (
            tuple(min(int(value * 3), 2) for value in picture[index].astype(np.float64))
            not in shown
        ):
            painted[index] = GREY
    return painted


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1), (1, 0, 2, 0, 0.5)])
@pytest.mark.parametrize("sharing", ["inclusive", "exclusive"])
@pytest.mark.parametrize("weighting", ["none", "gradual"])
def test_colours_are_kept_or_hidden_as_the_slow_oracle_says(
    pfv: PFV, weights: tuple[float, ...], sharing: str, weighting: str
) -> None:
    whole = pfv.render(images=weights, weighting=weighting).heatmaps.numpy()
    result = pfv.render(images=weights, weighting=weighting, sharing=sharing).heatmaps.numpy()
    np.testing.assert_allclose(result, slowly(whole, weights, sharing), atol=1e-6)
    assert 0 < (result != whole).any(axis=3).mean() < 1


def test_inclusive_and_exclusive_together_are_the_whole_picture(pfv: PFV) -> None:
    whole, shared, rest = (
        pfv.render(sharing=s).heatmaps for s in ("all", "inclusive", "exclusive")
    )
    assert bool((torch.isclose(shared, whole) | torch.isclose(rest, whole)).all())


def test_a_handful_of_pixels_is_no_colour_of_an_image() -> None:
    picture = torch.full((2, 3, 20, 20), 0.1)
    picture[:, 0, :5] = 0.9  # red in both
    picture[0, 1, 10, 5:9] = 0.5  # a share of 0.01 in the first alone
    picture[:, 2, 19, :3] = 0.9  # a share below it in both
    shares = shares_of(picture)
    assert shares.sum(dim=1).tolist() == pytest.approx([1, 1])
    red, green, blue = (int(codes_of(picture)[0, row, 0]) for row in (0, 10, 19))
    assert int(codes_of(picture)[0, 10, 5]) == 3
    shown = selected(shares, (1, 1), FILTERS["inclusive"]).shown
    assert shown[red]
    assert shown[green]
    assert not shown[blue]
    assert not shown[3]
    assert selected(shares, (1, 0), FILTERS["inclusive"]).shown[3]
    assert torch.equal(selected(shares, (1, 1), FILTERS["exclusive"]).shown, ~shown)


def test_colours_have_three_levels_a_channel() -> None:
    values = torch.tensor([0, 0.333, 0.334, 0.666, 0.667, 1.0])
    picture = torch.stack([values, torch.zeros(6), torch.zeros(6)])[None, :, None]
    assert codes_of(picture).flatten().tolist() == [0, 0, 9, 9, 18, 18]
    assert codes_of(torch.ones(1, 3, 1, 1)).item() == 26


@pytest.mark.parametrize(
    ("sharing", "same", "words"),
    [("inclusive", False, "No colour is in every image"), ("exclusive", True, "Every colour")],
)
def test_empty_selection_is_told(sharing: str, same: bool, words: str) -> None:
    picture = torch.zeros(2, 3, 10, 10)
    if not same:
        picture[1] = 1
    colours = selected(shares_of(picture), (1, 1), FILTERS[sharing])
    assert len(colours.warnings) == 1
    assert words in colours.warnings[0]
    other = {"inclusive": "exclusive", "exclusive": "inclusive"}[sharing]
    assert selected(shares_of(picture), (1, 1), FILTERS[other]).warnings == ()


def test_empty_selection_is_told_in_the_frame() -> None:
    maps = torch.randn(1, 6, 8, 8, generator=seeded()).repeat(3, 1, 1, 1)
    frame = heatmaps_from_activations([maps], Settings(sharing="exclusive"))
    assert any("Every colour is in every image" in warning for warning in frame.warnings)
    assert not heatmaps_from_activations([maps], Settings(sharing="inclusive")).warnings[1:]
    pfv = PFV(tiny(), blobs(1).subset([0, 0]), device="cpu")
    assert any("Every colour" in warning for warning in pfv.render(sharing="exclusive").warnings)


@pytest.mark.parametrize("sharing", ["inclusive", "exclusive"])
def test_size_and_selection_of_images_change_no_colour_set(pfv: PFV, sharing: str) -> None:
    large = pfv.render(sharing=sharing, size=(96, 120))
    one = pfv.render(sharing=sharing, size=(96, 120), only=[3])
    torch.testing.assert_close(one.heatmaps[0], large.heatmaps[3])
    whole = pfv.render(size=(96, 120)).heatmaps
    counted = pfv.render().heatmaps.permute(0, 3, 1, 2)
    shown = selected(shares_of(counted), (1,) * 5, FILTERS[sharing]).shown
    expected = hide(whole.permute(0, 3, 1, 2), shown).permute(0, 2, 3, 1)
    torch.testing.assert_close(large.heatmaps, expected)


def test_colours_are_counted_at_a_bounded_size() -> None:
    assert counting_size((32, 40)) == (32, 40)
    assert counting_size((1000, 500)) == (112, 56)
    assert counting_size((1, 5000)) == (1, 112)


def test_hiding_changes_nothing_in_place() -> None:
    picture = torch.rand(2, 3, 6, 6, generator=seeded())
    before = picture.clone()
    hidden = hide(picture, torch.zeros(27, dtype=torch.bool))
    assert torch.equal(picture, before)
    assert torch.equal(hidden, torch.full_like(picture, GREY))
    assert torch.equal(hide(picture, torch.ones(27, dtype=torch.bool)), picture)


def test_opacity_and_view_count_no_colours_anew(pfv: PFV) -> None:
    pfv.render(sharing="inclusive")
    entries = len(pfv.store.cache)
    pfv.render(sharing="inclusive", opacity=0.1, view="split", split=0.2)
    assert len(pfv.store.cache) == entries
    pfv.render(sharing="inclusive", sigma=2.0)
    assert len(pfv.store.cache) == entries + 1


def test_colours_are_hidden_on_images_that_are_painted_part_by_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores: Tensor = torch.randn(4, 3, 5, 5, generator=seeded())
    shown = torch.arange(27) % 2 == 0
    arguments: Any = (scores, [], (1,) * 4, Settings().colouring, (9, 9))
    whole = render_heatmaps(*arguments, colours=shown)
    monkeypatch.setattr("pfv_widgets.engine.colouring.heatmaps._CACHED", 1)
    torch.testing.assert_close(render_heatmaps(*arguments, colours=shown), whole)
