"""Overlays are estimated as they were put on: marks, shadings, tints, lines, patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.candidates import marks_of
from pfv_widgets.analysis.shortcuts.mark_overlays import estimated, fixed_overlay, tint_overlay
from pfv_widgets.analysis.shortcuts.patch_search import located, patch_overlays
from tests.analysis.shortcuts.planted_shortcut import scenes


def test_overlays_give_back_the_mark_that_was_put_on() -> None:
    random = torch.Generator().manual_seed(0)
    own, others = (torch.rand(60, 3, 64, 64, generator=random) for _ in range(2))
    colour = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    own[:, :, 10:30, 20:40] = 0.2 * own[:, :, 10:30, 20:40] + 0.8 * colour
    result = fixed_overlay(own, others)
    assert result is not None
    assert ((result.alpha > 0).float().mean() - 400 / 4096).abs() < 0.01
    assert float(result.alpha[12:28, 22:38].mean()) == pytest.approx(0.8, abs=0.05)
    torch.testing.assert_close(
        result.colour[:, 12:28, 22:38].mean((1, 2)), colour[:, 0, 0], atol=0.05, rtol=0
    )
    assert fixed_overlay(others, torch.rand(60, 3, 64, 64, generator=random)) is None
    own[:, :, 20, 40:60] = 0.5 * own[:, :, 20, 40:60] + 0.5 * colour[:, 0]  # a thin stroke
    result = fixed_overlay(own, others)
    assert (result.alpha[20, 40:60] > 0).sum() >= 18
    assert (result.alpha > 0).sum() == pytest.approx(420, abs=20)
    # a veil, and no colours at all: the lightest pixels are no longer light then
    grey = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    for mixing, error in ((0.7 * torch.eye(3), 1e-5), (grey, 0.07)):
        tinted = (torch.einsum("dc,nchw->ndhw", mixing, others) + 0.3 * colour).clamp(0, 1)
        tint = tint_overlay(tinted, others)
        assert tint is not None
        assert tint.place == "everywhere"
        torch.testing.assert_close(tint.put(others)[0].clamp(0, 1), tinted, atol=error, rtol=0)
    assert tint_overlay(others, own.roll(1, 0)) is None
    everywhere = torch.ones(60, 64, 64, dtype=torch.bool)
    assert tint_overlay(tinted, others, everywhere, ~everywhere) is None  # marks hide all edges


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_a_shading_is_estimated_to_its_faint_parts(colour: float) -> None:
    random = torch.Generator().manual_seed(0)
    own, others = (torch.rand(60, 3, 48, 48, generator=random) for _ in range(2))
    own = 0.5 + 1.15 * (own - 0.5)  # the class differs more than others
    away = torch.linspace(-1, 1, 48).square()
    alpha = 0.45 * (away[:, None] + away)
    result = fixed_overlay((1 - alpha) * own + alpha * colour, others)
    assert result is not None
    assert (result.alpha - alpha).abs().mean() < 0.06
    marked, _ = result.put(others)
    truth = (1 - alpha) * others + alpha * colour
    assert (marked - truth).abs().mean() < 0.2 * (others - truth).abs().mean()


@pytest.mark.parametrize("photos", [12, 20])
def test_a_border_or_a_bar_on_few_photos_is_no_shading(photos: int) -> None:
    own, others = (
        torch.from_numpy(scenes(photos, first)[0]).permute(0, 3, 1, 2).float() / 255
        for first in (0, 500)
    )
    for part in (np.s_[:, :, :6], np.s_[:, :, -15:]):
        marked = own.clone()
        marked[part] = 0.3 * marked[part]
        result = fixed_overlay(marked, others)
        assert result is None or not result.shades


def test_lines_of_one_pixel_are_a_mark() -> None:
    random = torch.Generator().manual_seed(1)
    own, others = (torch.rand(40, 3, 48, 48, generator=random) for _ in range(2))
    own[:, :, ::4] *= 0.3
    tint = tint_overlay(own, others)  # darkens by as much as all rows on average, not as a line
    assert tint is None or float(tint.put(others)[0].mean() / others.mean()) > 0.8
    result = fixed_overlay(own, others)
    assert result is not None
    assert (result.alpha[::4] > 0).float().mean() > 0.97
    assert (result.alpha > 0).float().mean() == pytest.approx(0.25, abs=0.01)
    assert fixed_overlay(others, own) is None  # that the others have lines is no mark


def test_faint_strokes_beside_a_mark_are_seen_by_their_edges() -> None:
    random = torch.Generator().manual_seed(1)
    own, others = (torch.rand(300, 3, 48, 48, generator=random) for _ in range(2))
    own[:, :, 10:20, 4:14] = 1.0
    own[:, :, 15, 14:44] = 0.78 * own[:, :, 15, 14:44] + 0.22
    result = fixed_overlay(own, others)
    assert result is not None
    assert (result.alpha[15, 14:44] > 0).sum() >= 22
    assert (result.alpha > 0).sum() == pytest.approx(126, abs=8)
    marked, _ = result.put(others)
    assert float(marked[:, :, 15, 14:44].mean()) == pytest.approx(0.6, abs=0.025)


def test_a_mark_in_a_corner_does_not_grow_beyond_the_edges_of_most_photos() -> None:
    crops = torch.rand(30, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    crops[:, :, 20:30, 20:30] = 0.9
    crops[1:, :, :20] = torch.nan  # one photo is not cut there, and agrees with itself
    middle, usual = torch.full((3, 1, 1), 0.5), torch.tensor(0.25)
    mark = estimated(crops, middle, usual, "anywhere", 64 * 64)
    assert mark is not None
    assert (mark.alpha > 0).sum() == 100


@pytest.mark.parametrize("reach", [44, 9])  # the second: what lies beyond the edges is in few
def test_a_patch_that_lies_anywhere_is_found_and_put_on_other_photos(reach: int) -> None:
    random = torch.Generator().manual_seed(0)
    own, others = (torch.rand(30, 3, 64, 64, generator=random) for _ in range(2))
    colour = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    corners = torch.randint(0, reach, (30, 2), generator=random)
    for photo, (top, left) in zip(own, corners.tolist(), strict=True):
        photo[:, top : top + 20, left : left + 20] = colour
    photos, units = torch.cat([own, others]), torch.arange(60) < 30
    result = next(one for one, _, _ in marks_of(photos, units) if one.place == "anywhere")
    assert result.alpha.shape == (20, 20)
    seen_at = set(map(tuple, corners.tolist()))
    assert result.corners is not None
    assert set(map(tuple, result.corners.tolist())) <= seen_at
    torch.testing.assert_close(result.colour.mean((1, 2)), colour[:, 0, 0], atol=0.05, rtol=0)
    marked, where = result.put(others)
    assert ((where > 0).flatten(1).sum(1) == 400).all()
    there = {tuple(mask.nonzero()[0].tolist()) for mask in where > 0}
    assert there <= seen_at  # where photos of the class have it
    assert torch.equal(marked[where[:, None].expand_as(marked) == 0],
                       others[where[:, None].expand_as(marked) == 0])  # fmt: skip
    assert patch_overlays(others, own) == []


@pytest.mark.parametrize("upright", [False, True])
def test_a_bar_across_the_photo_is_found_whole_at_whatever_height(upright: bool) -> None:
    random = torch.Generator().manual_seed(0)
    own, others = (torch.rand(30, 3, 64, 80, generator=random) for _ in range(2))
    colour = torch.tensor([0.1, 0.8, 0.7])[:, None, None]
    if upright:
        own, others = own.mT.contiguous(), others.mT.contiguous()
    tops = torch.randint(0, 57, (30,), generator=random)
    for photo, top in zip(own.mT if upright else own, tops.tolist(), strict=True):
        photo[:, top : top + 7] = colour
    bars = patch_overlays(own, others)
    assert [tuple(bar.alpha.shape) for bar in bars] == [(80, 7) if upright else (7, 80)]
    assert float(bars[0].alpha.min()) > 0.9
    torch.testing.assert_close(bars[0].colour, colour.expand_as(bars[0].colour), atol=0.05, rtol=0)
    where = located(bars[0], own)[0]
    found = (where.mT if upright else where).amax(2).argmax(1)
    assert torch.equal(found, tops)


def test_a_mark_is_located_in_other_sizes_where_maps_say_that_it_is_somewhere() -> None:
    random = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(*2 * [torch.linspace(-1, 1, 24)], indexing="ij")
    away = torch.hypot(rows, columns)
    colour = torch.where(away < 0.5, 1.0, 0.1).expand(3, -1, -1)
    overlay = Overlay((away < 1).float(), colour, "anywhere")
    photos = 0.4 + 0.2 * torch.rand(3, 3, 96, 96, generator=random)
    truth = torch.zeros(3, 96, 96)
    for photo, where, side in zip(photos, truth, (17, 24, 34), strict=True):
        mark = torch.cat([overlay.alpha[None], colour])[None]
        alpha, *colours = interpolate(mark, size=(side, side), mode="bilinear")[0]
        part = (..., slice(20, 20 + side), slice(40, 40 + side))
        photo[part] = torch.lerp(photo[part], torch.stack(colours), (alpha > 0.5).float())
        where[part] = (alpha > 0.5).float()
    alpha, _ = located(overlay, photos, torch.ones(3, 96, 96))
    there = alpha > 0.5
    both, either = (there * truth).sum((1, 2)), there.float().maximum(truth).sum((1, 2))
    assert (both / either).min() > 0.8
