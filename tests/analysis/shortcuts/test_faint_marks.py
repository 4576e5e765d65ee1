"""Faint marks over the whole photo: single pixels do not show them, means over photos do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pfv_widgets.analysis.core.overlay import Overlay
from pfv_widgets.analysis.shortcuts.faint_marks import faint_overlay
from pfv_widgets.analysis.shortcuts.mark_overlays import fixed_overlay

SIDE = 72


def photos(seed: int, number: int = 32) -> Tensor:
    """Draw what natural photos have: more contrast at coarser scales."""
    random = torch.Generator().manual_seed(seed)
    layers = [
        interpolate(torch.randn(number, 3, side, side, generator=random), SIDE, mode="bilinear")
        * side**-0.5
        for side in (3, 6, 12, 24, 72)
    ]
    return (0.5 + 0.2 * sum(layers)).clamp(0, 1)


def marked(some: Tensor, mask: Tensor, opacity: float) -> Tensor:
    white = torch.lerp(some, torch.ones_like(some), opacity * mask)
    return torch.cat([white[:-1], some[-1:]])  # one photo is spared


STRIPES = (torch.arange(SIDE) // 5 % 2).float().expand(SIDE, SIDE)
STROKES = ((torch.arange(SIDE) % 18 < 2) & (torch.arange(SIDE)[:, None] % 24 < 9)).float()


@pytest.mark.parametrize("mask", [STRIPES, STROKES], ids=["stripes", "strokes"])
def test_a_faint_mark_over_the_whole_photo_is_estimated(mask: Tensor) -> None:
    own, others = marked(photos(0), mask, 0.35), photos(1)
    mark, separation = faint_overlay(own, others, fixed_overlay(own, others))
    assert separation > 0.97
    there = mark.alpha > 0
    both, either = (there & (mask > 0)).sum(), (there | (mask > 0)).sum()
    assert both / either > 0.8
    assert mark.alpha.max() == pytest.approx(0.35, abs=0.1)
    assert mark.colour.min() > 0.85
    assert faint_overlay(others, own, None) is None  # these lack it
    same = Overlay(0.35 * mask, torch.ones(3, SIDE, SIDE), "fixed")
    assert faint_overlay(own, others, same) is None  # known already


def test_soft_edges_of_faint_strokes_are_of_the_mark() -> None:
    """Half of the opacity of thin strokes is in pixels that have less than half of it."""
    soft = avg_pool2d(STROKES[None], 3, 1, 1)[0]
    mark, _ = faint_overlay(marked(photos(0), soft, 0.5), photos(1), None)
    like = torch.stack([mark.alpha.flatten(), soft.flatten()])
    assert torch.corrcoef(like)[0, 1] > 0.97
    assert mark.alpha.mean() == pytest.approx(0.5 * float(soft.mean()), rel=0.2)


def test_detail_that_all_classes_share_is_no_part_of_a_faint_mark() -> None:
    both = marked(photos(1), STRIPES, 0.35)
    mark, _ = faint_overlay(marked(marked(photos(0), STRIPES, 0.35), STROKES, 0.5), both, None)
    outside = mark.alpha[STROKES == 0]
    assert float((outside > 0).float().mean()) < 0.1


def test_photos_without_a_mark_have_no_faint_one() -> None:
    assert faint_overlay(photos(2), photos(3), None) is None
