"""Marks drawn anew in each photo: their colour is what photos of the class share."""

from __future__ import annotations

import torch
from torch import Tensor

from pfv_widgets.analysis.shortcuts.candidates import marks_of
from pfv_widgets.analysis.shortcuts.drawn_marks import drawn_overlay
from tests.analysis.shortcuts.test_faint_marks import SIDE, photos

RED = torch.tensor([0.85, 0.15, 0.2])


def scratched(some: Tensor) -> tuple[Tensor, Tensor]:
    """Draw straight lines on each photo; return where they are, too."""
    random = torch.Generator().manual_seed(5)
    where = torch.zeros(len(some), SIDE, SIDE)
    for mask in where[1:]:  # one photo is spared
        for _ in range(6):
            start, end = torch.rand(2, 2, generator=random) * (SIDE - 1)
            line = torch.lerp(start, end, torch.linspace(0, 1, SIDE)[:, None]).round().long()
            mask[line[:, 0], line[:, 1]] = 1
    return torch.lerp(some, RED[:, None, None].expand_as(some), where[:, None]), where


def test_marks_drawn_anew_are_found_by_their_colour_and_drawn_on_other_photos() -> None:
    others = photos(1)
    own, where = scratched(photos(0))
    every, of_class = torch.cat([own, others]), torch.arange(64) < 32
    ((overlay, alpha, separation),) = marks_of(every, of_class)
    assert separation > 0.95
    torch.testing.assert_close(overlay.colour[:, 0, 0], RED, atol=0.03, rtol=0)
    assert (alpha * where).sum() > 0.9 * torch.maximum(alpha, where).sum()
    drawn, there = overlay.put(others)
    assert len({tuple(one.flatten().tolist()) for one in there}) > 10  # not all the same
    torch.testing.assert_close(drawn[0][:, there[0] > 0].mean(1), RED, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn[0][:, there[0] == 0], others[0][:, there[0] == 0])
    assert drawn_overlay(others, photos(2)) is None
    assert drawn_overlay(others, own) is None
